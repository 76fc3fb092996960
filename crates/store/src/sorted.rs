//! Writes batches in any order as one sorted part, without copying the table: a permutation is sorted, and
//! rows are gathered one batch at a time.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{SchemaRef, TimestampMicrosecondType, UInt64Type},
};
use nowcast_model::{TableSchema, limits::HOT_BATCH_ROWS};

use crate::{StoreError, columns::pick_rows, part::PartWriter};

/// A row's place in the order (time, `_seq`) and in the batches: 24 bytes a row.
type Place = (i64, u64, u32, u32);

/// Writes all rows of `batches` (stored form) sorted by time, then `_seq`.
pub(crate) fn write_sorted(
    writer: &mut PartWriter,
    schema: &TableSchema,
    stored: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<(), StoreError> {
    let mut places: Vec<Place> = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for (index, batch) in batches.iter().enumerate() {
        let seqs = batch.column(batch.num_columns() - 1).as_primitive::<UInt64Type>();
        let times =
            schema.timestamp.and_then(|t| batch.column(t).as_primitive_opt::<TimestampMicrosecondType>());
        for row in 0..batch.num_rows() {
            let at_us = times.filter(|t| t.is_valid(row)).map_or(0, |t| t.value(row));
            // Fewer than 2^32 batches, and a batch has at most HOT_BATCH_ROWS rows.
            places.push((at_us, seqs.value(row), index as u32, row as u32));
        }
    }
    if places.is_sorted() {
        // The usual case of one sender with a clock: nothing is gathered.
        return batches.iter().try_for_each(|batch| writer.write(batch));
    }
    places.sort_unstable();
    for chunk in places.chunks(HOT_BATCH_ROWS) {
        let picks: Vec<(usize, usize)> =
            chunk.iter().map(|&(_, _, b, row)| (b as usize, row as usize)).collect();
        writer.write(&pick_rows(stored, batches, &picks)?)?;
    }
    Ok(())
}
