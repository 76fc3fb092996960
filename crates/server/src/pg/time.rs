//! Times as PostgreSQL writes them: ISO, in UTC.

use std::fmt::Write as _;

use arrow::datatypes::IntervalMonthDayNano;
use bytes::{BufMut, BytesMut};

/// Days from 1970 to 2000, from where PostgreSQL counts.
pub(super) const EPOCH_DAYS: i32 = 10_957;

/// The same in microseconds.
pub(super) const EPOCH_US: i64 = EPOCH_DAYS as i64 * DAY_US;

const DAY_US: i64 = 86_400_000_000;

/// Year, month and day of a day since 1970, by eras of 400 years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (year, month, day) = (year + era * 400, (month + 2) % 12 + 1, day - (153 * month + 2) / 5 + 1);
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// `2024-02-29`; true if the year is before Christ, which goes behind all.
fn day(out: &mut BytesMut, days: i64) -> bool {
    let (year, month, day) = civil(days);
    let before = year <= 0;
    let year = if before { 1 - year } else { year };
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
    before
}

/// A day since 1970.
pub(super) fn date(out: &mut BytesMut, days: i64) {
    if day(out, days) {
        out.put_slice(b" BC");
    }
}

/// Microseconds since 1970.
pub(super) fn timestamp(out: &mut BytesMut, us: i64, zone: &str) {
    let before = day(out, us.div_euclid(DAY_US));
    out.put_u8(b' ');
    time(out, us.rem_euclid(DAY_US));
    out.put_slice(zone.as_bytes());
    if before {
        out.put_slice(b" BC");
    }
}

/// Microseconds of a day, or of an interval.
pub(super) fn time(out: &mut BytesMut, us: i64) {
    let seconds = us / 1_000_000;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut fraction = us % 1_000_000;
    if fraction != 0 {
        let mut digits = 6;
        while fraction % 10 == 0 {
            (fraction, digits) = (fraction / 10, digits - 1);
        }
        let _ = write!(out, ".{fraction:0digits$}");
    }
}

/// `1 year 2 mons -3 days 04:05:06.7`; in binary microseconds, days, months.
pub(super) fn interval(out: &mut BytesMut, value: IntervalMonthDayNano, binary: bool) {
    let us = value.nanoseconds / 1_000;
    if binary {
        out.put_i64(us);
        out.put_i32(value.days);
        return out.put_i32(value.months);
    }
    let start = out.len();
    for (count, one, more) in [
        (value.months / 12, "year", "years"),
        (value.months % 12, "mon", "mons"),
        (value.days, "day", "days"),
    ] {
        if count != 0 {
            let space = if out.len() > start { " " } else { "" };
            let _ = write!(out, "{space}{count} {}", if count == 1 { one } else { more });
        }
    }
    if us != 0 || out.len() == start {
        if out.len() > start {
            out.put_u8(b' ');
        }
        if us < 0 {
            out.put_u8(b'-');
        }
        time(out, us.checked_abs().unwrap_or(i64::MAX));
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
    fn times() {
        let table = [
            (0, "1970-01-01 00:00:00"),
            (951_782_400_000_000, "2000-02-29 00:00:00"),
            (-1, "1969-12-31 23:59:59.999999"),
            (1_704_067_200_120_000, "2024-01-01 00:00:00.12"),
            (253_402_300_800_000_000, "10000-01-01 00:00:00"),
            (-62_135_596_800_000_001, "0001-12-31 23:59:59.999999 BC"),
        ];
        for (us, expected) in table {
            assert_eq!(shown(|out| timestamp(out, us, "")), expected);
        }
        assert_eq!(shown(|out| timestamp(out, 0, "+00")), "1970-01-01 00:00:00+00");
        for us in [i64::MIN, i64::MAX] {
            assert!(!shown(|out| timestamp(out, us, "")).is_empty());
        }
    }

    #[test]
    fn intervals() {
        let table = [
            ((0, 0, 0), "00:00:00"),
            ((14, 3, 14_706_700_000_000), "1 year 2 mons 3 days 04:05:06.7"),
            ((0, -1, -1_000_000_000), "-1 days -00:00:01"),
            ((1, 1, 0), "1 mon 1 day"),
        ];
        for ((months, days, nanoseconds), expected) in table {
            let value = IntervalMonthDayNano { months, days, nanoseconds };
            assert_eq!(shown(|out| interval(out, value, false)), expected);
        }
    }
}
