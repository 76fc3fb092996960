//! One column of a batch while it is being filled.
//!
//! A column is as long as the last row that had a value in it: rows without one cost nothing until the next
//! value (or the end) fills the gap with NULL. The row being read is the one at index `rows` of its table, so a
//! column whose length is `rows + 1` already has its value of this row, and taking the row back is to cut those
//! columns by one.

use std::sync::Arc;

use ahash::RandomState;
use arrow::{
    array::{
        ArrayRef, BooleanArray, BooleanBufferBuilder, DictionaryArray, Float64Array, Int32Array, Int64Array,
        StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::Int32Type,
    error::ArrowError,
};
use hashbrown::HashTable;
use nowcast_model::ColumnType;

/// A value on its way into a column. A VARCHAR must be UTF-8: who makes the cell has checked it. A SYMBOL is checked
/// here, once per distinct text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell<'a> {
    Boolean(bool),
    Long(i64),
    Double(f64),
    /// Microseconds.
    Timestamp(i64),
    /// Nanoseconds.
    TimestampNs(i64),
    Varchar(&'a [u8]),
    Symbol(&'a [u8]),
}

impl Cell<'_> {
    pub(crate) fn ty(self) -> ColumnType {
        match self {
            Cell::Boolean(_) => ColumnType::Boolean,
            Cell::Long(_) => ColumnType::Long,
            Cell::Double(_) => ColumnType::Double,
            Cell::Timestamp(_) => ColumnType::Timestamp,
            Cell::TimestampNs(_) => ColumnType::TimestampNs,
            Cell::Varchar(_) => ColumnType::Varchar,
            Cell::Symbol(_) => ColumnType::Symbol,
        }
    }
}

/// Why a column does not take a cell.
pub(crate) enum CellError {
    /// The cell is not of the column's type.
    WrongType,
    /// A symbol is not UTF-8.
    NotUtf8,
}

enum Values {
    Boolean(Vec<bool>),
    Long(Vec<i64>),
    Double(Vec<f64>),
    Timestamp(Vec<i64>),
    TimestampNs(Vec<i64>),
    Varchar(Texts),
    Symbol { keys: Vec<i32>, symbols: Symbols },
}

/// Texts one behind the other; text `i` is `bytes[offsets[i]..offsets[i + 1]]`.
struct Texts {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Texts {
    fn new() -> Texts {
        Texts { offsets: vec![0], bytes: Vec::new() }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        // The owning table is sealed long before 2 GiB (`table::TEXT_BYTES_MAX` plus one line).
        self.offsets.push(self.bytes.len() as i32);
    }

    fn pad(&mut self, count: usize) {
        self.offsets.resize(self.offsets.len() + count, self.bytes.len() as i32);
    }

    fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.bytes.truncate(self.offsets[len] as usize);
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        StringArray::try_new(offsets, Buffer::from_vec(self.bytes), nulls)
    }
}

/// A dictionary: each distinct text once, found by hash.
struct Symbols {
    texts: Texts,
    index: HashTable<i32>,
    /// The key given last: rows often repeat the symbol of the row before.
    last: i32,
    /// True if `last` was new, so that taking the row back forgets it.
    fresh: bool,
}

impl Symbols {
    fn new() -> Symbols {
        Symbols { texts: Texts::new(), index: HashTable::new(), last: -1, fresh: false }
    }

    /// The key of `text`; `None` if it is not UTF-8.
    #[inline]
    fn key(&mut self, text: &[u8], hasher: &RandomState) -> Option<i32> {
        self.fresh = false;
        if self.last >= 0 && self.texts.get(self.last as usize) == text {
            return Some(self.last);
        }
        let hash = hasher.hash_one(text);
        if let Some(&key) = self.index.find(hash, |&key| self.texts.get(key as usize) == text) {
            self.last = key;
            return Some(key);
        }
        std::str::from_utf8(text).ok()?;
        let key = self.texts.len() as i32;
        self.texts.push(text);
        let texts = &self.texts;
        self.index.insert_unique(hash, key, |&key| hasher.hash_one(texts.get(key as usize)));
        self.last = key;
        self.fresh = true;
        Some(key)
    }

    /// Forgets the symbol that the row being taken back brought.
    fn undo(&mut self, hasher: &RandomState) {
        if self.fresh {
            let key = self.last;
            let hash = hasher.hash_one(self.texts.get(key as usize));
            if let Ok(entry) = self.index.find_entry(hash, |&other| other == key) {
                entry.remove();
            }
            self.texts.truncate(key as usize);
        }
        self.fresh = false;
        self.last = -1;
    }
}

/// One column while it is being filled.
pub(crate) struct ColumnBuilder {
    pub(crate) name: Arc<str>,
    /// The line that brought the column, for the message of a type conflict.
    pub(crate) line: u64,
    /// True if the name is the same escaped: no space, comma, equals sign or backslash.
    plain: bool,
    values: Values,
    len: usize,
    /// Made at the first NULL.
    valid: Option<BooleanBufferBuilder>,
}

impl ColumnBuilder {
    pub(crate) fn new(name: &str, ty: ColumnType, line: u64) -> ColumnBuilder {
        let values = match ty {
            ColumnType::Boolean => Values::Boolean(Vec::new()),
            ColumnType::Long => Values::Long(Vec::new()),
            ColumnType::Timestamp => Values::Timestamp(Vec::new()),
            ColumnType::TimestampNs => Values::TimestampNs(Vec::new()),
            ColumnType::Varchar => Values::Varchar(Texts::new()),
            ColumnType::Symbol => Values::Symbol { keys: Vec::new(), symbols: Symbols::new() },
            // `Cell::ty` knows no other.
            _ => Values::Double(Vec::new()),
        };
        let plain = !name.bytes().any(|b| matches!(b, b' ' | b',' | b'=' | b'\\'));
        ColumnBuilder { name: name.into(), line, plain, values, len: 0, valid: None }
    }

    pub(crate) fn ty(&self) -> ColumnType {
        match self.values {
            Values::Boolean(_) => ColumnType::Boolean,
            Values::Long(_) => ColumnType::Long,
            Values::Double(_) => ColumnType::Double,
            Values::Timestamp(_) => ColumnType::Timestamp,
            Values::TimestampNs(_) => ColumnType::TimestampNs,
            Values::Varchar(_) => ColumnType::Varchar,
            Values::Symbol { .. } => ColumnType::Symbol,
        }
    }

    /// Rows up to the last that has a value.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// If `input` begins with this column's name and `=`, the length of both.
    #[inline]
    pub(crate) fn leads(&self, input: &[u8]) -> Option<usize> {
        let name = self.name.as_bytes();
        let fits = self.plain && input.get(name.len()) == Some(&b'=') && input.starts_with(name);
        fits.then_some(name.len() + 1)
    }

    /// Bytes of text that it holds.
    pub(crate) fn text_bytes(&self) -> usize {
        match &self.values {
            Values::Varchar(texts) => texts.bytes.len(),
            Values::Symbol { symbols, .. } => symbols.texts.bytes.len(),
            _ => 0,
        }
    }

    /// Sets the value of row `row`, which must not be below [`ColumnBuilder::len`].
    #[inline]
    pub(crate) fn push(&mut self, row: usize, cell: Cell<'_>, hasher: &RandomState) -> Result<(), CellError> {
        if self.len < row {
            self.pad(row);
        }
        match (&mut self.values, cell) {
            (Values::Long(values), Cell::Long(value)) => values.push(value),
            (Values::Double(values), Cell::Double(value)) => values.push(value),
            (Values::Symbol { keys, symbols }, Cell::Symbol(text)) => {
                keys.push(symbols.key(text, hasher).ok_or(CellError::NotUtf8)?);
            }
            (Values::Boolean(values), Cell::Boolean(value)) => values.push(value),
            (Values::Varchar(texts), Cell::Varchar(text)) => texts.push(text),
            (Values::Timestamp(values), Cell::Timestamp(us)) => values.push(us),
            (Values::Timestamp(values), Cell::TimestampNs(ns)) => values.push(ns.div_euclid(1_000)),
            (Values::TimestampNs(values), Cell::TimestampNs(ns)) => values.push(ns),
            (Values::TimestampNs(values), Cell::Timestamp(us)) => {
                values.push(us.checked_mul(1_000).ok_or(CellError::WrongType)?);
            }
            _ => return Err(CellError::WrongType),
        }
        if let Some(valid) = &mut self.valid {
            valid.append(true);
        }
        self.len = row + 1;
        Ok(())
    }

    /// Fills with NULL up to `rows` rows.
    #[cold]
    fn pad(&mut self, rows: usize) {
        let count = rows - self.len;
        let valid = self.valid.get_or_insert_with(|| {
            let mut valid = BooleanBufferBuilder::new(rows + 1024);
            valid.append_n(self.len, true);
            valid
        });
        valid.append_n(count, false);
        match &mut self.values {
            Values::Boolean(values) => values.resize(rows, false),
            Values::Long(values) | Values::Timestamp(values) | Values::TimestampNs(values) => {
                values.resize(rows, 0);
            }
            Values::Double(values) => values.resize(rows, 0.0),
            Values::Varchar(texts) => texts.pad(count),
            Values::Symbol { keys, .. } => keys.resize(rows, 0),
        }
        self.len = rows;
    }

    /// Takes back the value of row `row`, if that row has one.
    pub(crate) fn undo(&mut self, row: usize, hasher: &RandomState) {
        if self.len <= row {
            return;
        }
        match &mut self.values {
            Values::Boolean(values) => values.truncate(row),
            Values::Long(values) | Values::Timestamp(values) | Values::TimestampNs(values) => {
                values.truncate(row);
            }
            Values::Double(values) => values.truncate(row),
            Values::Varchar(texts) => texts.truncate(row),
            Values::Symbol { keys, symbols } => {
                keys.truncate(row);
                symbols.undo(hasher);
            }
        }
        if let Some(valid) = &mut self.valid {
            valid.truncate(row);
        }
        self.len = row;
    }

    /// The column as an array of `rows` rows.
    pub(crate) fn finish(mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        if self.len < rows {
            self.pad(rows);
        }
        let nulls = self.valid.map(|mut valid| NullBuffer::new(valid.finish()));
        Ok(match self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls)),
            Values::Long(values) => Arc::new(Int64Array::try_new(values.into(), nulls)?),
            Values::Double(values) => Arc::new(Float64Array::try_new(values.into(), nulls)?),
            Values::Timestamp(values) => Arc::new(TimestampMicrosecondArray::try_new(values.into(), nulls)?),
            Values::TimestampNs(values) => Arc::new(TimestampNanosecondArray::try_new(values.into(), nulls)?),
            Values::Varchar(texts) => Arc::new(texts.finish(nulls)?),
            Values::Symbol { keys, symbols } => {
                let keys = Int32Array::try_new(keys.into(), nulls)?;
                let texts: ArrayRef = Arc::new(symbols.texts.finish(None)?);
                Arc::new(DictionaryArray::<Int32Type>::try_new(keys, texts)?)
            }
        })
    }
}
