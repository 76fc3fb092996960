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
        "{table} changes faster than this query can read its past ({attempts} attempts); \
         shorten its time range, or raise views.buffer_bytes_max"
    )]
    SeedTooSlow {
        /// The table.
        table: TableName,
        /// How often it was tried.
        attempts: u32,
    },
}

impl From<arrow::error::ArrowError> for ViewError {
    fn from(error: arrow::error::ArrowError) -> ViewError {
        ViewError::Expression(error.to_string())
    }
}
