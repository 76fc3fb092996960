//! Where partitions begin, in UTC.

use nowcast_model::PartitionBy;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// The first microsecond of the partition that holds `at_us`; `None` for `PARTITION BY NONE`, which has no
/// bounds, and where the beginning lies before what 64 bits hold.
pub fn partition_start_us(by: PartitionBy, at_us: i64) -> Option<i64> {
    let floor = |unit: i64| at_us.div_euclid(unit).checked_mul(unit);
    let day = at_us.div_euclid(DAY_US);
    match by {
        PartitionBy::None => None,
        PartitionBy::Hour => floor(HOUR_US),
        PartitionBy::Day => floor(DAY_US),
        // Day 0 of 1970 was a Thursday.
        PartitionBy::Week => (day - (day + 3).rem_euclid(7)).checked_mul(DAY_US),
        PartitionBy::Month | PartitionBy::Year => {
            let (year, month) = year_and_month(day);
            let month = if by == PartitionBy::Year { 1 } else { month };
            first_day(year, month).checked_mul(DAY_US)
        }
    }
}

/// The first microsecond of the partition that holds `at_us`, and the first behind it; `None` as for
/// [`partition_start_us`].
pub fn partition_range_us(by: PartitionBy, at_us: i64) -> Option<(i64, i64)> {
    let start_us = partition_start_us(by, at_us)?;
    // No partition is longer than 366 days, and each begins at the start of what holds any later time.
    let longest_us = match by {
        PartitionBy::None => return None,
        PartitionBy::Hour => HOUR_US,
        PartitionBy::Day => DAY_US,
        PartitionBy::Week => 7 * DAY_US,
        PartitionBy::Month => 31 * DAY_US,
        PartitionBy::Year => 366 * DAY_US,
    };
    Some((start_us, partition_start_us(by, start_us.checked_add(longest_us)?)?))
}

/// Year and month of a day since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn year_and_month(day: i64) -> (i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month)
}

/// The first of a month as a day since 1970 (same source).
fn first_day(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
