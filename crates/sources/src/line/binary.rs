//! QuestDB's binary field values: what follows `name==`.
//!
//! ```text
//! DOUBLE   16, f64 little-endian
//! ARRAY    14, element type (10 DOUBLE, 6 LONG), dimensions n, n × u32 length little-endian, elements
//! DECIMAL  23, scale, length n, n bytes: two's complement, big-endian; the value is that times 10^-scale
//! ```
//!
//! As the official clients write them (protocol versions 2 and 3); null is an array without an element type or
//! a decimal without bytes.

use super::record::{Bad, Stop};

const ARRAY: u8 = 14;
const DOUBLE: u8 = 16;
const DECIMAL: u8 = 23;

/// The most dimensions that QuestDB's clients send.
const DIMENSIONS_MAX: usize = 32;

/// True for a byte that announces a binary value.
pub(super) const fn is_type(byte: u8) -> bool {
    matches!(byte, ARRAY | DOUBLE | DECIMAL)
}

/// Reads the value whose type byte stands at `at`. Returns it (`None` for NULL) and where it ends.
pub(super) fn value(buf: &[u8], at: usize) -> Result<(Option<f64>, usize), Stop> {
    match byte(buf, at)? {
        DOUBLE => {
            let bytes = bytes::<8>(buf, at + 1)?;
            Ok((Some(f64::from_le_bytes(bytes)), at + 9))
        }
        DECIMAL => decimal(buf, at),
        ARRAY => {
            let end = array_end(buf, at)?;
            let cause = "arrays are not kept: there are no array columns".to_owned();
            Err(Bad::binary(at, end, cause, "send one field per element, such as `v_0` and `v_1`").into())
        }
        other => {
            let cause = format!("`==` is followed by byte {other}, which is no binary type");
            let hint = "binary types are 16 (double), 14 (array) and 23 (decimal); for text send one `=`";
            let printable = other == b' ' || other.is_ascii_graphic() || matches!(other, b'\n' | b'\r');
            Err(match printable {
                true => Bad::new(at, cause, hint),
                false => Bad::binary(at, at + 1, cause, hint),
            }
            .into())
        }
    }
}

/// Where the array ends whose type byte stands at `at`.
fn array_end(buf: &[u8], at: usize) -> Result<usize, Stop> {
    let element = byte(buf, at + 1)?;
    // QuestDB writes a null array as an element type of its own, with nothing behind it.
    if !matches!(element, 6 | 10) {
        return Ok(at + 2);
    }
    let dimensions = usize::from(byte(buf, at + 2)?);
    if dimensions > DIMENSIONS_MAX {
        let cause = format!("an array of {dimensions} dimensions");
        return Err(Bad::binary(at, at + 3, cause, "arrays are not kept; send one field per element").into());
    }
    let mut elements = 1_usize;
    let mut end = at + 3;
    for _ in 0..dimensions {
        let length = u32::from_le_bytes(bytes::<4>(buf, end)?) as usize;
        elements = elements.saturating_mul(length);
        end += 4;
    }
    let end = end.saturating_add(elements.saturating_mul(8));
    if buf.len() < end { Err(Stop::Incomplete) } else { Ok(end) }
}

fn decimal(buf: &[u8], at: usize) -> Result<(Option<f64>, usize), Stop> {
    /// A 128-bit integer: 38 digits, more than any double tells apart.
    const BYTES_MAX: usize = 16;
    let scale = byte(buf, at + 1)?;
    let length = usize::from(byte(buf, at + 2)?);
    let end = at + 3 + length;
    let digits = buf.get(at + 3..end).ok_or(Stop::Incomplete)?;
    if length > BYTES_MAX {
        let cause = format!("a decimal of {length} bytes; at most {BYTES_MAX} are taken");
        return Err(Bad::binary(at, end, cause, "send it as text or as a float").into());
    }
    let Some(first) = digits.first() else { return Ok((None, end)) };
    let sign: i128 = if first & 0x80 == 0 { 0 } else { -1 };
    let unscaled = digits.iter().fold(sign, |sum, &b| (sum << 8) | i128::from(b));
    // Through its decimal digits, so that the double is the nearest one.
    let nearest = fast_float2::parse::<f64, _>(format!("{unscaled}e-{scale}")).unwrap_or(f64::NAN);
    Ok((Some(nearest), end))
}

fn byte(buf: &[u8], at: usize) -> Result<u8, Stop> {
    buf.get(at).copied().ok_or(Stop::Incomplete)
}

fn bytes<const N: usize>(buf: &[u8], at: usize) -> Result<[u8; N], Stop> {
    buf.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(Stop::Incomplete)
}
