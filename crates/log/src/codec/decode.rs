//! Bytes to record. Nothing in them is trusted.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, DictionaryArray, PrimitiveArray, RecordBatch, RecordBatchOptions,
        StringArray,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{
        ArrowPrimitiveType, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        Schema, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    },
    error::ArrowError,
};
use nowcast_model::{Batch, ColumnType, Item, Offset, Producer, Record, TableName, limits::RECORD_BYTES_MAX};

use super::{
    FLAG_NULLS, FLAG_PRODUCER, KIND_EVENT, KIND_ROWS, NO_TIMESTAMP, RECORD_HEADER_BYTES, from_tag, padded,
};
use crate::FormatError;

type Decoded<T> = Result<T, FormatError>;

/// Reads the record at the beginning of `bytes`, and tells how many of them it takes.
pub(crate) fn decode_record(bytes: &[u8]) -> Decoded<(Record, usize)> {
    let mut input = Input(bytes);
    let size = input.size()?;
    if !(RECORD_HEADER_BYTES..=RECORD_BYTES_MAX).contains(&size) || !size.is_multiple_of(8) {
        return Err(FormatError::BadField { field: "record.bytes", value: size as u64 });
    }
    let mut input = Input(Input(bytes).take(size)?);
    input.take(4)?;
    let items_len = input.size()?;
    let offset = Offset::new(input.u64()?);
    let at_us = i64::from_le_bytes(input.array()?);
    let flags = input.u32()?;
    input.take(4)?;
    let (id, sequence) = (input.u64()?, input.u64()?);
    if flags & !FLAG_PRODUCER != 0 {
        return Err(FormatError::BadField { field: "record.flags", value: flags.into() });
    }
    let producer = (flags & FLAG_PRODUCER != 0).then_some(Producer { id, sequence });
    // An item has at least its 8 bytes of header: what room is asked for is bounded by what is there.
    if items_len == 0 || items_len > input.0.len() / 8 {
        return Err(FormatError::BadField { field: "record.items", value: items_len as u64 });
    }
    let mut items = Vec::with_capacity(items_len);
    for _ in 0..items_len {
        items.push(item(&mut input)?);
    }
    input.finish("record.bytes")?;
    Ok((Record { offset, at_us, producer, items }, size))
}

fn item(input: &mut Input<'_>) -> Decoded<Item> {
    let [kind, ..] = input.array::<4>()?;
    let size = input.size()?;
    let body = size.checked_sub(8).filter(|body| body.is_multiple_of(8));
    let body = body.ok_or(FormatError::BadField { field: "item.bytes", value: size as u64 })?;
    let mut input = Input(input.take(body)?);
    let item = match kind {
        KIND_ROWS => return Ok(Item::Rows(rows(input.0)?)),
        KIND_EVENT => {
            let length = input.size()?;
            input.take(4)?;
            let json = input.take_padded(length)?;
            Item::Event(serde_json::from_slice(json).map_err(|e| FormatError::BadEvent(e.to_string()))?)
        }
        _ => return Err(FormatError::BadField { field: "item.kind", value: kind.into() }),
    };
    input.finish("item.bytes")?;
    Ok(item)
}

/// The rows of an item. Its bytes are copied once and its columns are slices of the copy: an array that lives on
/// must not keep a whole frame alive, and one allocation is cheaper than one for each column. Every part begins at a
/// multiple of 8 bytes, as the widest type needs.
fn rows(bytes: &[u8]) -> Decoded<Batch> {
    let whole = Buffer::from(bytes);
    let mut input = Input(&whole);
    let rows = input.size()?;
    let columns_len = input.size()?;
    let timestamp = input.u32()?;
    let (schema_len, table_len) = (input.u16()?, input.u16()?);
    let names = input.take_padded(usize::from(schema_len) + usize::from(table_len))?;
    let (schema, table) = names.split_at(schema_len.into());
    let table = TableName::new(text(schema)?, text(table)?);
    // A column has at least its 8 bytes of header.
    if columns_len > input.0.len() / 8 {
        return Err(FormatError::BadField { field: "rows.columns", value: columns_len as u64 });
    }
    let mut fields = Vec::with_capacity(columns_len);
    let mut columns = Vec::with_capacity(columns_len);
    for _ in 0..columns_len {
        let (name, array) = column(&whole, &mut input, rows)?;
        fields.push(Field::new(name, array.data_type().clone(), true));
        columns.push(array);
    }
    let timestamp = (timestamp != NO_TIMESTAMP).then_some(timestamp as usize);
    if let Some(index) = timestamp.filter(|&index| index >= columns_len) {
        return Err(FormatError::BadField { field: "rows.timestamp", value: index as u64 });
    }
    input.finish("item.bytes")?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
    Ok(Batch { table, rows: rows.map_err(bad_column)?, timestamp })
}

fn column<'a>(whole: &Buffer, input: &mut Input<'a>, rows: usize) -> Decoded<(&'a str, ArrayRef)> {
    let [number, flags] = input.array()?;
    let name_len = input.u16()?;
    let null_count = input.size()?;
    let name = text(input.take_padded(name_len.into())?)?;
    let ty = from_tag(number);
    let ty = ty.ok_or(FormatError::BadField { field: "column.type", value: number.into() })?;
    if flags & !FLAG_NULLS != 0 {
        return Err(FormatError::BadField { field: "column.flags", value: flags.into() });
    }
    let nulls = if flags & FLAG_NULLS == 0 { None } else { Some(NullBuffer::new(bits(whole, input, rows)?)) };
    if nulls.as_ref().map_or(0, NullBuffer::null_count) != null_count {
        return Err(FormatError::BadField { field: "column.nulls", value: null_count as u64 });
    }
    let array: ArrayRef = match ty {
        ColumnType::Boolean => Arc::new(BooleanArray::new(bits(whole, input, rows)?, nulls)),
        ColumnType::Byte => fixed::<Int8Type>(whole, input, rows, nulls)?,
        ColumnType::Short => fixed::<Int16Type>(whole, input, rows, nulls)?,
        ColumnType::Int => fixed::<Int32Type>(whole, input, rows, nulls)?,
        ColumnType::Long => fixed::<Int64Type>(whole, input, rows, nulls)?,
        ColumnType::Float => fixed::<Float32Type>(whole, input, rows, nulls)?,
        ColumnType::Double => fixed::<Float64Type>(whole, input, rows, nulls)?,
        ColumnType::Timestamp => fixed::<TimestampMicrosecondType>(whole, input, rows, nulls)?,
        ColumnType::TimestampNs => fixed::<TimestampNanosecondType>(whole, input, rows, nulls)?,
        ColumnType::Date => fixed::<TimestampMillisecondType>(whole, input, rows, nulls)?,
        ColumnType::Varchar => Arc::new(strings(whole, input, rows, nulls)?),
        ColumnType::Symbol => {
            let keys = primitive::<Int32Type>(whole, input, rows, nulls)?;
            let distinct = input.size()?;
            input.take(4)?;
            Arc::new(symbols(keys, strings(whole, input, distinct, None)?)?)
        }
    };
    Ok((name, array))
}

/// `part` of `whole` as a buffer that shares its memory.
fn share(whole: &Buffer, part: &[u8]) -> Buffer {
    // What was taken from the input lies within it.
    whole.slice_with_length(part.as_ptr().addr() - whole.as_ptr().addr(), part.len())
}

fn bits(whole: &Buffer, input: &mut Input<'_>, rows: usize) -> Decoded<BooleanBuffer> {
    let bytes = input.take_padded(rows.div_ceil(8))?;
    Ok(BooleanBuffer::new(share(whole, bytes), 0, rows))
}

fn fixed<T: ArrowPrimitiveType>(
    whole: &Buffer,
    input: &mut Input<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Decoded<ArrayRef> {
    Ok(Arc::new(primitive::<T>(whole, input, rows, nulls)?))
}

fn primitive<T: ArrowPrimitiveType>(
    whole: &Buffer,
    input: &mut Input<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Decoded<PrimitiveArray<T>> {
    let values = scalars::<T>(whole, input, rows)?;
    PrimitiveArray::try_new(values, nulls).map_err(bad_column)
}

fn scalars<T: ArrowPrimitiveType>(
    whole: &Buffer,
    input: &mut Input<'_>,
    len: usize,
) -> Decoded<ScalarBuffer<T::Native>> {
    // `len` came from 32 bits and the widest type has 8 bytes: the product fits.
    let bytes = input.take_padded(len * size_of::<T::Native>())?;
    Ok(ScalarBuffer::new(share(whole, bytes), 0, len))
}

fn strings(
    whole: &Buffer,
    input: &mut Input<'_>,
    len: usize,
    nulls: Option<NullBuffer>,
) -> Decoded<StringArray> {
    let offsets = scalars::<Int32Type>(whole, input, len + 1)?;
    let rising = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
    let end = usize::try_from(offsets[len]);
    let (true, 0, Ok(end)) = (rising, offsets[0], end) else {
        return Err(FormatError::BadColumn("text offsets do not rise from 0".to_owned()));
    };
    let text = share(whole, input.take_padded(end)?);
    StringArray::try_new(OffsetBuffer::new(offsets), text, nulls)
        .map_err(|error| FormatError::BadText(error.to_string()))
}

/// Arrow's check looks at one key after the other and stops at the first that does not fit; that took a quarter of
/// a replay. Looking at all of them without a branch goes several at a time. Where one does not fit Arrow is asked:
/// a null row's key may be anything.
#[expect(unsafe_code, reason = "replay gains a quarter; `fuzz/targets/record.rs` runs it under a sanitizer")]
fn symbols(keys: PrimitiveArray<Int32Type>, values: StringArray) -> Decoded<DictionaryArray<Int32Type>> {
    let values: ArrayRef = Arc::new(values);
    if all_below(keys.values(), values.len()) {
        // SAFETY: `try_new` fails if a key is below 0 or not below the number of values; none is.
        return Ok(unsafe { DictionaryArray::new_unchecked(keys, values) });
    }
    DictionaryArray::try_new(keys, values).map_err(bad_column)
}

/// True if every key is at least 0 and below `len`. A key that is not has its sign bit set, or what is left of it up
/// to the last one has.
fn all_below(keys: &[i32], len: usize) -> bool {
    let Ok(len) = i32::try_from(len) else { return false };
    let last = len - 1;
    keys.iter().fold(0, |signs, &key| signs | key | last.wrapping_sub(key)) >= 0
}

fn text(bytes: &[u8]) -> Decoded<&str> {
    std::str::from_utf8(bytes).map_err(|error| FormatError::BadText(error.to_string()))
}

fn bad_column(error: ArrowError) -> FormatError {
    FormatError::BadColumn(error.to_string())
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, bytes: usize) -> Decoded<&'a [u8]> {
        let error = FormatError::TooShort { need: bytes as u64, got: self.0.len() as u64 };
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(error)?;
        self.0 = rest;
        Ok(taken)
    }

    fn take_padded(&mut self, bytes: usize) -> Decoded<&'a [u8]> {
        Ok(&self.take(padded(bytes))?[..bytes])
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u16(&mut self) -> Decoded<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Decoded<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Decoded<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A `u32` that counts something in memory.
    fn size(&mut self) -> Decoded<usize> {
        Ok(self.u32()? as usize)
    }

    /// Nothing may be left.
    fn finish(self, field: &'static str) -> Decoded<()> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(FormatError::BadField { field, value: left as u64 }),
        }
    }
}
