//! Cells of CSV as values of their column.

use nowcast_model::ColumnType;

use super::pattern::Pattern;
use crate::{Precision, columns::Cell, time::parse_iso};

/// How the cells of a column are read.
pub(super) enum Kind {
    Boolean,
    /// Within these bounds.
    Integer(i64, i64),
    Double,
    Float,
    Time(Option<Pattern>, Precision),
    TimeNs(Precision),
    Text,
    Symbol,
}

/// Why a cell is not its column's.
#[derive(Debug, PartialEq)]
pub(super) enum Unfit {
    Value,
    NotUtf8,
    Nul,
}

/// The type that a column is built as; smaller ones are cast at the end of a batch.
pub(super) fn built(ty: ColumnType) -> ColumnType {
    match ty {
        ColumnType::Byte | ColumnType::Short | ColumnType::Int | ColumnType::Long => ColumnType::Long,
        ColumnType::Float | ColumnType::Double => ColumnType::Double,
        ColumnType::Date | ColumnType::Timestamp => ColumnType::Timestamp,
        ColumnType::TimestampNs => ColumnType::TimestampNs,
        ColumnType::Boolean => ColumnType::Boolean,
        ColumnType::Symbol => ColumnType::Symbol,
        _ => ColumnType::Varchar,
    }
}

impl Kind {
    pub(super) fn new(ty: ColumnType, pattern: Option<Pattern>, precision: Precision) -> Kind {
        match ty {
            ColumnType::Boolean => Kind::Boolean,
            ColumnType::Byte => Kind::Integer(i8::MIN.into(), i8::MAX.into()),
            ColumnType::Short => Kind::Integer(i16::MIN.into(), i16::MAX.into()),
            ColumnType::Int => Kind::Integer(i32::MIN.into(), i32::MAX.into()),
            ColumnType::Long => Kind::Integer(i64::MIN, i64::MAX),
            ColumnType::Float => Kind::Float,
            ColumnType::Double => Kind::Double,
            ColumnType::Date | ColumnType::Timestamp => Kind::Time(pattern, precision),
            ColumnType::TimestampNs if pattern.is_none() => Kind::TimeNs(precision),
            ColumnType::TimestampNs => Kind::Time(pattern, precision),
            ColumnType::Symbol => Kind::Symbol,
            _ => Kind::Text,
        }
    }

    /// The value of `text`; an empty one is NULL.
    pub(super) fn parse<'a>(&self, text: &'a [u8]) -> Result<Option<Cell<'a>>, Unfit> {
        if text.is_empty() {
            return Ok(None);
        }
        match self {
            Kind::Text | Kind::Symbol => {
                if memchr::memchr(0, text).is_some() {
                    return Err(Unfit::Nul);
                }
                std::str::from_utf8(text).map_err(|_| Unfit::NotUtf8)?;
                return Ok(Some(if matches!(self, Kind::Text) {
                    Cell::Varchar(text)
                } else {
                    Cell::Symbol(text)
                }));
            }
            _ => {}
        }
        let text = text.trim_ascii();
        if text.is_empty() {
            return Ok(None);
        }
        let cell = match self {
            Kind::Boolean => boolean(text).map(Cell::Boolean),
            Kind::Integer(min, max) => {
                integer(text).filter(|value| (min..=max).contains(&value)).map(Cell::Long)
            }
            Kind::Double => double(text).map(Cell::Double),
            Kind::Float => double(text)
                .filter(|value| !value.is_finite() || (*value as f32).is_finite())
                .map(Cell::Double),
            Kind::Time(Some(pattern), _) => pattern.parse(text).map(Cell::Timestamp),
            Kind::Time(None, precision) => time(text, *precision).map(Cell::Timestamp),
            Kind::TimeNs(precision) => time_ns(text, *precision),
            Kind::Text | Kind::Symbol => None,
        };
        cell.map(Some).ok_or(Unfit::Value)
    }
}

pub(super) fn boolean(text: &[u8]) -> Option<bool> {
    match text.len() {
        4 if text.eq_ignore_ascii_case(b"true") => Some(true),
        5 if text.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

pub(super) fn integer(text: &[u8]) -> Option<i64> {
    atoi_simd::parse::<i64, false, false>(text.strip_prefix(b"+").unwrap_or(text)).ok()
}

pub(super) fn double(text: &[u8]) -> Option<f64> {
    fast_float2::parse(text).ok()
}

/// ISO 8601, `20260131T120000Z`, or a number since 1970.
fn time(text: &[u8], precision: Precision) -> Option<i64> {
    parse_iso(text).or_else(|| compact(text)).or_else(|| precision.to_us(integer(text)?))
}

fn time_ns<'a>(text: &[u8], precision: Precision) -> Option<Cell<'a>> {
    if let Some(us) = parse_iso(text) {
        // Microseconds are what a time has here; what a fraction has beyond them is added.
        let dot = memchr::memchr2(b'.', b',', text);
        let fraction = dot.map_or(&[][..], |dot| &text[dot + 1..]);
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let beyond = fraction[..digits].iter().copied().skip(6).chain(std::iter::repeat(b'0')).take(3);
        let nanos = beyond.fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0'));
        return us.checked_mul(1_000)?.checked_add(nanos).map(Cell::TimestampNs);
    }
    let value = integer(text)?;
    match precision {
        Precision::Nanoseconds => Some(Cell::TimestampNs(value)),
        _ => precision.to_us(value).map(Cell::Timestamp),
    }
}

/// `20260131T120000` with `Z` or without.
pub(super) fn compact(text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b"Z").unwrap_or(text);
    let digits =
        |range: std::ops::Range<usize>| text.get(range).filter(|part| part.iter().all(u8::is_ascii_digit));
    if text.len() != 15 || text[8] != b'T' {
        return None;
    }
    let mut iso = Vec::with_capacity(19);
    for (range, separator) in
        [(0..4, b'-'), (4..6, b'-'), (6..8, b'T'), (9..11, b':'), (11..13, b':'), (13..15, b'Z')]
    {
        iso.extend_from_slice(digits(range)?);
        iso.push(separator);
    }
    parse_iso(&iso)
}
