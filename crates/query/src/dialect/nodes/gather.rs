//! All rows of an input in one batch, within the memory that queries may have.

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::concat_batches,
};
use datafusion::{
    common::Result,
    execution::{SendableRecordBatchStream, memory_pool::MemoryReservation},
};
use futures::TryStreamExt;

/// What the batch's own rows take: a group-by hands out slices of one large batch, which must not count each time.
pub(super) fn bytes(batch: &RecordBatch) -> usize {
    let own = |column: &ArrayRef| column.to_data().get_slice_memory_size();
    batch.columns().iter().map(|column| own(column).unwrap_or_else(|_| column.get_array_memory_size())).sum()
}

/// Reads `input` to its end. `reservation` grows by what the batch holds.
pub(super) async fn gather(
    mut input: SendableRecordBatchStream,
    reservation: &MemoryReservation,
) -> Result<RecordBatch> {
    let mut batches = Vec::new();
    while let Some(batch) = input.try_next().await? {
        // Twice: while they are put together, the rows are there twice.
        reservation.try_grow(2 * bytes(&batch))?;
        batches.push(batch);
    }
    let rows = concat_batches(&input.schema(), &batches)?;
    drop(batches);
    reservation.try_resize(rows.get_array_memory_size())?;
    Ok(rows)
}
