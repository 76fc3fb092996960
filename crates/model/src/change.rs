//! What a record did to a table, as rows with weights (Z-sets; Budiu et al., DBSP, 2022).

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::{TableName, TableSchema};

/// What the store made of a part of a record.
#[derive(Debug, Clone)]
pub enum Change {
    /// Rows came or went.
    Rows(RowChange),
    /// The table itself changed. Comes before rows that need the new schema, and after the rows that a drop
    /// takes away.
    Schema(SchemaChange),
}

impl Change {
    /// The table it is about.
    pub fn table(&self) -> &TableName {
        match self {
            Change::Rows(rows) => &rows.schema.name,
            Change::Schema(schema) => &schema.table,
        }
    }
}

/// Rows that came or went.
#[derive(Debug, Clone)]
pub struct RowChange {
    /// The table as it is with the change in it.
    pub schema: Arc<TableSchema>,
    /// The rows in the form of [`TableSchema::stored`]: all columns in order, then `_seq`.
    pub rows: RecordBatch,
    /// What each row counts.
    pub weights: Weights,
}

/// The weights of a change's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weights {
    /// Every row came: +1.
    Inserted,
    /// Every row went: -1.
    Deleted,
    /// One weight a row, each +1 or -1; an upsert's old row stands before its new one.
    Mixed(Vec<i8>),
}

impl Weights {
    /// The weight of row `index`.
    pub fn get(&self, index: usize) -> i64 {
        match self {
            Weights::Inserted => 1,
            Weights::Deleted => -1,
            Weights::Mixed(weights) => i64::from(weights[index]),
        }
    }

    /// True if no row went.
    pub fn only_inserts(&self) -> bool {
        match self {
            Weights::Inserted => true,
            Weights::Deleted => false,
            Weights::Mixed(weights) => weights.iter().all(|&w| w > 0),
        }
    }
}

/// A table was made, changed or dropped.
#[derive(Debug, Clone)]
pub struct SchemaChange {
    /// The table.
    pub table: TableName,
    /// What it looked like; `None` for a new table.
    pub old: Option<Arc<TableSchema>>,
    /// What it looks like; `None` for a dropped one.
    pub new: Option<Arc<TableSchema>>,
}
