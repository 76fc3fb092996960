//! `/ws`: every few seconds the rows of one query, as a JSON string that holds an array of objects. The form is
//! that of a data frame's `to_json(orient="records")`, sent as JSON once more.
//!
//! The query is run once for all viewers, and only while there are any; a viewer who comes gets the newest answer
//! if it is no older than the interval, else the next. Nothing is sent for no rows. A viewer who does not take an
//! answer in time gets a later one: the queue is one answer, and it is shared.

use std::{fmt, net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, ws::Utf8Bytes},
    http::Extensions,
};
use futures::{Stream, stream};
use nowcast_model::Value;
use nowcast_views::{LiveSchema, Row};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Batch, RecordsFeed};
use crate::{encode::json::write_text, hub::Hub};

/// An answer, and when it was made. No text if there are no rows.
type Answer = Option<(Instant, Option<Utf8Bytes>)>;

/// Runs the query while someone watches.
pub(super) struct RecordsTask {
    answers: watch::Receiver<Answer>,
    refresh: std::time::Duration,
    /// One clone is held here, the others by viewers.
    viewers: watch::Sender<usize>,
}

/// Counts a viewer until it is dropped.
struct Viewing(watch::Sender<usize>);

impl Drop for Viewing {
    fn drop(&mut self) {
        self.0.send_modify(|viewers| *viewers -= 1);
    }
}

impl RecordsTask {
    pub(super) fn start(hub: &Arc<Hub>, batch: Arc<dyn Batch>, feed: RecordsFeed) -> RecordsTask {
        let (sender, answers) = watch::channel(None);
        let (viewers, watching) = watch::channel(0);
        let refresh = feed.refresh;
        let (mut closing, bytes_max) = (hub.closing(), hub.limits.frame_bytes_max);
        tokio::spawn(async move {
            tokio::select! {
                () = run(batch, feed, bytes_max, sender, watching) => {}
                _ = closing.wait_for(|closing| *closing) => {}
            }
        });
        RecordsTask { answers, refresh, viewers }
    }

    /// The answers from now on.
    pub(super) fn watch(&self) -> impl Stream<Item = Utf8Bytes> + use<> {
        self.viewers.send_modify(|viewers| *viewers += 1);
        let viewing = Viewing(self.viewers.clone());
        let mut answers = self.answers.clone();
        let is_new = |answer: &Answer| matches!(answer, Some((at, _)) if at.elapsed() < self.refresh);
        if is_new(&answers.borrow()) {
            answers.mark_changed();
        } else {
            answers.mark_unchanged();
        }
        stream::unfold((answers, viewing), async |(mut answers, viewing)| {
            loop {
                answers.changed().await.ok()?;
                let answer = answers.borrow_and_update().clone();
                if let Some((_, Some(text))) = answer {
                    return Some((text, (answers, viewing)));
                }
            }
        })
    }
}

async fn run(
    batch: Arc<dyn Batch>,
    feed: RecordsFeed,
    bytes_max: usize,
    answers: watch::Sender<Answer>,
    mut viewers: watch::Receiver<usize>,
) {
    loop {
        if viewers.wait_for(|viewers| *viewers > 0).await.is_err() {
            return;
        }
        let began = Instant::now();
        let (text, count) = match batch.run(Arc::clone(&feed.sql)).await {
            Ok((schema, rows)) => match write(&schema, &rows) {
                Some(text) if text.len() > bytes_max => {
                    let bytes = text.len();
                    tracing::error!(
                        "WebSocket error: a message of {bytes} bytes is not sent; raise feed.frame_bytes_max, or \
                         look back less far"
                    );
                    (None, rows.len())
                }
                text => (text, rows.len()),
            },
            Err(error) => {
                tracing::error!("Error reading from database: {error}");
                (None, 0)
            }
        };
        tracing::info!("Fetched {count} records from database");
        answers.send_replace(Some((Instant::now(), text)));
        sleep_until(began + feed.refresh).await;
    }
}

/// The message for `rows`; none if there are none.
pub(super) fn write(schema: &LiveSchema, rows: &[Row]) -> Option<Utf8Bytes> {
    if rows.is_empty() {
        return None;
    }
    let mut array = String::with_capacity(rows.len() * schema.columns.len() * 24);
    for row in rows {
        array.push(if array.is_empty() { '[' } else { ',' });
        array.push('{');
        let shown = schema.columns.iter().zip(row.iter()).filter(|(column, _)| !column.hidden);
        for (index, (column, value)) in shown.enumerate() {
            if index > 0 {
                array.push(',');
            }
            write_text(&mut array, &column.name);
            array.push(':');
            write_plain(&mut array, value);
        }
        array.push('}');
    }
    array.push(']');
    let mut text = String::with_capacity(array.len() * 5 / 4);
    write_text(&mut text, &array);
    Some(text.into())
}

/// A value as data frames write it: times in milliseconds since 1970 UTC, numbers as numbers.
pub(super) fn write_plain(out: &mut String, value: &Value) {
    use std::fmt::Write as _;

    let _ = match value {
        Value::Null => out.write_str("null"),
        Value::Bool(v) => write!(out, "{v}"),
        Value::Int(v) => write!(out, "{v}"),
        Value::UInt(v) => write!(out, "{v}"),
        Value::Timestamp(v) => write!(out, "{}", v.div_euclid(1_000)),
        Value::TimestampNs(v) => write!(out, "{}", v.div_euclid(1_000_000)),
        Value::Float(v) if !v.is_finite() => out.write_str("null"),
        Value::Float(v) => out.write_str(&serde_json::to_string(v).unwrap_or_else(|_| "null".to_owned())),
        Value::Str(v) => return write_text(out, v),
    };
}

/// Who is connected, as the log names them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(Option<SocketAddr>);

pub(super) fn peer(request: &Request) -> Peer {
    let found = |extensions: &Extensions| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    Peer(found(request.extensions()))
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(peer) => write!(f, "Address(host='{}', port={})", peer.ip(), peer.port()),
            None => f.write_str("None"),
        }
    }
}
