//! Field values and times from their text.

use memchr::memchr;

use super::record::{Bad, Stop};
use crate::{Precision, columns::Cell, error::shown};

/// Reads what most fields are: an integer of few digits with its `i`, and a separator behind it.
#[inline]
pub(super) fn short_integer(buf: &[u8], start: usize) -> Option<(i64, usize)> {
    /// So many digits never overflow.
    const DIGITS_MAX: usize = 18;
    let negative = *buf.get(start)? == b'-';
    let digits = start + usize::from(negative);
    let (mut at, mut value) = (digits, 0_i64);
    while let Some(digit) = buf.get(at).map(|b| b.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        at += 1;
    }
    let fits = (1..=DIGITS_MAX).contains(&(at - digits)) && *buf.get(at)? == b'i';
    let ends = fits && matches!(buf.get(at + 1)?, b',' | b' ' | b'\n' | b'\r');
    ends.then(|| (if negative { -value } else { value }, at + 1))
}

/// Reads an unquoted field value, which begins at `at`.
pub(super) fn cell(token: &[u8], at: usize) -> Result<Cell<'static>, Stop> {
    let Some((&last, digits)) = token.split_last() else {
        let cause = "the field has no value".to_owned();
        return Err(Bad::new(at, cause, "leave the field out if there is none").into());
    };
    match token {
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => return Ok(Cell::Boolean(true)),
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => return Ok(Cell::Boolean(false)),
        _ => {}
    }
    if is_integer(digits) && !last.is_ascii_digit() {
        let integer = atoi_simd::parse::<i64, false, true>(digits).ok();
        let in_unit = |unit: Precision| integer.and_then(|value| unit.to_us(value));
        let cell = match last {
            b'i' | b'u' => integer.filter(|&value| last == b'i' || value >= 0).map(Cell::Long),
            b't' => in_unit(Precision::Microseconds).map(Cell::Timestamp),
            b'm' => in_unit(Precision::Milliseconds).map(Cell::Timestamp),
            b'n' => integer.map(Cell::TimestampNs),
            b'd' | b'.' => float(digits).map(Cell::Double),
            _ => return Err(bad_value(token, at)),
        };
        return cell.ok_or_else(|| out_of_range(token, last, at));
    }
    let number = if last == b'd' { digits } else { token };
    float(number).map(Cell::Double).ok_or_else(|| bad_value(token, at))
}

fn is_integer(token: &[u8]) -> bool {
    let digits = token.strip_prefix(b"-").or_else(|| token.strip_prefix(b"+")).unwrap_or(token);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

fn float(token: &[u8]) -> Option<f64> {
    fast_float2::parse(token).ok()
}

#[cold]
fn bad_value(token: &[u8], at: usize) -> Stop {
    let cause = format!("{} is no value", shown(token));
    Bad::new(at, cause, r#"send 1.5 for DOUBLE, 1i for LONG, t or f for BOOLEAN, "text" for VARCHAR"#).into()
}

#[cold]
fn out_of_range(token: &[u8], suffix: u8, at: usize) -> Stop {
    let (what, hint) = match suffix {
        b't' => ("TIMESTAMP", "`t` means microseconds since 1970, in the years 1 to 9999"),
        b'm' => ("TIMESTAMP", "`m` means milliseconds since 1970, in the years 1 to 9999"),
        b'n' => ("TIMESTAMP_NS", "nanoseconds since 1970 must fit 64 bits"),
        _ => ("LONG", "send it as a float (without its suffix), or as a text"),
    };
    Bad::new(at, format!("{} is out of range for {what}", shown(token)), hint).into()
}

#[inline]
pub(super) fn time_us(token: &[u8], precision: Precision) -> Option<i64> {
    let (unit, digits) = match token.split_last()? {
        (b't', digits) => (Precision::Microseconds, digits),
        (b'n', digits) => (Precision::Nanoseconds, digits),
        (b'm', digits) => (Precision::Milliseconds, digits),
        _ => (precision, token),
    };
    unit.to_us(atoi_simd::parse::<i64, false, false>(digits).ok()?)
}

#[cold]
pub(super) fn bad_time(at: usize, token: &[u8], precision: Precision) -> Bad {
    let unit = precision.symbol();
    let digits = token.strip_suffix(b"t").or_else(|| token.strip_suffix(b"n")).unwrap_or(token);
    let digits = digits.strip_suffix(b"m").unwrap_or(digits);
    if is_integer(digits) {
        let cause = format!("the time {} is outside the years 1 to 9999", shown(token));
        return Bad::new(
            at,
            cause,
            &format!("times are taken in {unit} here; set `precision` to their unit"),
        );
    }
    let cause = format!("{} is no time", shown(token));
    let hint = format!("send an integer in {unit} since 1970; put quotes around texts that hold spaces");
    Bad::new(at, cause, &hint)
}

pub(super) fn utf8<'a>(bytes: &'a [u8], at: usize, what: &str) -> Result<&'a str, Stop> {
    std::str::from_utf8(bytes).map_err(|error| {
        let cause = format!("{what} is not UTF-8 (byte {} of it)", error.valid_up_to() + 1);
        Bad::new(at, cause, "send text as UTF-8").into()
    })
}

pub(super) fn unescape_text(raw: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = raw;
    while let Some(slash) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..slash]);
        let escaped = rest.get(slash + 1).copied();
        if !matches!(escaped, Some(b'"' | b'\\' | b'\n' | b'\r')) {
            out.push(b'\\');
        }
        out.extend(escaped);
        rest = rest.get(slash + 2..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}
