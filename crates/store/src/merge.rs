//! Sorted rows of several parts as one sorted stream, a batch of each in memory at a time.
//!
//! A step: of the batches at hand, the one that ends first sets a bound; what all of them have up to there is
//! taken off and sorted together. So each step uses up at least one batch, and rows are compared only where
//! inputs overlap.

use std::{
    cmp::{Ordering, Reverse},
    ops::ControlFlow,
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{SchemaRef, TimestampMicrosecondType},
};
use nowcast_model::{TableSchema, limits::HOT_BATCH_ROWS};

use crate::{Part, PartRows, StoreError, columns::pick_rows, upsert::seqs};

/// The order of rows in a part: time, then `_seq`.
pub(crate) type Key = (i64, u64);

/// The key of a row in stored form; a table without a time column is in the order of `_seq`.
pub(crate) fn key_of(schema: &TableSchema, rows: &RecordBatch, row: usize) -> Key {
    let times = schema.timestamp.and_then(|t| rows.column(t).as_primitive_opt::<TimestampMicrosecondType>());
    (times.filter(|t| t.is_valid(row)).map_or(0, |t| t.value(row)), seqs(rows)[row])
}

/// A time that no visible row of the part is before.
fn first_us(part: &Part) -> i64 {
    part.min_us.unwrap_or(i64::MIN)
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

/// Hands the visible rows of `parts`, with all columns, to `out` in their common order, until it breaks.
///
/// # Errors
/// If a part cannot be read, or what `out` says.
pub(crate) fn merge(
    schema: &TableSchema,
    stored: &SchemaRef,
    parts: &[Arc<Part>],
    out: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>, StoreError>,
) -> Result<ControlFlow<()>, StoreError> {
    let all: Vec<usize> = (0..schema.columns.len()).collect();
    // The one that begins first is last. Rows that came in order lie in parts one behind the other: then one is open
    // at a time, and not each with its pages and the state of its decompression.
    let mut closed: Vec<&Arc<Part>> = parts.iter().collect();
    closed.sort_by_key(|part| Reverse(first_us(part)));
    let mut heads = Vec::new();
    loop {
        // A part hands out no empty batch, so each head has a last row.
        let bound =
            heads.iter().map(|head: &Head| key_of(schema, &head.batch, head.batch.num_rows() - 1)).min();
        if let Some(part) = closed.pop_if(|part| bound.is_none_or(|(at_us, _)| first_us(part) <= at_us)) {
            let mut rows = part.read(schema, &all)?;
            if let Some(batch) = rows.next().transpose()? {
                heads.push(Head { rows, batch });
            }
            continue;
        }
        let Some(bound) = bound else { break };
        let mut taken = Vec::with_capacity(heads.len());
        let mut left = Vec::with_capacity(heads.len());
        for mut head in heads {
            if head.take(schema, bound, &mut taken)? {
                left.push(head);
            }
        }
        heads = left;
        if let [_] = &taken[..]
            && let Some(rows) = taken.pop()
        {
            if out(rows)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
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
            if out(pick_rows(stored, &taken, &picks)?)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}
