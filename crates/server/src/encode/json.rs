//! JSON: QuestDB's answer of `/exec`, and NDJSON.
//!
//! ```json
//! {"query":"…","columns":[{"name":"ts","type":"TIMESTAMP"}],"timestamp":0,
//!  "dataset":[["2026-01-01T00:00:00.000000Z"]],"count":1,"position":"812"}
//! ```
//!
//! Times are ISO 8601 in UTC, with the digits of their unit. NaN and infinities, which JSON does not have, are
//! null.

use std::{io::Write, time::Instant};

use arrow::{array::RecordBatch, datatypes::Schema};
use nowcast_model::Offset;
use nowcast_query::{SqlError, column_type, designated};

use super::{
    Encode, End,
    cell::{Cell, Column, push_time},
    columns,
};

/// How an answer of `/exec` looks.
#[derive(Debug, Clone, Default)]
pub struct JsonOptions {
    /// Leaves the query and the columns out.
    pub bare: bool,
    /// Integers of 64 bits as text: JavaScript has 53.
    pub quote_long: bool,
    /// Tells how long it took: when the request began, and nanoseconds until the rows began.
    pub timings: Option<(Instant, u64)>,
    /// Says how the query was run, as far as QuestDB's console asks.
    pub explain: bool,
}

/// The answer of `/exec`.
pub struct Json {
    out: Vec<u8>,
    rows: u64,
    position: Offset,
    options: JsonOptions,
}

impl Json {
    /// Begins an answer to `query`.
    pub fn new(query: &str, schema: &Schema, position: Offset, options: JsonOptions) -> Json {
        let mut out = Vec::with_capacity(1 << 12);
        out.push(b'{');
        if !options.bare {
            out.extend_from_slice(b"\"query\":");
            push_text(&mut out, query);
            out.extend_from_slice(b",\"columns\":[");
            for (i, field) in schema.fields().iter().enumerate() {
                out.extend_from_slice(if i > 0 { b",{\"name\":" } else { b"{\"name\":" });
                push_text(&mut out, field.name());
                out.extend_from_slice(b",\"type\":");
                push_text(&mut out, column_type(field.data_type()).name());
                out.push(b'}');
            }
            let timestamp = designated(schema).map_or(-1, |index| index as i64);
            put(&mut out, format_args!("],\"timestamp\":{timestamp},"));
        }
        out.extend_from_slice(b"\"dataset\":[");
        Json { out, rows: 0, position, options }
    }
}

impl Encode for Json {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        let columns = columns(batch)?;
        for row in 0..batch.num_rows() {
            self.out.extend_from_slice(if self.rows > 0 { b",[" } else { b"[" });
            self.rows += 1;
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    self.out.push(b',');
                }
                push_cell(&mut self.out, column.cell(row), self.options.quote_long);
            }
            self.out.push(b']');
        }
        Ok(())
    }

    fn finish(&mut self, end: End) -> Result<(), SqlError> {
        let (count, position) = (end.total.unwrap_or(self.rows), self.position);
        put(&mut self.out, format_args!("],\"count\":{count}"));
        if end.truncated {
            self.out.extend_from_slice(b",\"truncated\":true");
        }
        if let Some((began, compiled)) = self.options.timings {
            let all = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let execute = all.saturating_sub(compiled);
            put(
                &mut self.out,
                format_args!(
                    ",\"timings\":{{\"authentication\":0,\"compiler\":{compiled},\"execute\":{execute},\"count\":0}}"
                ),
            );
        }
        if self.options.explain {
            self.out.extend_from_slice(b",\"explain\":{\"jitCompiled\":false}");
        }
        put(&mut self.out, format_args!(",\"position\":\"{position}\"}}"));
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

/// An object a line.
pub struct Lines {
    out: Vec<u8>,
    /// `{"name":`, `,"other":`: what stands before each cell.
    keys: Vec<Vec<u8>>,
}

impl Lines {
    /// Begins.
    pub fn new(schema: &Schema) -> Lines {
        let key = |(i, field): (usize, &std::sync::Arc<arrow::datatypes::Field>)| {
            let mut key = vec![if i == 0 { b'{' } else { b',' }];
            push_text(&mut key, field.name());
            key.push(b':');
            key
        };
        Lines { out: Vec::new(), keys: schema.fields().iter().enumerate().map(key).collect() }
    }
}

impl Encode for Lines {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        let columns: Vec<Column> = columns(batch)?;
        for row in 0..batch.num_rows() {
            for (key, column) in self.keys.iter().zip(&columns) {
                self.out.extend_from_slice(key);
                push_cell(&mut self.out, column.cell(row), false);
            }
            self.out.extend_from_slice(b"}\n");
        }
        Ok(())
    }

    fn finish(&mut self, _end: End) -> Result<(), SqlError> {
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

fn put(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    // Writing to a Vec does not fail.
    let _ = out.write_fmt(args);
}

fn push_cell(out: &mut Vec<u8>, cell: Cell<'_>, quote_long: bool) {
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        Cell::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Cell::Int(int) if quote_long => put(out, format_args!("\"{int}\"")),
        Cell::Int(int) => put(out, format_args!("{int}")),
        Cell::UInt(int) if quote_long => put(out, format_args!("\"{int}\"")),
        Cell::UInt(int) => put(out, format_args!("{int}")),
        Cell::Float(float) if float.is_finite() => put(out, format_args!("{float:?}")),
        Cell::Double(float) if float.is_finite() => put(out, format_args!("{float:?}")),
        Cell::Float(_) | Cell::Double(_) => out.extend_from_slice(b"null"),
        Cell::Text(text) => push_text(out, text),
        Cell::Time(time, unit) => {
            let begin = out.len();
            out.push(b'"');
            if push_time(out, time, unit) {
                out.push(b'"');
            } else {
                out.truncate(begin);
                out.extend_from_slice(b"null");
            }
        }
    }
}

/// Adds `text` in quotes.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    // Text is always JSON, and writing to a Vec does not fail.
    if serde_json::to_writer(&mut *out, text).is_err() {
        out.extend_from_slice(b"null");
    }
}
