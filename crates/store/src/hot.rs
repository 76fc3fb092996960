//! The rows of a table that are not in a part yet.
//!
//! Batches in the order in which they were applied, hence ascending by `_seq`. A commit of one row must cost
//! about one row, so small batches are merged like the digits of a counter to the base [`FAN_IN`]: so many of
//! about one size become one, up to [`HOT_BATCH_ROWS`]. Each row is thus copied O(log n) times (once or twice,
//! if it comes in batches of some hundred), and few small batches stand at the end.
//!
//! Snapshots share structure: full batches move in groups into chunks behind an `Arc`, so cloning a [`Hot`]
//! copies one pointer per chunk and at most [`OPEN_BATCHES_MAX`] batches. A frozen [`Hot`] (a flush has
//! begun to write it) has all batches in chunks: later rows never merge with earlier ones, and
//! [`Hot::without_first`] takes away what was written.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::SchemaRef,
    error::ArrowError,
};
use nowcast_model::limits::HOT_BATCH_ROWS;

use crate::columns::{batch_bytes, concat_rows, trim_dictionaries};

/// Batches of about one size that become one: a row is copied about as often as a full batch is so many times
/// larger than what came, to the base of this.
const FAN_IN: usize = 8;
/// Batches outside chunks: seven of each of the five sizes that the merging leaves, and some full ones.
const OPEN_BATCHES_MAX: usize = 48;
const CHUNK_BATCHES: usize = 16;

/// A table's hot rows. Reads like a list of batches.
#[derive(Debug, Clone, Default)]
pub struct Hot {
    chunks: Vec<Arc<[RecordBatch]>>,
    open: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Hot {
    /// The batches in the order in which they were applied.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &RecordBatch> + Clone + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).chain(&self.open)
    }

    /// The batches as a list; clones pointers only.
    pub fn to_vec(&self) -> Vec<RecordBatch> {
        self.iter().cloned().collect()
    }

    /// The number of batches.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum::<usize>() + self.open.len()
    }

    /// True without any batch.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Rows in all batches.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Memory of all batches, estimated.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends rows in stored form.
    pub(crate) fn push(&mut self, schema: &SchemaRef, batch: RecordBatch) -> Result<(), ArrowError> {
        let mut at = 0;
        while at < batch.num_rows() {
            let rows = (batch.num_rows() - at).min(HOT_BATCH_ROWS);
            self.push_small(schema, batch.slice(at, rows))?;
            at += rows;
        }
        Ok(())
    }

    fn push_small(&mut self, schema: &SchemaRef, batch: RecordBatch) -> Result<(), ArrowError> {
        let batch = trim_dictionaries(batch)?;
        self.rows += batch.num_rows();
        self.bytes += batch_bytes(&batch);
        self.open.push(batch);
        let mut small_rows = FAN_IN;
        while small_rows <= HOT_BATCH_ROWS {
            if let Some(from) = self.due(small_rows) {
                let taken = self.open.split_off(from);
                let merged = concat_rows(schema, &taken.iter().collect::<Vec<_>>())?;
                self.bytes -= taken.iter().map(batch_bytes).sum::<usize>();
                self.bytes += batch_bytes(&merged);
                self.open.push(merged);
            }
            small_rows *= FAN_IN;
        }
        if self.open.len() > OPEN_BATCHES_MAX {
            let rest = self.open.split_off(CHUNK_BATCHES);
            self.chunks.push(std::mem::replace(&mut self.open, rest).into());
        }
        Ok(())
    }

    /// Where the newest batches of fewer than `small_rows` rows begin, if they are to become one: they are
    /// [`FAN_IN`], or no more of them fit into one.
    fn due(&self, small_rows: usize) -> Option<usize> {
        let (mut from, mut rows) = (self.open.len(), 0);
        while from > 0 && self.open[from - 1].num_rows() < small_rows {
            rows += self.open[from - 1].num_rows();
            if rows > HOT_BATCH_ROWS {
                break;
            }
            from -= 1;
        }
        let count = self.open.len() - from;
        (count >= FAN_IN || (rows > HOT_BATCH_ROWS && count > 1)).then_some(from)
    }

    /// Ends merging for all batches that are here now.
    pub(crate) fn freeze(&mut self) {
        if !self.open.is_empty() {
            self.chunks.push(std::mem::take(&mut self.open).into());
        }
    }

    /// What is left behind the first `batches`, which a [`Hot::freeze`] has closed off.
    pub(crate) fn without_first(&self, batches: usize) -> Hot {
        let mut hot = Hot::default();
        let mut skip = batches;
        for chunk in &self.chunks {
            if skip >= chunk.len() {
                skip -= chunk.len();
            } else if skip == 0 {
                hot.chunks.push(chunk.clone());
            } else {
                hot.chunks.push(chunk[skip..].into());
                skip = 0;
            }
        }
        hot.open = self.open[skip.min(self.open.len())..].to_vec();
        hot.rows = hot.iter().map(RecordBatch::num_rows).sum();
        hot.bytes = hot.iter().map(batch_bytes).sum();
        hot
    }

    /// Takes rows out: for each batch, by its place, the places of its rows in any order. A batch that
    /// becomes empty keeps its place, so that [`Hot::without_first`] still counts right.
    pub(crate) fn remove(&mut self, rows: &BTreeMap<usize, Vec<usize>>) -> Result<(), ArrowError> {
        let mut place = 0;
        for chunk in &mut self.chunks {
            let behind = place + chunk.len();
            if rows.range(place..behind).next().is_some() {
                let mut batches = chunk.to_vec();
                for (&index, gone) in rows.range(place..behind) {
                    batches[index - place] = without(&batches[index - place], gone)?;
                }
                *chunk = batches.into();
            }
            place = behind;
        }
        for (&index, gone) in rows.range(place..) {
            self.open[index - place] = without(&self.open[index - place], gone)?;
        }
        self.rows = self.iter().map(RecordBatch::num_rows).sum();
        self.bytes = self.iter().map(batch_bytes).sum();
        Ok(())
    }

    /// The batches in another form, with the rows that they have. Each keeps its place, so that [`Hot::without_first`]
    /// still counts right.
    pub(crate) fn reshape(
        &self,
        mut map: impl FnMut(&RecordBatch) -> Result<RecordBatch, ArrowError>,
    ) -> Result<Hot, ArrowError> {
        let mut hot = Hot { rows: self.rows, ..Hot::default() };
        for chunk in &self.chunks {
            hot.chunks.push(chunk.iter().map(&mut map).collect::<Result<Vec<_>, _>>()?.into());
        }
        hot.open = self.open.iter().map(&mut map).collect::<Result<Vec<_>, _>>()?;
        hot.bytes = hot.iter().map(batch_bytes).sum();
        Ok(hot)
    }

    /// The batches changed one by one, in place; those that become empty go.
    pub(crate) fn try_map(
        &self,
        mut map: impl FnMut(&RecordBatch) -> Result<RecordBatch, ArrowError>,
    ) -> Result<Hot, ArrowError> {
        let mut hot = Hot::default();
        for chunk in &self.chunks {
            let mapped = chunk.iter().map(&mut map).collect::<Result<Vec<_>, _>>()?;
            let kept: Vec<RecordBatch> = mapped.into_iter().filter(|batch| batch.num_rows() > 0).collect();
            if !kept.is_empty() {
                hot.chunks.push(kept.into());
            }
        }
        for batch in &self.open {
            let mapped = map(batch)?;
            if mapped.num_rows() > 0 {
                hot.open.push(mapped);
            }
        }
        hot.rows = hot.iter().map(RecordBatch::num_rows).sum();
        hot.bytes = hot.iter().map(batch_bytes).sum();
        Ok(hot)
    }
}

fn without(batch: &RecordBatch, gone: &[usize]) -> Result<RecordBatch, ArrowError> {
    let mut keep = vec![true; batch.num_rows()];
    for &row in gone {
        keep[row] = false;
    }
    filter_record_batch(batch, &BooleanArray::from(keep))
}

/// Walks the batches; `for batch in &version.hot`.
impl<'a> IntoIterator for &'a Hot {
    type Item = &'a RecordBatch;
    type IntoIter = Box<dyn Iterator<Item = &'a RecordBatch> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}
