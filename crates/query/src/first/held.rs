//! The rows that are the first of their keys so far, in the batches that they came in.
//!
//! A batch goes when no row of it is a first one any more. Batches of which few rows are left are copied together, so
//! that what is held stays in proportion to the keys.

use arrow::{array::RecordBatch, compute::interleave_record_batch};
use datafusion::common::Result;

/// Rows held for each that is needed before they are copied together; and a number of rows that is always allowed.
const SLACK: usize = 4;
const ROWS_MIN: usize = 1 << 16;

#[derive(Debug, Clone, Copy)]
struct At {
    batch: usize,
    row: usize,
}

struct Batch {
    rows: RecordBatch,
    /// Rows of it that are first ones.
    needed: usize,
    bytes: usize,
}

#[derive(Default)]
pub(super) struct Held {
    /// `None`: gone. The last one is the batch that is being gone through.
    batches: Vec<Option<Batch>>,
    /// By the key's number.
    places: Vec<Option<At>>,
    rows: usize,
    bytes: usize,
}

impl Held {
    /// Begins a batch.
    pub(super) fn begin(&mut self, rows: RecordBatch) {
        let bytes = rows.get_array_memory_size();
        self.rows += rows.num_rows();
        self.bytes += bytes;
        self.batches.push(Some(Batch { rows, needed: 0, bytes }));
    }

    /// `row` of the batch that was begun last is the first of `key`.
    pub(super) fn put(&mut self, key: usize, row: usize) {
        if self.places.len() <= key {
            self.places.resize(key + 1, None);
        }
        let batch = self.batches.len() - 1;
        if let Some(At { batch: before, .. }) = self.places[key].replace(At { batch, row }) {
            self.release(before, before != batch);
        }
        if let Some(Some(batch)) = self.batches.last_mut() {
            batch.needed += 1;
        }
    }

    fn release(&mut self, at: usize, may_go: bool) {
        let Some(batch) = &mut self.batches[at] else { return };
        batch.needed -= 1;
        if batch.needed == 0 && may_go {
            self.rows -= batch.rows.num_rows();
            self.bytes -= batch.bytes;
            self.batches[at] = None;
        }
    }

    /// Ends the batch that was begun.
    pub(super) fn end(&mut self) -> Result<()> {
        if let Some(Some(Batch { rows, needed: 0, bytes })) = self.batches.last() {
            self.rows -= rows.num_rows();
            self.bytes -= bytes;
            self.batches.pop();
        }
        if self.rows > ROWS_MIN.max(SLACK * self.places.len()) {
            let needed = self.take(0, self.places.len())?;
            (self.batches, self.rows, self.bytes) = (Vec::new(), 0, 0);
            if let Some(rows) = needed {
                for (row, place) in self.places.iter_mut().flatten().enumerate() {
                    *place = At { batch: 0, row };
                }
                self.begin(rows);
                if let Some(Some(batch)) = self.batches.last_mut() {
                    batch.needed = batch.rows.num_rows();
                }
            }
        }
        Ok(())
    }

    /// The first rows of the keys from `start` to before `end`, in the order of the keys; `None` without any.
    pub(super) fn take(&self, start: usize, end: usize) -> Result<Option<RecordBatch>> {
        let mut numbers = vec![usize::MAX; self.batches.len()];
        let mut batches = Vec::new();
        let mut places = Vec::with_capacity(end - start);
        for place in self.places[start..end].iter().flatten() {
            let Some(batch) = &self.batches[place.batch] else { continue };
            let number = &mut numbers[place.batch];
            if *number == usize::MAX {
                *number = batches.len();
                batches.push(&batch.rows);
            }
            places.push((*number, place.row));
        }
        if places.is_empty() {
            return Ok(None);
        }
        Ok(Some(interleave_record_batch(&batches, &places)?))
    }

    /// Keys there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes held, by estimate.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + size_of_val(&self.places[..]) + size_of_val(&self.batches[..])
    }
}
