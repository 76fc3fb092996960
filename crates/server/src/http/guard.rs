//! Who may ask: Host, Origin and the token are checked before any handler runs.
//!
//! Three attacks are meant. *DNS rebinding*: a page of another site whose name suddenly points at this
//! machine sends a foreign `Host`; only addresses, `localhost`, this machine's name and `http.hosts` are
//! answered. *Cross-site requests*: a page of another site sends its own `Origin` (or `Sec-Fetch-Site:
//! cross-site`); it is refused unless `http.cors_origins` names it. *Open ports*: with `http.token` set,
//! every request but `/healthz` and the page's static files must carry it.

use std::net::IpAddr;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use crate::config::RawHttp;

use super::error::ApiError;

/// The cookie that `/?token=…` sets, since a page cannot add headers to a WebSocket.
const COOKIE: &str = "nowcast_token";

/// What the guard compares with.
#[derive(Debug, Clone)]
pub struct Guard {
    token: Option<String>,
    cors_origins: Vec<String>,
    hosts: Vec<String>,
}

impl Guard {
    /// A guard from `[http]`.
    pub fn new(http: &RawHttp) -> Guard {
        let mut hosts: Vec<String> = http.hosts.iter().map(|host| host.to_lowercase()).collect();
        hosts.push("localhost".to_owned());
        hosts.push(rustix::system::uname().nodename().to_string_lossy().to_lowercase());
        let token = Some(http.token.0.clone()).filter(|token| !token.is_empty());
        Guard { token, cors_origins: http.cors_origins.clone(), hosts }
    }

    fn host_allowed(&self, host: &str) -> bool {
        let name = host_name(host).to_lowercase();
        name.parse::<IpAddr>().is_ok() || name.ends_with(".localhost") || self.hosts.contains(&name)
    }

    /// True if a browser page that sends these headers may talk to the server: it is our own page, or one
    /// that the settings name, or no page at all.
    pub fn origin_allowed(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let Some(origin) = text(header::ORIGIN) else {
            return text(header::HeaderName::from_static("sec-fetch-site")) != Some("cross-site");
        };
        if self.cors_origins.iter().any(|allowed| allowed == origin) {
            return true;
        }
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some() && authority == text(header::HOST)
    }

    fn token_allowed(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let equal = |given: &str| bool::from(given.as_bytes().ct_eq(token.as_bytes()));
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = header.and_then(|value| {
            let (scheme, rest) = value.split_once(' ')?;
            let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token");
            known.then_some(rest.trim())
        });
        if given.is_some_and(equal) {
            return true;
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .any(|(name, value)| name == COOKIE && equal(value))
    }
}

/// The name in `name:port` or `[v6]:port`.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// True if a browser's page sent the request: such a GET may read, never change.
pub(super) fn from_browser(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("sec-fetch-")) || headers.contains_key(header::ORIGIN)
}

/// The middleware: refuses or lets through, answers preflights, adds the security headers.
pub(super) async fn check(
    State(guard): State<std::sync::Arc<Guard>>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let allowed_origin = request
        .headers()
        .get(header::ORIGIN)
        .filter(|origin| guard.cors_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()))
        .cloned();
    let mut response = match refusal(&guard, &request) {
        Some(response) => response,
        None if request.method() == Method::OPTIONS && allowed_origin.is_some() => preflight(),
        None => match login(&guard, request.uri()) {
            Some(response) => response,
            None => next.run(request).await,
        },
    };
    let headers = response.headers_mut();
    if let Some(origin) = allowed_origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Script from our own origin only; style attributes are what the chart library positions tooltips with.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                   img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; \
                   frame-ancestors 'self'; base-uri 'none'; form-action 'none'";

fn refusal(guard: &Guard, request: &Request<Body>) -> Option<Response> {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !guard.host_allowed(host) {
        let error =
            ApiError::new(StatusCode::MISDIRECTED_REQUEST, format!("the host {host:?} is not this server"));
        return Some(error.hint("add the name to http.hosts").into_response());
    }
    let navigates = request.method() == Method::GET
        && headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
        && is_page(request.uri().path());
    if !guard.origin_allowed(headers) && !navigates {
        let error = ApiError::new(StatusCode::FORBIDDEN, "a page of another site may not call this server");
        return Some(error.hint("add its origin to http.cors_origins").into_response());
    }
    let public = is_page(request.uri().path()) || matches!(request.uri().path(), "/healthz" | "/ping");
    if !public && request.method() != Method::OPTIONS && !guard.token_allowed(headers) {
        let error = ApiError::new(StatusCode::UNAUTHORIZED, "the request carries no valid token");
        let mut response = error
            .hint("send `Authorization: Bearer TOKEN`, or open /?token=TOKEN once in the browser")
            .into_response();
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Some(response);
    }
    None
}

/// Paths that hold nothing but the page itself.
fn is_page(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(first, "" | "d" | "t" | "status" | "console" | "assets" | "favicon.svg" | "favicon.ico")
}

/// `/?token=…` puts the token into a cookie that scripts cannot read and other sites do not send.
fn login(guard: &Guard, uri: &Uri) -> Option<Response> {
    let expected = guard.token.as_ref()?;
    if !is_page(uri.path()) {
        return None;
    }
    let given = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    if !bool::from(given.as_bytes().ct_eq(expected.as_bytes())) {
        let error = ApiError::new(StatusCode::UNAUTHORIZED, "the token is not valid");
        return Some(error.hint("use the value of http.token").into_response());
    }
    let cookie = format!("{COOKIE}={given}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000");
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_str(uri.path()).ok()?);
    headers.insert(header::SET_COOKIE, HeaderValue::from_str(&cookie).ok()?);
    Some(response)
}

fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, content-type, content-encoding, idempotency-key, last-event-id",
        ),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Secret;

    fn guard() -> Guard {
        let http = RawHttp {
            token: Secret("secret".into()),
            cors_origins: vec!["https://app.example.com".into()],
            hosts: vec!["wall.example.com".into()],
            ..RawHttp::default()
        };
        Guard::new(&http)
    }

    fn status(method: &str, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        refusal(&guard(), &request).map_or(200, |response| response.status().as_u16())
    }

    /// Method, address, headers, the status expected.
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16);

    #[test]
    fn requests_are_let_through_or_refused() {
        let host = ("host", "127.0.0.1:9000");
        let token = ("authorization", "Bearer secret");
        let table: &[Case] = &[
            ("GET", "/exec", &[host, token], 200),
            ("GET", "/exec", &[host], 401),
            ("GET", "/exec", &[host, ("authorization", "Token secret")], 200),
            ("GET", "/exec", &[host, ("authorization", "Bearer secre")], 401),
            ("GET", "/exec", &[host, ("cookie", "a=b; nowcast_token=secret")], 200),
            ("GET", "/exec", &[("host", "evil.example.com"), token], 421),
            ("GET", "/exec", &[("host", "wall.example.com:9000"), token], 200),
            ("GET", "/exec", &[("host", "[::1]:9000"), token], 200),
            ("GET", "/exec", &[token], 421),
            ("POST", "/exec", &[host, token, ("origin", "https://evil.example.com")], 403),
            ("POST", "/exec", &[host, token, ("origin", "null")], 403),
            ("POST", "/exec", &[host, token, ("origin", "http://127.0.0.1:9000")], 200),
            ("POST", "/exec", &[host, token, ("origin", "https://app.example.com")], 200),
            ("GET", "/exec", &[host, token, ("sec-fetch-site", "cross-site")], 403),
            (
                "GET",
                "/exec",
                &[host, token, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
                403,
            ),
            ("GET", "/d/x", &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], 200),
            ("GET", "/healthz", &[host], 200),
        ];
        for (method, uri, headers, expected) in table {
            assert_eq!(status(method, uri, headers), *expected, "{method} {uri} {headers:?}");
        }
    }

    #[test]
    fn the_token_in_the_address_becomes_a_cookie() {
        let response = login(&guard(), &"/?token=secret".parse().unwrap()).unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert!(response.headers()[header::SET_COOKIE].to_str().unwrap().contains("HttpOnly"));
        let response = login(&guard(), &"/?token=wrong".parse().unwrap()).unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(login(&guard(), &"/exec?token=secret".parse().unwrap()).is_none());
    }
}
