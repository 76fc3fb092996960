//! One column's values in another type: what is lossless and expected, and a clear no to the rest.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{
        ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType,
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use nowcast_model::ColumnType;

use crate::columns::nulls;

/// Why a column's values cannot become the table's type.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// The first row that does not fit; `None` if no value would.
    pub(crate) row: Option<usize>,
    /// What was found there, to follow "is LONG, got".
    pub(crate) got: String,
    /// What to do about it.
    pub(crate) hint: String,
}

/// `array` as `to`, its own type being `from`.
///
/// | to | from |
/// |---|---|
/// | an integer | another in range; a float without fraction, in range |
/// | FLOAT, DOUBLE | an integer; the other float, if it does not overflow |
/// | VARCHAR, SYMBOL | each other |
/// | TIMESTAMP, TIMESTAMP_NS, DATE | each other (finer digits cut); ISO 8601 text; an integer or whole float in the column's own unit |
/// | any | itself; a column of NULLs |
pub(crate) fn coerce(array: &ArrayRef, from: ColumnType, to: ColumnType) -> Result<ArrayRef, Misfit> {
    use ColumnType::{Boolean, Symbol, Varchar};
    if from == to {
        return Ok(array.clone());
    }
    if array.null_count() == array.len() {
        return Ok(nulls(to, array.len()));
    }
    let text = |ty| matches!(ty, Varchar | Symbol);
    if from == Boolean || to == Boolean {
        return Err(refuse(array, from, to));
    }
    if text(from) && text(to) {
        return cast_all(array, array, from, to);
    }
    if from.is_numeric() && to.is_numeric() {
        return number(array, from, to);
    }
    if is_time(to) {
        if is_time(from) {
            return time(array, from, to);
        }
        if text(from) {
            let plain = cast_all(array, array, from, Varchar)?;
            return cast_all(array, &plain, from, to);
        }
        if from.is_numeric() {
            let epoch = number(array, from, ColumnType::Long)?;
            return cast_all(array, &epoch, from, to);
        }
    }
    Err(refuse(array, from, to))
}

fn is_time(ty: ColumnType) -> bool {
    matches!(ty, ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date)
}

/// Casts, and refuses where a value became NULL. `original` is what the sender wrote.
fn cast_all(
    original: &ArrayRef,
    array: &ArrayRef,
    from: ColumnType,
    to: ColumnType,
) -> Result<ArrayRef, Misfit> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let cast = cast_with_options(array, &to.arrow(), &options).map_err(|_| refuse(original, from, to))?;
    if cast.null_count() == array.null_count() {
        return Ok(cast);
    }
    let lost = |&row: &usize| array.is_valid(row) && cast.is_null(row);
    Err(match (0..array.len()).find(lost) {
        Some(row) => misfit(original, from, to, row),
        None => refuse(original, from, to),
    })
}

fn number(array: &ArrayRef, from: ColumnType, to: ColumnType) -> Result<ArrayRef, Misfit> {
    use ColumnType::{Double, Float};
    let is_float = |ty| matches!(ty, Double | Float);
    let bad_row = match (array.data_type(), is_float(to)) {
        (DataType::Float64, false) => find(array.as_primitive::<Float64Type>(), |v| v.fract() != 0.0),
        (DataType::Float32, false) => find(array.as_primitive::<Float32Type>(), |v| v.fract() != 0.0),
        #[expect(clippy::cast_possible_truncation, reason = "the overflow to infinity is what is looked for")]
        (DataType::Float64, true) => {
            find(array.as_primitive::<Float64Type>(), |v| v.is_finite() && !(v as f32).is_finite())
        }
        _ => None,
    };
    match bad_row {
        Some(row) => Err(misfit(array, from, to, row)),
        None => cast_all(array, array, from, to),
    }
}

fn find<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, bad: impl Fn(T::Native) -> bool) -> Option<usize> {
    // NaN and infinities have a fraction that is NaN, hence not 0.
    array.iter().position(|value| value.is_some_and(&bad))
}

/// Between units of time. Finer digits are cut towards the past, so that times before 1970 keep their order.
fn time(array: &ArrayRef, from: ColumnType, to: ColumnType) -> Result<ArrayRef, Misfit> {
    use ColumnType::{Date, Timestamp, TimestampNs};
    let divisor = match (from, to) {
        (TimestampNs, Timestamp) | (Timestamp, Date) => 1_000,
        (TimestampNs, Date) => 1_000_000,
        _ => return cast_all(array, array, from, to),
    };
    let ticks = cast_all(array, array, from, ColumnType::Long)?;
    let cut: PrimitiveArray<Int64Type> = ticks.as_primitive::<Int64Type>().unary(|t| t.div_euclid(divisor));
    Ok(match to {
        Date => Arc::new(cut.reinterpret_cast::<TimestampMillisecondType>()) as ArrayRef,
        TimestampNs => Arc::new(cut.reinterpret_cast::<TimestampNanosecondType>()),
        _ => Arc::new(cut.reinterpret_cast::<TimestampMicrosecondType>()),
    })
}

fn misfit(array: &ArrayRef, from: ColumnType, to: ColumnType, row: usize) -> Misfit {
    let value = show(array, row);
    let value = if matches!(from, ColumnType::Varchar | ColumnType::Symbol) {
        format!("{:?}", shorten(&value))
    } else {
        value
    };
    Misfit { row: Some(row), got: format!("{from} {value}"), hint: hint(to) }
}

/// A cell for an error message; a time that no calendar has as its number.
pub(crate) fn show(array: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::new().with_display_error(false);
    let text = |array: &ArrayRef| {
        ArrayFormatter::try_new(array.as_ref(), &options).ok()?.value(row).try_to_string().ok()
    };
    let number = || text(&arrow::compute::cast(array, &DataType::Int64).ok()?);
    text(array).or_else(number).unwrap_or_default()
}

fn refuse(array: &ArrayRef, from: ColumnType, to: ColumnType) -> Misfit {
    match (0..array.len()).find(|&row| array.is_valid(row)) {
        Some(row) => misfit(array, from, to, row),
        None => Misfit { row: None, got: from.to_string(), hint: hint(to) },
    }
}

/// The beginning of a text that may be a megabyte.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn hint(to: ColumnType) -> String {
    use ColumnType::{
        Boolean, Byte, Date, Double, Float, Int, Long, Short, Symbol, Timestamp, TimestampNs, Varchar,
    };
    match to {
        Boolean => "send true or false, or use another column name",
        Byte => "send a whole number from -128 to 127, or use another column name",
        Short => "send a whole number from -32768 to 32767, or use another column name",
        Int => "send a whole number from -2147483648 to 2147483647, or use another column name",
        Long => "send a whole number of 64 bits, or use another column name",
        Float | Double => "send a number, or use another column name",
        Symbol | Varchar => "send text, or use another column name",
        Timestamp => "send ISO 8601 text or microseconds since 1970, or use another column name",
        TimestampNs => "send ISO 8601 text or nanoseconds since 1970, or use another column name",
        Date => "send ISO 8601 text or milliseconds since 1970, or use another column name",
    }
    .to_owned()
}
