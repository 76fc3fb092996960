//! Symbols with so many values that most row groups lack most of them: there a bloom filter says which.

use std::{collections::BTreeSet, sync::Arc};

use ahash::AHashSet;
use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int32Type,
};
use nowcast_model::{ColumnType, TableSchema};

use crate::{
    Part, StoreError,
    part::{ROW_GROUP_ROWS, place},
};

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
pub(crate) fn of_parts(schema: &TableSchema, parts: &[Arc<Part>]) -> Result<Vec<usize>, StoreError> {
    let mut columns = BTreeSet::new();
    for part in parts {
        let open = part.open()?;
        let fields = open.footer.arrow.schema().fields();
        let places: Vec<Option<usize>> =
            (0..schema.columns.len()).map(|index| place(fields, schema, index)).collect();
        for group in open.metadata().row_groups() {
            let has_filter = |place: usize| group.column(place).bloom_filter_offset().is_some();
            let filtered = places.iter().enumerate().filter(|(_, place)| place.is_some_and(has_filter));
            columns.extend(filtered.map(|(index, _)| index));
        }
    }
    Ok(columns.into_iter().collect())
}
