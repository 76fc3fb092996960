//! `COPY … FROM STDIN`: bytes of the client's, cut anywhere, into batches of rows.
//!
//! What is held is one row that is not whole yet, and a batch of whole ones. Values in text stay text until the
//! batch is full, and are then converted column by column; a value that does not fit is looked for row by row,
//! so that the error tells its line.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use bytes::{Buf, BytesMut};
use nowcast_model::{Batch, ColumnType, limits::HOT_BATCH_ROWS};
use nowcast_query::{CopyFormat, CopyOptions, CopyTarget};

use super::{
    copy_fields::Fields,
    copy_out::SIGNATURE,
    error::WireError,
    time::{EPOCH_DAYS, EPOCH_US},
};

/// Largest row.
const ROW_BYTES_MAX: usize = 16 << 20;

/// Bytes of a batch's values, after which it is full however few its rows are.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// One COPY under way.
pub(super) struct CopyIn {
    target: CopyTarget,
    options: CopyOptions,
    input: BytesMut,
    /// How far `input` was looked through for the end of a row, and whether that is inside of quotes.
    seen: usize,
    quoted: bool,
    /// The line, or in binary the row, that is next; from 1.
    line: u64,
    begun: bool,
    ended: bool,
    cells: Vec<Cells>,
    lines: Vec<u64>,
    bytes: usize,
    scratch: Vec<u8>,
    full: Vec<Batch>,
}

enum Cells {
    Text(StringBuilder),
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Time(TimestampMicrosecondBuilder),
}

impl CopyIn {
    pub(super) fn new(target: CopyTarget, options: CopyOptions) -> CopyIn {
        let cells = target.types().iter().map(|ty| Cells::new(*ty, options.format)).collect();
        CopyIn {
            target,
            options,
            input: BytesMut::new(),
            seen: 0,
            quoted: false,
            line: 1,
            begun: false,
            ended: false,
            cells,
            lines: Vec::new(),
            bytes: 0,
            scratch: Vec::new(),
            full: Vec::new(),
        }
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// A row is not what the table takes, or too long.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        if self.ended {
            return Ok(());
        }
        self.input.extend_from_slice(bytes);
        while !self.ended {
            let taken = match self.options.format {
                CopyFormat::Binary => self.binary()?,
                CopyFormat::Text | CopyFormat::Csv => match self.row_end() {
                    Some(end) => {
                        let row = self.input.split_to(end);
                        self.input.advance(1);
                        (self.seen, self.quoted) = (0, false);
                        self.row(&row)?;
                        true
                    }
                    None => false,
                },
            };
            if !taken {
                break;
            }
        }
        if self.ended {
            self.input.clear();
        }
        if self.input.len() > ROW_BYTES_MAX {
            let message = format!("{} has more than {ROW_BYTES_MAX} bytes", self.place());
            return Err(WireError::new("54000", message).hint("a quote may be missing before it"));
        }
        Ok(())
    }

    /// Takes the last row if no line's end follows it, and fills the last batch.
    ///
    /// # Errors
    /// As [`CopyIn::push`]; or the bytes end in the middle of a row.
    pub(super) fn finish(&mut self) -> Result<(), WireError> {
        if !self.input.is_empty() && !self.ended {
            if self.options.format == CopyFormat::Binary || self.quoted {
                return Err(self.bad("ends in the middle"));
            }
            let row = self.input.split();
            self.row(&row)?;
        }
        self.fill()
    }

    /// The batches that are full.
    pub(super) fn take(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.full)
    }

    fn place(&self) -> String {
        let what = if self.options.format == CopyFormat::Binary { "row" } else { "line" };
        format!("{what} {}", self.line)
    }

    fn bad(&self, what: &str) -> WireError {
        WireError::new("22P04", format!("{} {what}", self.place()))
    }

    /// Where the first line's end outside of a value stands.
    fn row_end(&mut self) -> Option<usize> {
        if self.options.format == CopyFormat::Text {
            loop {
                let end = self.seen + memchr::memchr(b'\n', &self.input[self.seen..])?;
                self.seen = end + 1;
                let before = self.input[..end].iter().rev().take_while(|b| **b == b'\\').count();
                if before % 2 == 0 {
                    return Some(end);
                }
            }
        }
        let (quote, escape) = (self.options.quote, self.options.escape.unwrap_or(self.options.quote));
        while let Some(&byte) = self.input.get(self.seen) {
            if self.quoted && byte == escape && escape != quote {
                // What is escaped has to be there.
                self.input.get(self.seen + 1)?;
                self.seen += 1;
            } else if byte == quote {
                self.quoted = !self.quoted;
            } else if byte == b'\n' && !self.quoted {
                return Some(self.seen);
            }
            self.seen += 1;
        }
        None
    }

    fn row(&mut self, row: &[u8]) -> Result<(), WireError> {
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        if row == b"\\." {
            self.ended = true;
            return Ok(());
        }
        let lines = 1 + memchr::memchr_iter(b'\n', row).count() as u64;
        if self.options.header && !self.begun {
            self.begun = true;
            if self.options.header_match {
                self.match_header(row)?;
            }
        } else {
            self.begun = true;
            let mut scratch = std::mem::take(&mut self.scratch);
            let done = self.values(row, &mut scratch);
            self.scratch = scratch;
            done?;
            self.row_done(row.len())?;
        }
        self.line += lines;
        Ok(())
    }

    fn match_header(&self, row: &[u8]) -> Result<(), WireError> {
        let mut names = self.target.names();
        let mut fields = Fields::new(row, &self.options);
        let mut name = Vec::new();
        while let Some(field) = fields.next(&mut name) {
            field.map_err(|what| self.bad(what))?;
            if names.next().is_none_or(|known| known.as_bytes() != name) {
                let message =
                    format!("has {:?} where a column's name is expected", String::from_utf8_lossy(&name));
                return Err(self
                    .bad(&message)
                    .hint("name the columns behind the table, in the file's order"));
            }
        }
        if names.next().is_some() { Err(self.bad("has fewer names than there are columns")) } else { Ok(()) }
    }

    fn values(&mut self, row: &[u8], value: &mut Vec<u8>) -> Result<(), WireError> {
        let line = self.line;
        let count = self.cells.len();
        let bad = |what: &str| WireError::new("22P04", format!("line {line} {what}"));
        let mut fields = Fields::new(row, &self.options);
        let mut found = 0;
        while let Some(field) = fields.next(value) {
            let is_null = field.map_err(bad)?;
            let Some(Cells::Text(cells)) = self.cells.get_mut(found) else {
                return Err(bad(&format!("has more than {count} values, for {count} columns")));
            };
            if is_null {
                cells.append_null();
            } else {
                let text = std::str::from_utf8(value).map_err(|_| {
                    WireError::new("22021", format!("line {line}, value {} is not UTF-8", found + 1))
                })?;
                cells.append_value(text);
            }
            found += 1;
        }
        if found < count {
            let hint = "the values of a line stand in the order of the columns, between DELIMITERs";
            return Err(bad(&format!("has {found} values for {count} columns")).hint(hint));
        }
        Ok(())
    }

    fn row_done(&mut self, bytes: usize) -> Result<(), WireError> {
        self.lines.push(self.line);
        self.bytes += bytes;
        if self.lines.len() >= HOT_BATCH_ROWS || self.bytes >= BATCH_BYTES_MAX { self.fill() } else { Ok(()) }
    }

    /// The rows so far become a batch.
    fn fill(&mut self) -> Result<(), WireError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = self.cells.iter_mut().map(Cells::finish).collect();
        let lines = std::mem::take(&mut self.lines);
        self.bytes = 0;
        let error = match self.target.batch(&columns) {
            Ok(batch) => {
                self.full.push(batch);
                return Ok(());
            }
            Err(error) => error,
        };
        let wrong = lines.iter().enumerate().find_map(|(i, line)| {
            let row: Vec<ArrayRef> = columns.iter().map(|column| column.slice(i, 1)).collect();
            self.target.batch(&row).err().map(|error| (line, error))
        });
        let (line, error) = wrong.unwrap_or((&lines[0], error));
        let what = if self.options.format == CopyFormat::Binary { "row" } else { "line" };
        let message = format!("{what} {line}: {}", error.message);
        Err(WireError { message, position: None, ..WireError::from(error) })
    }

    /// Takes one row in binary; false if it is not whole yet.
    fn binary(&mut self) -> Result<bool, WireError> {
        if !self.begun {
            let Some((signature, rest)) = self.input.split_at_checked(SIGNATURE.len()) else {
                return Ok(false);
            };
            if signature != SIGNATURE {
                return Err(
                    WireError::new("22P04", "this is no binary COPY").hint("name the FORMAT, text or csv")
                );
            }
            let (Some(flags), Some(extension)) = (number(rest, 0), number(rest, 4)) else { return Ok(false) };
            if flags != 0 || extension != 0 {
                return Err(WireError::new("22P04", "the binary COPY has an extension that is not known"));
            }
            self.input.advance(SIGNATURE.len() + 8);
            self.begun = true;
        }
        let Some(count) = self.input.first_chunk::<2>() else { return Ok(false) };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.ended = true;
            return Ok(false);
        }
        if usize::try_from(count) != Ok(self.cells.len()) {
            let message = format!("has {count} values for {} columns", self.cells.len());
            return Err(self.bad(&message));
        }
        // Nothing is taken before the row is whole.
        let mut end = 2;
        for _ in 0..count {
            let Some(length) = number(&self.input, end) else { return Ok(false) };
            end += 4 + usize::try_from(length).unwrap_or(0);
            if end > self.input.len() {
                return Ok(false);
            }
        }
        let mut row = self.input.split_to(end);
        row.advance(2);
        for (i, cells) in self.cells.iter_mut().enumerate() {
            let value = usize::try_from(row.get_i32()).ok().map(|length| row.split_to(length));
            if !cells.append_binary(value.as_deref()) {
                let message = format!(
                    "row {}, value {}: the bytes are no {}",
                    self.line,
                    i + 1,
                    self.target.types()[i]
                );
                let hint = "declare the types of the values as the columns have them";
                return Err(WireError::new("22P03", message).hint(hint));
            }
        }
        self.row_done(end)?;
        self.line += 1;
        Ok(true)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes))
}

impl Cells {
    fn new(ty: ColumnType, format: CopyFormat) -> Cells {
        if format != CopyFormat::Binary {
            return Cells::Text(StringBuilder::new());
        }
        match ty {
            ColumnType::Boolean => Cells::Bool(BooleanBuilder::new()),
            ColumnType::Byte | ColumnType::Short | ColumnType::Int | ColumnType::Long => {
                Cells::Int(Int64Builder::new())
            }
            ColumnType::Float | ColumnType::Double => Cells::Float(Float64Builder::new()),
            ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => {
                Cells::Time(TimestampMicrosecondBuilder::new())
            }
            _ => Cells::Text(StringBuilder::new()),
        }
    }

    /// Appends a value in PostgreSQL's form of any width; false if it is none.
    fn append_binary(&mut self, value: Option<&[u8]>) -> bool {
        let int = |bytes: &[u8]| match *bytes {
            [a, b] => Some(i64::from(i16::from_be_bytes([a, b]))),
            [a, b, c, d] => Some(i64::from(i32::from_be_bytes([a, b, c, d]))),
            [a, b, c, d, e, f, g, h] => Some(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => None,
        };
        let Some(bytes) = value else {
            match self {
                Cells::Text(cells) => cells.append_null(),
                Cells::Bool(cells) => cells.append_null(),
                Cells::Int(cells) => cells.append_null(),
                Cells::Float(cells) => cells.append_null(),
                Cells::Time(cells) => cells.append_null(),
            }
            return true;
        };
        match self {
            Cells::Text(cells) => std::str::from_utf8(bytes).map(|text| cells.append_value(text)).is_ok(),
            Cells::Bool(cells) => {
                matches!(bytes, [0 | 1]).then(|| cells.append_value(bytes == [1])).is_some()
            }
            Cells::Int(cells) => int(bytes).map(|value| cells.append_value(value)).is_some(),
            Cells::Float(cells) => {
                let value = match *bytes {
                    [a, b, c, d] => Some(f64::from(f32::from_be_bytes([a, b, c, d]))),
                    [a, b, c, d, e, f, g, h] => Some(f64::from_be_bytes([a, b, c, d, e, f, g, h])),
                    _ => None,
                };
                value.map(|value| cells.append_value(value)).is_some()
            }
            Cells::Time(cells) => {
                let us = int(bytes).and_then(|value| match bytes.len() {
                    8 => value.checked_add(EPOCH_US),
                    4 => Some((value + i64::from(EPOCH_DAYS)) * 86_400_000_000),
                    _ => None,
                });
                us.map(|us| cells.append_value(us)).is_some()
            }
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Cells::Text(cells) => Arc::new(cells.finish()),
            Cells::Bool(cells) => Arc::new(cells.finish()),
            Cells::Int(cells) => ArrayBuilder::finish(cells),
            Cells::Float(cells) => ArrayBuilder::finish(cells),
            Cells::Time(cells) => ArrayBuilder::finish(cells),
        }
    }
}
