//! `multipart/form-data`, part by part and piece by piece: what is held is one piece of the body.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt;
use memchr::memmem;

use crate::http::{ApiError, fields::bad};

/// The lines before a part's data.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// RFC 2046.
const BOUNDARY_BYTES_MAX: usize = 70;

/// A client that sends nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What a refused upload may still send before it is answered: clients read no answer while they send.
const DRAINED_BYTES_MAX: usize = 64 << 20;
const DRAINED_FOR: Duration = Duration::from_secs(10);

/// What a part is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) file: Option<String>,
}

/// Reads the parts of a body.
pub(super) struct Parts {
    body: BodyDataStream,
    /// What was read and not given yet. Begins with a line end of ours, so that the first boundary is as the others.
    held: Vec<u8>,
    /// `\r\n--boundary`
    boundary: Vec<u8>,
    /// True between a part's head and the boundary behind its data.
    in_part: bool,
    /// Bytes of the head that stand before the part's data.
    skip: usize,
}

impl Parts {
    /// Begins to read.
    ///
    /// # Errors
    /// The headers tell of no form, or of one without a boundary.
    pub(super) fn new(headers: &HeaderMap, body: Body) -> Result<Parts, ApiError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let encoding = text(header::CONTENT_ENCODING);
        if !matches!(encoding, "" | "identity") {
            let error = format!("an upload in the encoding {encoding:?} is not taken");
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error).hint("send it as it is"));
        }
        let kind = text(header::CONTENT_TYPE);
        let hint = "send a form: curl -F data=@file.csv 'http://HOST:9000/imp?name=TABLE'";
        if !kind.to_ascii_lowercase().starts_with("multipart/form-data") {
            return Err(bad("the upload is not multipart/form-data").hint(hint));
        }
        let boundary = kind.split(';').find_map(|part| {
            let (name, value) = part.trim().split_once('=')?;
            name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"').to_owned())
        });
        match boundary {
            Some(boundary) if (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()) => Ok(Parts {
                body: body.into_data_stream(),
                held: b"\r\n".to_vec(),
                boundary: format!("\r\n--{boundary}").into_bytes(),
                // What stands before the first boundary is skipped as a part would be.
                in_part: true,
                skip: 0,
            }),
            _ => Err(bad("the form's Content-Type has no boundary of 1 to 70 characters").hint(hint)),
        }
    }

    /// The head of the next part; `None` behind the last. What is left of the part before is skipped.
    ///
    /// # Errors
    /// The form is cut off or broken.
    pub(super) async fn next(&mut self) -> Result<Option<Head>, ApiError> {
        while self.piece().await?.is_some() {}
        // Behind the boundary: `--` at the end, a line end otherwise.
        while self.held.len() < 2 {
            self.more().await?;
        }
        if self.held.starts_with(b"--") {
            return Ok(None);
        }
        loop {
            if let Some(end) = memmem::find(&self.held, b"\r\n\r\n") {
                let head = head(&self.held[..end]);
                // The head's last line end stays: where a part is empty, it is its boundary's.
                self.held.drain(..end + 2);
                self.in_part = true;
                self.skip = 2;
                return head.map(Some);
            }
            if self.held.len() > HEAD_BYTES_MAX {
                return Err(bad(format!(
                    "a part of the form has no head in its first {HEAD_BYTES_MAX} bytes"
                ))
                .hint("send it with a form library, or curl -F"));
            }
            self.more().await?;
        }
    }

    /// The next piece of the part's data; `None` at its end.
    ///
    /// # Errors
    /// The form is cut off.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        while self.in_part {
            if let Some(end) = memmem::find(&self.held, &self.boundary) {
                let piece = self.held[self.skip.min(end)..end].to_vec();
                self.held.drain(..end + self.boundary.len());
                (self.in_part, self.skip) = (false, 0);
                if !piece.is_empty() {
                    return Ok(Some(piece.into()));
                }
                break;
            }
            let keep = self.boundary.len() - 1;
            if self.held.len() > keep + self.skip {
                let piece: Vec<u8> = self.held.drain(..self.held.len() - keep).skip(self.skip).collect();
                self.skip = 0;
                return Ok(Some(piece.into()));
            }
            self.more().await?;
        }
        Ok(None)
    }

    async fn more(&mut self) -> Result<(), ApiError> {
        match tokio::time::timeout(SILENCE_MAX, self.body.next()).await {
            Ok(Some(Ok(bytes))) => {
                self.held.extend_from_slice(&bytes);
                Ok(())
            }
            Ok(Some(Err(error))) => Err(bad(format!("the upload broke off: {error}"))),
            Ok(None) => Err(bad("the form ends before its last boundary").hint("send the whole file")),
            Err(_) => {
                let error = format!("nothing came for {} s", SILENCE_MAX.as_secs());
                Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, error))
            }
        }
    }

    /// Takes what the client still sends, within bounds, so that it reads the answer.
    pub(super) async fn drain(mut self) {
        let drained = async {
            let mut bytes = 0;
            while let Some(Ok(piece)) = self.body.next().await {
                bytes += piece.len();
                if bytes > DRAINED_BYTES_MAX {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(DRAINED_FOR, drained).await;
    }
}

/// The name and file name of `Content-Disposition: form-data; name="data"; filename="a.csv"`.
fn head(lines: &[u8]) -> Result<Head, ApiError> {
    let text = String::from_utf8_lossy(lines);
    let disposition = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let parameter = |wanted: &str| {
        disposition?.split(';').find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    match parameter("name") {
        Some(name) => Ok(Head { name, file: parameter("filename") }),
        None => Err(bad("a part of the form has no name").hint("send the file as the part `data`")),
    }
}
