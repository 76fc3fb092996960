//! One input of a join by time: its rows in the order of time, and the last of each key so far.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray},
    compute::interleave,
    datatypes::{SchemaRef, TimestampMicrosecondType},
    row::{RowConverter, Rows},
};
use datafusion::{
    common::{Result, exec_err},
    execution::SendableRecordBatchStream,
    physical_expr::PhysicalExpr,
};
use futures::TryStreamExt;

/// A row: the batch and the place in it.
pub(super) type At = (usize, usize);

/// Bytes that an entry of the map is worth beside its key.
const ENTRY_BYTES: usize = 96;

pub(super) struct Side {
    stream: SendableRecordBatchStream,
    time: Arc<dyn PhysicalExpr>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    converter: Arc<RowConverter>,
    /// Batches that rows may still be taken from; the last is being read.
    pub(super) batches: Vec<RecordBatch>,
    times: TimestampMicrosecondArray,
    rows: Option<Rows>,
    /// The next row of the last batch.
    at: usize,
    ended: bool,
    last: HashMap<Box<[u8]>, (At, i64)>,
    key_bytes: usize,
}

impl Side {
    pub(super) fn new(
        stream: SendableRecordBatchStream,
        time: Arc<dyn PhysicalExpr>,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        converter: Arc<RowConverter>,
    ) -> Side {
        let times = TimestampMicrosecondArray::from(Vec::<i64>::new());
        Side {
            stream,
            time,
            keys,
            converter,
            batches: Vec::new(),
            times,
            rows: None,
            at: 0,
            ended: false,
            last: HashMap::new(),
            key_bytes: 0,
        }
    }

    /// Makes sure that a row is next; false at the end.
    pub(super) async fn fetch(&mut self) -> Result<bool> {
        while !self.ended && self.at >= self.times.len() {
            let Some(batch) = self.stream.try_next().await? else {
                self.ended = true;
                break;
            };
            if batch.num_rows() == 0 {
                continue;
            }
            let count = batch.num_rows();
            let times = self.time.evaluate(&batch)?.into_array(count)?;
            let Some(times) = times.as_primitive_opt::<TimestampMicrosecondType>() else {
                return exec_err!("a join by time needs a TIMESTAMP on both sides");
            };
            self.times = times.clone();
            let keys = self.keys.iter().map(|key| key.evaluate(&batch)?.into_array(count));
            let keys: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
            self.rows = match keys.is_empty() {
                true => None,
                false => Some(self.converter.convert_columns(&keys)?),
            };
            self.batches.push(batch);
            self.at = 0;
        }
        Ok(!self.ended)
    }

    /// The next row's time, once it was fetched; `None` where it has none.
    pub(super) fn time(&self) -> Option<i64> {
        (self.at < self.times.len() && self.times.is_valid(self.at)).then(|| self.times.value(self.at))
    }

    /// The next row's key.
    pub(super) fn key(&self) -> &[u8] {
        self.rows.as_ref().map_or(&[], |rows| rows.row(self.at).data())
    }

    /// Where the next row is.
    pub(super) fn place(&self) -> At {
        (self.batches.len().saturating_sub(1), self.at)
    }

    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    /// Keeps the next row as the last of its key.
    pub(super) fn keep(&mut self, time_us: i64) {
        let (place, at) = (self.place(), self.at);
        let key = self.rows.as_ref().map_or(&[][..], |rows| rows.row(at).data());
        if let Some(last) = self.last.get_mut(key) {
            *last = (place, time_us);
        } else {
            self.key_bytes += key.len() + ENTRY_BYTES;
            self.last.insert(key.into(), (place, time_us));
        }
    }

    /// The last row of a key, with its time.
    pub(super) fn last(&self, key: &[u8]) -> Option<(At, i64)> {
        self.last.get(key).copied()
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        let batches: usize = self.batches.iter().map(super::gather::bytes).sum();
        batches + self.key_bytes
    }

    /// Lets go of all but the last row of each key and the batch that is being read.
    pub(super) fn compact(&mut self) -> Result<()> {
        let Some(current) = self.batches.last().cloned() else { return Ok(()) };
        if self.batches.len() < 3 {
            return Ok(());
        }
        let reading = self.batches.len() - 1;
        let mut places = Vec::with_capacity(self.last.len());
        for ((place, _), to) in self.last.values_mut().filter(|((b, _), _)| *b != reading).zip(0..) {
            places.push(Some(*place));
            *place = (0, to);
        }
        let kept = gather(&current.schema(), &self.batches, &places)?;
        for (place, _) in self.last.values_mut().filter(|((b, _), _)| *b == reading) {
            place.0 = 1;
        }
        self.batches = vec![kept, current];
        Ok(())
    }
}

/// The rows at `places`, NULL for `None`.
pub(super) fn gather(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    places: &[Option<At>],
) -> Result<RecordBatch> {
    let missing = places.iter().any(Option::is_none);
    let places: Vec<At> = places.iter().map(|place| place.unwrap_or((batches.len(), 0))).collect();
    let columns = schema.fields().iter().enumerate().map(|(column, field)| {
        let nulls = arrow::array::new_null_array(field.data_type(), 1);
        let mut arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
        if missing {
            arrays.push(nulls.as_ref());
        }
        match arrays.is_empty() {
            true => Ok(arrow::array::new_empty_array(field.data_type())),
            false => interleave(&arrays, &places),
        }
    });
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
    Ok(RecordBatch::try_new_with_options(super::nullable_schema(schema), columns, &options)?)
}
