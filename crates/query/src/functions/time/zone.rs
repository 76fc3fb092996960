//! Time zones: `Europe/Berlin` with its rules of every year, `+02:00` without.

use chrono::{NaiveDateTime, Offset, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::calendar::SECOND_US;

/// A zone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Zone {
    /// Ahead of UTC by so many microseconds.
    Fixed(i64),
    Named(Tz),
}

impl Zone {
    pub(super) const UTC: Zone = Zone::Fixed(0);

    /// A name of IANA's list in any case, `UTC`, `Z`, or `+02:00`, `+0200`, `+2`.
    pub(super) fn named(name: &str) -> Option<Zone> {
        if matches!(name, "Z" | "z" | "UTC" | "GMT" | "utc") {
            return Some(Zone::UTC);
        }
        let sign = match name.as_bytes().first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => {
                return TZ_VARIANTS
                    .iter()
                    .find(|zone| zone.name().eq_ignore_ascii_case(name))
                    .copied()
                    .map(Zone::Named);
            }
        };
        let (hours, minutes) = match name[1..].split_once(':') {
            Some(parts) => parts,
            None if name.len() == 5 => (name.get(1..3)?, name.get(3..)?),
            None => (&name[1..], "0"),
        };
        let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
        let ahead = (i64::from(hours) * 60 + i64::from(minutes)) * 60;
        (hours < 24 && minutes < 60).then_some(Zone::Fixed(sign * ahead * SECOND_US))
    }

    /// How far ahead of UTC its clocks are at a time, in microseconds.
    pub(super) fn ahead(self, us: i64) -> i64 {
        match self {
            Zone::Fixed(ahead) => ahead,
            Zone::Named(zone) => naive(us).map_or(0, |time| {
                let seconds = zone.offset_from_utc_datetime(&time).fix().local_minus_utc();
                i64::from(seconds) * SECOND_US
            }),
        }
    }

    /// What its clocks show.
    pub(super) fn local(self, us: i64) -> Option<i64> {
        us.checked_add(self.ahead(us))
    }

    /// When its clocks show a time: the first time if twice; if never, as if they had not been put forward.
    pub(super) fn utc(self, local_us: i64) -> Option<i64> {
        let Zone::Named(_) = self else { return local_us.checked_sub(self.ahead(0)) };
        // A change of clocks is never longer than a day.
        let before = self.ahead(local_us.saturating_sub(super::calendar::DAY_US));
        let after = self.ahead(local_us.saturating_add(super::calendar::DAY_US));
        let (first, second) = (local_us.checked_sub(before)?, local_us.checked_sub(after)?);
        if self.ahead(first) == before || self.ahead(second) != after { Some(first) } else { Some(second) }
    }
}

fn naive(us: i64) -> Option<NaiveDateTime> {
    Some(chrono::DateTime::from_timestamp_micros(us)?.naive_utc())
}
