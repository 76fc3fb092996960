//! CSV into batches of one table, in pieces, within the memory of one batch.
//!
//! The first [`SAMPLE_BYTES`] are held until they are full or the input ends; they tell the delimiter, whether
//! the first line is a header, and the columns' types ([`guess`]), where the caller does not. Then rows are read
//! straight into columns. What does not fit its column becomes NULL, or takes its row with it, or ends the
//! reading, as [`CsvOptions::on_error`] says; it is counted for the column either way. Bytes that are no UTF-8
//! text end it always: the file has another encoding, and every row would be wrong.
//!
//! What bounds it: a record has at most [`RECORD_BYTES_MAX`] bytes and [`COLUMNS_MAX`] columns; a batch ends at
//! [`CsvOptions::batch_rows`] or [`CsvOptions::batch_bytes`]. The same bytes and options make the same batches,
//! however they were cut into pieces.

mod cell;
mod guess;
mod options;
mod pattern;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ahash::RandomState;
use arrow::{
    array::RecordBatch,
    compute::cast,
    datatypes::{Field, Schema},
};
use csv_core::ReadRecordResult;
use nowcast_model::{limits::COLUMNS_MAX, name_key};

use crate::{
    columns::ColumnBuilder,
    error::{LineError, excerpt, shown},
};
use cell::Kind;
pub use options::{CsvColumn, CsvOptions, Layout, OnError, Override};
pub use pattern::Pattern;

/// What is looked at before the first row is read.
pub const SAMPLE_BYTES: usize = 256 << 10;

/// The longest record: a line, or several where quotes hold line ends.
pub const RECORD_BYTES_MAX: usize = 4 << 20;

/// Rows being read.
struct Rows {
    layout: Layout,
    kinds: Vec<Kind>,
    builders: Vec<ColumnBuilder>,
    rows: usize,
    bytes: usize,
    batches: Vec<RecordBatch>,
    read: u64,
    rejected: u64,
    first_error: Option<LineError>,
    hasher: RandomState,
}

/// Reads CSV.
pub struct CsvReader {
    options: CsvOptions,
    sample: Vec<u8>,
    core: csv_core::Reader,
    /// The record being read, unquoted, cell behind cell.
    record: Vec<u8>,
    record_len: usize,
    /// Where its cells end.
    ends: Vec<usize>,
    cells: usize,
    line: u64,
    /// Absent until the sample was looked at.
    rows: Option<Rows>,
    skip_header: bool,
}

impl CsvReader {
    /// A reader.
    pub fn new(options: CsvOptions) -> CsvReader {
        CsvReader {
            options,
            sample: Vec::new(),
            core: csv_core::Reader::new(),
            record: vec![0; 1 << 12],
            record_len: 0,
            ends: vec![0; COLUMNS_MAX + 1],
            cells: 0,
            line: 1,
            rows: None,
            skip_header: false,
        }
    }

    /// Reads more bytes; take the batches that are ready before the next.
    ///
    /// # Errors
    /// What ends the reading, with its line.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), LineError> {
        if self.rows.is_none() {
            let take = (SAMPLE_BYTES - self.sample.len()).min(bytes.len());
            self.sample.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.sample.len() < SAMPLE_BYTES {
                return Ok(());
            }
            self.begin(false)?;
        }
        self.split(bytes, false)
    }

    /// Reads what is left; the last batch is ready then.
    ///
    /// # Errors
    /// As [`CsvReader::feed`]; or there was nothing to read.
    pub fn finish(&mut self) -> Result<(), LineError> {
        if self.rows.is_none() {
            self.begin(true)?;
        }
        self.split(&[], true)?;
        match &mut self.rows {
            Some(rows) => rows.seal(),
            None => Ok(()),
        }
    }

    /// What the file looks like, once its beginning was read.
    pub fn layout(&self) -> Option<&Layout> {
        self.rows.as_ref().map(|rows| &rows.layout)
    }

    /// The batches that are ready; all with the columns of [`CsvReader::layout`].
    pub fn take(&mut self) -> Vec<RecordBatch> {
        self.rows.as_mut().map(|rows| std::mem::take(&mut rows.batches)).unwrap_or_default()
    }

    /// Rows that are in batches, and rows that were left out.
    pub fn counts(&self) -> (u64, u64) {
        self.rows.as_ref().map_or((0, 0), |rows| (rows.read, rows.rejected))
    }

    /// The first cell or row that did not fit.
    pub fn first_error(&self) -> Option<&LineError> {
        self.rows.as_ref()?.first_error.as_ref()
    }

    fn begin(&mut self, whole: bool) -> Result<(), LineError> {
        let mut sample = std::mem::take(&mut self.sample);
        if sample.starts_with(&[0xff, 0xfe]) || sample.starts_with(&[0xfe, 0xff]) {
            return Err(fault(1, "the file is UTF-16", "save it as UTF-8", &[]));
        }
        if sample.starts_with(b"\xef\xbb\xbf") {
            sample.drain(..3);
        }
        let layout = guess::layout(&sample, whole, &self.options)?;
        self.core = csv_core::ReaderBuilder::new().delimiter(layout.delimiter).build();
        self.skip_header = layout.header;
        let kinds = layout
            .columns
            .iter()
            .map(|column| Kind::new(column.ty, column.pattern.clone(), self.options.precision))
            .collect();
        self.rows = Some(Rows {
            builders: builders(&layout),
            layout,
            kinds,
            rows: 0,
            bytes: 0,
            batches: Vec::new(),
            read: 0,
            rejected: 0,
            first_error: None,
            hasher: RandomState::new(),
        });
        self.split(&sample, false)
    }

    fn split(&mut self, mut input: &[u8], last: bool) -> Result<(), LineError> {
        loop {
            // To the parser nothing more is the end of the last record.
            if input.is_empty() && !last {
                return Ok(());
            }
            if self.record_len == 0 && self.cells == 0 {
                self.line = self.core.line();
            }
            let (result, read, written, cells) = self.core.read_record(
                input,
                &mut self.record[self.record_len..],
                &mut self.ends[self.cells..],
            );
            input = &input[read..];
            self.record_len += written;
            self.cells += cells;
            match result {
                ReadRecordResult::InputEmpty if last => {}
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok(()),
                ReadRecordResult::OutputFull => self.grow()?,
                ReadRecordResult::OutputEndsFull => return Err(self.too_many()),
                ReadRecordResult::Record => {
                    if self.cells > COLUMNS_MAX {
                        return Err(self.too_many());
                    }
                    let ends = &self.ends[..self.cells];
                    let record = &self.record[..self.record_len];
                    (self.record_len, self.cells) = (0, 0);
                    if std::mem::take(&mut self.skip_header) {
                        continue;
                    }
                    if let Some(rows) = &mut self.rows {
                        rows.row(record, ends, self.line, &self.options)?;
                    }
                }
            }
        }
    }

    fn grow(&mut self) -> Result<(), LineError> {
        if self.record.len() >= RECORD_BYTES_MAX {
            let cause = format!("the record has more than {RECORD_BYTES_MAX} bytes");
            let hint = "end lines with a newline, and close quotes";
            return Err(fault(self.line, &cause, hint, &self.record[..64]));
        }
        let len = (self.record.len() * 2).min(RECORD_BYTES_MAX);
        self.record.resize(len, 0);
        Ok(())
    }

    fn too_many(&self) -> LineError {
        let cause = format!("the record has more than {COLUMNS_MAX} cells");
        fault(self.line, &cause, "split the file by columns, or give its delimiter", &self.record[..64])
    }
}

/// Something that ends the reading of line `line`.
fn fault(line: u64, cause: &str, hint: &str, text: &[u8]) -> LineError {
    LineError {
        line,
        column: 0,
        cause: cause.to_owned(),
        hint: hint.to_owned(),
        text: excerpt(text, 64),
        fatal: false,
    }
}

fn builders(layout: &Layout) -> Vec<ColumnBuilder> {
    let builder = |column: &CsvColumn| ColumnBuilder::new(&column.name, cell::built(column.ty), 1);
    layout.columns.iter().map(builder).collect()
}

impl Rows {
    fn row(
        &mut self,
        record: &[u8],
        ends: &[usize],
        line: u64,
        options: &CsvOptions,
    ) -> Result<(), LineError> {
        if ends.len() > self.layout.columns.len() && !options.cut_extra {
            let cause = format!("the row has {} cells for {} columns", ends.len(), self.layout.columns.len());
            let error = fault(line, &cause, "quote cells that hold the delimiter", record);
            return self.reject(error, options);
        }
        let mut begin = 0;
        let mut bad = None;
        for (i, &end) in ends.iter().take(self.builders.len()).enumerate() {
            let text = &record[begin..end];
            begin = end;
            let cell = match self.kinds[i].parse(text) {
                Ok(cell) => cell,
                Err(cell::Unfit::Value) => {
                    self.layout.columns[i].errors += 1;
                    let column = &self.layout.columns[i];
                    let cause = format!("column {:?} is {}, got {}", column.name, column.ty, shown(text));
                    bad.get_or_insert((i, cause));
                    None
                }
                Err(cell::Unfit::NotUtf8) => {
                    let name = &self.layout.columns[i].name;
                    let cause = format!("column {name:?} is not UTF-8: {}", shown(text));
                    return Err(fault(line, &cause, "save the file as UTF-8", record));
                }
                Err(cell::Unfit::Nul) => {
                    let cause = format!("column {:?} holds a NUL byte", self.layout.columns[i].name);
                    return Err(fault(line, &cause, "send text: is the file UTF-16, or binary?", record));
                }
            };
            if let Some(cell) = cell
                && self.builders[i].push(self.rows, cell, &self.hasher).is_err()
            {
                // `Kind::parse` makes what its builder takes.
                return Err(fault(line, "the cell cannot be kept", "report this as a bug", text));
            }
        }
        let time = self.layout.timestamp.map(|time| self.builders[time].len() > self.rows);
        if time == Some(false) && bad.is_none() {
            let time = self.layout.timestamp.unwrap_or(0);
            self.layout.columns[time].errors += 1;
            bad = Some((time, format!("the time column {:?} is empty", self.layout.columns[time].name)));
        }
        if let Some((_, cause)) = bad {
            let error = fault(line, &cause, "mend the file, or give the column another type", record);
            if options.on_error != OnError::Null || time == Some(false) {
                let row = self.rows;
                self.builders.iter_mut().for_each(|builder| builder.undo(row, &self.hasher));
                return self.reject(error, options);
            }
            self.first_error.get_or_insert(error);
        }
        self.rows += 1;
        self.bytes += record.len() + 8 * self.builders.len();
        if self.rows >= options.batch_rows.max(1) || self.bytes >= options.batch_bytes {
            self.seal()?;
        }
        Ok(())
    }

    fn reject(&mut self, error: LineError, options: &CsvOptions) -> Result<(), LineError> {
        if options.on_error == OnError::Abort {
            return Err(error);
        }
        self.rejected += 1;
        self.first_error.get_or_insert(error);
        Ok(())
    }

    /// Makes a batch of the rows so far.
    fn seal(&mut self) -> Result<(), LineError> {
        if self.rows == 0 {
            return Ok(());
        }
        let bug = |error: arrow::error::ArrowError| {
            fault(0, &format!("the rows do not fit together: {error}"), "report this as a bug", &[])
        };
        let fresh = builders(&self.layout);
        let filled = std::mem::replace(&mut self.builders, fresh);
        let mut arrays = Vec::with_capacity(filled.len());
        let mut fields = Vec::with_capacity(filled.len());
        for (builder, column) in filled.into_iter().zip(&self.layout.columns) {
            let array = builder.finish(self.rows).map_err(bug)?;
            let ty = column.ty.arrow();
            arrays.push(if *array.data_type() == ty { array } else { cast(&array, &ty).map_err(bug)? });
            fields.push(Field::new(&*column.name, ty, true));
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(bug)?;
        self.batches.push(batch);
        self.read += self.rows as u64;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

/// `a` and `b` name the same column.
fn same_name(a: &str, b: &str) -> bool {
    a == b || name_key(a) == name_key(b)
}
