//! The page: built by `web/`, embedded into the binary.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::Embed;

#[derive(Embed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Page;

/// Shown where the binary was built without the page.
const PLACEHOLDER: &str = "<!doctype html><meta charset=utf-8><title>Nowcast</title>\
<p>The server runs; its page was not built into this binary. Build it with <code>make web</code>, then build \
the server again. The API works: try <code>/exec?query=SELECT+1</code>.";

/// Files under `/assets/` carry a hash of their content in their name; everything else is the page, whose
/// own router reads the path.
pub(super) async fn serve(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if let Some(file) = Page::get(path).filter(|_| path != "index.html") {
        return answer(path, file, &headers);
    }
    if path.starts_with("assets/") || path.contains('.') {
        return (StatusCode::NOT_FOUND, "no such file").into_response();
    }
    match Page::get("index.html") {
        Some(file) => answer("index.html", file, &headers),
        None => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PLACEHOLDER).into_response(),
    }
}

fn answer(path: &str, file: rust_embed::EmbeddedFile, headers: &HeaderMap) -> Response {
    let hash = file.metadata.sha256_hash();
    let tag: String =
        hash.iter().take(12).fold(String::from("\""), |tag, byte| tag + &format!("{byte:02x}")) + "\"";
    if headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == tag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = file.data.into_owned().into_response();
    let out = response.headers_mut();
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    out.insert(header::CONTENT_TYPE, value(kind.as_ref()));
    out.insert(header::CACHE_CONTROL, value(cache));
    out.insert(header::ETAG, value(&tag));
    response
}
