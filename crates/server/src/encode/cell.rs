//! Arrays as cells.

use std::io::Write;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array, StringArray,
        UInt64Array,
    },
    buffer::{NullBuffer, ScalarBuffer},
    compute::cast,
    datatypes::{
        DataType, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, UInt64Type,
    },
    error::ArrowError,
};
use nowcast_model::Value;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// True or false.
    Bool(bool),
    /// Any signed integer.
    Int(i64),
    /// An unsigned one.
    UInt(u64),
    /// A 32-bit float.
    Float(f32),
    /// A 64-bit float.
    Double(f64),
    /// Text.
    Text(&'a str),
    /// Units since 1970 UTC.
    Time(i64, Unit),
}

/// The unit of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// An array, ready to be read.
pub struct Column {
    nulls: Option<NullBuffer>,
    data: Data,
}

enum Data {
    Null,
    Bool(BooleanArray),
    Int(Int64Array),
    UInt(UInt64Array),
    Float(Float32Array),
    Double(Float64Array),
    Text(StringArray),
    /// A key for each row, and the texts that keys point at.
    Symbol(Vec<usize>, StringArray),
    Time(ScalarBuffer<i64>, Unit),
    /// What has no kind of its own.
    Other(Vec<Value>),
}

impl Column {
    /// Reads `array`; integers, times and texts of other widths are widened.
    ///
    /// # Errors
    /// The array cannot be shown.
    pub fn new(array: &ArrayRef) -> Result<Column, ArrowError> {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let wider = |ty: &DataType| Column::new(&cast(array, ty)?);
        let data = match array.data_type() {
            DataType::Null => Data::Null,
            DataType::Boolean => Data::Bool(array.as_boolean().clone()),
            DataType::Int64 => Data::Int(array.as_primitive::<Int64Type>().clone()),
            DataType::UInt64 => Data::UInt(array.as_primitive::<UInt64Type>().clone()),
            DataType::Float32 => Data::Float(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Data::Double(array.as_primitive::<Float64Type>().clone()),
            DataType::Utf8 => Data::Text(array.as_string::<i32>().clone()),
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32 => return wider(&DataType::Int64),
            DataType::LargeUtf8 | DataType::Utf8View => return wider(&DataType::Utf8),
            DataType::Date32 | DataType::Date64 => {
                return wider(&DataType::Timestamp(TimeUnit::Millisecond, None));
            }
            DataType::Timestamp(TimeUnit::Second, _) => return wider(&micros),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Data::Time(array.as_primitive::<TimestampMillisecondType>().values().clone(), Unit::Millis)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Data::Time(array.as_primitive::<TimestampMicrosecondType>().values().clone(), Unit::Micros)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Data::Time(array.as_primitive::<TimestampNanosecondType>().values().clone(), Unit::Nanos)
            }
            DataType::Dictionary(_, value) if value.is_string() => match array.as_any_dictionary_opt() {
                Some(dictionary) if !dictionary.values().is_empty() => {
                    let values = cast(dictionary.values(), &DataType::Utf8)?;
                    Data::Symbol(dictionary.normalized_keys(), values.as_string::<i32>().clone())
                }
                _ => Data::Null,
            },
            DataType::Dictionary(_, value) => return wider(value),
            _ => Data::Other(nowcast_query::cells(array)?),
        };
        Ok(Column { nulls: array.logical_nulls(), data })
    }

    /// The value of row `row`, which must be in the array.
    pub fn cell(&self, row: usize) -> Cell<'_> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Cell::Null;
        }
        match &self.data {
            Data::Null => Cell::Null,
            Data::Bool(array) => Cell::Bool(array.value(row)),
            Data::Int(array) => Cell::Int(array.value(row)),
            Data::UInt(array) => Cell::UInt(array.value(row)),
            Data::Float(array) => Cell::Float(array.value(row)),
            Data::Double(array) => Cell::Double(array.value(row)),
            Data::Text(array) => Cell::Text(array.value(row)),
            Data::Symbol(keys, values) => Cell::Text(values.value(keys[row])),
            Data::Time(values, unit) => Cell::Time(values[row], *unit),
            Data::Other(values) => match &values[row] {
                Value::Null => Cell::Null,
                Value::Bool(value) => Cell::Bool(*value),
                Value::Int(value) => Cell::Int(*value),
                Value::UInt(value) => Cell::UInt(*value),
                Value::Float(value) => Cell::Double(*value),
                Value::Str(text) => Cell::Text(text),
                Value::Timestamp(us) => Cell::Time(*us, Unit::Micros),
                Value::TimestampNs(ns) => Cell::Time(*ns, Unit::Nanos),
            },
        }
    }
}

/// Adds `2026-01-31T12:00:00.000000Z` with the digits of the unit; false (and nothing added) outside the years
/// 0 to 9999.
pub fn push_time(out: &mut Vec<u8>, time: i64, unit: Unit) -> bool {
    let (per_second, digits) = match unit {
        Unit::Millis => (1_000, 3),
        Unit::Micros => (1_000_000, 6),
        Unit::Nanos => (1_000_000_000, 9),
    };
    let (seconds, fraction) = (time.div_euclid(per_second), time.rem_euclid(per_second));
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let Some((year, month, day)) = civil(days) else { return false };
    // Writing to a Vec does not fail.
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{fraction:0digits$}Z",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60,
    );
    true
}

/// Year, month and day of a day since 1970, by counting in years that begin in March and eras of 400 years.
fn civil(days: i64) -> Option<(i64, i64, i64)> {
    let shifted = days.checked_add(719_468)?;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (0..=9_999).contains(&year).then_some((year, month, day))
}
