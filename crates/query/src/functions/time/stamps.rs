//! Times of either precision: a microsecond, and the nanoseconds behind it where the column has them. What a
//! function does with the microseconds of the calendar it does for both.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray, TimestampNanosecondArray},
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType},
};
use datafusion::common::{Result, exec_datafusion_err, exec_err};

/// A time: microseconds since 1970, and nanoseconds below 1000 behind them.
pub(super) type Stamp = (i64, i64);

/// A column of them.
pub(in super::super) enum Stamps {
    Us(TimestampMicrosecondArray),
    Ns(TimestampNanosecondArray),
}

impl Stamps {
    pub(in super::super) fn of(array: &ArrayRef) -> Option<Stamps> {
        match array.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Some(Stamps::Ns(array.as_primitive_opt::<TimestampNanosecondType>()?.clone()))
            }
            _ => Some(Stamps::Us(array.as_primitive_opt::<TimestampMicrosecondType>()?.clone())),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Stamps::Us(times) => times.len(),
            Stamps::Ns(times) => times.len(),
        }
    }

    pub(super) fn get(&self, row: usize) -> Option<Stamp> {
        match self {
            Stamps::Us(times) => times.is_valid(row).then(|| (times.value(row), 0)),
            Stamps::Ns(times) => times.is_valid(row).then(|| split(times.value(row))),
        }
    }

    /// What `with` makes of each row's time, of the same precision.
    pub(super) fn map(
        &self,
        mut with: impl FnMut(usize, Stamp) -> Result<Option<Stamp>>,
    ) -> Result<ArrayRef> {
        let rows = 0..self.len();
        let mut made = |row| match self.get(row) {
            Some(time) => with(row, time),
            None => Ok(None),
        };
        Ok(match self {
            Stamps::Us(_) => {
                let times = rows.map(|row| Ok(made(row)?.map(|(us, _)| us)));
                Arc::new(times.collect::<Result<TimestampMicrosecondArray>>()?)
            }
            Stamps::Ns(_) => {
                let times = rows.map(|row| made(row)?.map(joined).transpose());
                Arc::new(times.collect::<Result<TimestampNanosecondArray>>()?)
            }
        })
    }

    /// Of the same precision, beginnings of a unit: no nanosecond is left. Without a look at each row where it has none.
    pub(super) fn floors(&self, floor: impl Fn(i64) -> Option<i64>) -> Result<ArrayRef> {
        match self {
            Stamps::Us(times) => Ok(Arc::new(times.unary_opt::<_, TimestampMicrosecondType>(floor))),
            Stamps::Ns(_) => self.map(|_, (us, _)| Ok(floor(us).map(|us| (us, 0)))),
        }
    }
}

pub(super) fn split(ns: i64) -> Stamp {
    (ns.div_euclid(1_000), ns.rem_euclid(1_000))
}

/// Nanoseconds since 1970.
///
/// # Errors
/// They do not fit: the time is before 1677 or behind 2262.
pub(super) fn joined((us, ns): Stamp) -> Result<i64> {
    let whole = us.checked_mul(1_000).and_then(|whole| whole.checked_add(ns));
    whole.ok_or_else(|| {
        exec_datafusion_err!("a TIMESTAMP_NS is of the years 1677 to 2262, and this one is not")
    })
}

/// A column of nanoseconds.
pub(super) fn nanoseconds(rows: impl Iterator<Item = Result<Option<Stamp>>>) -> Result<ArrayRef> {
    let times = rows.map(|time| time?.map(joined).transpose());
    Ok(Arc::new(times.collect::<Result<TimestampNanosecondArray>>()?))
}

/// The column as times.
///
/// # Errors
/// It holds none: the planner made it be something else.
pub(in super::super) fn stamps(name: &str, array: &ArrayRef) -> Result<Stamps> {
    match Stamps::of(array) {
        Some(stamps) => Ok(stamps),
        None => exec_err!("{name}() takes a time, got {}", array.data_type()),
    }
}
