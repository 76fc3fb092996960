//! CSV as QuestDB's `/exp` writes it: texts and times in quotes, numbers bare, NULL empty, lines end with CR LF.

use std::io::Write;

use arrow::{array::RecordBatch, datatypes::Schema};
use nowcast_query::SqlError;

use super::{
    Encode, End,
    cell::{Cell, push_time},
    columns,
};

/// Writes CSV.
pub struct Csv {
    out: Vec<u8>,
    delimiter: u8,
}

impl Csv {
    /// Begins, with the names unless `bare`.
    pub fn new(schema: &Schema, delimiter: u8, bare: bool) -> Csv {
        let mut out = Vec::with_capacity(1 << 12);
        if !bare {
            for (i, field) in schema.fields().iter().enumerate() {
                if i > 0 {
                    out.push(delimiter);
                }
                quote(&mut out, field.name());
            }
            out.extend_from_slice(b"\r\n");
        }
        Csv { out, delimiter }
    }
}

impl Encode for Csv {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        let columns = columns(batch)?;
        for row in 0..batch.num_rows() {
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    self.out.push(self.delimiter);
                }
                push(&mut self.out, column.cell(row));
            }
            self.out.extend_from_slice(b"\r\n");
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

fn push(out: &mut Vec<u8>, cell: Cell<'_>) {
    // Writing to a Vec does not fail.
    let _ = match cell {
        Cell::Null => Ok(()),
        Cell::Bool(value) => write!(out, "{value}"),
        Cell::Int(int) => write!(out, "{int}"),
        Cell::UInt(int) => write!(out, "{int}"),
        Cell::Float(float) if float.is_finite() => write!(out, "{float:?}"),
        Cell::Double(float) if float.is_finite() => write!(out, "{float:?}"),
        Cell::Float(_) | Cell::Double(_) => Ok(()),
        Cell::Text(text) => {
            quote(out, text);
            Ok(())
        }
        Cell::Time(time, unit) => {
            let begin = out.len();
            out.push(b'"');
            match push_time(out, time, unit) {
                true => out.push(b'"'),
                false => out.truncate(begin),
            }
            Ok(())
        }
    };
}

fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte == b'"') {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'"');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
