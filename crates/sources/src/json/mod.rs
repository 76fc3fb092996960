//! JSON and NDJSON bodies into a batch of one table.
//!
//! A body is an array of objects, or objects one behind the other (one, or one a line: NDJSON). An object is a
//! row, its members are the row's columns:
//!
//! | JSON | becomes |
//! |---|---|
//! | number | DOUBLE, integers too (also `NaN` and `Infinity`, which Python writes) |
//! | `true`, `false` | BOOLEAN |
//! | string | VARCHAR |
//! | `null` | as if the member were absent |
//! | object, array | an error: name the members flat |
//!
//! The row's time is the member that [`JsonOptions::timestamp_column`] names. Without that it is `timestamp`,
//! `ts` or `time`: the first of these that the first row with any of them has, for the whole body. It is
//! ISO 8601 (without a zone: UTC), or a number if [`JsonOptions::precision`] gives its unit; the unit is never
//! guessed. Rows without a time take that of their arrival.
//!
//! Read in one pass over the bytes, straight into columns; the search for the time column is a pass of its own
//! up to the first row that has one. One fault refuses the whole body.

mod reader;
#[cfg(test)]
mod tests;

use ahash::RandomState;
use hashbrown::HashSet;
use memchr::{memchr, memchr_iter, memrchr};
use nowcast_model::{TableName, check_name};

use crate::{
    Decoded, LineError, Precision, TIMESTAMP_COLUMN,
    columns::Cell,
    error::{TEXT_BYTES_MAX, excerpt, shown},
    table::{PushError, Pushed, Slot, Tables},
    time::parse_iso,
};
use reader::{Fault, Reader, Value};

/// The longest body: offsets in Arrow's text columns have 31 bits.
const BODY_BYTES_MAX: usize = 1 << 30;

/// Members that hold the time if none is named, the first present counts.
const TIME_NAMES: [&str; 3] = [TIMESTAMP_COLUMN, "ts", "time"];

/// How a body is read.
#[derive(Debug, Clone)]
pub struct JsonOptions {
    /// Where the rows go.
    pub table: TableName,
    /// The member that holds the time; every row must have it.
    pub timestamp_column: Option<String>,
    /// The unit of times that are numbers; without it they are refused.
    pub precision: Option<Precision>,
    /// The time of rows that have none: microseconds since 1970 UTC.
    pub now_us: i64,
}

/// Decodes a whole body.
///
/// # Errors
/// The first fault, with its line and column in the body; then nothing is to be written.
pub fn decode_all(body: &[u8], options: &JsonOptions) -> Result<Decoded, LineError> {
    decode(body, options).map_err(|fault| fault.at_place(body))
}

fn decode(body: &[u8], options: &JsonOptions) -> Result<Decoded, Fault> {
    if body.len() > BODY_BYTES_MAX {
        let cause = format!("the body has {} bytes, at most {BODY_BYTES_MAX} are allowed", body.len());
        return Err(Fault::new(0, cause, "send it in smaller parts"));
    }
    if let Err(error) = std::str::from_utf8(body) {
        return Err(Fault::new(error.valid_up_to(), "the body is not UTF-8 here", "send JSON as UTF-8"));
    }
    let time_name = match &options.timestamp_column {
        Some(name) => name.clone(),
        None => time_column(body).unwrap_or_else(|| TIMESTAMP_COLUMN.to_owned()),
    };
    check_name(&time_name).map_err(|error| Fault::new(0, error.to_string(), "name another time column"))?;
    let mut tables = Tables::new();
    let table =
        tables.add(options.table.clone(), &time_name).map_err(|(cause, hint)| Fault::new(0, cause, &hint))?;
    let mut rows =
        Rows { reader: Reader::new(body), tables, table, options, time_name, nulls: HashSet::default() };
    rows.read()?;
    rows.tables.take().map_err(|error| bug(&error))
}

fn bug(error: &arrow::error::ArrowError) -> Fault {
    Fault::new(0, format!("the rows do not fit together: {error}"), "report this as a bug")
}

impl Fault {
    fn at_place(self, body: &[u8]) -> LineError {
        let at = self.at.min(body.len());
        let line = 1 + memchr_iter(b'\n', &body[..at]).count() as u64;
        let line_start = memrchr(b'\n', &body[..at]).map_or(0, |newline| newline + 1);
        // A body without line ends is one long line: its beginning would show nothing.
        let from = line_start.max(at.saturating_sub(TEXT_BYTES_MAX / 2));
        let rest = &body[from..];
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        LineError {
            line,
            column: u32::try_from(at - line_start + 1).unwrap_or(u32::MAX),
            cause: self.cause,
            hint: self.hint,
            text: excerpt(&rest[..end], TEXT_BYTES_MAX),
            fatal: false,
        }
    }
}

/// The name of the first row's time member that has one of [`TIME_NAMES`], as it is written. Faults end the
/// search; reading the rows tells them.
fn time_column(body: &[u8]) -> Option<String> {
    let mut reader = Reader::new(body);
    reader.begin().ok()?;
    let mut best: Option<(usize, String)> = None;
    while best.is_none() && reader.next_object().ok()? {
        while let Some((key, _)) = reader.next_key().ok()? {
            let key = reader.text(&key);
            let rank = TIME_NAMES.iter().position(|name| name.eq_ignore_ascii_case(key));
            if let Some(rank) = rank.filter(|&rank| best.as_ref().is_none_or(|(had, _)| rank < *had)) {
                best = Some((rank, key.to_owned()));
            }
            // A nested value ends the search; what was found before it stands.
            if reader.value().is_err() {
                return best.map(|(_, name)| name);
            }
        }
    }
    best.map(|(_, name)| name)
}

/// The body's rows being read.
struct Rows<'a> {
    reader: Reader<'a>,
    tables: Tables,
    table: usize,
    options: &'a JsonOptions,
    time_name: String,
    /// Members of the row that are null: only to find duplicates.
    nulls: HashSet<String, RandomState>,
}

impl Rows<'_> {
    fn read(&mut self) -> Result<(), Fault> {
        self.reader.begin()?;
        let (mut line, mut counted) = (1, 0);
        while self.reader.next_object()? {
            let at = self.reader.at();
            line += memchr_iter(b'\n', &self.reader.body()[counted..at]).count() as u64;
            counted = at;
            self.row(line)?;
        }
        Ok(())
    }

    fn row(&mut self, line: u64) -> Result<(), Fault> {
        let row_at = self.reader.at() - 1;
        let (mut time_us, mut members) = (None, 0);
        self.nulls.clear();
        while let Some((key_text, at)) = self.reader.next_key()? {
            members += 1;
            let (table, hasher) = self.tables.table(self.table);
            let key = self.reader.text(&key_text);
            if !self.nulls.is_empty() && self.nulls.contains(key) {
                return Err(duplicate(at, key));
            }
            let known = table.expected_name(key).or_else(|| table.find(key, hasher));
            if known.is_none() && table.is_time(key) {
                if time_us.is_some() {
                    return Err(duplicate(at, key));
                }
                time_us = Some(self.time()?);
                continue;
            }
            // A new name is checked, and kept while the value is read into the reader's scratch.
            let mut new_name = String::new();
            let slot = match known {
                Some(column) => Slot::Known(column),
                None => {
                    check_name(key).map_err(|error| bad_name(at, key, &error.to_string()))?;
                    key.clone_into(&mut new_name);
                    Slot::New
                }
            };
            let value_at = self.reader.at();
            let value = self.reader.value()?;
            let cell = match &value {
                Value::Null => {
                    // `null` needs no scratch, so the key still stands there if it did.
                    let key = self.reader.text(&key_text);
                    let (table, _) = self.tables.table(self.table);
                    if matches!(slot, Slot::Known(column) if table.has_cell(column)) {
                        return Err(duplicate(at, key));
                    }
                    self.nulls.insert(key.to_owned());
                    continue;
                }
                Value::Boolean(value) => Cell::Boolean(*value),
                Value::Number(value) => Cell::Double(*value),
                Value::Text(text) => Cell::Varchar(self.reader.text(text).as_bytes()),
            };
            let (table, hasher) = self.tables.table(self.table);
            match table.push(slot, &new_name, cell, line, hasher) {
                Ok(Pushed::Set) => {}
                Ok(Pushed::Duplicate) => {
                    let name = match slot {
                        Slot::Known(column) => table.name_of(column),
                        Slot::New => &new_name,
                    };
                    return Err(duplicate(at, name));
                }
                Err(PushError::Conflict { cause, hint }) => return Err(Fault::new(value_at, cause, &hint)),
                // The body was checked to be UTF-8, so only the number of columns is left.
                Err(PushError::TooMany | PushError::NotUtf8) => {
                    let cause = "the table would have too many columns";
                    return Err(Fault::new(at, cause, "put varying names into a column's values instead"));
                }
            }
        }
        if members == 0 {
            return Err(Fault::new(row_at, "the object has no members", "leave out empty objects"));
        }
        if let (None, Some(name)) = (time_us, &self.options.timestamp_column) {
            let cause = format!("the row has no {name:?}, which `timestamp` names as the time column");
            return Err(Fault::new(row_at, cause, "send it in every row, or leave the parameter out"));
        }
        let time_us = time_us.flatten().unwrap_or(self.options.now_us);
        self.tables.end_row(self.table, time_us, line).map_err(|error| bug(&error))
    }

    /// Reads the time column's value; `None` for null.
    fn time(&mut self) -> Result<Option<i64>, Fault> {
        let at = self.reader.at();
        let value = self.reader.value()?;
        let raw = &self.reader.body()[at..self.reader.at()];
        let name = &self.time_name;
        let number = match &value {
            Value::Null => return Ok(None),
            Value::Boolean(_) => {
                let cause = format!("{name:?} is the time column, got a BOOLEAN");
                return Err(Fault::new(
                    at,
                    cause,
                    "send ISO 8601, or name another column with `?timestamp=`",
                ));
            }
            Value::Number(_) => raw,
            Value::Text(text) => {
                let text = self.reader.text(text).as_bytes();
                if let Some(us) = parse_iso(text) {
                    return Ok(Some(us));
                }
                let is_number = text.first().is_some_and(|b| b.is_ascii_digit() || *b == b'-');
                match is_number && fast_float2::parse::<f64, _>(text).is_ok() {
                    true => text,
                    false => {
                        let cause = format!("{} in the time column {name:?} is no time", shown(text));
                        let hint = "send ISO 8601 such as 2026-01-31T12:00:00Z, or name another column with \
                                    `?timestamp=`";
                        return Err(Fault::new(at, cause, hint));
                    }
                }
            }
        };
        let Some(precision) = self.options.precision else {
            let cause = format!("the time {} is a number, and its unit is not known", shown(number));
            return Err(Fault::new(
                at,
                cause,
                "add `?precision=ms` (or ns, us, s) to the address, or send ISO 8601",
            ));
        };
        let us = match atoi_simd::parse::<i64, false, false>(number) {
            Ok(integer) => precision.to_us(integer),
            Err(_) => fast_float2::parse(number).ok().and_then(|float| precision.float_to_us(float)),
        };
        us.map(Some).ok_or_else(|| {
            let unit = precision.symbol();
            let cause = format!("the time {} in {unit} is outside the years 1 to 9999", shown(number));
            Fault::new(at, cause, "set `?precision=` to its unit")
        })
    }
}

#[cold]
fn duplicate(at: usize, key: &str) -> Fault {
    let cause = format!("the object has the member {key:?} twice");
    Fault::new(at, cause, "send each member once; names match without case")
}

#[cold]
fn bad_name(at: usize, key: &str, error: &str) -> Fault {
    let renamed: String = key.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).take(64).collect();
    Fault::new(at, error.to_owned(), &format!("rename it, for instance to `{renamed}`"))
}
