//! One table's rows while they are read, and the set of such tables.
//!
//! A row is begun by its first cell and ended by [`TableBuilder::end_row`] or [`TableBuilder::abort_row`]; the
//! latter leaves the table as it was, columns and symbols that the row brought included. Columns are found by
//! position first (rows of one writer nearly always have the same columns in the same order), by hash after.
//!
//! What bounds it: a table is *sealed* (made into a batch, and begun anew) when NULLs would make it large out of
//! proportion to its input ([`CELLS_MAX`]) or its texts near the limit of Arrow's 32-bit offsets
//! ([`TEXT_BYTES_MAX`]); columns are at most [`COLUMNS_MAX`].

use std::sync::Arc;

use ahash::RandomState;
use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray},
    datatypes::{Field, Schema},
    error::ArrowError,
};
use hashbrown::{HashMap, HashTable};
use nowcast_model::{
    Batch, ColumnType, TableName, check_name,
    limits::{COLUMNS_MAX, TABLES_MAX},
    name_key,
};

use crate::{
    Decoded,
    columns::{Cell, CellError, ColumnBuilder},
};

/// Rows times columns of one batch: 128 MiB of numbers.
const CELLS_MAX: usize = 16 << 20;

/// Texts of one column in one batch.
const TEXT_BYTES_MAX: usize = 256 << 20;

/// How often a row's end looks at the bounds.
const SEAL_CHECK_ROWS: usize = 1024;

/// Where a cell goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slot {
    /// A column that exists.
    Known(usize),
    /// A new one; its name stands in the caller's scratch.
    New,
}

/// What became of a cell.
pub(crate) enum Pushed {
    Set,
    /// The row has a value of that column already; the first stays.
    Duplicate,
}

/// Why a cell cannot be taken.
pub(crate) enum PushError {
    /// The column has another type since an earlier line of the same input.
    Conflict { cause: String, hint: String },
    /// No more columns.
    TooMany,
    /// A symbol is not UTF-8.
    NotUtf8,
}

/// One table's rows while they are read.
pub(crate) struct TableBuilder {
    name: TableName,
    /// True if the name is the same escaped.
    plain: bool,
    time_name: Arc<str>,
    columns: Vec<ColumnBuilder>,
    /// Columns by their exact name.
    index: HashTable<usize>,
    /// Columns by [`name_key`]; asked when the exact name is unknown.
    by_key: HashMap<String, usize, RandomState>,
    /// The column expected next.
    next: usize,
    /// Columns when the row began; what is behind them came with it.
    columns_before: usize,
    /// Cells of the row being read, duplicates not counted.
    cells: usize,
    times_us: Vec<i64>,
    lines: Vec<u64>,
}

impl TableBuilder {
    pub(crate) fn new(name: TableName, time_name: &str) -> TableBuilder {
        let plain = !name.table.bytes().any(|b| matches!(b, b' ' | b',' | b'=' | b'\\'));
        TableBuilder {
            name,
            plain,
            time_name: time_name.into(),
            columns: Vec::new(),
            index: HashTable::new(),
            by_key: HashMap::default(),
            next: 0,
            columns_before: 0,
            cells: 0,
            times_us: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// The same table without rows.
    fn renewed(&self) -> TableBuilder {
        TableBuilder::new(self.name.clone(), &self.time_name)
    }

    pub(crate) fn rows(&self) -> usize {
        self.times_us.len()
    }

    /// Cells of the row being read.
    pub(crate) fn cells(&self) -> usize {
        self.cells
    }

    /// True if `input` begins with this table's name and a separator.
    #[inline]
    pub(crate) fn leads(&self, input: &[u8]) -> Option<usize> {
        let name = self.name.table.as_bytes();
        let fits =
            self.plain && matches!(input.get(name.len()), Some(b',' | b' ')) && input.starts_with(name);
        fits.then_some(name.len())
    }

    /// If `input` begins with the name of the column that is expected next and `=`: the column, and the length
    /// of both.
    #[inline]
    pub(crate) fn expected(&mut self, input: &[u8]) -> Option<(usize, usize)> {
        let column = self.next;
        let length = self.columns.get(column)?.leads(input)?;
        self.next = column + 1;
        Some((column, length))
    }

    /// The column called `name`, if it is the one expected next.
    #[inline]
    pub(crate) fn expected_name(&mut self, name: &str) -> Option<usize> {
        let column = self.next;
        (&*self.columns.get(column)?.name == name).then_some(())?;
        self.next = column + 1;
        Some(column)
    }

    /// The column called `name`, matched without case.
    pub(crate) fn find(&mut self, name: &str, hasher: &RandomState) -> Option<usize> {
        let hash = hasher.hash_one(name);
        let exact = self.index.find(hash, |&i| &*self.columns[i].name == name).copied();
        let column = exact.or_else(|| self.by_key.get(&name_key(name)).copied())?;
        self.next = column + 1;
        Some(column)
    }

    /// The name of column `index`.
    pub(crate) fn name_of(&self, index: usize) -> &str {
        self.columns.get(index).map_or("", |column| &column.name)
    }

    /// True if the row being read has a value of column `index`.
    pub(crate) fn has_cell(&self, index: usize) -> bool {
        self.columns.get(index).is_some_and(|column| column.len() > self.rows())
    }

    /// True if `name` is the time column's, matched without case.
    pub(crate) fn is_time(&self, name: &str) -> bool {
        name.len() == self.time_name.len() && name.eq_ignore_ascii_case(&self.time_name)
    }

    /// Sets a cell of the row being read.
    #[inline]
    pub(crate) fn push(
        &mut self,
        slot: Slot,
        new_name: &str,
        cell: Cell<'_>,
        line: u64,
        hasher: &RandomState,
    ) -> Result<Pushed, PushError> {
        let index = match slot {
            Slot::Known(index) => index,
            Slot::New => self.add(new_name, cell.ty(), line, hasher)?,
        };
        let row = self.times_us.len();
        let column = &mut self.columns[index];
        if column.len() > row {
            return Ok(Pushed::Duplicate);
        }
        match column.push(row, cell, hasher) {
            Ok(()) => {
                self.cells += 1;
                Ok(Pushed::Set)
            }
            Err(CellError::WrongType) => Err(conflict(column, cell)),
            Err(CellError::NotUtf8) => Err(PushError::NotUtf8),
        }
    }

    #[cold]
    fn add(
        &mut self,
        name: &str,
        ty: ColumnType,
        line: u64,
        hasher: &RandomState,
    ) -> Result<usize, PushError> {
        let index = self.columns.len();
        // The time column is one more.
        if index + 1 >= COLUMNS_MAX {
            return Err(PushError::TooMany);
        }
        self.columns.push(ColumnBuilder::new(name, ty, line));
        self.by_key.insert(name_key(name), index);
        let columns = &self.columns;
        self.index.insert_unique(hasher.hash_one(name), index, |&i| hasher.hash_one(&*columns[i].name));
        self.next = index + 1;
        Ok(index)
    }

    /// Ends the row; returns how many columns it brought.
    #[inline]
    pub(crate) fn end_row(&mut self, time_us: i64, line: u64) -> usize {
        self.times_us.push(time_us);
        self.lines.push(line);
        self.next = 0;
        self.cells = 0;
        let new = self.columns.len() - self.columns_before;
        self.columns_before = self.columns.len();
        new
    }

    /// Takes back what came of the row being read.
    #[cold]
    pub(crate) fn abort_row(&mut self, hasher: &RandomState) {
        for index in self.columns_before..self.columns.len() {
            let hash = hasher.hash_one(&*self.columns[index].name);
            if let Ok(entry) = self.index.find_entry(hash, |&i| i == index) {
                entry.remove();
            }
            self.by_key.remove(&name_key(&self.columns[index].name));
        }
        self.columns.truncate(self.columns_before);
        let row = self.rows();
        for column in &mut self.columns {
            column.undo(row, hasher);
        }
        self.next = 0;
        self.cells = 0;
    }

    /// True if the rows so far should become a batch of their own.
    #[inline]
    fn is_full(&self) -> bool {
        let rows = self.rows();
        rows * (self.columns.len() + 1) > CELLS_MAX
            || (rows.is_multiple_of(SEAL_CHECK_ROWS)
                && self.columns.iter().any(|column| column.text_bytes() > TEXT_BYTES_MAX))
    }

    fn finish(self) -> Result<(Batch, Vec<u64>), ArrowError> {
        let rows = self.times_us.len();
        let mut fields = Vec::with_capacity(self.columns.len() + 1);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len() + 1);
        for column in self.columns {
            fields.push(Field::new(&*column.name, column.ty().arrow(), true));
            arrays.push(column.finish(rows)?);
        }
        let timestamp = Some(fields.len());
        fields.push(Field::new(&*self.time_name, ColumnType::Timestamp.arrow(), true));
        arrays.push(Arc::new(TimestampMicrosecondArray::from(self.times_us)));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?;
        Ok((Batch { table: self.name, rows, timestamp }, self.lines))
    }
}

#[cold]
fn conflict(column: &ColumnBuilder, cell: Cell<'_>) -> PushError {
    let (name, had, got, line) = (&column.name, column.ty(), cell.ty(), column.line);
    let cause = format!("column {name:?} is {had} since line {line}, got {got}");
    let hint = match (had, got) {
        (ColumnType::Long, ColumnType::Double) | (ColumnType::Double, ColumnType::Long) => {
            "send one type per column: `1i` is LONG, `1` and `1.0` are DOUBLE"
        }
        (ColumnType::Symbol, _) | (_, ColumnType::Symbol) => {
            "a column is a tag (SYMBOL) or a field, not both: give one of them another name"
        }
        _ => "send one type per column, or use two columns",
    };
    PushError::Conflict { cause, hint: hint.to_owned() }
}

/// The tables of one input.
pub(crate) struct Tables {
    pub(crate) hasher: RandomState,
    tables: Vec<TableBuilder>,
    sealed: Decoded,
    /// The table of the last row.
    last: usize,
    /// Tables by their exact name.
    index: HashTable<usize>,
    /// Tables by [`name_key`]; asked when the exact name is unknown.
    by_key: HashMap<String, usize, RandomState>,
    rows: usize,
    columns: usize,
}

impl Tables {
    pub(crate) fn new() -> Tables {
        Tables {
            hasher: RandomState::new(),
            tables: Vec::new(),
            sealed: Decoded::default(),
            last: 0,
            index: HashTable::new(),
            by_key: HashMap::default(),
            rows: 0,
            columns: 0,
        }
    }

    /// Rows that [`Tables::take`] would return.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Tables that rows were read of.
    pub(crate) fn len(&self) -> usize {
        self.tables.len()
    }

    /// Columns of all tables.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// If `input` begins with the name of the table of the last row: the table, and the name's length.
    #[inline]
    pub(crate) fn expected(&self, input: &[u8]) -> Option<(usize, usize)> {
        Some((self.last, self.tables.get(self.last)?.leads(input)?))
    }

    #[inline]
    pub(crate) fn table(&mut self, index: usize) -> (&mut TableBuilder, &RandomState) {
        (&mut self.tables[index], &self.hasher)
    }

    /// The table called `name` (matched without case), made if it is new.
    ///
    /// # Errors
    /// Cause and hint of a bad name.
    pub(crate) fn find_or_add(&mut self, name: &str, time_name: &str) -> Result<usize, (String, String)> {
        let hash = self.hasher.hash_one(name);
        let exact = self.index.find(hash, |&i| &*self.tables[i].name.table == name).copied();
        let found = exact.or_else(|| self.by_key.get(&name_key(name)).copied());
        if let Some(index) = found {
            self.last = index;
            return Ok(index);
        }
        self.add(TableName::public(name), time_name)
    }

    /// Adds a table.
    ///
    /// # Errors
    /// As [`Tables::find_or_add`].
    pub(crate) fn add(&mut self, name: TableName, time_name: &str) -> Result<usize, (String, String)> {
        check_name(&name.table).map_err(|error| {
            (format!("the table's name cannot be used: {error}"), "give the table another name".to_owned())
        })?;
        let hash = self.hasher.hash_one(&*name.table);
        let index = self.tables.len();
        if index >= TABLES_MAX {
            let cause = format!("more than {TABLES_MAX} tables in one request");
            return Err((cause, "send it in smaller parts".to_owned()));
        }
        self.by_key.insert(name_key(&name.table), index);
        self.tables.push(TableBuilder::new(name, time_name));
        let tables = &self.tables;
        let hasher = &self.hasher;
        self.index.insert_unique(hash, index, |&i| hasher.hash_one(&*tables[i].name.table));
        self.last = index;
        Ok(index)
    }

    /// Takes back a row that may have made its table (if there are more than `tables_before`).
    #[cold]
    pub(crate) fn abort_row(&mut self, table: usize, tables_before: usize) {
        self.tables[table].abort_row(&self.hasher);
        while self.tables.len() > tables_before {
            let index = self.tables.len() - 1;
            let hash = self.hasher.hash_one(&*self.tables[index].name.table);
            if let Ok(entry) = self.index.find_entry(hash, |&i| i == index) {
                entry.remove();
            }
            self.by_key.remove(&name_key(&self.tables[index].name.table));
            self.tables.pop();
        }
    }

    /// Ends the row of table `table`.
    ///
    /// # Errors
    /// Never in practice: Arrow refuses columns that do not fit together, and these do.
    #[inline]
    pub(crate) fn end_row(&mut self, table: usize, time_us: i64, line: u64) -> Result<(), ArrowError> {
        self.columns += self.tables[table].end_row(time_us, line);
        self.rows += 1;
        if self.tables[table].is_full() {
            self.seal(table)?;
        }
        Ok(())
    }

    /// Makes the rows of table `table` so far a batch of their own.
    #[cold]
    pub(crate) fn seal(&mut self, table: usize) -> Result<(), ArrowError> {
        let renewed = self.tables[table].renewed();
        let full = std::mem::replace(&mut self.tables[table], renewed);
        if full.rows() > 0 {
            let (batch, lines) = full.finish()?;
            self.sealed.batches.push(batch);
            self.sealed.lines.push(lines);
        }
        Ok(())
    }

    /// All rows as batches; nothing is left.
    pub(crate) fn take(&mut self) -> Result<Decoded, ArrowError> {
        let mut decoded = std::mem::take(&mut self.sealed);
        self.index.clear();
        self.by_key.clear();
        (self.last, self.rows, self.columns) = (0, 0, 0);
        for table in std::mem::take(&mut self.tables).into_iter().filter(|table| table.rows() > 0) {
            let (batch, lines) = table.finish()?;
            decoded.batches.push(batch);
            decoded.lines.push(lines);
        }
        Ok(decoded)
    }
}
