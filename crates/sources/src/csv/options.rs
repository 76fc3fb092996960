//! How CSV is read, and what a file was found to look like.

use std::sync::Arc;

use nowcast_model::{Column, ColumnType};

use super::Pattern;
use crate::Precision;

/// What becomes of a row with a cell that does not fit its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The cell becomes NULL; without a time the row is left out all the same.
    #[default]
    Null,
    /// The row is left out.
    SkipRow,
    /// Reading ends.
    Abort,
}

/// A column's type as the caller gives it.
#[derive(Debug, Clone)]
pub struct Override {
    /// The column.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// How its times are written.
    pub pattern: Option<Pattern>,
}

/// How CSV is read.
#[derive(Debug, Clone)]
pub struct CsvOptions {
    /// What separates cells; found out if `None`.
    pub delimiter: Option<u8>,
    /// Whether the first line is a header; found out if `None`.
    pub header: Option<bool>,
    /// Takes rows with more cells than columns, without the cells; else such rows are left out.
    pub cut_extra: bool,
    /// See [`OnError`].
    pub on_error: OnError,
    /// The column with the rows' time.
    pub timestamp: Option<String>,
    /// The unit of times that are numbers.
    pub precision: Precision,
    /// Types that are not to be found out.
    pub overrides: Vec<Override>,
    /// The columns of the table, if it is there.
    pub table: Option<Vec<Column>>,
    /// Rows of one batch at most.
    pub batch_rows: usize,
    /// Bytes of text of one batch, about.
    pub batch_bytes: usize,
}

impl Default for CsvOptions {
    fn default() -> CsvOptions {
        CsvOptions {
            delimiter: None,
            header: None,
            cut_extra: false,
            on_error: OnError::Null,
            timestamp: None,
            precision: Precision::Microseconds,
            overrides: Vec::new(),
            table: None,
            batch_rows: 50_000,
            batch_bytes: 8 << 20,
        }
    }
}

/// A column of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct CsvColumn {
    /// Its name in the table.
    pub name: Arc<str>,
    /// Its type.
    pub ty: ColumnType,
    /// How its times are written, if not ISO 8601.
    pub pattern: Option<Pattern>,
    /// Cells that did not fit.
    pub errors: u64,
}

/// What the file looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// What separates cells.
    pub delimiter: u8,
    /// True if the first line names the columns.
    pub header: bool,
    /// The columns, in the file's order.
    pub columns: Vec<CsvColumn>,
    /// The one with the rows' time.
    pub timestamp: Option<usize>,
}
