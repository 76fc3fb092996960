//! Buckets of time: `5m`, `1M`, in a zone, from an origin.
//!
//! A bucket begins at a wall clock's time. With daylight saving, a wall clock skips an hour, or shows it
//! twice: a bucket that would begin in the skipped hour begins at its end; the hour that is shown twice is
//! two buckets if a bucket is no longer than it, else part of one.

use std::fmt;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

const DAY_US: i64 = 86_400_000_000;

/// A unit of time as a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unit {
    /// So many microseconds.
    Fixed(i64),
    Months,
    Years,
}

/// A length of time: `30s`, `1M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stride {
    pub(crate) count: i64,
    pub(crate) unit: Unit,
    letter: char,
}

/// The letters that [`Stride::new`] takes.
pub(crate) const UNITS: &str = "U (microseconds), T (milliseconds), s, m, h, d, w, M (months) or y";

/// Months of the longest stride: more than any calendar has.
const COUNT_MAX: i64 = 1_000_000;

impl Stride {
    /// `None` if there is no such unit, or the stride is not positive or too long for a calendar.
    pub(crate) fn new(count: i64, letter: &str) -> Option<Stride> {
        let (unit, letter) = match letter {
            "U" | "us" => (Unit::Fixed(1), 'U'),
            "T" | "ms" => (Unit::Fixed(1_000), 'T'),
            "s" => (Unit::Fixed(1_000_000), 's'),
            "m" => (Unit::Fixed(60_000_000), 'm'),
            "h" | "H" => (Unit::Fixed(3_600_000_000), 'h'),
            "d" | "D" => (Unit::Fixed(DAY_US), 'd'),
            "w" | "W" => (Unit::Fixed(7 * DAY_US), 'w'),
            "M" => (Unit::Months, 'M'),
            "y" | "Y" => (Unit::Years, 'y'),
            _ => return None,
        };
        let fits = match unit {
            Unit::Fixed(us) => count.checked_mul(us).is_some_and(|us| us <= i64::MAX / 4),
            Unit::Months | Unit::Years => count <= COUNT_MAX,
        };
        (count > 0 && fits).then_some(Stride { count, unit, letter })
    }

    /// Reads `30s`.
    pub(crate) fn parse(text: &str) -> Option<Stride> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        Stride::new(text[..digits].parse().ok()?, text[digits..].trim())
    }

    /// Microseconds, if every bucket has as many.
    pub(crate) fn fixed_us(self) -> Option<i64> {
        match self.unit {
            Unit::Fixed(us) => Some(us * self.count),
            Unit::Months | Unit::Years => None,
        }
    }

    pub(crate) fn months(self) -> Option<i64> {
        match self.unit {
            Unit::Fixed(_) => None,
            Unit::Months => Some(self.count),
            Unit::Years => Some(12 * self.count),
        }
    }

    /// Where buckets are counted from if nothing else is said: weeks begin on Mondays.
    pub(crate) fn origin_us(self) -> i64 {
        if self.letter == 'w' { 4 * DAY_US } else { 0 }
    }
}

impl fmt::Display for Stride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.letter)
    }
}

/// Whose wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Zone {
    /// East of UTC, in microseconds.
    Fixed(i64),
    Named(Tz),
}

impl Zone {
    pub(crate) const UTC: Zone = Zone::Fixed(0);

    /// `Europe/Berlin`, `+02:00`, `UTC`.
    pub(crate) fn parse(text: &str) -> Option<Zone> {
        let text = text.trim();
        if matches!(text.to_ascii_uppercase().as_str(), "" | "UTC" | "Z" | "GMT") {
            return Some(Zone::UTC);
        }
        if let Some(us) = offset_us(text) {
            return Some(Zone::Fixed(us));
        }
        if let Ok(zone) = text.parse::<Tz>() {
            return Some(Zone::Named(zone));
        }
        let found = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(text));
        found.map(|zone| Zone::Named(*zone))
    }

    /// What the wall clock shows, as microseconds since its 1970.
    pub(crate) fn wall_us(self, at_us: i64) -> i64 {
        match self {
            Zone::Fixed(us) => at_us.saturating_add(us),
            Zone::Named(zone) => match DateTime::from_timestamp_micros(at_us) {
                Some(at) => {
                    let offset = zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc();
                    at_us.saturating_add(i64::from(offset) * 1_000_000)
                }
                None => at_us,
            },
        }
    }

    /// The first and the last instant at which the wall clock shows `wall_us`; the end of the gap if it never
    /// does.
    pub(crate) fn instants_us(self, wall_us: i64) -> (i64, i64) {
        let zone = match self {
            Zone::Fixed(us) => {
                let at_us = wall_us.saturating_sub(us);
                return (at_us, at_us);
            }
            Zone::Named(zone) => zone,
        };
        let Some(wall) = DateTime::from_timestamp_micros(wall_us).map(|wall| wall.naive_utc()) else {
            return (wall_us, wall_us);
        };
        match zone.from_local_datetime(&wall) {
            chrono::LocalResult::Single(at) => (at.timestamp_micros(), at.timestamp_micros()),
            chrono::LocalResult::Ambiguous(a, b) => (a.timestamp_micros(), b.timestamp_micros()),
            chrono::LocalResult::None => {
                let at_us = self.gap_end_us(wall_us);
                (at_us, at_us)
            }
        }
    }

    /// The instant at which the wall clock jumps over `wall_us`: looked for by halving, to the microsecond.
    fn gap_end_us(self, wall_us: i64) -> i64 {
        let (mut low, mut high) = (wall_us.saturating_sub(2 * DAY_US), wall_us.saturating_add(2 * DAY_US));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.wall_us(middle) >= wall_us { high = middle } else { low = middle }
        }
        high
    }
}

/// `+02:00`, `-00:30`, `00:15` as microseconds.
pub(crate) fn offset_us(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => (1, text),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |digits: &str| {
        let whole = matches!(digits.len(), 1 | 2) && digits.bytes().all(|b| b.is_ascii_digit());
        whole.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000_000)
}

/// How time is cut into buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Buckets {
    pub(crate) stride: Stride,
    pub(crate) zone: Zone,
    /// A bucket begins here, by the wall clock.
    pub(crate) origin_us: i64,
}

impl Buckets {
    /// Where the bucket begins that holds `at_us`.
    pub(crate) fn floor(&self, at_us: i64) -> i64 {
        let wall_us = self.zone.wall_us(at_us);
        let start_us = match self.stride.fixed_us() {
            Some(step_us) => wall_us - (wall_us - self.origin_us).rem_euclid(step_us),
            None => self.month_floor(wall_us),
        };
        let (first_us, last_us) = self.zone.instants_us(start_us);
        let twice = self.stride.fixed_us().is_some_and(|step_us| step_us <= last_us - first_us);
        if twice && last_us <= at_us { last_us } else { first_us }
    }

    /// Where the bucket behind the one that begins at `start_us` begins; `None` at the end of the calendar.
    pub(crate) fn next(&self, start_us: i64) -> Option<i64> {
        if let Some(step_us) = self.stride.fixed_us() {
            let mut probe_us = start_us.checked_add(step_us)?;
            if self.zone == Zone::UTC {
                return Some(probe_us);
            }
            loop {
                let next_us = self.floor(probe_us);
                if next_us > start_us {
                    return Some(next_us);
                }
                probe_us = probe_us.checked_add(step_us)?;
            }
        }
        let wall_us = self.zone.wall_us(start_us);
        let index = self.month_index(wall_us)?;
        let next_us = self.month_start(index.checked_add(self.stride.months()?)?)?;
        let (next_us, _) = self.zone.instants_us(next_us);
        (next_us > start_us).then_some(next_us)
    }

    fn month_floor(&self, wall_us: i64) -> i64 {
        self.month_index(wall_us).and_then(|index| self.month_start(index)).unwrap_or(wall_us)
    }

    /// Months from the origin to the bucket of `wall_us`, a multiple of the stride.
    fn month_index(&self, wall_us: i64) -> Option<i64> {
        let (wall, origin) = (wall(wall_us)?, wall(self.origin_us)?);
        let months = |time: NaiveDateTime| i64::from(time.year()) * 12 + i64::from(time.month0());
        let mut index = months(wall) - months(origin);
        if self.month_start(index)? > wall_us {
            index -= 1;
        }
        Some(index - index.rem_euclid(self.stride.months()?))
    }

    fn month_start(&self, index: i64) -> Option<i64> {
        let origin = wall(self.origin_us)?;
        let months = Months::new(u32::try_from(index.unsigned_abs()).ok()?);
        let start =
            if index < 0 { origin.checked_sub_months(months) } else { origin.checked_add_months(months) };
        Some(start?.and_utc().timestamp_micros())
    }
}

fn wall(wall_us: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(wall_us).map(|time| time.naive_utc())
}

/// A time as ISO 8601 writes it, whole or cut off behind any part: where it begins, and where the first time
/// behind it does that the text does not begin with (`2026-01` is a month).
pub(crate) fn iso_range_us(text: &str) -> Option<(i64, i64)> {
    let text = text.trim();
    let (text, zone_us) = split_zone(text)?;
    let (date, time) = match text.find(['T', ' ', 't']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let mut fields = date.split('-');
    let number = |text: &str, width: usize| -> Option<u32> {
        let digits = text.len() == width && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let year = i32::try_from(number(fields.next()?, 4)?).ok()?;
    let month = fields.next().map(|m| number(m, 2)).map_or(Some(None), |m| m.map(Some))?;
    let day = fields.next().map(|d| number(d, 2)).map_or(Some(None), |d| d.map(Some))?;
    if fields.next().is_some() || (time.is_some() && day.is_none()) {
        return None;
    }
    let midnight =
        NaiveDate::from_ymd_opt(year, month.unwrap_or(1), day.unwrap_or(1))?.and_hms_opt(0, 0, 0)?;
    let us = |time: NaiveDateTime| time.and_utc().timestamp_micros();
    let Some(time) = time else {
        let end = match (month, day) {
            (None, _) => midnight.checked_add_months(Months::new(12))?,
            (Some(_), None) => midnight.checked_add_months(Months::new(1))?,
            (Some(_), Some(_)) => midnight.checked_add_signed(TimeDelta::days(1))?,
        };
        return Some((us(midnight) - zone_us, us(end) - zone_us));
    };
    let (whole, fraction) = match time.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (time, None),
    };
    let parts: Vec<u32> = whole.split(':').map(|part| number(part, 2)).collect::<Option<_>>()?;
    let (hour, minute, second) = match (&parts[..], fraction) {
        ([hour], None) => (*hour, None, None),
        ([hour, minute], None) => (*hour, Some(*minute), None),
        ([hour, minute, second], _) => (*hour, Some(*minute), Some(*second)),
        _ => return None,
    };
    let at = midnight.date().and_hms_opt(hour, minute.unwrap_or(0), second.unwrap_or(0))?;
    let mut start_us = us(at) - zone_us;
    let mut length_us = match (minute, second) {
        (None, _) => 3_600_000_000,
        (Some(_), None) => 60_000_000,
        (Some(_), Some(_)) => 1_000_000,
    };
    if let Some(fraction) = fraction {
        if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = &fraction[..fraction.len().min(6)];
        let scale = 10_i64.pow(6 - u32::try_from(digits.len()).ok()?);
        start_us += digits.parse::<i64>().ok()? * scale;
        length_us = scale;
    }
    Some((start_us, start_us.checked_add(length_us)?))
}

/// Takes `Z`, `+02:00` or `-0230` off the end of a text with a time of day.
fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(rest) = text.strip_suffix(['Z', 'z']) {
        return Some((rest, 0));
    }
    let Some(time_at) = text.find(['T', ' ', 't']) else { return Some((text, 0)) };
    let Some(sign_at) = text[time_at..].find(['+', '-']).map(|at| at + time_at) else {
        return Some((text, 0));
    };
    let (rest, zone) = text.split_at(sign_at);
    let us = match zone.len() {
        3 => offset_us(&format!("{zone}:00")),
        5 if !zone.contains(':') => offset_us(&format!("{}:{}", &zone[..3], zone.get(3..)?)),
        _ => offset_us(zone),
    };
    Some((rest.trim_end(), us?))
}

/// A time as SQL text that is typed by its place.
pub(crate) fn iso(at_us: i64) -> Option<String> {
    let time = wall(at_us)?;
    (0..=9999).contains(&time.year()).then(|| time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
}
