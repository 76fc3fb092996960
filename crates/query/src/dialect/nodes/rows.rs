//! Rows of a filled result, as places to take them from until a batch of them is made.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array},
    compute::{CastOptions, cast, cast_with_options, concat, interleave, take},
    datatypes::{DataType, Float64Type, SchemaRef},
};
use datafusion::common::Result;

use super::fill::How;

/// A column and how it is made.
struct Column {
    values: ArrayRef,
    how: How,
    /// For LINEAR, the values as numbers; for a constant, the values with it behind them.
    aid: Option<ArrayRef>,
}

/// Between which rows a made row lies, and how far behind the first.
struct Between {
    before: u32,
    after: u32,
    share: f64,
}

pub(super) struct Made {
    schema: SchemaRef,
    time: usize,
    columns: Vec<(usize, Column)>,
    rows: u32,
    times: Vec<i64>,
    /// The series, by a row of it.
    key: Vec<Option<u32>>,
    own: Vec<Option<u32>>,
    before: Vec<Option<u32>>,
    between: Vec<Option<Between>>,
}

impl Made {
    pub(super) fn new(
        schema: SchemaRef,
        rows: RecordBatch,
        time: usize,
        columns: &[(usize, How)],
    ) -> Result<Made> {
        let made = columns.iter().map(|(at, how)| {
            let values = rows.column(*at).clone();
            let aid = match how {
                How::Linear => Some(cast(&values, &DataType::Float64)?),
                How::Value(value) => Some(concat(&[&values, &value.to_array()?])?),
                How::Key | How::Null | How::Prev => None,
            };
            Ok((*at, Column { values, how: how.clone(), aid }))
        });
        Ok(Made {
            schema,
            time,
            columns: made.collect::<Result<_>>()?,
            rows: u32::try_from(rows.num_rows()).unwrap_or(u32::MAX),
            times: Vec::new(),
            key: Vec::new(),
            own: Vec::new(),
            before: Vec::new(),
            between: Vec::new(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// A row that is there.
    pub(super) fn own(&mut self, at_us: i64, row: u32) {
        self.times.push(at_us);
        self.key.push(Some(row));
        self.own.push(Some(row));
        self.before.push(None);
        self.between.push(None);
    }

    /// A row to be made, between two of its series.
    pub(super) fn gap(&mut self, at_us: i64, before: Option<(i64, u32)>, after: Option<(i64, u32)>) {
        self.times.push(at_us);
        self.key.push(before.or(after).map(|(_, row)| row));
        self.own.push(None);
        self.before.push(before.map(|(_, row)| row));
        self.between.push(match (before, after) {
            (Some((from_us, before)), Some((to_us, after))) if to_us > from_us => {
                let share = (at_us - from_us) as f64 / (to_us - from_us) as f64;
                Some(Between { before, after, share })
            }
            _ => None,
        });
    }

    /// The rows so far as a batch.
    pub(super) fn take(&mut self) -> Result<RecordBatch> {
        let own: UInt32Array = self.own.iter().copied().collect();
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(std::mem::take(&mut self.times)));
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.schema.fields().len()];
        for (at, column) in &self.columns {
            let made = match (&column.how, &column.aid) {
                (How::Key, _) => {
                    take(&column.values, &self.key.iter().copied().collect::<UInt32Array>(), None)?
                }
                (How::Prev, _) => {
                    let rows = self.own.iter().zip(&self.before).map(|(own, before)| own.or(*before));
                    take(&column.values, &rows.collect::<UInt32Array>(), None)?
                }
                (How::Value(_), Some(values)) => {
                    let rows = self.own.iter().map(|own| own.unwrap_or(self.rows));
                    take(values, &rows.map(Some).collect::<UInt32Array>(), None)?
                }
                (How::Linear, Some(numbers)) => self.linear(&column.values, numbers)?,
                (How::Null | How::Value(_) | How::Linear, _) => take(&column.values, &own, None)?,
            };
            columns[*at] = Some(made);
        }
        columns[self.time] = Some(times);
        self.key.clear();
        self.own.clear();
        self.before.clear();
        self.between.clear();
        let count = own.len();
        let columns = columns.into_iter().zip(self.schema.fields()).map(|(column, field)| {
            column.unwrap_or_else(|| arrow::array::new_null_array(field.data_type(), count))
        });
        Ok(RecordBatch::try_new(self.schema.clone(), columns.collect())?)
    }

    /// Own values as they are, made ones on the line between their neighbours.
    fn linear(&self, values: &ArrayRef, numbers: &ArrayRef) -> Result<ArrayRef> {
        let numbers = numbers.as_primitive::<Float64Type>();
        let number = |row: u32| numbers.is_valid(row as usize).then(|| numbers.value(row as usize));
        let whole = values.data_type().is_integer();
        let made = self.between.iter().map(|between| {
            let between = between.as_ref()?;
            let (a, b) = (number(between.before)?, number(between.after)?);
            let value = a + (b - a) * between.share;
            Some(if whole { value.round() } else { value })
        });
        let made: ArrayRef = Arc::new(made.collect::<Float64Array>());
        // A number between two that fit does, but for the float's rounding at the type's very end.
        let made = cast_with_options(&made, values.data_type(), &CastOptions::default())?;
        let places = self.own.iter().enumerate().map(|(at, own)| match own {
            Some(row) => (0, *row as usize),
            None => (1, at),
        });
        Ok(interleave(&[values, &made], &places.collect::<Vec<_>>())?)
    }
}
