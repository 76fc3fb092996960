//! Times as they come in: numbers since 1970 in a unit, or ISO 8601.

use chrono::NaiveDate;

/// 0001-01-01T00:00:00Z: nothing earlier is taken.
pub(crate) const EARLIEST_US: i64 = -62_135_596_800_000_000;

/// 9999-12-31T23:59:59.999999Z: nothing later is taken. Later times are nearly always a wrong unit.
pub(crate) const LATEST_US: i64 = 253_402_300_799_999_999;

/// The unit of times that are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Nanoseconds; truncated to microseconds when stored.
    #[default]
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
}

/// A unit that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("precision {0:?} is unknown; use one of ns, us, ms, s, m, h")]
pub struct PrecisionError(
    /// What was given.
    pub String,
);

impl Precision {
    /// Reads a `precision` parameter as InfluxDB 1 and 2 and QuestDB spell it: `n`, `ns`, `u`, `us`, `µ`,
    /// `ms`, `s`, `m`, `h`.
    ///
    /// # Errors
    /// Any other word.
    pub fn parse(text: &str) -> Result<Precision, PrecisionError> {
        Ok(match text {
            "n" | "ns" => Precision::Nanoseconds,
            "u" | "us" | "µ" | "µs" => Precision::Microseconds,
            "ms" => Precision::Milliseconds,
            "s" => Precision::Seconds,
            "m" => Precision::Minutes,
            "h" => Precision::Hours,
            _ => return Err(PrecisionError(text.to_owned())),
        })
    }

    /// The unit's symbol.
    pub const fn symbol(self) -> &'static str {
        match self {
            Precision::Nanoseconds => "ns",
            Precision::Microseconds => "us",
            Precision::Milliseconds => "ms",
            Precision::Seconds => "s",
            Precision::Minutes => "m",
            Precision::Hours => "h",
        }
    }

    /// Microseconds of one unit; `None` for nanoseconds, of which a thousand make one.
    const fn us(self) -> Option<i64> {
        match self {
            Precision::Nanoseconds => None,
            Precision::Microseconds => Some(1),
            Precision::Milliseconds => Some(1_000),
            Precision::Seconds => Some(1_000_000),
            Precision::Minutes => Some(60_000_000),
            Precision::Hours => Some(3_600_000_000),
        }
    }

    /// `value` units since 1970 in microseconds, rounded down; `None` outside the years 1 to 9999.
    pub fn to_us(self, value: i64) -> Option<i64> {
        let us = match self.us() {
            None => value.div_euclid(1_000),
            Some(factor) => value.checked_mul(factor)?,
        };
        (EARLIEST_US..=LATEST_US).contains(&us).then_some(us)
    }

    /// As [`Precision::to_us`], for a number with a fraction.
    pub(crate) fn float_to_us(self, value: f64) -> Option<i64> {
        let us = match self.us() {
            None => value / 1_000.0,
            Some(factor) => value * factor as f64,
        };
        // Rounded to the nearest first: 1.7e9 + 0.123456 s is a hair below its microsecond as a double.
        let us = us.round();
        (us >= EARLIEST_US as f64 && us <= LATEST_US as f64).then_some(us as i64)
    }
}

/// Reads ISO 8601 as far as people write it: `YYYY-MM-DD`, then optionally `T` or a space with
/// `HH:MM[:SS[.digits]]` and `Z`, `±HH`, `±HHMM` or `±HH:MM`. Without a zone it is UTC. Digits beyond the sixth
/// are dropped. Returns microseconds since 1970 UTC.
pub fn parse_iso(text: &[u8]) -> Option<i64> {
    let mut rest = Digits(text);
    let year = rest.number(4)?;
    rest.byte(b'-')?;
    let month = rest.number(2)?;
    rest.byte(b'-')?;
    let day = rest.number(2)?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let mut us = date.signed_duration_since(epoch).num_days() * 86_400_000_000;
    if rest.0.is_empty() {
        return in_range(us);
    }
    rest.byte(b'T').or_else(|| rest.byte(b't')).or_else(|| rest.byte(b' '))?;
    let hour = rest.number(2).filter(|&hour| hour < 24)?;
    rest.byte(b':')?;
    let minute = rest.number(2).filter(|&minute| minute < 60)?;
    us += i64::from(hour) * 3_600_000_000 + i64::from(minute) * 60_000_000;
    if rest.byte(b':').is_some() {
        let second = rest.number(2).filter(|&second| second < 60)?;
        us += i64::from(second) * 1_000_000;
        if rest.byte(b'.').or_else(|| rest.byte(b',')).is_some() {
            us += rest.fraction_us()?;
        }
    }
    let zone_us = rest.zone_us()?;
    rest.0.is_empty().then_some(())?;
    in_range(us - zone_us)
}

fn in_range(us: i64) -> Option<i64> {
    (EARLIEST_US..=LATEST_US).contains(&us).then_some(us)
}

/// What is left of a text that is being read from the front.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    fn byte(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    /// A number of exactly `digits` (at most four) digits.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
    }

    fn fraction_us(&mut self) -> Option<i64> {
        let digits = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let (fraction, rest) = self.0.split_at(digits);
        self.0 = rest;
        let padded = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(6);
        (digits > 0).then(|| padded.fold(0, |sum, b| sum * 10 + i64::from(b - b'0')))
    }

    fn zone_us(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.byte(b'Z').is_some() || self.byte(b'z').is_some() {
            return Some(0);
        }
        let sign = if self.byte(b'+').is_some() {
            1
        } else {
            self.byte(b'-')?;
            -1
        };
        let hours = self.number(2).filter(|&hours| hours < 24)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            let _ = self.byte(b':');
            self.number(2).filter(|&minutes| minutes < 60)?
        };
        Some(sign * (i64::from(hours) * 3_600_000_000 + i64::from(minutes) * 60_000_000))
    }
}
