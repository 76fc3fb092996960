//! Rows on their way into columns.
//!
//! A [`Table`] takes one row's cells in the order of its columns and keeps them as columns from the first
//! byte: text as one long string with offsets, symbols as indices into a dictionary that all batches share.
//! [`Table::take`] hands out what has gathered; a dictionary then holds only the words that occur, in the
//! order in which they first do, so that a record of three users does not carry all the shop's brands.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{Field, Int32Type, Schema, SchemaRef},
};
use nowcast_model::{Batch, ColumnType, TableSchema};

/// A symbol column's words.
pub(super) type Dictionary = Arc<[Arc<str>]>;

/// A dictionary of fixed words.
pub(super) fn dictionary(words: &[&str]) -> Dictionary {
    words.iter().map(|&word| Arc::from(word)).collect()
}

enum Cells {
    Text { bytes: String, ends: Vec<i32>, valid: Vec<bool> },
    Symbol { keys: Vec<i32>, words: Dictionary },
    Long(Vec<i64>),
    Double(Vec<f64>),
    Time { us: Vec<i64>, valid: Vec<bool> },
}

/// Rows of one table that have not been handed out.
pub(super) struct Table {
    schema: Arc<TableSchema>,
    arrow: SchemaRef,
    columns: Vec<Cells>,
    /// The column that the next cell belongs to.
    at: usize,
    rows: usize,
}

impl Table {
    /// An empty table. `words` holds a dictionary for each symbol column, in their order.
    pub(super) fn new(schema: TableSchema, words: &[Dictionary]) -> Table {
        let fields: Vec<Field> =
            schema.columns.iter().map(|c| Field::new(&*c.name, c.ty.arrow(), true)).collect();
        let mut words = words.iter();
        let columns = schema
            .columns
            .iter()
            .map(|column| match column.ty {
                ColumnType::Symbol => Cells::Symbol {
                    keys: Vec::new(),
                    words: Arc::clone(words.next().expect("invariant: a dictionary for each symbol column")),
                },
                ColumnType::Long => Cells::Long(Vec::new()),
                ColumnType::Double => Cells::Double(Vec::new()),
                ColumnType::Timestamp => Cells::Time { us: Vec::new(), valid: Vec::new() },
                _ => Cells::Text { bytes: String::new(), ends: vec![0], valid: Vec::new() },
            })
            .collect();
        Table { arrow: Arc::new(Schema::new(fields)), schema: Arc::new(schema), columns, at: 0, rows: 0 }
    }

    /// Rows that wait.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    fn next(&mut self) -> &mut Cells {
        let at = self.at;
        self.at += 1;
        if self.at == self.columns.len() {
            self.at = 0;
            self.rows += 1;
        }
        &mut self.columns[at]
    }

    /// A text cell that `write` appends to what it gets.
    pub(super) fn text_with(&mut self, write: impl FnOnce(&mut String)) -> &mut Table {
        if let Cells::Text { bytes, ends, valid } = self.next() {
            write(bytes);
            ends.push(
                i32::try_from(bytes.len()).expect("invariant: batches are taken long before 2 GiB of text"),
            );
            valid.push(true);
        } else {
            debug_assert!(false, "a text cell in a column of another type");
        }
        self
    }

    /// A text cell.
    pub(super) fn text(&mut self, text: &str) -> &mut Table {
        self.text_with(|bytes| bytes.push_str(text))
    }

    /// A UUID as text.
    pub(super) fn uuid(&mut self, id: u128) -> &mut Table {
        self.text_with(|bytes| push_uuid(bytes, id))
    }

    /// A UUID as text, or NULL.
    pub(super) fn uuid_or_null(&mut self, id: Option<u128>) -> &mut Table {
        self.text_with(|bytes| {
            if let Some(id) = id {
                push_uuid(bytes, id);
            }
        });
        let at = (self.at + self.columns.len() - 1) % self.columns.len();
        if let (None, Cells::Text { valid, .. }) = (id, &mut self.columns[at])
            && let Some(last) = valid.last_mut()
        {
            *last = false;
        }
        self
    }

    /// A symbol, by its index in the column's dictionary.
    pub(super) fn symbol(&mut self, word: usize) -> &mut Table {
        if let Cells::Symbol { keys, .. } = self.next() {
            keys.push(i32::try_from(word).unwrap_or(0));
        } else {
            debug_assert!(false, "a symbol in a column of another type");
        }
        self
    }

    /// An integer.
    pub(super) fn long(&mut self, value: i64) -> &mut Table {
        if let Cells::Long(values) = self.next() {
            values.push(value);
        } else {
            debug_assert!(false, "an integer in a column of another type");
        }
        self
    }

    /// A double.
    pub(super) fn double(&mut self, value: f64) -> &mut Table {
        if let Cells::Double(values) = self.next() {
            values.push(value);
        } else {
            debug_assert!(false, "a double in a column of another type");
        }
        self
    }

    /// A time in microseconds since 1970 UTC, or NULL.
    pub(super) fn time(&mut self, value_us: impl Into<Option<i64>>) -> &mut Table {
        let value = value_us.into();
        if let Cells::Time { us, valid } = self.next() {
            us.push(value.unwrap_or(0));
            valid.push(value.is_some());
        } else {
            debug_assert!(false, "a time in a column of another type");
        }
        self
    }

    /// The rows that wait, and none wait after; `None` if there are none.
    pub(super) fn take(&mut self) -> Option<Batch> {
        debug_assert_eq!(self.at, 0, "a row is incomplete");
        if self.rows == 0 {
            return None;
        }
        self.rows = 0;
        let columns = self.columns.iter_mut().map(Cells::take).collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.arrow), columns)
            .expect("invariant: cells go round the columns, so that all have one length and their own type");
        Some(Batch { table: self.schema.name.clone(), rows, timestamp: self.schema.timestamp })
    }
}

impl Cells {
    fn take(&mut self) -> ArrayRef {
        let nulls = |valid: &mut Vec<bool>| {
            let valid = std::mem::take(valid);
            valid.contains(&false).then(|| NullBuffer::from(valid))
        };
        match self {
            Cells::Text { bytes, ends, valid } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                let bytes = Buffer::from_vec(std::mem::take(bytes).into_bytes());
                Arc::new(StringArray::new(offsets, bytes, nulls(valid)))
            }
            Cells::Symbol { keys, words } => {
                let mut place = vec![-1i32; words.len()];
                let mut used: Vec<&str> = Vec::new();
                let mut keys = std::mem::take(keys);
                for key in &mut keys {
                    let word = usize::try_from(*key).unwrap_or(0);
                    if place[word] < 0 {
                        place[word] = used.len() as i32;
                        used.push(&words[word]);
                    }
                    *key = place[word];
                }
                let words = Arc::new(StringArray::from(used));
                Arc::new(DictionaryArray::<Int32Type>::new(keys.into(), words))
            }
            Cells::Long(values) => Arc::new(Int64Array::from(std::mem::take(values))),
            Cells::Double(values) => Arc::new(Float64Array::from(std::mem::take(values))),
            Cells::Time { us, valid } => {
                Arc::new(TimestampMicrosecondArray::new(std::mem::take(us).into(), nulls(valid)))
            }
        }
    }
}

/// Appends `id` as `8-4-4-4-12` hexadecimal digits. Goes through a buffer of its own, as one `push` a digit is
/// a good part of the time that an unoptimised build takes to make history.
pub(super) fn push_uuid(text: &mut String, id: u128) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut buffer = [b'-'; 36];
    let mut at = 0;
    for byte in id.to_be_bytes() {
        if matches!(at, 8 | 13 | 18 | 23) {
            at += 1;
        }
        buffer[at] = DIGITS[usize::from(byte >> 4)];
        buffer[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    text.push_str(str::from_utf8(&buffer).expect("invariant: digits and dashes are ASCII"));
}

/// Appends `number` in decimal; the formatting machinery of the standard library is several times slower.
pub(super) fn push_number(text: &mut String, number: u64) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}
