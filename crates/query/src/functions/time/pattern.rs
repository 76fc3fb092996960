//! Patterns of times: QuestDB's and Java's (`yyyy-MM-ddTHH:mm:ss.SSSUUUz`), and PostgreSQL's of `to_char`
//! (`YYYY-MM-DD HH24:MI:SS`).
//!
//! A run of one letter is a field, what stands in quotes and every other sign stands for itself. Where a pattern
//! has no `M`, an `mm` beside a year or a day is the month, which is what a person who writes `yyyy-mm-dd` means.

use std::fmt::Write;

use super::{
    calendar::{self, DAY_US, SECOND_US},
    stamps::Stamp,
    zone::Zone,
};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Literal(String),
    Year,
    /// The last two digits; 20 stands before them.
    YearShort,
    /// Of ISO 8601's weeks.
    WeekYear,
    Month,
    MonthName {
        full: bool,
    },
    Day,
    DayOfYear,
    DayName {
        full: bool,
    },
    /// From 1, Monday.
    Weekday,
    Week,
    Quarter,
    Hour,
    /// From 1 to 12.
    HourOfHalf,
    Minute,
    Second,
    /// So many digits of a second behind its first `skipped`.
    Fraction {
        skipped: u32,
        digits: u32,
    },
    /// AM or PM.
    Half,
    Era,
    Zone,
}

/// A field with the digits that it has at least.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sized {
    field: Field,
    width: usize,
    upper: bool,
}

/// A pattern, ready for many times.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    fields: Vec<Sized>,
}

impl Pattern {
    /// A pattern of QuestDB's and Java's letters.
    pub(super) fn java(text: &str) -> Pattern {
        let mut fields = Vec::new();
        let mut letters = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(first) = chars.next() {
            if first == '\'' {
                if chars.next_if_eq(&'\'').is_some() {
                    literal(&mut fields, "'");
                    continue;
                }
                while let Some(next) = chars.next() {
                    if next == '\'' && chars.next_if_eq(&'\'').is_none() {
                        break;
                    }
                    literal(&mut fields, next.encode_utf8(&mut [0; 4]));
                }
                continue;
            }
            let mut width = 1;
            while chars.next_if_eq(&first).is_some() {
                width += 1;
            }
            let field = match first {
                'y' if width == 2 => Field::YearShort,
                'y' | 'u' if width > 1 || first == 'y' => Field::Year,
                'Y' => Field::WeekYear,
                'M' | 'L' if width > 2 => Field::MonthName { full: width > 3 },
                'M' | 'L' => Field::Month,
                'd' => Field::Day,
                'D' => Field::DayOfYear,
                'E' => Field::DayName { full: width > 3 },
                'u' | 'e' => Field::Weekday,
                'w' => Field::Week,
                'Q' | 'q' => Field::Quarter,
                'H' | 'k' => Field::Hour,
                'h' | 'K' => Field::HourOfHalf,
                'm' => Field::Minute,
                's' => Field::Second,
                'S' if width > 3 => Field::Fraction { skipped: 0, digits: width as u32 },
                'S' => Field::Fraction { skipped: 0, digits: 3 },
                'U' => Field::Fraction { skipped: 3, digits: 3 },
                'N' => Field::Fraction { skipped: 6, digits: 3 },
                'a' => Field::Half,
                'G' => Field::Era,
                'z' | 'Z' | 'x' | 'X' | 'V' => Field::Zone,
                other => {
                    literal(&mut fields, &other.to_string().repeat(width));
                    continue;
                }
            };
            letters.push((fields.len(), first));
            fields.push(Sized { field, width, upper: false });
        }
        // `mm` where a month must be.
        if !letters.iter().any(|(_, letter)| matches!(letter, 'M' | 'L')) {
            let is_date = |at: Option<usize>| {
                at.and_then(|at| letters.get(at)).is_some_and(|(_, letter)| matches!(letter, 'y' | 'd'))
            };
            let month = (0..letters.len()).find(|&at| {
                let before = at.checked_sub(1);
                let after_hour = before.is_some_and(|at| matches!(letters[at].1, 'H' | 'h' | 'k' | 'K'));
                letters[at].1 == 'm' && !after_hour && (is_date(before) || is_date(Some(at + 1)))
            });
            if let Some(at) = month {
                fields[letters[at].0].field = Field::Month;
            }
        }
        Pattern { fields }
    }

    /// A pattern of PostgreSQL's words.
    pub(super) fn postgres(text: &str) -> Pattern {
        const WORDS: [(&str, Field, usize); 29] = [
            ("HH24", Field::Hour, 2),
            ("HH12", Field::HourOfHalf, 2),
            ("YYYY", Field::Year, 4),
            ("IYYY", Field::WeekYear, 4),
            ("Month", Field::MonthName { full: true }, 0),
            ("MONTH", Field::MonthName { full: true }, 0),
            ("month", Field::MonthName { full: true }, 0),
            ("Mon", Field::MonthName { full: false }, 0),
            ("MON", Field::MonthName { full: false }, 0),
            ("mon", Field::MonthName { full: false }, 0),
            ("Day", Field::DayName { full: true }, 0),
            ("DAY", Field::DayName { full: true }, 0),
            ("DDD", Field::DayOfYear, 3),
            ("Dy", Field::DayName { full: false }, 0),
            ("DY", Field::DayName { full: false }, 0),
            ("DD", Field::Day, 2),
            ("ID", Field::Weekday, 1),
            ("IW", Field::Week, 2),
            ("YY", Field::YearShort, 2),
            ("MM", Field::Month, 2),
            ("MI", Field::Minute, 2),
            ("MS", Field::Fraction { skipped: 0, digits: 3 }, 3),
            ("US", Field::Fraction { skipped: 0, digits: 6 }, 6),
            ("HH", Field::HourOfHalf, 2),
            ("SS", Field::Second, 2),
            ("AM", Field::Half, 0),
            ("PM", Field::Half, 0),
            ("TZ", Field::Zone, 1),
            ("Q", Field::Quarter, 1),
        ];
        let mut fields = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(quoted) = rest.strip_prefix('"') {
                let (inside, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
                literal(&mut fields, inside);
                rest = behind;
                continue;
            }
            let starts = |word: &str| {
                let is_name = word.bytes().skip(1).any(|b| b.is_ascii_lowercase())
                    || word.starts_with("MON")
                    || word.starts_with("D");
                match is_name {
                    true => rest.starts_with(word),
                    false => rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)),
                }
            };
            match WORDS.iter().find(|(word, ..)| starts(word)) {
                Some((word, field, width)) => {
                    let upper = word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase());
                    fields.push(Sized { field: field.clone(), width: *width, upper });
                    rest = &rest[word.len()..];
                }
                None => {
                    literal(&mut fields, first.encode_utf8(&mut [0; 4]));
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        Pattern { fields }
    }

    /// Writes a time as the zone's clocks show it.
    pub(super) fn write(&self, (us, ns): Stamp, zone: Zone, out: &mut String) -> std::fmt::Result {
        let ahead = zone.ahead(us);
        let local = us.saturating_add(ahead);
        let (days, of_day) = (local.div_euclid(DAY_US), local.rem_euclid(DAY_US));
        let (year, month, day) = calendar::date_of(days);
        let (hour, minute) = (of_day / (3_600 * SECOND_US), of_day / (60 * SECOND_US) % 60);
        let nanos = of_day % SECOND_US * 1_000 + ns;
        let name = |names: &[&str], at: i64, full: bool, upper: bool, out: &mut String| {
            let name = names[usize::try_from(at - 1).unwrap_or(0)];
            let name = if full { name } else { &name[..3] };
            if upper {
                out.push_str(&name.to_ascii_uppercase())
            } else {
                out.push_str(name)
            }
            Ok(())
        };
        for Sized { field, width, upper } in &self.fields {
            let width = *width;
            match field {
                Field::Literal(text) => {
                    out.push_str(text);
                    Ok(())
                }
                Field::Year => write!(out, "{year:0width$}"),
                Field::YearShort => write!(out, "{:02}", year.rem_euclid(100)),
                Field::WeekYear => write!(out, "{:0width$}", calendar::iso_week(days).0),
                Field::Month => write!(out, "{month:0width$}"),
                Field::MonthName { full } => name(&MONTHS, month, *full, *upper, out),
                Field::Day => write!(out, "{day:0width$}"),
                Field::DayOfYear => write!(out, "{:0width$}", calendar::day_of_year(days)),
                Field::DayName { full } => name(&DAYS, calendar::weekday(days), *full, *upper, out),
                Field::Weekday => write!(out, "{}", calendar::weekday(days)),
                Field::Week => write!(out, "{:0width$}", calendar::iso_week(days).1),
                Field::Quarter => write!(out, "{}", (month + 2) / 3),
                Field::Hour => write!(out, "{hour:0width$}"),
                Field::HourOfHalf => write!(out, "{:0width$}", (hour + 11) % 12 + 1),
                Field::Minute => write!(out, "{minute:0width$}"),
                Field::Second => write!(out, "{:0width$}", of_day / SECOND_US % 60),
                Field::Fraction { skipped, digits } => {
                    let shown = digits.min(&9_u32.saturating_sub(*skipped)).to_owned();
                    let value = nanos / 10_i64.pow(9 - skipped - shown) % 10_i64.pow(shown);
                    // A single letter stands for the number without zeros in front.
                    let places = if width == 1 { 1 } else { shown as usize };
                    write!(out, "{value:0places$}")
                }
                Field::Half => {
                    out.push_str(if hour < 12 { "AM" } else { "PM" });
                    Ok(())
                }
                Field::Era => {
                    out.push_str(if year > 0 { "AD" } else { "BC" });
                    Ok(())
                }
                Field::Zone if ahead == 0 => {
                    out.push('Z');
                    Ok(())
                }
                Field::Zone => {
                    let sign = if ahead < 0 { '-' } else { '+' };
                    let minutes = ahead.abs() / (60 * SECOND_US);
                    write!(out, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
                }
            }?;
        }
        Ok(())
    }

    /// Reads a time; `None` if the text does not follow the pattern, or names no time.
    pub(super) fn read(&self, text: &str) -> Option<Stamp> {
        let mut rest = text.trim();
        let (mut year, mut month, mut day) = (1970, 1, 1);
        let (mut hour, mut minute, mut second, mut nanos) = (0, 0, 0, 0);
        let (mut half, mut zone, mut day_of_year) = (None, Zone::UTC, None);
        for Sized { field, width, .. } in &self.fields {
            let up_to = |digits: usize| if *width == 1 { digits } else { (*width).max(2) };
            match field {
                Field::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Field::Year => year = number(&mut rest, if *width == 1 { 6 } else { (*width).max(4) })?,
                Field::YearShort => year = 2_000 + number(&mut rest, 2)?,
                Field::Month => month = number(&mut rest, up_to(2))?,
                Field::Day => day = number(&mut rest, up_to(2))?,
                Field::DayOfYear => day_of_year = Some(number(&mut rest, 3)?),
                Field::Hour | Field::HourOfHalf => hour = number(&mut rest, up_to(2))?,
                Field::Minute => minute = number(&mut rest, up_to(2))?,
                Field::Second => second = number(&mut rest, up_to(2))?,
                Field::Fraction { skipped, digits } => {
                    let before = rest.len();
                    let value = number(&mut rest, *digits as usize)?;
                    // `S` alone is a number of milliseconds; with more letters, digits behind the point.
                    let read = if *width == 1 { *digits } else { (before - rest.len()) as u32 };
                    nanos += value.checked_mul(10_i64.checked_pow(9_u32.checked_sub(skipped + read)?)?)?;
                }
                Field::MonthName { full } => month = name(&mut rest, &MONTHS, *full)?,
                Field::DayName { full } => {
                    name(&mut rest, &DAYS, *full)?;
                }
                Field::Half => {
                    let start = rest.get(..2)?.to_ascii_uppercase();
                    half = Some(match start.as_str() {
                        "AM" => 0,
                        "PM" => 12,
                        _ => return None,
                    });
                    rest = &rest[2..];
                }
                Field::Era => {
                    let start = rest.get(..2)?.to_ascii_uppercase();
                    if start == "BC" {
                        year = 1 - year;
                    }
                    rest = &rest[2..];
                }
                Field::Zone => {
                    let is_part =
                        |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | ':' | '/' | '_');
                    let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                    zone = Zone::named(&rest[..end])?;
                    rest = &rest[end..];
                }
                // What follows from the rest of the date.
                Field::WeekYear | Field::Weekday | Field::Week | Field::Quarter => {
                    number(&mut rest, (*width).max(1))?;
                }
            }
        }
        if !rest.is_empty() {
            return None;
        }
        if let Some(half) = half {
            if !(1..=12).contains(&hour) {
                return None;
            }
            hour = hour % 12 + half;
        }
        if let Some(day_of_year) = day_of_year {
            (_, month, day) = calendar::date_of(calendar::days_of(year, 1, 1) + day_of_year - 1);
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let of_day = ((hour * 60 + minute) * 60 + second) * SECOND_US + nanos / 1_000;
        Some((zone.utc(calendar::time_of(year, month, day, of_day)?)?, nanos % 1_000))
    }
}

fn literal(fields: &mut Vec<Sized>, text: &str) {
    if let Some(Sized { field: Field::Literal(before), .. }) = fields.last_mut() {
        before.push_str(text);
        return;
    }
    fields.push(Sized { field: Field::Literal(text.to_owned()), width: 0, upper: false });
}

/// Takes one to `digits` digits off the front.
fn number(rest: &mut &str, digits: usize) -> Option<i64> {
    let end = rest.bytes().take(digits).take_while(u8::is_ascii_digit).count();
    let value = rest[..end].parse().ok()?;
    *rest = &rest[end..];
    Some(value)
}

/// Takes a name, or its first three letters, off the front; its place from 1.
fn name(rest: &mut &str, names: &[&str], full: bool) -> Option<i64> {
    let found = names.iter().position(|name| {
        let name = if full { name } else { &name[..3] };
        rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    })?;
    let taken = if full { names[found].len() } else { 3 };
    *rest = &rest[taken..];
    i64::try_from(found + 1).ok()
}
