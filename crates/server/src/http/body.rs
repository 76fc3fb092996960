//! Request bodies: read whole, within their bound, unpacked.

use std::io::Read;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
};

use super::error::ApiError;

/// Reads and, if it is gzip, unpacks a body of at most `bytes_max` bytes either way.
///
/// # Errors
/// 413 past the bound, 415 for another encoding, 400 for broken gzip or a body that ends early.
pub(super) async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {bytes_max} bytes"))
            .hint("send it in smaller parts, or raise http.body_bytes_max")
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large());
    }
    let raw = axum::body::to_bytes(body, bytes_max).await.map_err(|error| {
        let limit = std::error::Error::source(&error).is_some_and(|s| s.to_string().contains("length limit"));
        if limit {
            too_large()
        } else {
            ApiError::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))
        }
    })?;
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or("identity");
    match encoding.trim().to_ascii_lowercase().as_str() {
        "identity" | "" => Ok(raw),
        "gzip" => {
            let unpacked = tokio::task::block_in_place(|| gunzip(&raw, bytes_max));
            match unpacked {
                Ok(Some(bytes)) => Ok(bytes.into()),
                Ok(None) => Err(too_large()),
                Err(error) => {
                    let error = format!("the body says it is gzip and cannot be unpacked: {error}");
                    Err(ApiError::new(StatusCode::BAD_REQUEST, error))
                }
            }
        }
        other => {
            let error = ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("the encoding {other:?} is not known"),
            );
            Err(error.hint("send gzip, or no Content-Encoding"))
        }
    }
}

/// `None` if there is more than `bytes_max`.
fn gunzip(raw: &[u8], bytes_max: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut out = Vec::with_capacity(raw.len().saturating_mul(4).min(bytes_max));
    let more = bytes_max as u64 + 1;
    flate2::read::MultiGzDecoder::new(raw).take(more).read_to_end(&mut out)?;
    Ok((out.len() <= bytes_max).then_some(out))
}
