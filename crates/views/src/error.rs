//! Why a view cannot go on.

use nowcast_model::{ColumnType, TableName};

/// Why a view ends, or was never one. Every text names the fact, the place and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// An expression could not be computed over some rows (a division by zero, a bad cast).
    #[error("{0}")]
    Expression(String),
    /// A re-evaluated query failed.
    #[error("{0}")]
    Evaluation(String),
    /// A plan contradicts itself or the rows that it is fed: a defect of the planner, never of the data.
    #[error("the plan of this view does not fit its input: {0}; please report it")]
    Plan(String),
    /// The state outgrew `views.state_bytes_max`.
    #[error(
        "this query keeps about {bytes} bytes up to date, at most {max} are allowed; \
         shorten its time range, group by fewer keys, or raise views.state_bytes_max"
    )]
    Overflow {
        /// What it would need.
        bytes: usize,
        /// What it may have.
        max: usize,
    },
    /// A write met too many rows of a join's other side.
    #[error(
        "a write made {pairs} pairs in a join of this query, at most {max} are allowed; \
         join by a key that fewer rows share, or shorten the time range"
    )]
    FanOut {
        /// What it made, at least.
        pairs: usize,
        /// What it may make.
        max: usize,
    },
    /// All views together outgrew `views.state_total_bytes_max`.
    #[error(
        "all live queries together keep about {bytes} bytes up to date, at most {max} are allowed, and this one \
         keeps the most; shorten its time range, group by fewer keys, or raise views.state_total_bytes_max"
    )]
    TotalOverflow {
        /// What they would need.
        bytes: usize,
        /// What they may have.
        max: usize,
    },
    /// The table that it reads is gone.
    #[error("the table {table} was dropped; subscribe again once it exists")]
    TableDropped {
        /// The table.
        table: TableName,
    },
    /// The table that it reads has another name.
    #[error("the table {table} was renamed to {to}; change the query and subscribe again")]
    TableRenamed {
        /// What it was called.
        table: TableName,
        /// What it is called.
        to: TableName,
    },
    /// A column that it reads is gone.
    #[error("the column {column:?} of {table} was dropped; change the query and subscribe again")]
    ColumnDropped {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// A column that it reads has another type now.
    #[error("the column {column:?} of {table} was {was} and is now {now}; subscribe again")]
    ColumnRetyped {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// The type that the view was planned for.
        was: ColumnType,
        /// The type that it has.
        now: ColumnType,
    },
    /// Rows came faster than the table could be read, again and again.
    #[error(
        "{tables} changes faster than this query can read its past ({attempts} attempts); \
         shorten its time range, or raise views.buffer_bytes_max"
    )]
    SeedTooSlow {
        /// The tables.
        tables: String,
        /// How often it was tried.
        attempts: u32,
    },
}

impl ViewError {
    /// True if the query is too large to be kept up to date by changes, and may be run again instead.
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            ViewError::Overflow { .. } | ViewError::FanOut { .. } | ViewError::TotalOverflow { .. }
        )
    }
}

impl From<arrow::error::ArrowError> for ViewError {
    fn from(error: arrow::error::ArrowError) -> ViewError {
        ViewError::Expression(error.to_string())
    }
}
