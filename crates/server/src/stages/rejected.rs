//! The table `rejected`: lines that were refused where nobody could be told.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arrow::array::{
    ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Schema};
use nowcast_model::{Batch, Column, ColumnType, Item, PartitionBy, TableName, TableSchema};
use nowcast_sources::Rejected;

/// The table's name, in the schema `public`.
pub(super) const TABLE: &str = "rejected";

/// Lines that wait to be written, and how many are written a second.
const WAITING_MAX: usize = 1_000;

/// Lines on their way to the table.
#[derive(Default)]
pub(super) struct Waiting {
    /// Held for one push; never across `.await`.
    lines: Mutex<Vec<(i64, Rejected)>>,
    dropped: AtomicU64,
}

impl Waiting {
    /// Takes note of a line that was refused at `at_us`.
    pub(super) fn push(&self, at_us: i64, rejected: Rejected) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < WAITING_MAX {
            lines.push((at_us, rejected));
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What came since the last call, as rows of the table; `None` if nothing did.
    pub(super) fn take(&self) -> Option<Item> {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "more lines were refused than the table `rejected` takes a second");
        }
        (!lines.is_empty()).then(|| rows(&lines))
    }
}

/// What the table looks like.
pub(super) fn schema(ttl_s: Option<u64>) -> TableSchema {
    TableSchema {
        name: TableName::public(TABLE),
        columns: vec![
            Column::new("timestamp", ColumnType::Timestamp),
            Column::new("source", ColumnType::Symbol),
            Column::new("peer", ColumnType::Varchar),
            Column::new("line", ColumnType::Long),
            Column::new("line_column", ColumnType::Long),
            Column::new("cause", ColumnType::Varchar),
            Column::new("text", ColumnType::Varchar),
        ],
        timestamp: Some(0),
        partition_by: PartitionBy::Day,
        ttl_s,
        dedup_keys: Vec::new(),
        dropped: 0,
    }
}

fn rows(lines: &[(i64, Rejected)]) -> Item {
    let schema = schema(None);
    let text = |get: fn(&Rejected) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(lines.iter().map(|(_, rejected)| get(rejected))))
    };
    let long = |get: fn(&Rejected) -> u64| -> ArrayRef {
        let values = lines.iter().map(|(_, rejected)| i64::try_from(get(rejected)).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from_iter_values(values))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(lines.iter().map(|(at_us, _)| *at_us))),
        Arc::new(DictionaryArray::<Int32Type>::from_iter(lines.iter().map(|(_, r)| r.source.as_str()))),
        text(|r| &r.peer),
        long(|r| r.line),
        long(|r| u64::from(r.column)),
        text(|r| &r.cause),
        text(|r| &r.text),
    ];
    batch(schema, columns)
}

/// Columns of a table that the server writes, made in its schema's order and types.
pub(super) fn batch(schema: TableSchema, columns: Vec<ArrayRef>) -> Item {
    let fields: Vec<_> = schema.stored().fields().iter().take(columns.len()).cloned().collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .expect("the columns were made in the schema's order and types, one value a row");
    Item::Rows(Batch { table: schema.name, rows, timestamp: Some(0) })
}
