//! What each function draws, in QuestDB's argument forms.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float32Array, Float64Array, PrimitiveArray, StringArray,
        TimestampMicrosecondArray, TimestampMillisecondArray,
    },
    datatypes::{ArrowPrimitiveType, DataType, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit},
};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};

use super::{draws::Draws, texts};
use crate::functions::scalar::{Param, TIME};

/// Which function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::functions) enum Kind {
    Boolean,
    Byte,
    Short,
    Int,
    Long,
    Float,
    Double,
    Date,
    Timestamp,
    Char,
    Str,
    Symbol,
    Varchar,
    Uuid4,
    Ipv4,
    Long256,
    Geohash,
    Bin,
    Decimal,
}

/// A function's arguments, made what they must be.
pub(super) struct Given<'a> {
    pub(super) name: &'static str,
    pub(super) values: &'a [ScalarValue],
}

impl Given<'_> {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn long(&self, at: usize) -> Result<i64> {
        match self.values.get(at) {
            Some(ScalarValue::Int64(Some(value)) | ScalarValue::TimestampMicrosecond(Some(value), _)) => {
                Ok(*value)
            }
            _ => exec_err!("{}() needs a value as argument {}, got NULL", self.name, at + 1),
        }
    }

    /// A number from `low` to `high`.
    pub(super) fn within(&self, at: usize, low: i64, high: i64) -> Result<i64> {
        let value = self.long(at)?;
        if !(low..=high).contains(&value) {
            return exec_err!("{}() takes {low} to {high} as argument {}, got {value}", self.name, at + 1);
        }
        Ok(value)
    }

    /// The null rate, 0 if it is not given.
    pub(super) fn rate(&self, at: usize) -> Result<u64> {
        if at >= self.len() { Ok(0) } else { Ok(self.within(at, 0, i64::MAX)? as u64) }
    }

    /// A range of two arguments within `low` to `high`, which is the range if none are given.
    pub(super) fn range(&self, at: usize, low: i64, high: i64) -> Result<(i64, i64)> {
        if at >= self.len() {
            return Ok((low, high));
        }
        let (from, to) = (self.within(at, low, high)?, self.within(at + 1, low, high)?);
        if from > to {
            return exec_err!("{}() takes the lower end of a range first, got {from} and {to}", self.name);
        }
        Ok((from, to))
    }
}

impl Kind {
    pub(in crate::functions) const ALL: [Kind; 19] = [
        Kind::Boolean,
        Kind::Byte,
        Kind::Short,
        Kind::Int,
        Kind::Long,
        Kind::Float,
        Kind::Double,
        Kind::Date,
        Kind::Timestamp,
        Kind::Char,
        Kind::Str,
        Kind::Symbol,
        Kind::Varchar,
        Kind::Uuid4,
        Kind::Ipv4,
        Kind::Long256,
        Kind::Geohash,
        Kind::Bin,
        Kind::Decimal,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "rnd_boolean",
            Kind::Byte => "rnd_byte",
            Kind::Short => "rnd_short",
            Kind::Int => "rnd_int",
            Kind::Long => "rnd_long",
            Kind::Float => "rnd_float",
            Kind::Double => "rnd_double",
            Kind::Date => "rnd_date",
            Kind::Timestamp => "rnd_timestamp",
            Kind::Char => "rnd_char",
            Kind::Str => "rnd_str",
            Kind::Symbol => "rnd_symbol",
            Kind::Varchar => "rnd_varchar",
            Kind::Uuid4 => "rnd_uuid4",
            Kind::Ipv4 => "rnd_ipv4",
            Kind::Long256 => "rnd_long256",
            Kind::Geohash => "rnd_geohash",
            Kind::Bin => "rnd_bin",
            Kind::Decimal => "rnd_decimal",
        }
    }

    /// Types without a column type of their own are text.
    pub(super) fn output(self) -> DataType {
        match self {
            Kind::Boolean => DataType::Boolean,
            Kind::Byte => DataType::Int8,
            Kind::Short => DataType::Int16,
            Kind::Int => DataType::Int32,
            Kind::Long => DataType::Int64,
            Kind::Float => DataType::Float32,
            Kind::Double => DataType::Float64,
            Kind::Date => DataType::Timestamp(TimeUnit::Millisecond, None),
            Kind::Timestamp => TIME,
            _ => DataType::Utf8,
        }
    }

    /// How many arguments it takes, and how they are meant.
    fn forms(self) -> (&'static [usize], &'static str) {
        match self {
            Kind::Boolean | Kind::Char => (&[0], "()"),
            Kind::Byte | Kind::Short => (&[0, 2], "() or (min, max)"),
            Kind::Int | Kind::Long => (&[0, 2, 3], "() or (min, max, null_rate)"),
            Kind::Float | Kind::Double | Kind::Uuid4 => (&[0, 1], "() or (null_rate)"),
            Kind::Date | Kind::Timestamp => (&[2, 3], "(from, to, null_rate)"),
            Kind::Str | Kind::Symbol => (
                &[3, 4],
                "('a', 'b', …), (min_length, max_length, null_rate) or (count, min_length, max_length, null_rate)",
            ),
            Kind::Varchar => (&[3], "('a', 'b', …) or (min_length, max_length, null_rate)"),
            Kind::Ipv4 => (&[0, 1, 2], "() or ('10.0.0.0/8', null_rate)"),
            Kind::Long256 => (&[0, 1], "() or (max)"),
            Kind::Geohash => (&[1], "(bits)"),
            Kind::Bin => (&[0, 2, 3], "() or (min_bytes, max_bytes, null_rate)"),
            Kind::Decimal => (&[2, 3], "(precision, scale, null_rate)"),
        }
    }

    pub(super) fn params(self, given: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |ty: &DataType| matches!(ty, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
        let is_list = matches!(self, Kind::Str | Kind::Symbol | Kind::Varchar)
            && given.iter().any(is_text)
            && given.iter().all(|ty| is_text(ty) || ty.is_null());
        if is_list {
            return Ok(vec![DataType::Utf8; given.len()]);
        }
        let (counts, forms) = self.forms();
        if !counts.contains(&given.len()) {
            return plan_err!("the function '{0}' takes arguments as {0}{forms}", self.name());
        }
        let param = |(at, ty)| match (self, at) {
            (Kind::Date | Kind::Timestamp, 0 | 1) => Param::Time.arrow(ty),
            (Kind::Ipv4, 0) => Param::Text.arrow(ty),
            _ => Param::Long.arrow(ty),
        };
        given.iter().enumerate().map(param).collect()
    }

    /// One value for each key. `base` is the same for all rows of a call.
    pub(super) fn draw(self, values: &[ScalarValue], base: u64, keys: Vec<u64>) -> Result<ArrayRef> {
        let given = Given { name: self.name(), values };
        match self {
            Kind::Boolean => {
                let bits = keys.into_iter().map(|key| Some(Draws(key).next() >> 63 == 1));
                Ok(Arc::new(bits.collect::<BooleanArray>()))
            }
            Kind::Byte => {
                let low = if given.len() == 0 { 0 } else { i64::from(i8::MIN) };
                integers::<Int8Type>(&given, (low, i64::from(i8::MAX)), &keys, |n| n as i8)
            }
            Kind::Short => {
                let all = (i64::from(i16::MIN), i64::from(i16::MAX));
                integers::<Int16Type>(&given, all, &keys, |n| n as i16)
            }
            Kind::Int => {
                let all = (i64::from(i32::MIN), i64::from(i32::MAX));
                integers::<Int32Type>(&given, all, &keys, |n| n as i32)
            }
            Kind::Long => integers::<Int64Type>(&given, (i64::MIN, i64::MAX), &keys, |n| n),
            Kind::Float => {
                let rate = given.rate(0)?;
                let draw = |key| {
                    let mut draws = Draws(key);
                    (!draws.is_null(rate)).then(|| draws.unit_f32())
                };
                Ok(Arc::new(keys.into_iter().map(draw).collect::<Float32Array>()))
            }
            Kind::Double => {
                let rate = given.rate(0)?;
                let draw = |key| {
                    let mut draws = Draws(key);
                    (!draws.is_null(rate)).then(|| draws.unit())
                };
                Ok(Arc::new(keys.into_iter().map(draw).collect::<Float64Array>()))
            }
            Kind::Timestamp => {
                let times = numbers(&given, (i64::MIN, i64::MAX), &keys)?;
                Ok(Arc::new(times.collect::<TimestampMicrosecondArray>()))
            }
            Kind::Date => {
                let times = numbers(&given, (i64::MIN, i64::MAX), &keys)?;
                let days = times.map(|us| us.map(|us| us.div_euclid(1_000)));
                Ok(Arc::new(days.collect::<TimestampMillisecondArray>()))
            }
            Kind::Str | Kind::Symbol | Kind::Varchar
                if values.iter().all(|value| matches!(value, ScalarValue::Utf8(_))) =>
            {
                texts::among(values, &keys)
            }
            Kind::Str | Kind::Symbol => texts::words(&given, texts::CAPITALS, base, &keys),
            Kind::Varchar => texts::words(&given, texts::LETTERS, base, &keys),
            Kind::Char => {
                let letters: Vec<&str> = keys
                    .into_iter()
                    .map(|key| {
                        let at = Draws(key).below(26) as usize;
                        &texts::CAPITALS[at..=at]
                    })
                    .collect();
                Ok(Arc::new(StringArray::from(letters)))
            }
            Kind::Uuid4 => texts::uuids(&given, &keys),
            Kind::Ipv4 => texts::addresses(&given, &keys),
            Kind::Long256 => texts::long256s(&given, &keys),
            Kind::Geohash => texts::geohashes(&given, &keys),
            Kind::Bin => texts::binaries(&given, &keys),
            Kind::Decimal => texts::decimals(&given, &keys),
        }
    }
}

fn numbers<'a>(
    given: &Given<'_>,
    all: (i64, i64),
    keys: &'a [u64],
) -> Result<impl Iterator<Item = Option<i64>> + 'a> {
    let ((low, high), rate) = (given.range(0, all.0, all.1)?, given.rate(2)?);
    Ok(keys.iter().map(move |&key| {
        let mut draws = Draws(key);
        (!draws.is_null(rate)).then(|| draws.between(low, high))
    }))
}

fn integers<T: ArrowPrimitiveType>(
    given: &Given<'_>,
    all: (i64, i64),
    keys: &[u64],
    narrow: fn(i64) -> T::Native,
) -> Result<ArrayRef> {
    let numbers = numbers(given, all, keys)?;
    Ok(Arc::new(numbers.map(|number| number.map(narrow)).collect::<PrimitiveArray<T>>()))
}
