//! Messages in JSON.

use std::fmt::Write as _;

use nowcast_model::{ColumnType, Epoch, Value, Version};
use nowcast_views::{Changes, Direction, LiveSchema, Mode, ViewState};

use super::{Head, Wire, wire};
use crate::FeedError;

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
pub(super) fn delta_tail(version: Version, schema: &LiveSchema, changes: &Changes) -> String {
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

/// A whole message. A reason is the viewer's own, so it stands before the tail.
pub(super) fn message(head: Head, tail: &str) -> String {
    let mut out = String::with_capacity(64 + tail.len());
    let op = if head.snapshot { "snapshot" } else { "delta" };
    let _ = write!(out, r#"{{"op":"{op}","id":{}"#, head.id);
    if let Some(reason) = head.reason {
        let _ = write!(out, r#","reason":"{}""#, reason.name());
    }
    out.push_str(tail);
    out
}

/// A progress. `behind` is a list of subscriptions and their states, those that are live left out.
pub(super) fn progress(version: Version, position: u64, now_us: i64, behind: &[(u64, ViewState)]) -> String {
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
pub(super) fn error(id: Option<u64>, error: &FeedError) -> String {
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
    if let Some(seconds) = error.retry_after {
        let _ = write!(out, r#","retry_after":{seconds}"#);
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
    let _ = match wire(value, ty) {
        Wire::Null => out.write_str("null"),
        Wire::Bool(v) => write!(out, "{v}"),
        Wire::Int(v) => write!(out, "{v}"),
        Wire::Digits(v) => write!(out, r#""{v}""#),
        // The shortest text that reads back as the same.
        Wire::Float(v) => out.write_str(&serde_json::to_string(&v).unwrap_or_else(|_| "null".to_owned())),
        Wire::Text(v) => return write_text(out, v),
    };
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
