//! Symbols with so many values that most row groups lack most of them: there a bloom filter says which.

use std::{collections::BTreeSet, sync::Arc};

use ahash::AHashSet;
use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int32Type,
};
use nowcast_model::{ColumnType, TableSchema};

use crate::{Part, StoreError, part::ROW_GROUP_ROWS};

/// Distinct values from which on a column has many: with fewer, a row group holds nearly all of them, and the
/// filter would never say no.
const DISTINCT_MIN: usize = ROW_GROUP_ROWS / 16;

/// The columns of hot rows that have many values.
pub(crate) fn of_batches(schema: &TableSchema, batches: &[RecordBatch]) -> Vec<usize> {
    let symbols = schema.columns.iter().enumerate().filter(|(_, column)| column.ty == ColumnType::Symbol);
    symbols.map(|(index, _)| index).filter(|&index| has_many(batches, index)).collect()
}

fn has_many(batches: &[RecordBatch], index: usize) -> bool {
    let mut seen: AHashSet<&str> = AHashSet::new();
    let mut before = None;
    for batch in batches {
        let Some(symbols) = batch.column(index).as_dictionary_opt::<Int32Type>() else { return false };
        let values = symbols.values();
        // Batches that came together share their dictionary.
        if before.replace(values).is_some_and(|before| Arc::ptr_eq(before, values)) {
            continue;
        }
        seen.extend(values.as_string::<i32>().iter().flatten());
        if seen.len() >= DISTINCT_MIN {
            return true;
        }
    }
    false
}

/// The columns of which one of `parts` has filters.
///
/// # Errors
/// If a part cannot be opened.
pub(crate) fn of_parts(parts: &[Arc<Part>]) -> Result<Vec<usize>, StoreError> {
    let mut columns = BTreeSet::new();
    for part in parts {
        for group in part.open()?.metadata().row_groups() {
            let filtered = group.columns().iter().enumerate().take(part.columns);
            columns
                .extend(filtered.filter(|(_, c)| c.bloom_filter_offset().is_some()).map(|(index, _)| index));
        }
    }
    Ok(columns.into_iter().collect())
}
