//! Cells as JSON.
//!
//! Times are ISO 8601 in UTC, with the digits of their unit. NaN and infinities, which JSON does not have, are
//! null. 64-bit integers are numbers, as QuestDB writes them.

use std::io::Write;

use arrow::temporal_conversions::{timestamp_ns_to_datetime, timestamp_us_to_datetime};
use nowcast_model::Value;

fn put(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    // Writing to a Vec does not fail.
    let _ = out.write_fmt(args);
}

/// One cell as JSON: times as ISO 8601 text.
pub fn write_cell(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(int) => put(out, format_args!("{int}")),
        Value::UInt(int) => put(out, format_args!("{int}")),
        Value::Float(float) if float.is_finite() => put(out, format_args!("{float:?}")),
        Value::Float(_) => out.extend_from_slice(b"null"),
        Value::Str(string) => text(out, string),
        Value::Timestamp(us) => match timestamp_us_to_datetime(*us) {
            Some(time) => put(out, format_args!("\"{}Z\"", time.format("%Y-%m-%dT%H:%M:%S%.6f"))),
            None => out.extend_from_slice(b"null"),
        },
        Value::TimestampNs(ns) => match timestamp_ns_to_datetime(*ns) {
            Some(time) => put(out, format_args!("\"{}Z\"", time.format("%Y-%m-%dT%H:%M:%S%.9f"))),
            None => out.extend_from_slice(b"null"),
        },
    }
}

fn text(out: &mut Vec<u8>, string: &str) {
    // Text is always JSON, and writing to a Vec does not fail.
    if serde_json::to_writer(&mut *out, string).is_err() {
        out.extend_from_slice(b"null");
    }
}
