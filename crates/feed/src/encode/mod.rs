//! Rows to messages, without a tree in between, in the two encodings of the protocol.
//!
//! A message is cut behind the id: what stands before is a viewer's own, the rest, the *tail*, is the same for
//! all viewers who go from one version to another, so it is encoded once, and in MessagePack compressed once:
//!
//! ```text
//! {"op":"delta","id":7 │ ,"version":45,"upsert":[["DE",12.5]],"delete":[["FR"]]}
//! ```

pub(crate) mod gzip;
pub(crate) mod json;
pub(crate) mod packed;

use axum::extract::ws::{Message, Utf8Bytes};
use bytes::Bytes;
use nowcast_model::{ColumnType, Epoch, Value, Version};
use nowcast_views::{Changes, LiveSchema, Mode, ViewState};

use crate::FeedError;

/// The largest integer up to which JSON numbers are exact everywhere.
const EXACT_MAX: u64 = 1 << 53;

/// How messages are written. The same values in both: what JSON writes as text because its numbers would not
/// hold it is text in MessagePack, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Encoding {
    /// `nowcast.v1.json`
    #[default]
    Json,
    /// `nowcast.v1.msgpack`; long messages are gzip.
    Packed,
}

/// Encodings, for what is kept once for each.
pub(crate) const ENCODINGS: usize = 2;

/// Why a resume was answered with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// Another run of the server.
    Epoch,
    /// The cursor is older than what is remembered, or from the future.
    Horizon,
    /// The request means something else now, or its columns changed.
    Schema,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Reason::Epoch => "epoch",
            Reason::Horizon => "horizon",
            Reason::Schema => "schema",
        }
    }
}

/// What stands before the tail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) snapshot: bool,
    pub(crate) id: u64,
    pub(crate) reason: Option<Reason>,
}

/// A whole message, shared by those who get the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// JSON.
    Text(Utf8Bytes),
    /// MessagePack, or gzip of it.
    Binary(Bytes),
}

impl Payload {
    pub(crate) fn len(&self) -> usize {
        match self {
            Payload::Text(text) => text.len(),
            Payload::Binary(bytes) => bytes.len(),
        }
    }

    /// The text of a viewer who speaks JSON.
    pub(crate) fn as_text(&self) -> &str {
        match self {
            Payload::Text(text) => text,
            Payload::Binary(_) => "",
        }
    }
}

impl From<Payload> for Message {
    fn from(payload: Payload) -> Message {
        match payload {
            Payload::Text(text) => Message::Text(text),
            Payload::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

/// The part of a snapshot or delta that is the same for all.
#[derive(Debug)]
pub(crate) enum Tail {
    /// From the comma behind the id on.
    Json(String),
    /// Entries of the message's map, and how many.
    Packed { entries: u8, bytes: Vec<u8> },
    /// The same, compressed.
    Zipped { entries: u8, bytes: gzip::Deflated },
}

impl Tail {
    /// Bytes before compression.
    pub(crate) fn len(&self) -> usize {
        match self {
            Tail::Json(text) => text.len(),
            Tail::Packed { bytes, .. } => bytes.len(),
            Tail::Zipped { bytes, .. } => bytes.len(),
        }
    }

    /// Bytes that are held.
    pub(crate) fn bytes_held(&self) -> usize {
        match self {
            Tail::Zipped { bytes, .. } => bytes.bytes_held(),
            _ => self.len(),
        }
    }

    /// The whole message.
    pub(crate) fn message(&self, head: Head) -> Payload {
        match self {
            Tail::Json(tail) => Payload::Text(json::message(head, tail).into()),
            Tail::Packed { entries, bytes } => {
                Payload::Binary([&packed::head(head, *entries), bytes.as_slice()].concat().into())
            }
            Tail::Zipped { entries, bytes } => {
                Payload::Binary(bytes.behind(&packed::head(head, *entries)).into())
            }
        }
    }
}

impl Encoding {
    /// The tail of a snapshot. `changes` is one, sorted.
    pub(crate) fn snapshot_tail(
        self,
        epoch: Epoch,
        version: Version,
        mode: Mode,
        schema: &LiveSchema,
        changes: &Changes,
    ) -> Tail {
        match self {
            Encoding::Json => Tail::Json(json::snapshot_tail(epoch, version, mode, schema, changes)),
            Encoding::Packed => packed::snapshot_tail(epoch, version, mode, schema, changes),
        }
    }

    /// The tail of a delta that ends at `version`.
    pub(crate) fn delta_tail(self, version: Version, schema: &LiveSchema, changes: &Changes) -> Tail {
        match self {
            Encoding::Json => Tail::Json(json::delta_tail(version, schema, changes)),
            Encoding::Packed => packed::delta_tail(version, schema, changes),
        }
    }

    /// A progress. `behind` is a list of subscriptions and their states, those that are live left out.
    pub(crate) fn progress(
        self,
        version: Version,
        position: u64,
        now_us: i64,
        behind: &[(u64, ViewState)],
    ) -> Payload {
        match self {
            Encoding::Json => Payload::Text(json::progress(version, position, now_us, behind).into()),
            Encoding::Packed => packed::progress(version, position, now_us, behind),
        }
    }

    /// An error.
    pub(crate) fn error(self, id: Option<u64>, error: &FeedError) -> Payload {
        match self {
            Encoding::Json => Payload::Text(json::error(id, error).into()),
            Encoding::Packed => packed::error(id, error),
        }
    }
}

/// A value as both encodings tell it apart.
enum Wire<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// Beyond what a double holds exactly.
    Digits(i128),
    Float(f64),
    Text(&'a str),
}

fn wire(value: &Value, ty: ColumnType) -> Wire<'_> {
    match value {
        Value::Null => Wire::Null,
        Value::Bool(v) => Wire::Bool(*v),
        Value::Int(v) | Value::Timestamp(v) if v.unsigned_abs() <= EXACT_MAX => Wire::Int(*v),
        Value::Int(v) | Value::Timestamp(v) | Value::TimestampNs(v) => Wire::Digits(i128::from(*v)),
        Value::UInt(v) => match i64::try_from(*v) {
            Ok(v) if v.unsigned_abs() <= EXACT_MAX => Wire::Int(v),
            _ => Wire::Digits(i128::from(*v)),
        },
        Value::Float(v) if v.is_nan() => Wire::Null,
        Value::Float(v) if *v == f64::INFINITY => Wire::Text("Infinity"),
        Value::Float(v) if *v == f64::NEG_INFINITY => Wire::Text("-Infinity"),
        // The double whose text is the single's shortest.
        #[allow(clippy::cast_possible_truncation)]
        Value::Float(v) if ty == ColumnType::Float => {
            let single = *v as f32;
            Wire::Float(single.to_string().parse().unwrap_or_else(|_| f64::from(single)))
        }
        Value::Float(v) => Wire::Float(*v),
        Value::Str(v) => Wire::Text(v),
    }
}
