//! Results in the JSON shape of QuestDB's `/exec`, written as they come.
//!
//! ```json
//! {"query":"…","columns":[{"name":"ts","type":"TIMESTAMP"}],"timestamp":-1,
//!  "dataset":[["2026-01-01T00:00:00.000000Z"]],"count":1,"position":"812"}
//! ```
//!
//! Times are ISO 8601 in UTC, with the digits of their unit. NaN and infinities, which JSON does not have,
//! are null. 64-bit integers are numbers, as QuestDB writes them.

use std::io::Write;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema, TimeUnit},
    temporal_conversions::{timestamp_ns_to_datetime, timestamp_us_to_datetime},
};
use nowcast_model::{ColumnType, Offset, Value};

use crate::{
    error::{SqlCode, SqlError},
    values::{cells, column_type},
};

/// Writes one answer.
pub struct JsonWriter {
    out: Vec<u8>,
    kinds: Vec<Kind>,
    rows: u64,
    position: Offset,
}

/// How a column's cells are written, where their own kind does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Millis,
}

impl JsonWriter {
    /// Begins an answer to `query`. `bare` leaves the query and the columns out.
    pub fn new(query: &str, schema: &Schema, position: Offset, bare: bool) -> JsonWriter {
        let mut out = Vec::with_capacity(1 << 12);
        out.push(b'{');
        if !bare {
            out.extend_from_slice(b"\"query\":");
            text(&mut out, query);
            out.extend_from_slice(b",\"columns\":[");
            for (i, field) in schema.fields().iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(b"{\"name\":");
                text(&mut out, field.name());
                out.extend_from_slice(b",\"type\":");
                text(&mut out, column_type(field.data_type()).name());
                out.push(b'}');
            }
            out.extend_from_slice(b"],\"timestamp\":-1,");
        }
        out.extend_from_slice(b"\"dataset\":[");
        let millis = |ty: &DataType| {
            matches!(ty, DataType::Date32 | DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _))
        };
        let kind = |ty: &DataType| if millis(ty) { Kind::Millis } else { Kind::Plain };
        let kinds = schema.fields().iter().map(|field| kind(field.data_type())).collect();
        JsonWriter { out, kinds, rows: 0, position }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// If a column cannot be shown.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        let failed = |e: arrow::error::ArrowError| SqlError::new(SqlCode::Internal, e.to_string());
        let columns: Vec<Vec<Value>> =
            batch.columns().iter().map(cells).collect::<Result<_, _>>().map_err(failed)?;
        for row in 0..batch.num_rows() {
            if self.rows > 0 {
                self.out.push(b',');
            }
            self.rows += 1;
            self.out.push(b'[');
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    self.out.push(b',');
                }
                cell(&mut self.out, &column[row], self.kinds[i]);
            }
            self.out.push(b']');
        }
        Ok(())
    }

    /// What was written since the last call, for answers that are sent while they are made.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the answer; returns what [`JsonWriter::take`] has not.
    pub fn finish(mut self) -> Vec<u8> {
        let (rows, position) = (self.rows, self.position);
        put(&mut self.out, format_args!("],\"count\":{rows},\"position\":\"{position}\"}}"));
        self.out
    }
}

/// QuestDB's name of a column's type.
pub fn type_name(data_type: &DataType) -> &'static str {
    let ty: ColumnType = column_type(data_type);
    ty.name()
}

/// One cell as JSON: times as ISO 8601 text.
pub fn write_cell(out: &mut Vec<u8>, value: &Value) {
    cell(out, value, Kind::Plain);
}

fn put(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    // Writing to a Vec does not fail.
    let _ = out.write_fmt(args);
}

fn cell(out: &mut Vec<u8>, value: &Value, kind: Kind) {
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
            Some(time) if kind == Kind::Millis => {
                put(out, format_args!("\"{}Z\"", time.format("%Y-%m-%dT%H:%M:%S%.3f")))
            }
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
