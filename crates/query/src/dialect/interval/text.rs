//! Texts of intervals as ranges of time.
//!
//! ```text
//! 2026-01-[05..07]T[09:30,14:00]@Europe/Berlin#workday;1h30m;7d;4
//! └ brackets: one text for each of their items ┘└ zone ┘└ days ┘└ length; and the beginnings' distance, and how many
//! ```
//!
//! A zone's wall clock is what the text is read by: a day has 23 hours where it loses one. Days and longer
//! units are counted on that clock, shorter ones on the instants.

use chrono::{DateTime, Months, NaiveDate, Weekday};

use super::super::calendar::{Stride, Unit, Zone, iso, iso_range_us};

const DAY_US: i64 = 86_400_000_000;

/// Ranges that one text may become.
pub(super) const RANGES_MAX: usize = 1_000;

const TOO_MANY: &str = "name at most 1000 times";

const ZONES: &str = "write a zone behind @ as a name of the IANA database, Europe/Berlin, or +02:00";

/// Texts that brackets may hold in one another.
const BRACKETS_MAX: usize = 8;

/// Units that one length may be made of.
const STRIDES_MAX: usize = 8;

/// Times from `low` on.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Range {
    /// Microseconds of instants; `high` is not one of them.
    Fixed { low_us: i64, high_us: i64 },
    /// From one time relative to the present to another.
    Relative { low: Moment, high: Moment, closed: bool },
}

/// A time relative to the present: SQL of it.
pub(super) type Moment = String;

/// `None` for what is no interval; an error for one that cannot be.
pub(super) fn parse(text: &str) -> Result<Option<Vec<Range>>, &'static str> {
    let mut parts = text.split(';').map(str::trim);
    let body = parts.next().unwrap_or_default();
    let lengths: Vec<&str> = parts.collect();
    let Some(repeat) = Repeat::parse(&lengths) else { return Ok(None) };
    let (body, days) = match cut(body, '#') {
        (body, Some(filter)) => match days(filter) {
            Some(days) => (body, Some(days)),
            None => return Err("name days as in #workday, #weekend or #Mon,Wed,Fri"),
        },
        (body, None) => (body, None),
    };
    let (body, zone) = match cut(body, '@') {
        (body, Some(name)) => (body, Zone::parse(name).ok_or(ZONES)?),
        (body, None) => (body, Zone::UTC),
    };
    let mut texts = Vec::new();
    if !expand(body, BRACKETS_MAX, &mut texts) {
        return if texts.len() >= RANGES_MAX { Err(TOO_MANY) } else { Ok(None) };
    }
    let mut ranges = Vec::new();
    for text in &texts {
        let Some(found) = one(text.trim(), zone, days, &repeat)? else { return Ok(None) };
        ranges.extend(found);
        if ranges.len() > RANGES_MAX {
            return Err(TOO_MANY);
        }
    }
    Ok((!texts.is_empty()).then(|| merged(ranges)))
}

/// `text` before and behind the last `sign` outside of brackets.
fn cut(text: &str, sign: char) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices().rev() {
        match c {
            ']' => depth += 1,
            '[' => depth = depth.saturating_sub(1),
            c if c == sign && depth == 0 => return (text[..at].trim(), Some(text[at + 1..].trim())),
            _ => {}
        }
    }
    (text, None)
}

/// The texts that `text` stands for with its brackets; false if they are wrong, or too many.
fn expand(text: &str, deep: usize, to: &mut Vec<String>) -> bool {
    let Some(open) = text.find('[') else {
        to.push(text.to_owned());
        return to.len() <= RANGES_MAX;
    };
    let mut depth = 0_usize;
    let mut items = Vec::new();
    let mut start = open + 1;
    let mut close = None;
    for (at, c) in text[open..].char_indices().map(|(at, c)| (at + open, c)) {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 1 => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            items.push(&text[start..at]);
            close = Some(at);
            break;
        }
    }
    let (Some(close), true) = (close, deep > 0) else { return false };
    let (before, behind) = (&text[..open], &text[close + 1..]);
    for item in items {
        let item = item.trim();
        let mut each = Vec::new();
        let known = !item.is_empty()
            && match item.split_once("..") {
                Some((from, to)) if !item.contains('[') => count(from.trim(), to.trim(), &mut each),
                _ => expand(item, deep - 1, &mut each),
            };
        let whole = known && each.iter().all(|item| expand(&format!("{before}{item}{behind}"), deep - 1, to));
        if !whole {
            return false;
        }
    }
    true
}

/// `01..31`, `2026-01-30..2026-02-02`, `$today..$today+3d`: each of them.
fn count(from: &str, to: &str, each: &mut Vec<String>) -> bool {
    if let (Some(low), Some(high)) = (day_offset(from), day_offset(to)) {
        let fits = low <= high && high - low < RANGES_MAX as i64;
        each.extend((low..=high).take(RANGES_MAX).map(|days| format!("$today{days:+}d")));
        return fits;
    }
    if let (Ok(low), Ok(high)) = (from.parse::<NaiveDate>(), to.parse::<NaiveDate>()) {
        each.extend(
            low.iter_days().take_while(|day| *day <= high).take(RANGES_MAX).map(|day| day.to_string()),
        );
        return low <= high && (high - low).num_days() < RANGES_MAX as i64;
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<usize>().ok()).flatten()
    };
    let (Some(low), Some(high)) = (number(from), number(to)) else { return false };
    let width = from.len();
    each.extend((low..=high).take(RANGES_MAX).map(|number| format!("{number:0width$}")));
    low <= high && high - low < RANGES_MAX
}

/// Days from today, of a day relative to it.
fn day_offset(text: &str) -> Option<i64> {
    let (day, rest) = variable(text)?;
    let mut days = match day {
        Variable::Now => return None,
        Variable::Day(days) => days,
    };
    for (sign, stride) in steps(rest)? {
        let us = stride.fixed_us().filter(|us| us % DAY_US == 0)?;
        days += sign * us / DAY_US;
    }
    Some(days)
}

#[derive(Clone, Copy)]
enum Variable {
    Now,
    /// So many days from today.
    Day(i64),
}

/// The variable that the text begins with, and what is behind it.
fn variable(text: &str) -> Option<(Variable, &str)> {
    let end = text.find(|c: char| c != '$' && !c.is_ascii_alphabetic()).unwrap_or(text.len());
    // The T of a time of day is no part of the name.
    let (name, rest) = text.split_at(end);
    let lower = name.to_ascii_lowercase();
    let (lower, rest) = match lower.strip_suffix('t') {
        Some(short) if rest.starts_with(|c: char| c.is_ascii_digit()) => (short.to_owned(), &text[end - 1..]),
        _ => (lower, rest),
    };
    let found = match lower.as_str() {
        "$now" => Variable::Now,
        "$today" => Variable::Day(0),
        "$yesterday" => Variable::Day(-1),
        "$tomorrow" => Variable::Day(1),
        _ => return None,
    };
    Some((found, rest.trim()))
}

/// `- 1h + 30m`.
fn steps(mut rest: &str) -> Option<Vec<(i64, Stride)>> {
    let mut steps = Vec::new();
    while !rest.trim().is_empty() {
        rest = rest.trim_start();
        let sign = match rest.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let number = rest[1..].trim_start();
        let end = number.find(['+', '-']).unwrap_or(number.len());
        let text = number[..end].trim();
        // As counted days are written.
        if text != "0d" {
            steps.push((sign, Stride::parse(text)?));
        }
        rest = &number[end..];
        if steps.len() > STRIDES_MAX {
            return None;
        }
    }
    Some(steps)
}

/// How long, and how often.
struct Repeat {
    length: Option<Vec<Stride>>,
    period: Vec<Stride>,
    count: i64,
}

impl Repeat {
    fn parse(parts: &[&str]) -> Option<Repeat> {
        let once = |length| Some(Repeat { length, period: Vec::new(), count: 1 });
        match parts {
            [] => once(None),
            [length] => once(Some(strides(length)?)),
            [length, period, count] => {
                let count = count.parse().ok().filter(|count| (1..=RANGES_MAX as i64).contains(count))?;
                Some(Repeat { length: Some(strides(length)?), period: strides(period)?, count })
            }
            _ => None,
        }
    }
}

/// `1h30m`.
fn strides(text: &str) -> Option<Vec<Stride>> {
    let (mut rest, mut strides) = (text.trim(), Vec::new());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| at + digits);
        strides.push(Stride::parse(&rest[..letters])?);
        rest = &rest[letters..];
        if strides.len() > STRIDES_MAX {
            return None;
        }
    }
    (!strides.is_empty()).then_some(strides)
}

/// The days of a filter, Monday first.
fn days(filter: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    match filter.to_ascii_lowercase().as_str() {
        "workday" | "wd" => days[..5].fill(true),
        "weekend" => days[5..].fill(true),
        names => {
            for name in names.split(',') {
                let day: Weekday = name.trim().parse().ok()?;
                days[day.num_days_from_monday() as usize] = true;
            }
        }
    }
    Some(days)
}

/// The ranges of a text without brackets.
fn one(
    text: &str,
    zone: Zone,
    days: Option<[bool; 7]>,
    repeat: &Repeat,
) -> Result<Option<Vec<Range>>, &'static str> {
    let (text, zone) = match text.split_once('@') {
        Some((text, name)) => (text.trim(), Zone::parse(name).ok_or(ZONES)?),
        None => (text, zone),
    };
    if let Some((low, high)) = text.split_once("..") {
        let (Some(low), Some(high)) = (span(low.trim(), zone), span(high.trim(), zone)) else {
            return Ok(None);
        };
        if days.is_some() || repeat.length.is_some() {
            return Err("where .. stands outside of brackets, write no days and no length");
        }
        return Ok(Some(vec![low.to(high)]));
    }
    Ok(match span(text, zone) {
        None => None,
        Some(Span::Wall { low_us, high_us, zone }) => Some(fixed((low_us, high_us), zone, days, repeat)?),
        Some(Span::Relative { .. }) if days.is_some() || repeat.count > 1 => {
            return Err("write no days and no repetition behind a time relative to the present");
        }
        Some(Span::Relative { low, high, closed }) => match &repeat.length {
            None => Some(vec![Range::Relative { low, high, closed }]),
            Some(length) => {
                let high = length.iter().fold(low.clone(), |high, stride| plus(&high, 1, *stride));
                Some(vec![Range::Relative { low, high, closed: false }])
            }
        },
    })
}

/// What a text names before it is made longer or repeated.
enum Span {
    /// By the wall clock of the zone.
    Wall {
        low_us: i64,
        high_us: i64,
        zone: Zone,
    },
    Relative {
        low: Moment,
        high: Moment,
        closed: bool,
    },
}

impl Span {
    /// From the beginning of this one to the end of that.
    fn to(self, high: Span) -> Range {
        let instant = |wall_us, zone: Zone| zone.instants_us(wall_us).0;
        let literal = |us| match iso(us) {
            Some(text) => format!("CAST('{text}' AS TIMESTAMP)"),
            None => format!("CAST({us} AS TIMESTAMP)"),
        };
        match (self, high) {
            (Span::Wall { low_us, zone, .. }, Span::Wall { high_us, zone: high_zone, .. }) => {
                Range::Fixed { low_us: instant(low_us, zone), high_us: instant(high_us, high_zone) }
            }
            (low, high) => {
                let low = match low {
                    Span::Wall { low_us, zone, .. } => literal(instant(low_us, zone)),
                    Span::Relative { low, .. } => low,
                };
                let (high, closed) = match high {
                    Span::Wall { high_us, zone, .. } => (literal(instant(high_us, zone)), false),
                    Span::Relative { high, closed, .. } => (high, closed),
                };
                Range::Relative { low, high, closed }
            }
        }
    }
}

fn span(text: &str, zone: Zone) -> Option<Span> {
    if text.starts_with('$') {
        return relative(text, zone);
    }
    let (low_us, high_us) = match text.get(4..6) {
        Some("-W" | "-w") => week(text)?,
        _ => iso_range_us(text)?,
    };
    // A text that tells its own distance from UTC is of no other clock.
    let of_day = text.find(['T', ' ', 't']).map_or("", |at| &text[at..]);
    let zone = if of_day.contains(['Z', 'z', '+', '-']) { Zone::UTC } else { zone };
    Some(Span::Wall { low_us, high_us, zone })
}

/// `2026-W05`, `2026-W05-1T09:30`.
fn week(text: &str) -> Option<(i64, i64)> {
    let year: i32 = text.get(..4)?.parse().ok()?;
    let week: u32 = text.get(6..8)?.parse().ok()?;
    let monday = NaiveDate::from_isoywd_opt(year, week, Weekday::Mon)?;
    let rest = &text[8..];
    if rest.is_empty() {
        let low_us = monday.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros();
        return Some((low_us, low_us + 7 * DAY_US));
    }
    let day: u64 = rest.strip_prefix('-')?.get(..1)?.parse().ok().filter(|day| (1..=7).contains(day))?;
    let date = monday.checked_add_days(chrono::Days::new(day - 1))?;
    iso_range_us(&format!("{date}{}", &rest[2..]))
}

fn relative(text: &str, zone: Zone) -> Option<Span> {
    let is_clock = |at: &usize| text[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    let clock = text.match_indices('T').map(|(at, _)| at).find(is_clock);
    let (day, clock) = text.split_at(clock.unwrap_or(text.len()));
    let (variable, rest) = variable(day)?;
    let steps = steps(rest)?;
    let moved = |from: String| steps.iter().fold(from, |from, (sign, stride)| plus(&from, *sign, *stride));
    let days = match variable {
        Variable::Now if clock.is_empty() => {
            let low = moved("now()".to_owned());
            return Some(Span::Relative { high: low.clone(), low, closed: true });
        }
        Variable::Now => return None,
        Variable::Day(days) => days,
    };
    let (from_us, to_us) = match clock.is_empty() {
        true => (0, DAY_US),
        false => iso_range_us(&format!("1970-01-01{clock}"))?,
    };
    let at = |us: i64| {
        let moved = moved(format!("date_trunc('day', {})", local("now()", zone)?));
        let us = days * DAY_US + us;
        let wall = if us == 0 { moved } else { format!("({moved} + interval '{us} microseconds')") };
        Some(match name(zone)? {
            None => wall,
            Some(name) => format!("to_utc({wall}, '{name}')"),
        })
    };
    Some(Span::Relative { low: at(from_us)?, high: at(to_us)?, closed: false })
}

/// What the zone's clock shows at an instant.
fn local(instant: &str, zone: Zone) -> Option<String> {
    Some(match name(zone)? {
        None => instant.to_owned(),
        Some(name) => format!("to_timezone({instant}, '{name}')"),
    })
}

/// How the functions call the zone; nothing for UTC.
fn name(zone: Zone) -> Option<Option<String>> {
    Some(match zone {
        Zone::Fixed(0) => None,
        Zone::Fixed(us) => {
            let minutes = us.abs() / 60_000_000;
            let sign = if us < 0 { '-' } else { '+' };
            Some(format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60))
        }
        Zone::Named(zone) => Some(zone.name().to_owned()),
    })
}

fn plus(from: &str, sign: i64, stride: Stride) -> Moment {
    let sign = if sign < 0 { '-' } else { '+' };
    match (stride.fixed_us(), stride.months()) {
        (Some(us), _) if us % 1_000_000 == 0 => {
            format!("({from} {sign} interval '{} seconds')", us / 1_000_000)
        }
        (Some(us), _) => format!("({from} {sign} interval '{us} microseconds')"),
        (None, months) => format!("({from} {sign} interval '{} months')", months.unwrap_or(1)),
    }
}

/// A span of a wall clock: of the days that are asked for, as long and as often as it is asked for.
fn fixed(
    (low_us, high_us): (i64, i64),
    zone: Zone,
    days: Option<[bool; 7]>,
    repeat: &Repeat,
) -> Result<Vec<Range>, &'static str> {
    const RANGE: &str = "it leaves the times that there are";
    let mut spans = vec![(low_us, high_us)];
    if let Some(days) = days {
        if high_us - low_us > DAY_US {
            let starts = (low_us..high_us).step_by(DAY_US as usize).take(RANGES_MAX + 1);
            spans = starts.map(|low_us| (low_us, low_us + DAY_US)).collect();
            if spans.len() > RANGES_MAX {
                return Err(TOO_MANY);
            }
        }
        spans.retain(|(low_us, _)| days[low_us.div_euclid(DAY_US).wrapping_add(3).rem_euclid(7) as usize]);
    }
    let mut ranges = Vec::new();
    for (low_us, high_us) in spans {
        for turn in 0..repeat.count {
            let low = later(low_us, &repeat.period, turn).ok_or(RANGE)?;
            let high = match &repeat.length {
                None => later(high_us, &repeat.period, turn).ok_or(RANGE)?,
                Some(length) => {
                    let (wall_us, more_us) = later(low.0, length, 1).ok_or(RANGE)?;
                    (wall_us, low.1.checked_add(more_us).ok_or(RANGE)?)
                }
            };
            let instant =
                |(wall_us, more_us): (i64, i64)| zone.instants_us(wall_us).0.saturating_add(more_us);
            ranges.push(Range::Fixed { low_us: instant(low), high_us: instant(high) });
        }
        if ranges.len() > RANGES_MAX {
            return Err(TOO_MANY);
        }
    }
    Ok(ranges)
}

/// A wall clock's time so many times the lengths later: by days and months, and then so many microseconds more.
fn later(wall_us: i64, lengths: &[Stride], times: i64) -> Option<(i64, i64)> {
    let (mut months, mut days_us, mut more_us) = (0_i64, 0_i64, 0_i64);
    for stride in lengths {
        match stride.unit {
            Unit::Fixed(unit_us) => {
                let sum = if unit_us % DAY_US == 0 { &mut days_us } else { &mut more_us };
                *sum = sum.checked_add(unit_us.checked_mul(stride.count)?.checked_mul(times)?)?;
            }
            Unit::Months | Unit::Years => {
                months = months.checked_add(stride.months()?.checked_mul(times)?)?;
            }
        }
    }
    let mut wall_us = wall_us;
    if months > 0 {
        let wall = DateTime::from_timestamp_micros(wall_us)?.naive_utc();
        let moved = wall.checked_add_months(Months::new(u32::try_from(months).ok()?))?;
        wall_us = moved.and_utc().timestamp_micros();
    }
    Some((wall_us.checked_add(days_us)?, more_us))
}

/// The same times in as few ranges.
fn merged(ranges: Vec<Range>) -> Vec<Range> {
    let (mut fixed, mut all): (Vec<(i64, i64)>, Vec<Range>) = (Vec::new(), Vec::new());
    for range in ranges {
        match range {
            Range::Fixed { low_us, high_us } => fixed.push((low_us, high_us)),
            relative @ Range::Relative { .. } => all.push(relative),
        }
    }
    fixed.sort_unstable();
    fixed.dedup_by(|next, before| {
        let joins = next.0 <= before.1;
        if joins {
            before.1 = before.1.max(next.1);
        }
        joins
    });
    all.extend(fixed.into_iter().map(|(low_us, high_us)| Range::Fixed { low_us, high_us }));
    all
}
