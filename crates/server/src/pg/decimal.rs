//! Numbers as PostgreSQL writes them.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};

/// The shortest digits that read back as the same double; PostgreSQL's exponents.
pub(super) fn float64(out: &mut BytesMut, value: f64) {
    float(out, value.is_nan(), value.is_infinite(), value < 0.0, format_args!("{value:e}"), 15);
}

/// The same for single precision.
pub(super) fn float32(out: &mut BytesMut, value: f32) {
    float(out, value.is_nan(), value.is_infinite(), value < 0.0, format_args!("{value:e}"), 6);
}

/// `scientific` is `-1.25e-7`. From 10 to the power of `wide` on, and below 0.0001, the exponent is written.
fn float(
    out: &mut BytesMut,
    nan: bool,
    infinite: bool,
    below: bool,
    scientific: std::fmt::Arguments<'_>,
    wide: i32,
) {
    match (nan, infinite, below) {
        (true, ..) => return out.put_slice(b"NaN"),
        (_, true, true) => return out.put_slice(b"-Infinity"),
        (_, true, false) => return out.put_slice(b"Infinity"),
        _ => {}
    }
    // No double has more than 17 digits, a sign, a point and four characters of exponent.
    let mut buffer = Short::new();
    let _ = buffer.write_fmt(scientific);
    let (mantissa, exponent) = buffer.as_str().split_once('e').unwrap_or((buffer.as_str(), "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    out.put_slice(sign.as_bytes());
    if !(-4..wide).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{mantissa}e{sign}{:02}", exponent.abs());
        return;
    }
    let digits = || mantissa.bytes().filter(u8::is_ascii_digit);
    if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', usize::try_from(-exponent - 1).unwrap_or(0));
        out.extend(digits());
        return;
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    out.extend(digits().chain(std::iter::repeat(b'0')).take(whole));
    if digits().count() > whole {
        out.put_u8(b'.');
        out.extend(digits().skip(whole));
    }
}

/// A text of at most 40 bytes, on the stack.
struct Short {
    bytes: [u8; 40],
    len: usize,
}

impl Short {
    fn new() -> Short {
        Short { bytes: [0; 40], len: 0 }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl std::fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let space = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(std::fmt::Error)?;
        space.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// `value` tenths, hundredths, … with `scale` digits behind the point.
pub(super) fn text(out: &mut BytesMut, value: i128, scale: i8) {
    let scale_digits = usize::try_from(scale).unwrap_or(0);
    if value < 0 {
        out.put_u8(b'-');
    }
    let mut buffer = Short::new();
    let _ = write!(buffer, "{}", value.unsigned_abs());
    let digits = buffer.as_str();
    let whole = digits.len().saturating_sub(scale_digits);
    out.put_slice(if whole == 0 { b"0" } else { &digits.as_bytes()[..whole] });
    if scale < 0 && value != 0 {
        out.put_bytes(b'0', usize::from(scale.unsigned_abs()));
    }
    if scale_digits > 0 {
        out.put_u8(b'.');
        out.put_bytes(b'0', scale_digits.saturating_sub(digits.len()));
        out.put_slice(&digits.as_bytes()[whole..]);
    }
}

/// Digits to the base of 10,000.
pub(super) fn binary(out: &mut BytesMut, value: i128, scale: i8) {
    // The least significant digit stands at a multiple of four decimal ones.
    let behind = usize::try_from(scale).unwrap_or(0);
    let pad = (4 - behind % 4) % 4;
    let zeros = pad + if scale < 0 { usize::from(scale.unsigned_abs()) } else { 0 };
    let mut digits = [0_u8; 200];
    let mut buffer = Short::new();
    let _ = write!(buffer, "{}", value.unsigned_abs());
    let written = buffer.as_str().len();
    let total = written + zeros;
    let groups = total.div_ceil(4);
    let lead = groups * 4 - total;
    for (to, from) in digits[lead..].iter_mut().zip(buffer.as_str().bytes()) {
        *to = from - b'0';
    }
    let group = |i: usize| digits[i * 4..i * 4 + 4].iter().fold(0_i16, |sum, &d| sum * 10 + i16::from(d));
    let first = (0..groups).find(|&i| group(i) != 0).unwrap_or(groups);
    let last = (first..groups).rev().find(|&i| group(i) != 0).map_or(first, |i| i + 1);
    let count = |n: usize| i16::try_from(n).unwrap_or(i16::MAX);
    out.put_i16(count(last - first));
    out.put_i16(count(groups) - count(behind.div_ceil(4)) - count(first) - 1);
    out.put_u16(if value < 0 { 0x4000 } else { 0 });
    out.put_i16(count(behind));
    for i in first..last {
        out.put_i16(group(i));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: impl Fn(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn doubles_are_written_as_postgresql_writes_them() {
        let table = [
            (0.0, "0"),
            (-0.5, "-0.5"),
            (1.0, "1"),
            (36.6, "36.6"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (100_000_000_000_000.0, "100000000000000"),
            (1e15, "1e+15"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (1.5e300, "1.5e+300"),
            (f64::MIN, "-1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in table {
            assert_eq!(shown(|out| float64(out, value)), expected);
        }
        assert_eq!(shown(|out| float32(out, 1e6)), "1e+06");
        assert_eq!(shown(|out| float32(out, 999_999.0)), "999999");
        assert_eq!(shown(|out| float32(out, 0.1)), "0.1");
    }

    #[test]
    fn decimals() {
        let table = [
            (0, 0, "0"),
            (12_345, 2, "123.45"),
            (-5, 3, "-0.005"),
            (7, -2, "700"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
        ];
        for (value, scale, expected) in table {
            assert_eq!(shown(|out| text(out, value, scale)), expected);
        }
        let table: [(i128, i8, &[i16]); 6] = [
            (0, 0, &[0, -1, 0, 0]),
            (12_345, 2, &[2, 0, 0, 2, 123, 4500]),
            (-10_000, 0, &[1, 1, 0x4000, 0, 1]),
            (5, 3, &[1, -1, 0, 3, 50]),
            (7, -2, &[1, 0, 0, 0, 700]),
            (123_456_789, 0, &[3, 2, 0, 0, 1, 2345, 6789]),
        ];
        for (value, scale, expected) in table {
            let mut out = BytesMut::new();
            binary(&mut out, value, scale);
            let words: Vec<i16> = out.chunks(2).map(|b| i16::from_be_bytes([b[0], b[1]])).collect();
            assert_eq!(words, expected, "{value} {scale}");
        }
    }
}
