//! Rows to JSON, without a tree in between.
//!
//! A message is cut behind the id: `{"op":"delta","id":` and the id are a viewer's own, the rest, the *tail*,
//! is the same for all viewers who go from one version to another, so it is encoded once:
//!
//! ```text
//! {"op":"delta","id":7 │ ,"version":45,"upsert":[["DE",12.5]],"delete":[["FR"]]}
//! ```

use std::fmt::Write as _;

use nowcast_model::{ColumnType, Epoch, Value, Version};
use nowcast_views::{Changes, Direction, LiveSchema, Mode, ViewState};

use crate::FeedError;

/// The largest integer up to which JSON numbers are exact everywhere.
const EXACT_MAX: u64 = 1 << 53;

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

/// The tail of a snapshot. `changes` is one, sorted.
pub(crate) fn snapshot_tail(
    epoch: Epoch,
    version: Version,
    mode: Mode,
    schema: &LiveSchema,
    changes: &Changes,
) -> String {
    let mut out = String::with_capacity(256 + changes.upsert.len() * schema.columns.len() * 12);
    let _ = write!(out, r#","epoch":"{epoch}","version":{version},"mode":"{}""#, mode.name());
    if changes.truncated {
        out.push_str(r#","truncated":true"#);
    }
    out.push_str(r#","schema":"#);
    write_schema(&mut out, schema);
    out.push_str(r#","rows":"#);
    write_rows(&mut out, &changes.upsert, |index| schema.columns[index].ty);
    out.push('}');
    out
}

/// The tail of a delta that ends at `version`.
pub(crate) fn delta_tail(version: Version, schema: &LiveSchema, changes: &Changes) -> String {
    let rows = changes.upsert.len() * schema.columns.len() + changes.delete.len() * schema.key.len();
    let mut out = String::with_capacity(64 + rows * 12);
    let _ = write!(out, r#","version":{version}"#);
    if changes.truncated {
        out.push_str(r#","truncated":true"#);
    }
    out.push_str(r#","upsert":"#);
    write_rows(&mut out, &changes.upsert, |index| schema.columns[index].ty);
    out.push_str(r#","delete":"#);
    write_rows(&mut out, &changes.delete, |index| schema.columns[schema.key[index]].ty);
    out.push('}');
    out
}

/// A snapshot's whole text. The reason is the viewer's own, so it stands before the tail.
pub(crate) fn snapshot(id: u64, reason: Option<Reason>, tail: &str) -> String {
    let mut out = String::with_capacity(48 + tail.len());
    let _ = write!(out, r#"{{"op":"snapshot","id":{id}"#);
    if let Some(reason) = reason {
        let _ = write!(out, r#","reason":"{}""#, reason.name());
    }
    out.push_str(tail);
    out
}

/// A delta's whole text.
pub(crate) fn delta(id: u64, tail: &str) -> String {
    let mut out = String::with_capacity(32 + tail.len());
    let _ = write!(out, r#"{{"op":"delta","id":{id}"#);
    out.push_str(tail);
    out
}

/// A progress. `behind` is a list of subscriptions and their states, those that are live left out.
pub(crate) fn progress(version: Version, position: u64, now_us: i64, behind: &[(u64, ViewState)]) -> String {
    let mut out = String::with_capacity(96 + behind.len() * 32);
    let _ = write!(
        out,
        r#"{{"op":"progress","version":{version},"position":"{position}","now":{now_us},"behind":["#
    );
    for (index, (id, state)) in behind.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = match state {
            ViewState::Seeding { percent } => {
                write!(out, r#"{comma}{{"id":{id},"state":"seeding","percent":{percent}}}"#)
            }
            ViewState::Behind { version } => write!(out, r#"{comma}{{"id":{id},"version":{version}}}"#),
            ViewState::Live | ViewState::Failed(_) => Ok(()),
        };
    }
    out.push_str("]}");
    out
}

/// An error.
pub(crate) fn error(id: Option<u64>, error: &FeedError) -> String {
    let mut out = String::from(r#"{"op":"error""#);
    if let Some(id) = id {
        let _ = write!(out, r#","id":{id}"#);
    }
    out.push_str(r#","code":"#);
    write_text(&mut out, &error.code);
    out.push_str(r#","message":"#);
    write_text(&mut out, &error.message);
    if let Some(hint) = &error.hint {
        out.push_str(r#","hint":"#);
        write_text(&mut out, hint);
    }
    if let Some(line) = error.line {
        let _ = write!(out, r#","line":{line}"#);
    }
    if let Some(column) = error.column {
        let _ = write!(out, r#","column":{column}"#);
    }
    let _ = write!(out, r#","retry":{}}}"#, error.retry);
    out
}

/// A schema; what it shows may have come from a user's query.
pub(crate) fn write_schema(out: &mut String, schema: &LiveSchema) {
    out.push_str(r#"{"columns":["#);
    for (index, column) in schema.columns.iter().enumerate() {
        out.push_str(if index > 0 { r#",{"name":"# } else { r#"{"name":"# });
        write_text(out, &column.name);
        let hidden = if column.hidden { r#","hidden":true"# } else { "" };
        let _ = write!(out, r#","type":"{}"{hidden}}}"#, column.ty.name());
    }
    out.push_str(r#"],"key":["#);
    for (index, column) in schema.key.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{column}");
    }
    out.push_str(r#"],"order":["#);
    for (index, (column, direction)) in schema.order.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let word = if *direction == Direction::Asc { "asc" } else { "desc" };
        let _ = write!(out, r#"{comma}[{column},"{word}"]"#);
    }
    out.push(']');
    if let Some(limit) = schema.limit {
        let _ = write!(out, r#","limit":{limit}"#);
    }
    out.push('}');
}

fn write_rows(out: &mut String, rows: &[impl AsRef<[Value]>], ty: impl Fn(usize) -> ColumnType) {
    out.push('[');
    for (index, row) in rows.iter().enumerate() {
        out.push_str(if index > 0 { ",[" } else { "[" });
        for (column, value) in row.as_ref().iter().enumerate() {
            if column > 0 {
                out.push(',');
            }
            write_value(out, value, ty(column));
        }
        out.push(']');
    }
    out.push(']');
}

/// A value of a column of type `ty`.
pub(crate) fn write_value(out: &mut String, value: &Value, ty: ColumnType) {
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Null => out.write_str("null"),
        Value::Bool(v) => write!(out, "{v}"),
        Value::Int(v) | Value::Timestamp(v) if v.unsigned_abs() <= EXACT_MAX => write!(out, "{v}"),
        Value::UInt(v) if *v <= EXACT_MAX => write!(out, "{v}"),
        Value::Int(v) | Value::Timestamp(v) | Value::TimestampNs(v) => write!(out, r#""{v}""#),
        Value::UInt(v) => write!(out, r#""{v}""#),
        Value::Float(v) => return write_float(out, *v, ty == ColumnType::Float),
        Value::Str(v) => return write_text(out, v),
    };
}

/// The shortest text that reads back as the same double, or the same float if `single`.
fn write_float(out: &mut String, value: f64, single: bool) {
    let text = match (value.is_nan(), value.is_infinite()) {
        (true, _) => "null",
        (_, true) if value > 0.0 => r#""Infinity""#,
        (_, true) => r#""-Infinity""#,
        _ => {
            #[allow(clippy::cast_possible_truncation)]
            let number =
                if single { serde_json::to_string(&(value as f32)) } else { serde_json::to_string(&value) };
            return out.push_str(&number.unwrap_or_else(|_| "null".to_owned()));
        }
    };
    out.push_str(text);
}

/// Text as a JSON string. Copies the stretches between the characters that need escaping.
pub(crate) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        // All of these are ASCII, so `at` is a character boundary.
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[from..at]);
        from = at + 1;
        let _ = match byte {
            b'"' => out.write_str("\\\""),
            b'\\' => out.write_str("\\\\"),
            b'\n' => out.write_str("\\n"),
            b'\r' => out.write_str("\\r"),
            b'\t' => out.write_str("\\t"),
            _ => write!(out, "\\u{byte:04x}"),
        };
    }
    out.push_str(&text[from..]);
    out.push('"');
}
