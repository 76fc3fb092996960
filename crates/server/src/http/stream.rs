//! Answers that go out while their query runs.
//!
//! The beginning is made before the answer's head is sent: an error in it is an error of its own, and what is
//! short goes out whole, with its length. Behind it, batch by batch as the client takes them: a slow client slows
//! the query and holds one batch; one that leaves ends it, since the body owns the rows. An error in the middle
//! breaks the transfer off, so that nobody takes what came for the whole.

use axum::body::{Body, Bytes};
use futures::StreamExt;
use nowcast_query::SqlError;

use super::cut::Cut;
use crate::encode::Encode;

/// What is made before the head goes out.
const BEGINNING_BYTES: usize = 64 << 10;

/// The rows of `cut` as a body.
///
/// # Errors
/// The query fails before its beginning is made.
pub(super) async fn body(cut: Cut, encoder: Box<dyn Encode>) -> Result<Body, SqlError> {
    let mut answer = Answer { cut, encoder, ended: false };
    let mut beginning = Vec::new();
    while beginning.len() < BEGINNING_BYTES {
        match answer.step().await? {
            Some(bytes) => beginning.extend_from_slice(&bytes),
            None => return Ok(Body::from(beginning)),
        }
    }
    let rest = futures::stream::unfold(Some(answer), |answer| async {
        let mut answer = answer?;
        match answer.step().await {
            Ok(Some(bytes)) => Some((Ok(Bytes::from(bytes)), Some(answer))),
            Ok(None) => None,
            Err(error) => {
                tracing::info!(%error, "an answer was broken off");
                Some((Err(error), None))
            }
        }
    });
    let beginning = futures::stream::iter([Ok(Bytes::from(beginning))]);
    // Compression asks once more behind the end.
    Ok(Body::from_stream(beginning.chain(rest).fuse()))
}

struct Answer {
    cut: Cut,
    encoder: Box<dyn Encode>,
    ended: bool,
}

impl Answer {
    /// The next bytes, never none of them; `None` behind the last.
    async fn step(&mut self) -> Result<Option<Vec<u8>>, SqlError> {
        while !self.ended {
            match self.cut.next().await? {
                // Compressing a row group takes longer than others on this thread should wait.
                Some(batch) => tokio::task::block_in_place(|| self.encoder.write(&batch))?,
                None => {
                    self.encoder.finish(self.cut.ended())?;
                    self.ended = true;
                }
            }
            let bytes = self.encoder.take();
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}
