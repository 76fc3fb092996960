//! Times as dates: microseconds since 1970 in the proleptic Gregorian calendar, without an allocation or a
//! range that ends early (the day arithmetic of Hinnant's "chrono-compatible low-level date algorithms").

use super::stamps::{Stamp, joined, split};

pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const DAY_US: i64 = 86_400 * SECOND_US;

/// Days since 1970-01-01.
pub(super) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month from 1, day from 1.
pub(super) fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// Year, month, day of a time.
pub(super) fn date(us: i64) -> (i64, i64, i64) {
    date_of(us.div_euclid(DAY_US))
}

pub(super) fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

pub(super) fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// From 1, Monday.
pub(super) fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7) + 1
}

/// From 1.
pub(super) fn day_of_year(days: i64) -> i64 {
    days - days_of(date_of(days).0, 1, 1) + 1
}

/// ISO 8601's year and week: a week belongs to the year that holds its Thursday.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days + 4 - weekday(days);
    (date_of(thursday).0, (day_of_year(thursday) - 1) / 7 + 1)
}

/// The time of a date; `None` if there is no such day, or no number for it.
pub(super) fn time_of(year: i64, month: i64, day: i64, us_of_day: i64) -> Option<i64> {
    let is_date = (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
    if !is_date || year.abs() > 300_000 {
        return None;
    }
    days_of(year, month, day).checked_mul(DAY_US)?.checked_add(us_of_day)
}

/// Months since year 0.
fn months(us: i64) -> i64 {
    let (year, month, _) = date(us);
    year * 12 + month - 1
}

/// The same day and hour so many months on, the month's last day where it has no such day.
pub(super) fn add_months(us: i64, count: i64) -> Option<i64> {
    let (_, _, day) = date(us);
    let at = months(us).checked_add(count)?;
    let (year, month) = (at.div_euclid(12), at.rem_euclid(12) + 1);
    time_of(year, month, day.min(days_in(year, month)), us.rem_euclid(DAY_US))
}

/// A unit of time: so many microseconds, or so many months.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Us(i64),
    Months(i64),
    /// So many nanoseconds, no whole microseconds.
    Nano(i64),
}

impl Unit {
    const WEEK: Unit = Unit::Us(7 * DAY_US);

    /// QuestDB's letters (`M` is a month, `m` a minute), and words in any case.
    pub(super) fn named(name: &str) -> Option<Unit> {
        Some(match name {
            "n" => Unit::Nano(1),
            "u" | "U" => Unit::Us(1),
            "T" => Unit::Us(1_000),
            "s" | "S" => Unit::Us(SECOND_US),
            "m" => Unit::Us(60 * SECOND_US),
            "h" | "H" => Unit::Us(3_600 * SECOND_US),
            "d" | "D" => Unit::Us(DAY_US),
            "w" | "W" => Unit::WEEK,
            "M" => Unit::Months(1),
            "y" | "Y" => Unit::Months(12),
            word => {
                let word = word.to_ascii_lowercase();
                match word.strip_suffix('s').unwrap_or(&word) {
                    "nano" | "nanosecond" => Unit::Nano(1),
                    "micro" | "microsecond" => Unit::Us(1),
                    "milli" | "millisecond" => Unit::Us(1_000),
                    "second" | "sec" => Unit::Us(SECOND_US),
                    "minute" | "min" => Unit::Us(60 * SECOND_US),
                    "hour" => Unit::Us(3_600 * SECOND_US),
                    "day" => Unit::Us(DAY_US),
                    "week" => Unit::WEEK,
                    "month" => Unit::Months(1),
                    "quarter" => Unit::Months(3),
                    "year" => Unit::Months(12),
                    "decade" => Unit::Months(120),
                    "century" | "centurie" => Unit::Months(1_200),
                    "millennium" | "millennia" => Unit::Months(12_000),
                    _ => return None,
                }
            }
        })
    }

    /// `5m`, `1d`, `M`: a number of one unit.
    pub(super) fn stride(text: &str) -> Option<Unit> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, unit) = text.split_at(digits);
        let count =
            if count.is_empty() { 1 } else { count.parse::<i64>().ok().filter(|count| *count > 0)? };
        Some(match Unit::named(unit.trim())? {
            Unit::Us(us) => Unit::Us(us.checked_mul(count)?),
            Unit::Months(months) => Unit::Months(months.checked_mul(count).filter(|m| *m <= 3_600_000)?),
            Unit::Nano(_) if count % 1_000 == 0 => Unit::Us(count / 1_000),
            Unit::Nano(ns) => Unit::Nano(ns.checked_mul(count)?),
        })
    }

    /// Where it begins to be counted: at 1970, weeks on a Monday, centuries in a year 1.
    fn origin(self) -> i64 {
        match self {
            Unit::Us(us) if us % (7 * DAY_US) == 0 => 4 * DAY_US,
            Unit::Months(months) if months % 1_200 == 0 => days_of(2001, 1, 1) * DAY_US,
            _ => 0,
        }
    }

    /// The last of its beginnings that is not behind `us`; they are counted from `origin`.
    pub(super) fn floor(self, us: i64, origin: Option<i64>) -> Option<i64> {
        let origin = origin.unwrap_or_else(|| self.origin());
        match self {
            Unit::Nano(_) => self.floor_ns((us, 0), Some(origin)).map(|(us, _)| us),
            Unit::Us(unit) => us.checked_sub(us.checked_sub(origin)?.rem_euclid(unit)),
            Unit::Months(unit) => {
                let count = (months(us) - months(origin)).div_euclid(unit) * unit;
                let at = add_months(origin, count)?;
                if at <= us { Some(at) } else { add_months(origin, count - unit) }
            }
        }
    }

    pub(super) fn add(self, us: i64, count: i64) -> Option<i64> {
        match self {
            Unit::Nano(ns) => us.checked_add(ns.checked_mul(count)?.div_euclid(1_000)),
            Unit::Us(unit) => us.checked_add(unit.checked_mul(count)?),
            Unit::Months(unit) => add_months(us, unit.checked_mul(count)?),
        }
    }

    /// Whole units between two times, whichever is the earlier.
    pub(super) fn between(self, a: i64, b: i64) -> Option<i64> {
        let (from, to) = (a.min(b), a.max(b));
        match self {
            Unit::Nano(ns) => Some(to.checked_sub(from)?.checked_mul(1_000)? / ns),
            Unit::Us(unit) => Some(to.checked_sub(from)? / unit),
            Unit::Months(unit) => {
                let whole = months(to) - months(from);
                let short = add_months(from, whole).is_none_or(|at| at > to);
                Some((whole - i64::from(short)) / unit)
            }
        }
    }

    /// [`Unit::floor`] of a time with its nanoseconds.
    pub(super) fn floor_ns(self, time: Stamp, origin: Option<i64>) -> Option<Stamp> {
        let Unit::Nano(unit) = self else { return Some((self.floor(time.0, origin)?, 0)) };
        let origin = origin.unwrap_or(0).checked_mul(1_000)?;
        let ns = joined(time).ok()?;
        Some(split(ns.checked_sub(ns.checked_sub(origin)?.rem_euclid(unit))?))
    }

    /// The first of its beginnings that is not before a time.
    pub(super) fn ceil_ns(self, time: Stamp, origin: Option<i64>) -> Option<Stamp> {
        let floor = self.floor_ns(time, origin)?;
        if floor == time { Some(time) } else { self.add_ns(floor, 1) }
    }

    pub(super) fn add_ns(self, (us, ns): Stamp, count: i64) -> Option<Stamp> {
        match self {
            Unit::Nano(unit) => {
                let sum = unit.checked_mul(count)?.checked_add(ns)?;
                let (more_us, ns) = split(sum);
                Some((us.checked_add(more_us)?, ns))
            }
            unit => Some((unit.add(us, count)?, ns)),
        }
    }

    /// [`Unit::between`] of times with their nanoseconds.
    pub(super) fn between_ns(self, a: Stamp, b: Stamp) -> Option<i64> {
        let (from, to) = (a.min(b), a.max(b));
        match self {
            Unit::Nano(unit) => Some(joined(to).ok()?.checked_sub(joined(from).ok()?)? / unit),
            // The last microsecond is no whole one if it ends too early.
            unit => unit.between(from.0, if to.1 < from.1 { to.0.checked_sub(1)?.max(from.0) } else { to.0 }),
        }
    }
}
