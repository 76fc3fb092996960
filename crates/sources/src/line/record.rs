//! One line into its table's columns.
//!
//! [`Parser::record`] reads from a line's first byte to behind its end, or stops: because the bytes ran out
//! ([`Stop::Incomplete`]) or because the line is bad. In both cases the row is taken back. Whether a line is bad
//! depends on the bytes up to the fault alone, never on where the buffer ends.

use memchr::{memchr, memchr_iter, memchr2, memrchr};
use nowcast_model::check_name;

use super::{
    binary,
    value::{bad_time, cell, short_integer, time_us, unescape_text, utf8},
};
use crate::{
    LineError, Precision, TIMESTAMP_COLUMN,
    columns::Cell,
    error::{TEXT_BYTES_MAX, excerpt, shown},
    table::{PushError, Pushed, Slot, TableBuilder, Tables},
};

/// Why a line was not read to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bytes ran out.
    Incomplete,
    /// It is bad.
    Bad(Box<Bad>),
}

/// What is wrong with a line. Positions are indices into the buffer.
#[derive(Debug)]
pub(super) struct Bad {
    at: usize,
    cause: String,
    hint: String,
    /// Where to look for the line's end.
    pub(super) resume_at: usize,
    /// True if the bad thing is a binary value.
    pub(super) binary: bool,
    /// True if the column has another type since an earlier line, so that the row may fit a batch of its own;
    /// then the table.
    pub(super) conflict: Option<usize>,
}

impl Bad {
    pub(super) fn new(at: usize, cause: String, hint: &str) -> Bad {
        Bad { at, cause, hint: hint.to_owned(), resume_at: at, binary: false, conflict: None }
    }

    pub(super) fn binary(at: usize, end: usize, cause: String, hint: &str) -> Bad {
        Bad { resume_at: end, binary: true, ..Bad::new(at, cause, hint) }
    }

    /// The error for people: the line that begins at `start` is `line`, `newlines` line ends are between its
    /// begin and the fault.
    pub(super) fn at_line(&self, buf: &[u8], start: usize, line: u64, newlines: u64) -> LineError {
        let line_start = match newlines {
            0 => start,
            _ => memrchr(b'\n', &buf[start..self.at]).map_or(start, |newline| start + newline + 1),
        };
        let column = u32::try_from(self.at - line_start + 1).unwrap_or(u32::MAX);
        let rest = &buf[line_start..];
        let end = memchr(b'\n', &rest[..rest.len().min(TEXT_BYTES_MAX)]).unwrap_or(rest.len());
        let text = excerpt(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]), TEXT_BYTES_MAX);
        let (cause, hint) = (self.cause.clone(), self.hint.clone());
        LineError { line: line + newlines, column, cause, hint, text, fatal: self.binary }
    }
}

impl From<Bad> for Stop {
    fn from(bad: Bad) -> Stop {
        Stop::Bad(Box::new(bad))
    }
}

/// Bytes that end a plain stretch of a name or tag value, or need a look.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut bytes: &[u8] = b",= \\\n\r";
    while let [first, rest @ ..] = bytes {
        special[*first as usize] = true;
        bytes = rest;
    }
    special
};

/// Which part of a line a name or a tag's value stands in: it decides what ends it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Table,
    Name,
    TagValue,
}

/// Where a stretch of text is: in the buffer, or unescaped in the parser's scratch.
enum Text {
    Plain(usize, usize),
    Scratch,
}

/// Reads lines.
pub(super) struct Parser {
    precision: Precision,
    pub(super) now_us: i64,
    /// The number of the line that is read next.
    line: u64,
    /// Line ends inside texts of the line being read.
    newlines: u64,
    /// Where the text begins that ran out of bytes before its closing quote.
    open_text: Option<usize>,
    /// An unescaped table name or value.
    scratch: Vec<u8>,
    /// The name of the column being read, if it is new to the table.
    name: String,
    /// The time that a field named as the time column gave.
    time_us: Option<i64>,
}

impl Parser {
    pub(super) fn new(precision: Precision, now_us: i64) -> Parser {
        Parser {
            precision,
            now_us,
            line: 1,
            newlines: 0,
            open_text: None,
            scratch: Vec::new(),
            name: String::new(),
            time_us: None,
        }
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Counts `newlines` lines that were passed over.
    pub(super) fn skip_lines(&mut self, newlines: u64) {
        self.line += newlines;
    }

    /// Where the text begins that made the last [`Stop::Incomplete`], if a text did.
    pub(super) fn open_text(&self) -> Option<usize> {
        self.open_text
    }

    /// The error for the line that begins at `start`.
    pub(super) fn error(&self, bad: &Bad, buf: &[u8], start: usize) -> LineError {
        bad.at_line(buf, start, self.line, self.newlines)
    }

    /// What is wrong with the line at `start` that never ends.
    pub(super) fn cut_off(&self, buf: &[u8], start: usize) -> LineError {
        let end = buf.len();
        let bad = match self.open_text {
            Some(quote) => not_closed(quote),
            None => Bad::binary(end, end, "a binary value is cut off".to_owned(), "send the line again"),
        };
        self.error(&bad, buf, start)
    }

    /// Reads the line at `start`; returns where the next begins.
    pub(super) fn record(&mut self, tables: &mut Tables, buf: &[u8], start: usize) -> Result<usize, Stop> {
        (self.newlines, self.open_text, self.time_us) = (0, None, None);
        let mut at = start;
        while let Some(b' ' | b'\t') = buf.get(at) {
            at += 1;
        }
        match peek(buf, at)? {
            b'\n' => at += 1,
            b'\r' if peek(buf, at + 1)? == b'\n' => at += 2,
            b'#' => at += memchr(b'\n', &buf[at..]).ok_or(Stop::Incomplete)? + 1,
            _ => {
                let tables_before = tables.len();
                let (table, name_end) = self.table(tables, buf, at)?;
                return match self.row(tables, table, buf, name_end) {
                    Ok(next) => {
                        self.line += 1 + self.newlines;
                        Ok(next)
                    }
                    Err(mut stop) => {
                        tables.abort_row(table, tables_before);
                        if let Stop::Bad(bad) = &mut stop
                            && bad.conflict.is_some()
                        {
                            bad.conflict = Some(table);
                        }
                        Err(stop)
                    }
                };
            }
        }
        self.line += 1;
        Ok(at)
    }

    #[inline]
    fn table(&mut self, tables: &mut Tables, buf: &[u8], at: usize) -> Result<(usize, usize), Stop> {
        if let Some((table, length)) = tables.expected(&buf[at..]) {
            return Ok((table, at + length));
        }
        let (text, end) = self.text(buf, at, Part::Table)?;
        let name = utf8(self.bytes(buf, &text), at, "the table's name")?;
        if end == at {
            return Err(Bad::new(at, "the line has no table name".into(), "begin it with one").into());
        }
        let table =
            tables.find_or_add(name, TIMESTAMP_COLUMN).map_err(|(cause, hint)| Bad::new(at, cause, &hint))?;
        Ok((table, end))
    }

    /// Reads what follows the table's name.
    fn row(&mut self, tables: &mut Tables, table: usize, buf: &[u8], at: usize) -> Result<usize, Stop> {
        let (builder, hasher) = tables.table(table);
        let mut row = Row { parser: self, table: builder, hasher, buf };
        let mut at = at;
        while peek(buf, at)? == b',' {
            at = row.tag(at + 1)?;
        }
        at = skip_spaces(buf, at);
        let mut time_at = None;
        if !is_line_end(peek(buf, at)?) {
            if row.is_time_without_fields(at)? {
                time_at = Some(at);
            } else {
                at = row.field(at)?;
                while peek(buf, at)? == b',' {
                    at = row.field(at + 1)?;
                }
                at = skip_spaces(buf, at);
                if !is_line_end(peek(buf, at)?) {
                    time_at = Some(at);
                }
            }
        }
        if row.table.cells() == 0 && self.time_us.is_none() {
            let hint = "write `table,tag=symbol field=value time`: at least one tag or field with a value";
            return Err(Bad::new(at, "the line has no values".into(), hint).into());
        }
        let mut time_us = None;
        if let Some(time_at) = time_at {
            let (us, end) = self.time(buf, time_at)?;
            time_us = Some(us);
            at = skip_spaces(buf, end);
        }
        let next = line_end(buf, at)?;
        let time_us = self.time_us.or(time_us).unwrap_or(self.now_us);
        tables.end_row(table, time_us, self.line).map_err(|error| {
            Bad::new(at, format!("the rows do not fit together: {error}"), "report this as a bug")
        })?;
        Ok(next)
    }

    /// Reads a name or a tag's value; returns where it is and where it ends.
    #[inline]
    fn text(&mut self, buf: &[u8], start: usize, part: Part) -> Result<(Text, usize), Stop> {
        let mut end = start;
        while let Some(&b) = buf.get(end)
            && !SPECIAL[usize::from(b)]
        {
            end += 1;
        }
        match peek(buf, end)? {
            b'\\' => self.escaped(buf, start, part),
            b'=' if part == Part::Table => self.escaped(buf, start, part),
            _ => Ok((Text::Plain(start, end), end)),
        }
    }

    /// As [`Parser::text`], for text that needs a copy.
    #[cold]
    fn escaped(&mut self, buf: &[u8], start: usize, part: Part) -> Result<(Text, usize), Stop> {
        self.scratch.clear();
        let mut at = start;
        loop {
            match peek(buf, at)? {
                b'\\' => {
                    let next = peek(buf, at + 1)?;
                    match next {
                        b',' | b'=' | b' ' | b'\\' | b'"' | b'\n' | b'\r' => at += 1,
                        _ => {}
                    }
                    self.newlines += u64::from(next == b'\n');
                    self.scratch.push(buf[at]);
                }
                b'=' if part == Part::Table => self.scratch.push(b'='),
                b if SPECIAL[usize::from(b)] => return Ok((Text::Scratch, at)),
                b => self.scratch.push(b),
            }
            at += 1;
        }
    }

    fn bytes<'a>(&'a self, buf: &'a [u8], text: &Text) -> &'a [u8] {
        match *text {
            Text::Plain(start, end) => &buf[start..end],
            Text::Scratch => &self.scratch,
        }
    }

    /// Reads the time at a line's end; returns it in microseconds, and where it ends.
    #[inline]
    fn time(&self, buf: &[u8], start: usize) -> Result<(i64, usize), Stop> {
        let mut end = start;
        while !matches!(peek(buf, end)?, b' ' | b'\n' | b'\r') {
            end += 1;
        }
        let token = &buf[start..end];
        match time_us(token, self.precision) {
            Some(us) => Ok((us, end)),
            None => Err(bad_time(start, token, self.precision).into()),
        }
    }
}

/// A row being read.
struct Row<'a> {
    parser: &'a mut Parser,
    table: &'a mut TableBuilder,
    hasher: &'a ahash::RandomState,
    buf: &'a [u8],
}

impl Row<'_> {
    /// Reads `name=value` of a tag; returns where it ends.
    #[inline]
    fn tag(&mut self, at: usize) -> Result<usize, Stop> {
        let (slot, value_at) = self.name(at, "tag")?;
        let (text, end) = self.parser.text(self.buf, value_at, Part::TagValue)?;
        if self.buf[end] == b'=' {
            let cause = "a tag's value holds `=`".to_owned();
            return Err(Bad::new(end, cause, r"write `\=` for the character, or `,` between two tags").into());
        }
        if end == value_at {
            return Ok(end);
        }
        let value = self.parser.bytes(self.buf, &text);
        let Some(slot) = slot else {
            let cause = format!("a tag is called {TIMESTAMP_COLUMN:?}, which is the time column");
            return Err(Bad::new(at, cause, "give the tag another name; the time ends the line").into());
        };
        let cell = Cell::Symbol(value);
        match self.table.push(slot, &self.parser.name, cell, self.parser.line, self.hasher) {
            Ok(Pushed::Set | Pushed::Duplicate) => Ok(end),
            Err(PushError::NotUtf8) => {
                let value = self.parser.bytes(self.buf, &text);
                Err(utf8(value, value_at, "the tag's value")
                    .err()
                    .unwrap_or_else(|| refused(PushError::NotUtf8, at)))
            }
            Err(error) => Err(refused(error, at)),
        }
    }

    /// Reads a column's name and its `=`. Returns its slot, `None` for the time column, and where its value
    /// begins. The name of a new column is left in the parser.
    #[inline]
    fn name(&mut self, at: usize, what: &str) -> Result<(Option<Slot>, usize), Stop> {
        match self.table.expected(&self.buf[at..]) {
            Some((column, length)) => Ok((Some(Slot::Known(column)), at + length)),
            None => self.search_name(at, what),
        }
    }

    fn search_name(&mut self, at: usize, what: &str) -> Result<(Option<Slot>, usize), Stop> {
        let (text, end) = self.parser.text(self.buf, at, Part::Name)?;
        if self.buf[end] != b'=' {
            let name = shown(&self.buf[at..end]);
            let cause = match end == at {
                true => format!("a {what} is missing here"),
                false => format!("the {what} {name} has no `=`"),
            };
            let hint = r"write `name=value`; in names and tags put a backslash before space, comma and `=`";
            return Err(Bad::new(end, cause, hint).into());
        }
        let name = utf8(self.parser.bytes(self.buf, &text), at, "the name")?;
        if let Some(column) = self.table.find(name, self.hasher) {
            return Ok((Some(Slot::Known(column)), end + 1));
        }
        if self.table.is_time(name) {
            return Ok((None, end + 1));
        }
        if let Err(error) = check_name(name) {
            return Err(Bad::new(at, error.to_string(), &format!("give the {what} another name")).into());
        }
        // Split borrows: `name` may live in `scratch`.
        let name = name.to_owned();
        self.parser.name = name;
        Ok((Some(Slot::New), end + 1))
    }

    /// True if a row of tags alone has its time at `at`, where else a field would begin.
    fn is_time_without_fields(&self, at: usize) -> Result<bool, Stop> {
        if self.table.cells() == 0 || !matches!(peek(self.buf, at)?, b'0'..=b'9' | b'-') {
            return Ok(false);
        }
        let mut end = at + 1;
        while peek(self.buf, end)?.is_ascii_digit() {
            end += 1;
        }
        if matches!(self.buf[end], b't' | b'n' | b'm') {
            end += 1;
        }
        Ok(matches!(peek(self.buf, end)?, b' ' | b'\n' | b'\r'))
    }

    /// Reads `name=value` of a field; returns where it ends.
    #[inline]
    fn field(&mut self, at: usize) -> Result<usize, Stop> {
        let (slot, value_at) = self.name(at, "field")?;
        let Some(slot) = slot else { return self.time_field(at, value_at) };
        match peek(self.buf, value_at)? {
            b'"' => self.text_field(at, slot, value_at),
            b'=' => {
                let (value, end) = binary::value(self.buf, value_at + 1)?;
                let end = self.value_end(end)?;
                if let Some(value) = value {
                    self.set(slot, Cell::Double(value), at)?;
                }
                Ok(end)
            }
            _ => {
                if let Some((value, end)) = short_integer(self.buf, value_at) {
                    self.set(slot, Cell::Long(value), at)?;
                    return Ok(end);
                }
                let end = unquoted_end(self.buf, value_at)?;
                let cell = cell(&self.buf[value_at..end], value_at)?;
                self.set(slot, cell, at)?;
                Ok(end)
            }
        }
    }

    #[inline]
    fn set(&mut self, slot: Slot, cell: Cell<'_>, at: usize) -> Result<(), Stop> {
        push(self.table, self.hasher, &self.parser.name, self.parser.line, slot, cell, at)
    }

    /// The value of a field that is called as the time column is: the row's time.
    #[cold]
    fn time_field(&mut self, at: usize, value_at: usize) -> Result<usize, Stop> {
        let refuse = || {
            let cause = format!("the field {TIMESTAMP_COLUMN:?} is the row's time and must be a TIMESTAMP");
            let hint = "send microseconds as `1700000000000000t`, or give the field another name";
            Stop::from(Bad::new(at, cause, hint))
        };
        if matches!(peek(self.buf, value_at)?, b'"' | b'=') {
            return Err(refuse());
        }
        let end = unquoted_end(self.buf, value_at)?;
        let us = match cell(&self.buf[value_at..end], value_at)? {
            Cell::Timestamp(us) => us,
            Cell::TimestampNs(ns) => ns.div_euclid(1_000),
            _ => return Err(refuse()),
        };
        self.parser.time_us.get_or_insert(us);
        Ok(end)
    }

    fn text_field(&mut self, at: usize, slot: Slot, quote: usize) -> Result<usize, Stop> {
        let start = quote + 1;
        let (mut end, mut escapes) = (start, false);
        loop {
            let found = self.buf.get(end..).and_then(|rest| memchr2(b'"', b'\\', rest));
            let Some(found) = found else {
                self.parser.open_text = Some(quote);
                return Err(Stop::Incomplete);
            };
            end += found;
            if self.buf[end] == b'"' {
                break;
            }
            escapes = true;
            end += 2;
        }
        let raw = &self.buf[start..end];
        let newlines = memchr_iter(b'\n', raw).count() as u64;
        let next = match peek(self.buf, end + 1)? {
            b',' | b' ' | b'\n' | b'\r' => end + 1,
            _ if newlines > 0 => return Err(not_closed(quote).into()),
            _ => {
                let cause = "the text ends here, but the value goes on".to_owned();
                let hint = r#"put a backslash before a `"` inside a text, and a comma between fields"#;
                return Err(Bad::new(end + 1, cause, hint).into());
            }
        };
        utf8(raw, start, "the text")?;
        if escapes {
            unescape_text(raw, &mut self.parser.scratch);
        }
        let text = if escapes { &self.parser.scratch[..] } else { raw };
        let cell = Cell::Varchar(text);
        push(self.table, self.hasher, &self.parser.name, self.parser.line, slot, cell, at)?;
        self.parser.newlines += newlines;
        Ok(next)
    }

    /// Checks that a binary value ends where it says.
    fn value_end(&self, end: usize) -> Result<usize, Stop> {
        match peek(self.buf, end)? {
            b',' | b' ' | b'\n' | b'\r' => Ok(end),
            _ => {
                let cause = "a binary value is not followed by a comma, a space or a line end".to_owned();
                Err(Bad::binary(end, end, cause, "check the value's type byte and length").into())
            }
        }
    }
}

/// Sets a cell; says what is wrong if its column cannot take it.
#[inline]
fn push(
    table: &mut TableBuilder,
    hasher: &ahash::RandomState,
    name: &str,
    line: u64,
    slot: Slot,
    cell: Cell<'_>,
    at: usize,
) -> Result<(), Stop> {
    match table.push(slot, name, cell, line, hasher) {
        Ok(Pushed::Set | Pushed::Duplicate) => Ok(()),
        Err(error) => Err(refused(error, at)),
    }
}

#[cold]
fn refused(error: PushError, at: usize) -> Stop {
    match error {
        PushError::Conflict { cause, hint } => {
            Bad { conflict: Some(usize::MAX), ..Bad::new(at, cause, &hint) }.into()
        }
        PushError::NotUtf8 => Bad::new(at, "the value is not UTF-8".to_owned(), "send text as UTF-8").into(),
        PushError::TooMany => {
            let cause = "the table would have too many columns".to_owned();
            Bad::new(at, cause, "put varying names into a tag's value instead").into()
        }
    }
}

#[inline]
fn peek(buf: &[u8], at: usize) -> Result<u8, Stop> {
    buf.get(at).copied().ok_or(Stop::Incomplete)
}

#[inline]
fn skip_spaces(buf: &[u8], mut at: usize) -> usize {
    while let Some(b' ') = buf.get(at) {
        at += 1;
    }
    at
}

const fn is_line_end(b: u8) -> bool {
    matches!(b, b'\n' | b'\r')
}

/// Where the next line begins, if the line ends at `at`.
#[inline]
fn line_end(buf: &[u8], at: usize) -> Result<usize, Stop> {
    match peek(buf, at)? {
        b'\n' => Ok(at + 1),
        b'\r' if peek(buf, at + 1)? == b'\n' => Ok(at + 2),
        b'\r' => {
            let cause = "a carriage return inside the line".to_owned();
            Err(Bad::new(at, cause, r"end lines with `\n` or `\r\n`").into())
        }
        b => {
            let cause = format!("the line should end here, but {} follows", shown(&[b]));
            let hint =
                r"after the fields comes one time and the line's end; put a backslash before spaces in names";
            Err(Bad::new(at, cause, hint).into())
        }
    }
}

#[inline]
fn unquoted_end(buf: &[u8], start: usize) -> Result<usize, Stop> {
    let mut end = start;
    while !matches!(peek(buf, end)?, b',' | b' ' | b'\n' | b'\r') {
        end += 1;
    }
    Ok(end)
}

#[cold]
pub(super) fn not_closed(quote: usize) -> Bad {
    let cause = "the text that begins here is not closed".to_owned();
    Bad::new(quote, cause, r#"end it with `"`; put a backslash before a `"` inside it"#)
}

/// True if the line in `line` may hold binary values.
pub(super) fn has_binary(line: &[u8]) -> bool {
    line.windows(3).any(|bytes| bytes[..2] == *b"==" && binary::is_type(bytes[2]))
}
