//! Times by a pattern, as QuestDB and Java write them: `dd/MM/yyyy HH:mm:ss.SSS`.

use chrono::NaiveDate;

use crate::time::{EARLIEST_US, LATEST_US};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// How times are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(u8),
    Year(usize),
    Month(usize),
    MonthName,
    Day(usize),
    Hour(usize),
    /// 1 to 12.
    Hour12(usize),
    Minute(usize),
    Second(usize),
    /// Digits of a fraction: of how many, and what one unit is in nanoseconds.
    Fraction(usize, i64),
    Half,
    Zone,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The letter that means nothing.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let bytes = text.as_bytes();
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte == b'\'' {
                let rest = &bytes[at + 1..];
                let end = memchr::memchr(b'\'', rest)
                    .ok_or_else(|| format!("the pattern {text:?} has an open quote"))?;
                parts.extend(rest[..end].iter().map(|&byte| Part::Literal(byte)));
                at += end + 2;
                continue;
            }
            let count = bytes[at..].iter().take_while(|&&other| other == byte).count();
            // A single letter takes as many digits as there are.
            let digits = if count == 1 { 0 } else { count };
            at += count;
            let part = match byte {
                b'y' | b'u' => Part::Year(digits),
                b'M' if count >= 3 => Part::MonthName,
                b'M' => Part::Month(digits),
                b'd' => Part::Day(digits),
                b'H' => Part::Hour(digits),
                b'h' | b'K' | b'k' => Part::Hour12(digits),
                b'm' => Part::Minute(digits),
                b's' => Part::Second(digits),
                b'S' => Part::Fraction(count, 1_000_000),
                b'U' => Part::Fraction(count, 1_000),
                b'N' => Part::Fraction(count, 1),
                b'a' => Part::Half,
                b'z' | b'Z' | b'x' | b'X' => Part::Zone,
                letter if letter.is_ascii_alphabetic() => {
                    let letter = char::from(letter);
                    return Err(format!(
                        "the letter {letter:?} of the pattern {text:?} has no meaning; use y M d H h m s S U N a Z, and quotes around text"
                    ));
                }
                other => {
                    parts.extend((1..count).map(|_| Part::Literal(other)));
                    Part::Literal(other)
                }
            };
            parts.push(part);
        }
        let has = |wanted: fn(&Part) -> bool| parts.iter().any(wanted);
        if !has(|part| matches!(part, Part::Year(_))) {
            return Err(format!("the pattern {text:?} has no year"));
        }
        Ok(Pattern { text: text.to_owned(), parts })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Microseconds since 1970 UTC.
    pub(super) fn parse(&self, text: &[u8]) -> Option<i64> {
        let mut rest = text;
        let (mut year, mut month, mut day) = (1970, 1, 1);
        let (mut hour, mut minute, mut second, mut nanos, mut zone_us) = (0, 0, 0, 0, 0);
        let mut afternoon = None;
        for part in &self.parts {
            match part {
                Part::Literal(byte) => rest = rest.strip_prefix(&[*byte])?,
                Part::Year(2) => {
                    let short = number(&mut rest, 2, 2)?;
                    year = if short < 70 { 2000 + short } else { 1900 + short };
                }
                Part::Year(_) => year = number(&mut rest, 1, 4)?,
                Part::Month(digits) => month = fixed(&mut rest, *digits)?,
                Part::MonthName => month = month_name(&mut rest)?,
                Part::Day(digits) => day = fixed(&mut rest, *digits)?,
                Part::Hour(digits) => hour = fixed(&mut rest, *digits)?,
                Part::Hour12(digits) => {
                    hour = fixed(&mut rest, *digits)?;
                    afternoon.get_or_insert(false);
                }
                Part::Minute(digits) => minute = fixed(&mut rest, *digits)?,
                Part::Second(digits) => second = fixed(&mut rest, *digits)?,
                Part::Fraction(count, unit) => {
                    let before = rest.len();
                    let (min, max) = if *count == 1 { (1, 9) } else { (*count, *count) };
                    let value = number(&mut rest, min, max)?;
                    let digits = before - rest.len();
                    // Three letters are what the unit counts in; others are digits behind it.
                    let scale = match (unit, digits) {
                        (1_000_000, digits) => 10_i64.pow(9 - u32::try_from(digits).ok()?),
                        _ => *unit,
                    };
                    nanos += value.checked_mul(scale)?;
                }
                Part::Half => {
                    let (half, after) = rest.split_at_checked(2)?;
                    afternoon = Some(match half.to_ascii_lowercase().as_slice() {
                        b"am" => false,
                        b"pm" => true,
                        _ => return None,
                    });
                    rest = after;
                }
                Part::Zone => zone_us = zone(&mut rest)?,
            }
        }
        if !rest.is_empty() || minute > 59 || second > 59 || nanos > 999_999_999 {
            return None;
        }
        if let Some(afternoon) = afternoon {
            hour = match hour {
                12 => 0,
                0..12 => hour,
                _ => return None,
            } + if afternoon { 12 } else { 0 };
        }
        let date = NaiveDate::from_ymd_opt(
            i32::try_from(year).ok()?,
            u32::try_from(month).ok()?,
            u32::try_from(day).ok()?,
        )?;
        let seconds = (0..24).contains(&hour).then_some(hour * 3_600 + minute * 60 + second)?;
        let days = date.signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1)?).num_days();
        let us = (days * 86_400 + seconds) * 1_000_000 + nanos / 1_000 - zone_us;
        (EARLIEST_US..=LATEST_US).contains(&us).then_some(us)
    }
}

/// Two digits, or one or two if the pattern has one letter.
fn fixed(rest: &mut &[u8], digits: usize) -> Option<i64> {
    match digits {
        0 => number(rest, 1, 2),
        _ => number(rest, digits, digits),
    }
}

fn number(rest: &mut &[u8], min: usize, max: usize) -> Option<i64> {
    let digits = rest.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
    if digits < min {
        return None;
    }
    let (number, after) = rest.split_at(digits);
    *rest = after;
    number.iter().try_fold(0_i64, |sum, byte| sum.checked_mul(10)?.checked_add(i64::from(byte - b'0')))
}

fn month_name(rest: &mut &[u8]) -> Option<i64> {
    let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (word, after) = rest.split_at(letters);
    let word = std::str::from_utf8(word).ok()?.to_ascii_lowercase();
    let month = MONTHS.iter().position(|month| *month == word || (word.len() >= 3 && month[..3] == *word))?;
    *rest = after;
    i64::try_from(month + 1).ok()
}

/// `Z`, `UTC`, `GMT`, or an offset.
fn zone(rest: &mut &[u8]) -> Option<i64> {
    for name in ["Z", "UTC", "GMT"] {
        if let Some(after) = rest.strip_prefix(name.as_bytes()) {
            *rest = after;
            return Some(0);
        }
    }
    let sign = match rest.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    *rest = &rest[1..];
    let hours = number(rest, 2, 2).filter(|hours| *hours < 24)?;
    *rest = rest.strip_prefix(b":").unwrap_or(rest);
    let minutes = if rest.first().is_some_and(u8::is_ascii_digit) { number(rest, 2, 2)? } else { 0 };
    Some(sign * (hours * 3_600 + minutes * 60) * 1_000_000)
}
