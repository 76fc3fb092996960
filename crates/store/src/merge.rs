//! Sorted rows of several parts as one sorted stream, a batch of each in memory at a time.
//!
//! A step: of the batches at hand, the one that ends first sets a bound; what all of them have up to there is
//! taken off and sorted together. So each step uses up at least one batch, and rows are compared only where
//! inputs overlap.

use std::cmp::Ordering;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{SchemaRef, TimestampMicrosecondType},
};
use nowcast_model::{TableSchema, limits::HOT_BATCH_ROWS};

use crate::{PartRows, StoreError, columns::pick_rows, upsert::seqs};

/// The order of rows in a part: time, then `_seq`.
pub(crate) type Key = (i64, u64);

/// The key of a row in stored form; a table without a time column is in the order of `_seq`.
pub(crate) fn key_of(schema: &TableSchema, rows: &RecordBatch, row: usize) -> Key {
    let times = schema.timestamp.and_then(|t| rows.column(t).as_primitive_opt::<TimestampMicrosecondType>());
    (times.filter(|t| t.is_valid(row)).map_or(0, |t| t.value(row)), seqs(rows)[row])
}

/// An input and what was last read of it.
struct Head {
    rows: PartRows,
    batch: RecordBatch,
}

impl Head {
    /// Takes off the rows up to `bound`. The next batch is read when this one is used up; false at the end.
    fn take(
        &mut self,
        schema: &TableSchema,
        bound: Key,
        taken: &mut Vec<RecordBatch>,
    ) -> Result<bool, StoreError> {
        let (mut low, mut high) = (0, self.batch.num_rows());
        while low < high {
            let middle = (low + high) / 2;
            match key_of(schema, &self.batch, middle).cmp(&bound) {
                Ordering::Greater => high = middle,
                Ordering::Less | Ordering::Equal => low = middle + 1,
            }
        }
        if low > 0 {
            taken.push(self.batch.slice(0, low));
        }
        self.batch = self.batch.slice(low, self.batch.num_rows() - low);
        if self.batch.num_rows() > 0 {
            return Ok(true);
        }
        match self.rows.next().transpose()? {
            None => Ok(false),
            Some(batch) => {
                self.batch = batch;
                Ok(true)
            }
        }
    }
}

/// Hands the rows of `inputs`, each sorted and with all columns, to `out` in their common order.
///
/// # Errors
/// If a part cannot be read, or what `out` says.
pub(crate) fn merge(
    schema: &TableSchema,
    stored: &SchemaRef,
    inputs: Vec<PartRows>,
    out: &mut dyn FnMut(RecordBatch) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut heads = Vec::with_capacity(inputs.len());
    for mut rows in inputs {
        if let Some(batch) = rows.next().transpose()? {
            heads.push(Head { rows, batch });
        }
    }
    // A part hands out no empty batch, so each head has a last row.
    while let Some(bound) =
        heads.iter().map(|head| key_of(schema, &head.batch, head.batch.num_rows() - 1)).min()
    {
        let mut taken = Vec::with_capacity(heads.len());
        let mut left = Vec::with_capacity(heads.len());
        for mut head in heads {
            if head.take(schema, bound, &mut taken)? {
                left.push(head);
            }
        }
        heads = left;
        if let [_] = &taken[..] {
            taken.drain(..).try_for_each(&mut *out)?;
            continue;
        }
        let mut places: Vec<(Key, usize, usize)> = Vec::new();
        for (batch, rows) in taken.iter().enumerate() {
            places.extend((0..rows.num_rows()).map(|row| (key_of(schema, rows, row), batch, row)));
        }
        // Each input is a run already, which this sort makes use of.
        places.sort();
        for chunk in places.chunks(HOT_BATCH_ROWS) {
            let picks: Vec<(usize, usize)> = chunk.iter().map(|&(_, batch, row)| (batch, row)).collect();
            out(pick_rows(stored, &taken, &picks)?)?;
        }
    }
    Ok(())
}
