//! Writing rows of which a table may refuse some.
//!
//! A refused record wrote nothing, and its refusal names one row or column at most. So it is taken apart: what
//! stands before the named row goes by itself, the row is told as rejected, and the rest is tried again. A
//! refusal without a row is narrowed down by halves. Each step tells a row or splits the rows, so it ends; good
//! rows are written in their order.
//!
//! A part whose column has no value left goes without that column: else a column of the wrong type would refuse
//! the rows that do not use it.

use std::time::Duration;

use arrow::{array::Array, util::display::array_value_to_string};
use nowcast_model::Batch;
use tokio::time::sleep;

use super::SOURCE;
use crate::{Decoded, Rejected, Sink, TEXT_BYTES_MAX, WriteError, error::excerpt};

/// The longest pause before a busy sink is asked again.
const BUSY_PAUSE_S_MAX: u64 = 5;

/// A batch and its rows' lines.
type Part = (Batch, Vec<u64>);

/// Writes the rows that are taken and tells the others.
///
/// # Errors
/// [`WriteError::ReadOnly`]: nothing more can be written.
pub(super) async fn write(sink: &dyn Sink, peer: &str, decoded: Decoded) -> Result<(), WriteError> {
    // What is to be written, the first on top.
    let mut todo: Vec<Vec<Part>> = vec![decoded.batches.into_iter().zip(decoded.lines).collect()];
    while let Some(mut parts) = todo.pop() {
        // The arrays are shared: a copy costs a few counters.
        let batches: Vec<Batch> = parts.iter().map(|(batch, _)| batch.clone()).collect();
        let error = match sink.write(batches, false).await {
            Ok(()) => continue,
            Err(error) => error,
        };
        match error {
            WriteError::Busy { retry_after_s } => {
                sleep(Duration::from_secs(retry_after_s.clamp(1, BUSY_PAUSE_S_MAX))).await;
                todo.push(parts);
            }
            // A sink makes a stream wait for space; should one not, the stream does.
            WriteError::NoSpace { .. } => {
                sleep(Duration::from_secs(BUSY_PAUSE_S_MAX)).await;
                todo.push(parts);
            }
            WriteError::ReadOnly(_) => return Err(error),
            WriteError::TooLarge { .. } if parts.len() > 1 => {
                let behind = parts.split_off(parts.len() / 2);
                todo.extend([behind, parts]);
            }
            WriteError::TooLarge { .. } => {
                if let Some(part) = parts.pop() {
                    halve(sink, peer, part, &error, &mut todo);
                }
            }
            WriteError::Refused { batch, row, .. } if batch < parts.len() => {
                let behind = parts.split_off(batch + 1);
                let refused = parts.pop();
                if !behind.is_empty() {
                    todo.push(behind);
                }
                if let Some(part) = refused {
                    match row.filter(|&row| row < part.0.rows.num_rows()) {
                        Some(row) => {
                            reject(sink, peer, &part, row, &error);
                            let rows = part.0.rows.num_rows();
                            push(&mut todo, slice(&part, row + 1, rows));
                            push(&mut todo, slice(&part, 0, row));
                        }
                        None => halve(sink, peer, part, &error, &mut todo),
                    }
                }
                if !parts.is_empty() {
                    todo.push(parts);
                }
            }
            WriteError::Refused { .. } => {
                for part in &parts {
                    (0..part.0.rows.num_rows()).for_each(|row| reject(sink, peer, part, row, &error));
                }
            }
        }
    }
    Ok(())
}

/// Splits a part whose refusal names no row; a single row is to blame itself.
fn halve(sink: &dyn Sink, peer: &str, part: Part, error: &WriteError, todo: &mut Vec<Vec<Part>>) {
    let rows = part.0.rows.num_rows();
    if rows == 1 {
        return reject(sink, peer, &part, 0, error);
    }
    push(todo, slice(&part, rows / 2, rows));
    push(todo, slice(&part, 0, rows / 2));
}

fn push(todo: &mut Vec<Vec<Part>>, part: Part) {
    if part.0.rows.num_rows() > 0 {
        todo.push(vec![part]);
    }
}

/// The rows `from..to` without the columns that have no value in them.
fn slice((batch, lines): &Part, from: usize, to: usize) -> Part {
    let rows = batch.rows.slice(from, to - from);
    let used: Vec<usize> = (0..rows.num_columns())
        .filter(|&column| {
            Some(column) == batch.timestamp || rows.column(column).null_count() < rows.num_rows()
        })
        .collect();
    let timestamp = batch.timestamp.and_then(|time| used.iter().position(|&column| column == time));
    let rows = rows.project(&used).unwrap_or(rows);
    let timestamp = if rows.num_columns() == used.len() { timestamp } else { batch.timestamp };
    (Batch { table: batch.table.clone(), rows, timestamp }, lines[from..to].to_vec())
}

fn reject(sink: &dyn Sink, peer: &str, part: &Part, row: usize, error: &WriteError) {
    sink.reject(Rejected {
        source: SOURCE.to_owned(),
        peer: peer.to_owned(),
        line: part.1.get(row).copied().unwrap_or_default(),
        column: 0,
        cause: error.to_string(),
        text: row_text(&part.0, row),
    });
}

/// The row in words: the line's bytes are gone by now.
fn row_text(batch: &Batch, row: usize) -> String {
    let mut text = format!("{}:", batch.table);
    for (field, column) in batch.rows.schema_ref().fields().iter().zip(batch.rows.columns()) {
        if text.len() > TEXT_BYTES_MAX {
            break;
        }
        if column.is_valid(row) {
            let value = array_value_to_string(column, row).unwrap_or_default();
            text.push_str(&format!(" {}={value}", field.name()));
        }
    }
    excerpt(text.as_bytes(), TEXT_BYTES_MAX)
}
