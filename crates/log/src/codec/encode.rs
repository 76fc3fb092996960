//! Record to bytes.

use arrow::{
    array::{Array, ArrayRef, AsArray, DictionaryArray, StringArray},
    buffer::{BooleanBuffer, NullBuffer},
    datatypes::{
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType,
    },
};
use nowcast_model::{Batch, ColumnType, Event, Item, Record, limits::RECORD_BYTES_MAX};

use super::{
    FLAG_NULLS, FLAG_PRODUCER, KIND_EVENT, KIND_ROWS, NO_TIMESTAMP, RECORD_HEADER_BYTES, ROWS_HEADER_BYTES,
    padded, tag,
};
use crate::LogError;

/// Dictionaries of so few values are written as they are: looking for unused ones costs more than they do.
const COMPACT_MIN: usize = 16;
/// A key that no row uses.
const UNUSED: u32 = u32::MAX;

/// Writes records to the end of a buffer. Keeps scratch space from one record to the next.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// By old key: the new one, or [`UNUSED`].
    remap: Vec<u32>,
    /// By new key: the old one.
    used: Vec<u32>,
}

impl Encoder {
    /// Appends `record` to `out`, whose length is a multiple of 8. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`LogError::TooLarge`], [`LogError::Unsupported`], [`LogError::Empty`].
    pub(crate) fn record(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), LogError> {
        let start = out.len();
        debug_assert_eq!(start % 8, 0, "records begin at multiples of 8");
        let written = self.try_record(record, start, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn try_record(&mut self, record: &Record, start: usize, out: &mut Vec<u8>) -> Result<(), LogError> {
        if record.is_empty() {
            return Err(LogError::Empty);
        }
        let items = count(record.items.len())?;
        let (flags, id, sequence) = match record.producer {
            Some(producer) => (FLAG_PRODUCER, producer.id, producer.sequence),
            None => (0, 0, 0),
        };
        put_u32(out, 0);
        put_u32(out, items);
        put_u64(out, record.offset.get());
        out.extend_from_slice(&record.at_us.to_le_bytes());
        put_u32(out, flags);
        put_u32(out, 0);
        put_u64(out, id);
        put_u64(out, sequence);
        debug_assert_eq!(out.len() - start, RECORD_HEADER_BYTES);
        for item in &record.items {
            let item_start = out.len();
            match item {
                Item::Rows(batch) => self.rows(batch, start, out)?,
                Item::Event(event) => put_event(event, out)?,
            }
            check_size(start, out)?;
            let bytes = count(out.len() - item_start)?;
            patch_u32(out, item_start + 4, bytes);
        }
        let bytes = count(out.len() - start)?;
        patch_u32(out, start, bytes);
        Ok(())
    }

    fn rows(&mut self, batch: &Batch, start: usize, out: &mut Vec<u8>) -> Result<(), LogError> {
        let rows = &batch.rows;
        let (schema, table) = (batch.table.schema.as_bytes(), batch.table.table.as_bytes());
        put_kind(out, KIND_ROWS);
        let header_start = out.len();
        put_u32(out, count(rows.num_rows())?);
        put_u32(out, count(rows.num_columns())?);
        put_u32(out, batch.timestamp.map_or(Ok(NO_TIMESTAMP), count)?);
        put_u16(out, name_bytes(schema)?);
        put_u16(out, name_bytes(table)?);
        debug_assert_eq!(out.len() - header_start + 8, ROWS_HEADER_BYTES);
        out.extend_from_slice(schema);
        out.extend_from_slice(table);
        pad(out);
        for (field, array) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            let Some(ty) = ColumnType::from_arrow(field.data_type()) else {
                let data_type = field.data_type().to_string();
                return Err(LogError::Unsupported { column: field.name().clone(), data_type });
            };
            self.column(field.name(), ty, array, out)?;
            check_size(start, out)?;
        }
        Ok(())
    }

    fn column(
        &mut self,
        name: &str,
        ty: ColumnType,
        array: &ArrayRef,
        out: &mut Vec<u8>,
    ) -> Result<(), LogError> {
        // A dictionary may hold its nulls among the values; the file has them in the validity alone.
        let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        out.push(tag(ty));
        out.push(if nulls.is_some() { FLAG_NULLS } else { 0 });
        put_u16(out, name_bytes(name.as_bytes())?);
        put_u32(out, count(nulls.as_ref().map_or(0, NullBuffer::null_count))?);
        out.extend_from_slice(name.as_bytes());
        pad(out);
        if let Some(nulls) = &nulls {
            put_bits(out, nulls.inner());
        }
        match ty {
            ColumnType::Boolean => put_bits(out, array.as_boolean().values()),
            ColumnType::Varchar => put_text(out, array.as_string::<i32>()),
            ColumnType::Symbol => self.symbols(out, array.as_dictionary::<Int32Type>(), nulls.as_ref())?,
            _ => {
                out.extend_from_slice(fixed_bytes(ty, array));
                pad(out);
            }
        }
        Ok(())
    }

    fn symbols(
        &mut self,
        out: &mut Vec<u8>,
        array: &DictionaryArray<Int32Type>,
        nulls: Option<&NullBuffer>,
    ) -> Result<(), LogError> {
        let keys: &[i32] = array.keys().values();
        let values = array.values().as_string::<i32>();
        let is_valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
        let compact = values.len() > COMPACT_MIN && self.find_used(keys, values.len(), is_valid);
        if !compact && nulls.is_none() {
            out.extend_from_slice(array.keys().values().inner().as_slice());
        } else {
            // A null row's key may be anything: the file says 0.
            out.reserve(keys.len() * 4);
            for (row, &key) in keys.iter().enumerate() {
                let key = match (is_valid(row), compact) {
                    (false, _) => 0,
                    (true, false) => key as u32,
                    (true, true) => self.remap[key as usize],
                };
                out.extend_from_slice(&key.to_le_bytes());
            }
        }
        pad(out);
        let distinct = if compact { self.used.len() } else { values.len() };
        put_u32(out, count(distinct)?);
        put_u32(out, 0);
        if compact {
            put_some_text(out, values, &self.used);
        } else {
            put_text(out, values);
        }
        Ok(())
    }

    /// Fills `remap` and `used`. True if less than half of the values are used.
    fn find_used(&mut self, keys: &[i32], values: usize, is_valid: impl Fn(usize) -> bool) -> bool {
        self.remap.clear();
        self.remap.resize(values, UNUSED);
        self.used.clear();
        for (row, &key) in keys.iter().enumerate() {
            if is_valid(row) && self.remap[key as usize] == UNUSED {
                self.remap[key as usize] = self.used.len() as u32;
                self.used.push(key as u32);
                if self.used.len() * 2 >= values {
                    return false;
                }
            }
        }
        true
    }
}

fn put_event(event: &Event, out: &mut Vec<u8>) -> Result<(), LogError> {
    put_kind(out, KIND_EVENT);
    let length_at = out.len();
    put_u32(out, 0);
    put_u32(out, 0);
    let json_start = out.len();
    // Strings, numbers and options only: serde_json has nothing to refuse. Should it, the record is.
    serde_json::to_writer(&mut *out, event).map_err(|error| LogError::Unsupported {
        column: "event".to_owned(),
        data_type: error.to_string(),
    })?;
    let bytes = count(out.len() - json_start)?;
    patch_u32(out, length_at, bytes);
    pad(out);
    Ok(())
}

/// The visible values of a column of numbers or times.
fn fixed_bytes(ty: ColumnType, array: &ArrayRef) -> &[u8] {
    let buffer = match ty {
        ColumnType::Byte => array.as_primitive::<Int8Type>().values().inner(),
        ColumnType::Short => array.as_primitive::<Int16Type>().values().inner(),
        ColumnType::Int => array.as_primitive::<Int32Type>().values().inner(),
        ColumnType::Long => array.as_primitive::<Int64Type>().values().inner(),
        ColumnType::Float => array.as_primitive::<Float32Type>().values().inner(),
        ColumnType::Double => array.as_primitive::<Float64Type>().values().inner(),
        ColumnType::Timestamp => array.as_primitive::<TimestampMicrosecondType>().values().inner(),
        ColumnType::TimestampNs => array.as_primitive::<TimestampNanosecondType>().values().inner(),
        ColumnType::Date => array.as_primitive::<TimestampMillisecondType>().values().inner(),
        ColumnType::Boolean | ColumnType::Symbol | ColumnType::Varchar => return &[],
    };
    buffer.as_slice()
}

fn put_bits(out: &mut Vec<u8>, bits: &BooleanBuffer) {
    let bytes = bits.len().div_ceil(8);
    if bits.offset().is_multiple_of(8) {
        let first = bits.offset() / 8;
        out.extend_from_slice(&bits.values()[first..first + bytes]);
    } else {
        out.extend_from_slice(&bits.sliced().as_slice()[..bytes]);
    }
    if !bits.len().is_multiple_of(8)
        && let Some(last) = out.last_mut()
    {
        *last &= (1 << (bits.len() % 8)) - 1;
    }
    pad(out);
}

fn put_text(out: &mut Vec<u8>, array: &StringArray) {
    let offsets: &[i32] = array.value_offsets();
    let first = offsets[0];
    let last = offsets[offsets.len() - 1];
    if first == 0 {
        let bytes = offsets.len() * 4;
        out.extend_from_slice(&array.offsets().inner().inner().as_slice()[..bytes]);
    } else {
        out.reserve(offsets.len() * 4);
        for &offset in offsets {
            out.extend_from_slice(&(offset - first).to_le_bytes());
        }
    }
    pad(out);
    out.extend_from_slice(&array.value_data()[first as usize..last as usize]);
    pad(out);
}

/// As [`put_text`], of the values at `indices`.
fn put_some_text(out: &mut Vec<u8>, array: &StringArray, indices: &[u32]) {
    let mut end = 0_i32;
    put_u32(out, 0);
    for &index in indices {
        end += array.value_length(index as usize);
        out.extend_from_slice(&end.to_le_bytes());
    }
    pad(out);
    for &index in indices {
        out.extend_from_slice(array.value(index as usize).as_bytes());
    }
    pad(out);
}

fn check_size(start: usize, out: &[u8]) -> Result<(), LogError> {
    let bytes = out.len() - start;
    if bytes > RECORD_BYTES_MAX {
        return Err(LogError::TooLarge { bytes, max: RECORD_BYTES_MAX });
    }
    Ok(())
}

fn count(number: usize) -> Result<u32, LogError> {
    u32::try_from(number).map_err(|_| LogError::TooLarge { bytes: number, max: RECORD_BYTES_MAX })
}

fn name_bytes(name: &[u8]) -> Result<u16, LogError> {
    u16::try_from(name.len()).map_err(|_| LogError::TooLarge { bytes: name.len(), max: u16::MAX.into() })
}

fn put_kind(out: &mut Vec<u8>, kind: u8) {
    out.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
}

fn put_u16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn patch_u32(out: &mut [u8], at: usize, number: u32) {
    out[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

/// Zeros up to the next multiple of 8; `out` begins at one.
fn pad(out: &mut Vec<u8>) {
    out.resize(padded(out.len()), 0);
}
