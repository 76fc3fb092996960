//! What a file looks like, from its beginning.

use std::{collections::HashSet, sync::Arc};

use nowcast_model::{
    ColumnType, check_name,
    limits::{COLUMNS_MAX, NAME_BYTES_MAX},
};

use super::{
    CsvColumn, CsvOptions, Layout,
    cell::{boolean, compact, double, integer},
    fault, same_name,
};
use crate::{LineError, error::shown, time::parse_iso};

/// Records that are looked at.
const SAMPLE_RECORDS: usize = 1_000;

/// Delimiters that are tried, the likeliest first.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// Values from which on few distinct ones make a SYMBOL.
const SYMBOL_VALUES_MIN: usize = 64;

/// So many values for each distinct one do.
const SYMBOL_REPEATS_MIN: usize = 8;

/// A text longer than that is no symbol.
const SYMBOL_BYTES_MAX: usize = 64;

/// The records of the sample. The last one is left out if the sample may cut it.
struct Sample {
    records: Vec<Vec<Vec<u8>>>,
}

impl Sample {
    /// `None` if a record has more cells than a table can have columns.
    fn read(bytes: &[u8], whole: bool, delimiter: u8) -> Option<Sample> {
        let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // Unquoted text is never longer than it was.
        let (mut out, mut ends) = (vec![0; bytes.len() + 1], vec![0; COLUMNS_MAX + 1]);
        let (mut input, mut records) = (bytes, Vec::new());
        while records.len() < SAMPLE_RECORDS {
            let (mut len, mut cells) = (0, 0);
            loop {
                let (result, read, written, ended) =
                    core.read_record(input, &mut out[len..], &mut ends[cells..]);
                input = &input[read..];
                (len, cells) = (len + written, cells + ended);
                match result {
                    csv_core::ReadRecordResult::Record if cells <= COLUMNS_MAX => break,
                    csv_core::ReadRecordResult::InputEmpty if whole => {}
                    csv_core::ReadRecordResult::InputEmpty | csv_core::ReadRecordResult::End => {
                        return Some(Sample { records });
                    }
                    _ => return None,
                }
            }
            let mut begin = 0;
            let cell = |&end: &usize| out[std::mem::replace(&mut begin, end)..end].to_vec();
            records.push(ends[..cells].iter().map(cell).collect());
        }
        Some(Sample { records })
    }

    /// The number of cells that most records have, and how many have it.
    fn width(&self) -> (usize, usize) {
        let mut counts = std::collections::BTreeMap::new();
        for record in &self.records {
            *counts.entry(record.len()).or_insert(0) += 1;
        }
        counts.into_iter().max_by_key(|&(_, count)| count).unwrap_or((0, 0))
    }
}

/// # Errors
/// There is nothing, or no column can be made of it.
pub(super) fn layout(bytes: &[u8], whole: bool, options: &CsvOptions) -> Result<Layout, LineError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(fault(1, "the file is empty", "send a header and rows", &[]));
    }
    let (delimiter, sample) = delimiter(bytes, whole, options)?;
    let records = &sample.records;
    let first = &records[0];
    let width = first.len().max(if records.len() > 1 { sample.width().0 } else { 0 });
    let body: Vec<ColumnType> =
        (0..width).map(|i| kind(records.iter().skip(1).filter_map(|record| record.get(i)))).collect();
    let header = options.header.unwrap_or_else(|| is_header(records, &body, options));
    if header {
        // What the header does not name has no name.
        let named = first.len();
        let names = names(first)?;
        return columns(delimiter, true, names, &body[..named], options);
    }
    let types: Vec<ColumnType> =
        (0..width).map(|i| kind(records.iter().filter_map(|record| record.get(i)))).collect();
    let names = match &options.table {
        Some(table) if table.len() >= width => table.iter().take(width).map(|c| c.name.clone()).collect(),
        Some(table) => {
            let cause = format!("the rows have {width} cells, the table {} columns", table.len());
            return Err(fault(1, &cause, "name the columns in a header", &[]));
        }
        None => (0..width).map(|i| Arc::from(format!("f{i}"))).collect(),
    };
    columns(delimiter, false, names, &types, options)
}

fn delimiter(bytes: &[u8], whole: bool, options: &CsvOptions) -> Result<(u8, Sample), LineError> {
    let given = options.delimiter.map(|delimiter| vec![delimiter]);
    let tried = given.unwrap_or_else(|| DELIMITERS.to_vec());
    let mut best: Option<((usize, usize), u8, Sample)> = None;
    let mut too_wide = false;
    for &delimiter in &tried {
        let Some(sample) = Sample::read(bytes, whole, delimiter) else {
            too_wide = true;
            continue;
        };
        if sample.records.is_empty() {
            continue;
        }
        let (width, count) = sample.width();
        // One cell a row is what a wrong delimiter gives; more rows alike are better than more cells.
        let share = if width > 1 { 1 + count * 10 / sample.records.len() } else { 0 };
        let score = (share, width);
        if best.as_ref().is_none_or(|(other, ..)| score > *other) {
            best = Some((score, delimiter, sample));
        }
    }
    let begin = &bytes[..bytes.len().min(64)];
    match best {
        Some(((share, _), delimiter, sample)) if share > 0 || !too_wide => Ok((delimiter, sample)),
        _ if too_wide => {
            let cause = format!("the record has more than {COLUMNS_MAX} cells");
            Err(fault(1, &cause, "split the file by columns, or give its delimiter", begin))
        }
        _ => {
            let cause = format!("no record ends in the first {} bytes", bytes.len());
            Err(fault(1, &cause, "end lines with a newline, and close quotes", begin))
        }
    }
}

/// True if the first record names the columns: it has texts alone, and another column's type below one of them,
/// or a name that the caller gave.
fn is_header(records: &[Vec<Vec<u8>>], body: &[ColumnType], options: &CsvOptions) -> bool {
    let first = &records[0];
    let texts = first.iter().all(|cell| kind(std::iter::once(cell)) == ColumnType::Varchar);
    // Tables with an index in front often leave its name empty.
    if !texts || first.iter().all(Vec::is_empty) {
        return false;
    }
    let is = |name: &str| {
        first.iter().any(|cell| std::str::from_utf8(cell).is_ok_and(|cell| same_name(cell.trim(), name)))
    };
    let given =
        options.timestamp.iter().any(|name| is(name)) || options.overrides.iter().any(|o| is(&o.name));
    let table = options.table.iter().flatten().filter(|column| is(&column.name)).count();
    let typed = body.iter().any(|ty| !matches!(ty, ColumnType::Varchar | ColumnType::Symbol));
    given || table == first.len() || (typed && records.len() > 1)
}

/// The names of a header, made into names that a table may have.
fn names(header: &[Vec<u8>]) -> Result<Vec<Arc<str>>, LineError> {
    let mut names: Vec<Arc<str>> = Vec::with_capacity(header.len());
    for (i, cell) in header.iter().enumerate() {
        let Ok(text) = std::str::from_utf8(cell) else {
            let cause = format!("the header's cell {} is not UTF-8: {}", i + 1, shown(cell));
            return Err(fault(1, &cause, "save the file as UTF-8", &[]));
        };
        if text.contains('\0') {
            let cause = format!("the header's cell {} holds a NUL byte", i + 1);
            return Err(fault(1, &cause, "send text: is the file UTF-16, or binary?", &[]));
        }
        let mut name: String = text
            .trim()
            .chars()
            .map(|c| if c.is_control() || "?.,'\"\\/:()+*%~;".contains(c) { '_' } else { c })
            .collect();
        if name.is_empty() {
            name = format!("f{i}");
        }
        if let Err(error) = check_name(&name) {
            let cause = format!("the header's cell {}: {error}", i + 1);
            return Err(fault(1, &cause, &format!("use at most {NAME_BYTES_MAX} letters and digits"), &[]));
        }
        if let Some(other) = names.iter().find(|other| same_name(other, &name)) {
            let cause = format!("the header names the column {other:?} twice");
            return Err(fault(1, &cause, "give each column a name of its own", &[]));
        }
        names.push(name.into());
    }
    Ok(names)
}

fn columns(
    delimiter: u8,
    header: bool,
    names: Vec<Arc<str>>,
    types: &[ColumnType],
    options: &CsvOptions,
) -> Result<Layout, LineError> {
    let mut columns: Vec<CsvColumn> = names
        .into_iter()
        .zip(types)
        .map(|(name, &ty)| CsvColumn { name, ty, pattern: None, errors: 0 })
        .collect();
    let missing = |name: &str, columns: &[CsvColumn]| {
        let names: Vec<&str> = columns.iter().take(12).map(|column| &*column.name).collect();
        let hint = format!("the columns are {}; forceHeader takes the first line as names", names.join(", "));
        fault(1, &format!("there is no column {name:?}"), &hint, &[])
    };
    for given in &options.overrides {
        let Some(column) = columns.iter_mut().find(|column| same_name(&column.name, &given.name)) else {
            return Err(missing(&given.name, &columns));
        };
        (column.ty, column.pattern) = (given.ty, given.pattern.clone());
    }
    for known in options.table.iter().flatten() {
        if let Some(column) = columns.iter_mut().find(|column| same_name(&column.name, &known.name)) {
            (column.name, column.ty) = (known.name.clone(), known.ty);
        }
    }
    let timestamp = match &options.timestamp {
        None => None,
        Some(name) => {
            let found = columns.iter().position(|column| same_name(&column.name, name));
            let index = found.ok_or_else(|| missing(name, &columns))?;
            let column = &mut columns[index];
            match column.ty {
                // Of a time column texts are what is wrong in the file; the rows will tell.
                ColumnType::Boolean | ColumnType::Double => {
                    let cause = format!("the time column {name:?} is {}", column.ty);
                    return Err(fault(1, &cause, "name a column with times", &[]));
                }
                ColumnType::TimestampNs if options.table.is_some() => {}
                _ => column.ty = ColumnType::Timestamp,
            }
            Some(index)
        }
    };
    Ok(Layout { delimiter, header, columns, timestamp })
}

/// The type that all of `cells` have; empty ones have any.
fn kind<'a>(cells: impl Iterator<Item = &'a Vec<u8>>) -> ColumnType {
    let (mut is_bool, mut is_long, mut is_double, mut is_date, mut is_time) = (true, true, true, true, true);
    let mut values = 0;
    let mut distinct: HashSet<&[u8]> = HashSet::new();
    let mut short = true;
    for cell in cells {
        let text = cell.trim_ascii();
        if text.is_empty() {
            continue;
        }
        values += 1;
        is_bool = is_bool && boolean(text).is_some();
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        // 00123 is a code, not a number.
        let padded = digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit();
        is_long = is_long && !padded && integer(text).is_some();
        let numeric = digits.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.');
        is_double = is_double && numeric && !padded && double(text).is_some();
        is_date = is_date && text.len() == 10 && parse_iso(text).is_some();
        is_time = is_time && (parse_iso(text).is_some() || compact(text).is_some());
        short = short && text.len() <= SYMBOL_BYTES_MAX;
        distinct.insert(cell);
    }
    match () {
        () if values == 0 => ColumnType::Varchar,
        () if is_bool => ColumnType::Boolean,
        () if is_long => ColumnType::Long,
        () if is_double => ColumnType::Double,
        () if is_date => ColumnType::Date,
        () if is_time => ColumnType::Timestamp,
        () if short && values >= SYMBOL_VALUES_MIN && distinct.len() * SYMBOL_REPEATS_MIN <= values => {
            ColumnType::Symbol
        }
        () => ColumnType::Varchar,
    }
}
