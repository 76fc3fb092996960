//! Rows of a query as text and files: JSON, NDJSON, CSV, Parquet.
//!
//! A batch becomes one [`Column`] for each of its arrays; a [`Cell`] is read out of it without making anything.
//! Encoders fill a buffer that whoever sends it takes away between batches, so an answer of any size needs the
//! memory of one batch.

mod cell;
mod csv;
mod json;
mod parquet;
#[cfg(test)]
mod tests;

use arrow::{array::RecordBatch, error::ArrowError};
use nowcast_query::{SqlCode, SqlError};

pub use cell::{Cell, Column, Unit, push_time};
pub use csv::Csv;
pub use json::{Json, JsonOptions, Lines, push_text};
pub use parquet::{Parquet, ParquetOptions};

/// Rows per step: what is encoded at a time before others get their turn.
pub const STEP_ROWS: usize = 1_024;

/// Makes bytes of batches.
pub trait Encode: Send {
    /// Adds rows.
    ///
    /// # Errors
    /// A column has no form in this format.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SqlError>;

    /// What comes behind the last row.
    ///
    /// # Errors
    /// What was written cannot be ended.
    fn finish(&mut self, end: End) -> Result<(), SqlError>;

    /// What was made since the last call.
    fn take(&mut self) -> Vec<u8>;
}

/// What is known when the last row was written.
#[derive(Debug, Clone, Copy, Default)]
pub struct End {
    /// Rows that the query has, if they were counted past those that were written.
    pub total: Option<u64>,
    /// The query has more rows than one answer may.
    pub truncated: bool,
}

/// The columns of a batch, ready to be read.
fn columns(batch: &RecordBatch) -> Result<Vec<Column>, SqlError> {
    batch.columns().iter().map(Column::new).collect::<Result<_, _>>().map_err(failed)
}

fn failed(error: ArrowError) -> SqlError {
    SqlError::new(SqlCode::Internal, error.to_string())
}
