//! Functions over times.

mod calendar;
mod pattern;
mod stamps;
mod zone;

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, StringArray, StringBuilder,
        TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::{DataType, Float64Type, Int32Type, TimeUnit},
};
use datafusion::{
    common::{Result, exec_datafusion_err, exec_err},
    logical_expr::ScalarUDF,
};

pub(super) use self::stamps::{Stamps, stamps};
use self::{
    calendar::{DAY_US, SECOND_US, Unit},
    pattern::Pattern,
    stamps::nanoseconds,
    zone::Zone,
};
use super::scalar::{Args, NANO_TIME, Output, Param, TIME, array, scalar};

const DATE: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

pub(super) fn functions() -> Vec<ScalarUDF> {
    use Param::{Any, Double, Long, Stamp, Text, Time};
    let time = || Output::Is(TIME);
    let text = || Output::Is(DataType::Utf8);
    let int = || Output::Is(DataType::Int32);
    let part = |names: &[&'static str], body| scalar(names, &[Stamp], 1, int(), body);
    vec![
        scalar(&["to_timestamp"], &[Any, Text], 1, time(), to_timestamp),
        scalar(&["to_timestamp_ns"], &[Any, Text], 1, Output::Is(NANO_TIME), to_timestamp_ns),
        scalar(&["to_date"], &[Any, Text], 1, Output::Is(DATE), |args| {
            Ok(cast(&to_timestamp(args)?, &DATE)?)
        }),
        scalar(&["to_str"], &[Stamp, Text, Text], 2, text(), |args| written(args, Pattern::java)),
        scalar(&["to_char"], &[Stamp, Text, Text], 2, text(), |args| written(args, Pattern::postgres)),
        scalar(&["date_trunc", "datetrunc"], &[Text, Stamp, Text], 2, Output::Of(1), date_trunc),
        scalar(&["timestamp_floor"], &[Text, Stamp, Time, Text, Text], 2, Output::Of(1), |args| {
            rounded(args, Unit::floor_ns)
        }),
        scalar(&["timestamp_ceil"], &[Text, Stamp, Time, Text, Text], 2, Output::Of(1), |args| {
            rounded(args, Unit::ceil_ns)
        }),
        scalar(&["dateadd", "date_add"], &[Text, Long, Stamp], 3, Output::Of(2), dateadd),
        scalar(&["datediff", "date_diff"], &[Text, Stamp, Stamp], 3, Output::Is(DataType::Int64), datediff),
        scalar(&["to_timezone"], &[Stamp, Text], 2, Output::Of(0), |args| shifted(args, Zone::local)),
        scalar(&["to_utc"], &[Stamp, Text], 2, Output::Of(0), |args| shifted(args, Zone::utc)),
        scalar(&["make_timestamp"], &[Long, Long, Long, Long, Long, Double], 6, time(), make_timestamp),
        scalar(&["age"], &[Time, Time], 2, text(), age),
        part(&["year"], |args| each(args, |us| calendar::date(us).0)),
        part(&["quarter"], |args| each(args, |us| (calendar::date(us).1 + 2) / 3)),
        part(&["month"], |args| each(args, |us| calendar::date(us).1)),
        part(&["day"], |args| each(args, |us| calendar::date(us).2)),
        part(&["hour"], |args| each(args, |us| us.div_euclid(3_600 * SECOND_US).rem_euclid(24))),
        part(&["minute"], |args| each(args, |us| us.div_euclid(60 * SECOND_US).rem_euclid(60))),
        part(&["second"], |args| each(args, |us| us.div_euclid(SECOND_US).rem_euclid(60))),
        part(&["millis"], |args| each(args, |us| us.div_euclid(1_000).rem_euclid(1_000))),
        part(&["micros"], |args| each(args, |us| us.rem_euclid(1_000))),
        scalar(&["nanos"], &[Stamp], 1, int(), |args| {
            let times = args.stamps(0)?;
            let nanos = (0..times.len()).map(|row| times.get(row).map(|(_, ns)| ns as i32));
            array(nanos.collect::<Int32Array>())
        }),
        part(&["day_of_week"], |args| each(args, |us| calendar::weekday(us.div_euclid(DAY_US)))),
        part(&["day_of_week_sunday_first"], |args| {
            each(args, |us| calendar::weekday(us.div_euclid(DAY_US)) % 7 + 1)
        }),
        part(&["day_of_year"], |args| each(args, |us| calendar::day_of_year(us.div_euclid(DAY_US)))),
        part(&["week_of_year"], |args| each(args, |us| calendar::iso_week(us.div_euclid(DAY_US)).1)),
        part(&["days_in_month"], |args| {
            each(args, |us| {
                let (year, month, _) = calendar::date(us);
                calendar::days_in(year, month)
            })
        }),
        scalar(&["is_leap_year"], &[Stamp], 1, Output::Is(DataType::Boolean), |args| {
            let times = args.stamps(0)?;
            let is_leap = |(us, _)| calendar::is_leap(calendar::date(us).0);
            array((0..times.len()).map(|row| times.get(row).map(is_leap)).collect::<BooleanArray>())
        }),
    ]
}

/// A small number out of every time.
fn each(args: &Args<'_>, part: fn(i64) -> i64) -> Result<ArrayRef> {
    match args.stamps(0)? {
        Stamps::Us(times) => array(times.unary::<_, Int32Type>(|us| part(us) as i32)),
        Stamps::Ns(times) => array(times.unary::<_, Int32Type>(|ns| part(ns.div_euclid(1_000)) as i32)),
    }
}

/// Something made of a row's text, made again only where the text is another than in the row before.
struct Last<T> {
    text: String,
    made: Option<T>,
}

impl<T> Last<T> {
    fn new() -> Last<T> {
        Last { text: String::new(), made: None }
    }

    fn of(&mut self, text: &str, make: impl FnOnce(&str) -> Result<T>) -> Result<&T> {
        if self.made.is_none() || self.text != text {
            self.made = Some(make(text)?);
            text.clone_into(&mut self.text);
        }
        match &self.made {
            Some(made) => Ok(made),
            None => exec_err!("{text:?} was not read"),
        }
    }
}

fn unit(text: &str) -> Result<Unit> {
    Unit::stride(text).ok_or_else(|| {
        exec_datafusion_err!(
            "there is no unit of time '{text}'; use s, m, h, d, w, M or y, with a number before: '15m'"
        )
    })
}

fn zone(text: &str) -> Result<Zone> {
    Zone::named(text).ok_or_else(|| {
        exec_datafusion_err!("there is no time zone '{text}'; write it as 'Europe/Berlin' or '+02:00'")
    })
}

/// Text by a pattern, or as ISO 8601 writes times; a number of seconds since 1970. NULL for what is no time.
fn to_timestamp(args: &Args<'_>) -> Result<ArrayRef> {
    let given = args.array(0)?;
    match given.data_type() {
        DataType::Utf8 => {}
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Null => {
            return Ok(cast(&given, &TIME)?);
        }
        _ => {
            let seconds = cast(&given, &DataType::Float64)?;
            let seconds = seconds.as_primitive::<Float64Type>();
            let us = seconds.iter().map(|s| s.map(|s| (s * SECOND_US as f64).round() as i64));
            return array(us.collect::<TimestampMicrosecondArray>());
        }
    }
    if args.len() == 1 {
        return Ok(cast(&given, &TIME)?);
    }
    let (texts, patterns) = (args.text(0)?, args.text(1)?);
    let mut last = Last::new();
    let times = texts.iter().zip(&patterns).map(|pair| Ok(read(pair, &mut last)?.map(|(us, _)| us)));
    array(times.collect::<Result<TimestampMicrosecondArray>>()?)
}

/// A row's text by its pattern.
fn read(
    (text, pattern): (Option<&str>, Option<&str>),
    last: &mut Last<Pattern>,
) -> Result<Option<(i64, i64)>> {
    let (Some(text), Some(pattern)) = (text, pattern) else { return Ok(None) };
    if pattern.contains('%') {
        let time = chrono::NaiveDateTime::parse_from_str(text, pattern).ok().map(|time| time.and_utc());
        return Ok(
            time.map(|time| (time.timestamp_micros(), i64::from(time.timestamp_subsec_nanos() % 1_000)))
        );
    }
    Ok(last.of(pattern, |pattern| Ok(Pattern::java(pattern)))?.read(text))
}

/// As [`to_timestamp`], to the nanosecond; a number is of nanoseconds since 1970.
fn to_timestamp_ns(args: &Args<'_>) -> Result<ArrayRef> {
    let given = args.array(0)?;
    if *given.data_type() != DataType::Utf8 || args.len() == 1 {
        return Ok(cast(&given, &NANO_TIME)?);
    }
    let (texts, patterns) = (args.text(0)?, args.text(1)?);
    let mut last = Last::new();
    nanoseconds(texts.iter().zip(&patterns).map(|pair| read(pair, &mut last)))
}

/// A time as text.
fn written(args: &Args<'_>, read: fn(&str) -> Pattern) -> Result<ArrayRef> {
    let (times, patterns) = (args.stamps(0)?, args.text(1)?);
    let zones = zones(args, 2)?;
    let (mut last, mut last_zone) = (Last::new(), Last::new());
    let mut texts = StringBuilder::with_capacity(times.len(), times.len() * 24);
    let mut text = String::new();
    for (row, pattern) in patterns.iter().enumerate() {
        let (Some(time), Some(pattern)) = (times.get(row), pattern) else {
            texts.append_null();
            continue;
        };
        let zone = zone_of(zones.as_ref(), row, &mut last_zone)?;
        text.clear();
        let done = if pattern.contains('%') {
            chrono_write(time, pattern, &mut text)
        } else {
            last.of(pattern, |pattern| Ok(read(pattern)))?.write(time, zone, &mut text)
        };
        if done.is_err() {
            return exec_err!("a time cannot be written as '{pattern}'");
        }
        super::bounds::check_value("to_str", text.len())?;
        super::bounds::check_column("to_str", texts.values_slice().len() + text.len())?;
        texts.append_value(&text);
    }
    Ok(Arc::new(texts.finish()))
}

/// By a pattern of `strftime`.
fn chrono_write((us, ns): (i64, i64), pattern: &str, out: &mut String) -> std::fmt::Result {
    use std::fmt::Write;
    let time = chrono::DateTime::from_timestamp_micros(us);
    match time.map(|time| time + chrono::TimeDelta::nanoseconds(ns)) {
        Some(time) => write!(out, "{}", time.naive_utc().format(pattern)),
        None => Err(std::fmt::Error),
    }
}

fn zones(args: &Args<'_>, at: usize) -> Result<Option<StringArray>> {
    (args.len() > at).then(|| args.text(at)).transpose()
}

fn zone_of(zones: Option<&StringArray>, row: usize, last: &mut Last<Zone>) -> Result<Zone> {
    match zones {
        Some(zones) if zones.is_valid(row) => last.of(zones.value(row), zone).copied(),
        _ => Ok(Zone::UTC),
    }
}

fn date_trunc(args: &Args<'_>) -> Result<ArrayRef> {
    let times = args.stamps(1)?;
    // As in every query that groups by time: the unit is looked up once, not in each of as many copies as there are
    // rows.
    if let Some(text) = args.constant(0)
        && args.len() == 2
    {
        let unit = unit(text)?;
        return match unit {
            Unit::Nano(_) => times.map(|_, time| Ok(unit.floor_ns(time, None))),
            unit => times.floors(|us| unit.floor(us, None)),
        };
    }
    let units = args.text(0)?;
    let zones = zones(args, 2)?;
    let (mut last, mut last_zone) = (Last::new(), Last::new());
    times.map(|row, (us, ns)| {
        if units.is_null(row) {
            return Ok(None);
        }
        let unit = *last.of(units.value(row), unit)?;
        let zone = zone_of(zones.as_ref(), row, &mut last_zone)?;
        let floor = zone.local(us).and_then(|us| unit.floor_ns((us, ns), None));
        Ok(floor.and_then(|(us, ns)| Some((zone.utc(us)?, ns))))
    })
}

/// A unit's beginning at a time, counted from an origin.
type Round = fn(Unit, (i64, i64), Option<i64>) -> Option<(i64, i64)>;

/// `('15m', ts[, from[, offset[, zone]]])`.
fn rounded(args: &Args<'_>, round: Round) -> Result<ArrayRef> {
    let times = args.stamps(1)?;
    if let Some(text) = args.constant(0)
        && args.len() == 2
    {
        let unit = unit(text)?;
        return match times {
            Stamps::Us(_) if !matches!(unit, Unit::Nano(_)) => {
                times.floors(|us| round(unit, (us, 0), None).map(|(us, _)| us))
            }
            times => times.map(|_, time| Ok(round(unit, time, None))),
        };
    }
    let units = args.text(0)?;
    let origins = (args.len() > 2).then(|| args.times(2)).transpose()?;
    let offsets = (args.len() > 3).then(|| args.text(3)).transpose()?;
    let zones = zones(args, 4)?;
    let (mut last, mut last_offset, mut last_zone) = (Last::new(), Last::new(), Last::new());
    times.map(|row, (us, ns)| {
        if units.is_null(row) {
            return Ok(None);
        }
        let unit = *last.of(units.value(row), unit)?;
        let zone = zone_of(zones.as_ref(), row, &mut last_zone)?;
        let mut origin =
            origins.as_ref().filter(|origins| origins.is_valid(row)).map(|origins| origins.value(row));
        if let Some(offsets) = offsets.as_ref().filter(|offsets| offsets.is_valid(row)) {
            let offset = *last_offset.of(offsets.value(row), offset)?;
            origin = Some(origin.unwrap_or_else(|| unit.floor(0, None).unwrap_or(0)).saturating_add(offset));
        }
        let rounded = zone.local(us).and_then(|us| round(unit, (us, ns), origin));
        Ok(rounded.and_then(|(us, ns)| Some((zone.utc(us)?, ns))))
    })
}

/// `00:15`, `-01:30`.
fn offset(text: &str) -> Result<i64> {
    let signed = if text.starts_with(['+', '-']) { text.to_owned() } else { format!("+{text}") };
    match Zone::named(&signed) {
        Some(Zone::Fixed(us)) => Ok(us),
        _ => exec_err!("an offset is written as '00:15', got '{text}'"),
    }
}

fn dateadd(args: &Args<'_>) -> Result<ArrayRef> {
    let (units, counts, times) = (args.text(0)?, args.longs(1)?, args.stamps(2)?);
    let mut last = Last::new();
    times.map(|row, time| {
        if units.is_null(row) || counts.is_null(row) {
            return Ok(None);
        }
        let (text, count) = (units.value(row), counts.value(row));
        match last.of(text, unit)?.add_ns(time, count) {
            Some(sum) => Ok(Some(sum)),
            None => exec_err!("dateadd('{text}', {count}, …) leaves the times that there are"),
        }
    })
}

fn datediff(args: &Args<'_>) -> Result<ArrayRef> {
    let (units, from, to) = (args.text(0)?, args.stamps(1)?, args.stamps(2)?);
    let mut last = Last::new();
    let counts = units.iter().enumerate().map(|(row, text)| {
        let (Some(text), Some(from), Some(to)) = (text, from.get(row), to.get(row)) else { return Ok(None) };
        Ok(last.of(text, unit)?.between_ns(from, to))
    });
    array(counts.collect::<Result<Int64Array>>()?)
}

fn shifted(args: &Args<'_>, shift: fn(Zone, i64) -> Option<i64>) -> Result<ArrayRef> {
    let (times, zones) = (args.stamps(0)?, args.text(1)?);
    let mut last = Last::new();
    times.map(|row, (us, ns)| {
        if zones.is_null(row) {
            return Ok(None);
        }
        Ok(shift(*last.of(zones.value(row), zone)?, us).map(|us| (us, ns)))
    })
}

fn make_timestamp(args: &Args<'_>) -> Result<ArrayRef> {
    let parts = (0..5).map(|at| args.longs(at)).collect::<Result<Vec<_>>>()?;
    let seconds = args.doubles(5)?;
    let times = (0..args.rows).map(|row| {
        if parts.iter().any(|part| part.is_null(row)) || seconds.is_null(row) {
            return Ok(None);
        }
        let [year, month, day, hour, minute] = [0, 1, 2, 3, 4].map(|at: usize| parts[at].value(row));
        let second = seconds.value(row);
        let is_time = (0..24).contains(&hour) && (0..60).contains(&minute) && (0.0..60.0).contains(&second);
        let of_day = is_time.then(|| (hour * 60 + minute) * 60 * SECOND_US + (second * 1e6).round() as i64);
        match of_day.and_then(|of_day| calendar::time_of(year, month, day, of_day)) {
            Some(us) => Ok(Some(us)),
            None => exec_err!("there is no time {year}-{month}-{day} {hour}:{minute}:{second}"),
        }
    });
    array(times.collect::<Result<TimestampMicrosecondArray>>()?)
}

/// What lies between two times as PostgreSQL writes it: `1 year 2 mons 3 days 04:05:06`.
fn age(args: &Args<'_>) -> Result<ArrayRef> {
    let (to, from) = (args.times(0)?, args.times(1)?);
    let ages = to.iter().zip(&from).map(|pair| {
        let (Some(to), Some(from)) = pair else { return None };
        let sign = if to < from { "-" } else { "" };
        let (early, late) = (from.min(to), from.max(to));
        let months = Unit::Months(1).between(early, late)?;
        let rest = late.checked_sub(calendar::add_months(early, months)?)?;
        let mut words = Vec::new();
        for (count, name) in [(months / 12, "year"), (months % 12, "mon"), (rest / DAY_US, "day")] {
            if count != 0 {
                words.push(format!("{sign}{count} {name}{}", if count == 1 { "" } else { "s" }));
            }
        }
        let of_day = rest % DAY_US;
        if of_day != 0 || words.is_empty() {
            let seconds = of_day / SECOND_US;
            let mut clock =
                format!("{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
            if of_day % SECOND_US != 0 {
                clock += format!(".{:06}", of_day % SECOND_US).trim_end_matches('0');
            }
            words.push(clock);
        }
        Some(words.join(" "))
    });
    array(ages.collect::<StringArray>())
}
