//! Columns of Arrow as PostgreSQL's values, in text and in binary.
//!
//! A batch's columns are first brought to the few types that the wire has ([`plain`]), then looked up once
//! ([`Column`]); a cell costs no allocation.

use std::{fmt::Write as _, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, IntervalMonthDayNanoArray,
        ListArray, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray,
    },
    compute::{CastOptions, cast_with_options},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type, Int32Type,
        Int64Type, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef, Time64MicrosecondType,
        TimeUnit, TimestampMicrosecondType,
    },
};
use arrow_pg::datatypes::{is_pg_char_field, pg_type_for_alias_kind};
use bytes::{BufMut, BytesMut};
use pgwire::api::Type;

use super::{
    decimal,
    error::WireError,
    socket,
    time::{self, EPOCH_DAYS, EPOCH_US},
};

/// The type that stands for `data_type` on the wire; what has no type of its own goes as text.
fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::UInt64 | DataType::UInt32 => DataType::Int64,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt8 | DataType::Int8 => DataType::Int16,
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
            if !item.data_type().is_nested() =>
        {
            DataType::new_list(plain_type(item.data_type()), true)
        }
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Date32
        | DataType::Utf8 => data_type.clone(),
        _ => DataType::Utf8,
    }
}

/// The schema in the wire's types. Names and what the catalogue says about its columns stay.
pub(super) fn plain_schema(schema: &Schema) -> SchemaRef {
    let plain = |field: &Arc<Field>| {
        let ty = plain_type(field.data_type());
        Field::new(field.name(), ty, true).with_metadata(field.metadata().clone())
    };
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()))
}

/// A batch in the types of `schema`.
pub(super) fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, WireError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let cast = |(column, field): (&ArrayRef, &Arc<Field>)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            cast_with_options(column, field.data_type(), &options)
        }
    };
    let columns: Result<Vec<_>, _> = batch.columns().iter().zip(schema.fields()).map(cast).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    columns
        .and_then(|columns| RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options))
        .map_err(|e| WireError::new("22003", e.to_string()).hint("cast the column in the query"))
}

/// PostgreSQL's type of a column that [`plain_schema`] made.
pub(super) fn wire_type(field: &Field) -> Type {
    if is_pg_char_field(field) {
        return Type::CHAR;
    }
    if let Some(kind) = field.metadata().get(arrow_pg::datatypes::PG_OID_ALIAS_KEY)
        && *field.data_type() == DataType::Int32
        && let Some(ty) = pg_type_for_alias_kind(kind)
    {
        return ty;
    }
    value_type(field.data_type())
}

fn value_type(data_type: &DataType) -> Type {
    match data_type {
        DataType::Boolean => Type::BOOL,
        DataType::Int16 => Type::INT2,
        DataType::Int32 => Type::INT4,
        DataType::Int64 => Type::INT8,
        DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Decimal128(..) => Type::NUMERIC,
        DataType::Date32 => Type::DATE,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(..) => Type::TIMESTAMPTZ,
        DataType::Time64(_) => Type::TIME,
        DataType::Interval(_) => Type::INTERVAL,
        DataType::Binary => Type::BYTEA,
        DataType::List(item) => match value_type(item.data_type()) {
            Type::BOOL => Type::BOOL_ARRAY,
            Type::INT2 => Type::INT2_ARRAY,
            Type::INT4 => Type::INT4_ARRAY,
            Type::INT8 => Type::INT8_ARRAY,
            Type::FLOAT4 => Type::FLOAT4_ARRAY,
            Type::FLOAT8 => Type::FLOAT8_ARRAY,
            Type::NUMERIC => Type::NUMERIC_ARRAY,
            Type::DATE => Type::DATE_ARRAY,
            Type::TIMESTAMP => Type::TIMESTAMP_ARRAY,
            Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
            Type::TIME => Type::TIME_ARRAY,
            Type::INTERVAL => Type::INTERVAL_ARRAY,
            Type::BYTEA => Type::BYTEA_ARRAY,
            _ => Type::TEXT_ARRAY,
        },
        _ => Type::TEXT,
    }
}

/// PostgreSQL's type of a parameter; text where its place tells nothing.
pub(super) fn param_type(inferred: Option<&DataType>) -> Type {
    inferred.map_or(Type::TEXT, |data_type| value_type(&plain_type(data_type)))
}

/// Bytes of a value of the type, -1 if they vary: `pg_type.typlen`.
pub(super) fn type_size(ty: &Type) -> i16 {
    match *ty {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4
        | Type::FLOAT4
        | Type::DATE
        | Type::OID
        | Type::REGCLASS
        | Type::REGTYPE
        | Type::REGPROC => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        Type::INTERVAL => 16,
        _ => -1,
    }
}

/// One column of a batch, looked up.
pub(super) struct Column<'a> {
    array: &'a ArrayRef,
    cells: Cells<'a>,
}

enum Cells<'a> {
    Bool(&'a BooleanArray),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a Decimal128Array, i8),
    Date(&'a PrimitiveArray<Date32Type>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>, bool),
    Time(&'a PrimitiveArray<Time64MicrosecondType>),
    Interval(&'a IntervalMonthDayNanoArray),
    Bytes(&'a BinaryArray),
    Text(&'a StringArray),
    List(&'a ListArray, Type),
}

impl<'a> Column<'a> {
    /// A column that [`plain`] made; `None` for any other.
    pub(super) fn new(array: &'a ArrayRef) -> Option<Column<'a>> {
        let cells = match array.data_type() {
            DataType::Boolean => Cells::Bool(array.as_boolean_opt()?),
            DataType::Int16 => Cells::Int16(array.as_primitive_opt()?),
            DataType::Int32 => Cells::Int32(array.as_primitive_opt()?),
            DataType::Int64 => Cells::Int64(array.as_primitive_opt()?),
            DataType::Float32 => Cells::Float32(array.as_primitive_opt()?),
            DataType::Float64 => Cells::Float64(array.as_primitive_opt()?),
            DataType::Decimal128(_, scale) => {
                Cells::Decimal(array.as_primitive_opt::<Decimal128Type>()?, *scale)
            }
            DataType::Date32 => Cells::Date(array.as_primitive_opt()?),
            DataType::Timestamp(_, zone) => Cells::Timestamp(array.as_primitive_opt()?, zone.is_some()),
            DataType::Time64(_) => Cells::Time(array.as_primitive_opt()?),
            DataType::Interval(_) => Cells::Interval(array.as_primitive_opt::<IntervalMonthDayNanoType>()?),
            DataType::Binary => Cells::Bytes(array.as_binary_opt()?),
            DataType::Utf8 => Cells::Text(array.as_string_opt()?),
            DataType::List(item) => Cells::List(array.as_list_opt()?, value_type(item.data_type())),
            _ => return None,
        };
        Some(Column { array, cells })
    }

    /// Writes the cell's value; false if it is NULL, and nothing is written.
    pub(super) fn write(&self, row: usize, binary: bool, out: &mut BytesMut) -> bool {
        if self.array.is_null(row) {
            return false;
        }
        match (&self.cells, binary) {
            (Cells::Bool(cells), true) => out.put_u8(cells.value(row).into()),
            (Cells::Bool(cells), false) => out.put_u8(if cells.value(row) { b't' } else { b'f' }),
            (Cells::Int16(cells), true) => out.put_i16(cells.value(row)),
            (Cells::Int16(cells), false) => show(out, cells.value(row)),
            (Cells::Int32(cells), true) => out.put_i32(cells.value(row)),
            (Cells::Int32(cells), false) => show(out, cells.value(row)),
            (Cells::Int64(cells), true) => out.put_i64(cells.value(row)),
            (Cells::Int64(cells), false) => show(out, cells.value(row)),
            (Cells::Float32(cells), true) => out.put_f32(cells.value(row)),
            (Cells::Float32(cells), false) => decimal::float32(out, cells.value(row)),
            (Cells::Float64(cells), true) => out.put_f64(cells.value(row)),
            (Cells::Float64(cells), false) => decimal::float64(out, cells.value(row)),
            (Cells::Decimal(cells, scale), true) => decimal::binary(out, cells.value(row), *scale),
            (Cells::Decimal(cells, scale), false) => decimal::text(out, cells.value(row), *scale),
            (Cells::Date(cells), true) => out.put_i32(cells.value(row).saturating_sub(EPOCH_DAYS)),
            (Cells::Date(cells), false) => time::date(out, cells.value(row).into()),
            (Cells::Timestamp(cells, _), true) => out.put_i64(cells.value(row).saturating_sub(EPOCH_US)),
            (Cells::Timestamp(cells, zone), false) => {
                time::timestamp(out, cells.value(row), if *zone { "+00" } else { "" });
            }
            (Cells::Time(cells), true) => out.put_i64(cells.value(row)),
            (Cells::Time(cells), false) => time::time(out, cells.value(row)),
            (Cells::Interval(cells), binary) => time::interval(out, cells.value(row), binary),
            (Cells::Bytes(cells), true) => out.put_slice(cells.value(row)),
            (Cells::Bytes(cells), false) => {
                out.put_slice(b"\\x");
                for byte in cells.value(row) {
                    let _ = write!(out, "{byte:02x}");
                }
            }
            (Cells::Text(cells), _) => out.put_slice(cells.value(row).as_bytes()),
            (Cells::List(cells, item), binary) => list(out, &cells.value(row), item, binary),
        }
        true
    }
}

/// Writing to memory does not fail.
fn show(out: &mut BytesMut, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}

fn list(out: &mut BytesMut, items: &ArrayRef, ty: &Type, binary: bool) {
    let Some(column) = Column::new(items) else { return };
    if binary {
        let none = i32::from(items.is_empty());
        // Dimensions, whether one is NULL, the items' type; then length and first index of each dimension.
        out.put_i32(1 - none);
        out.put_i32(i32::from(items.null_count() > 0));
        out.put_u32(ty.oid());
        if none == 0 {
            out.put_i32(i32::try_from(items.len()).unwrap_or(i32::MAX));
            out.put_i32(1);
        }
        for row in 0..items.len() {
            socket::cell(out, &column, row, true);
        }
        return;
    }
    out.put_u8(b'{');
    let mut scratch = BytesMut::new();
    for row in 0..items.len() {
        if row > 0 {
            out.put_u8(b',');
        }
        scratch.clear();
        if !column.write(row, false, &mut scratch) {
            out.put_slice(b"NULL");
            continue;
        }
        let special = |b: &u8| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || b.is_ascii_whitespace();
        if scratch.is_empty() || scratch.iter().any(special) || scratch.eq_ignore_ascii_case(b"null") {
            out.put_u8(b'"');
            for &byte in &scratch {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(byte);
            }
            out.put_u8(b'"');
        } else {
            out.put_slice(&scratch);
        }
    }
    out.put_u8(b'}');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn text(array: ArrayRef) -> Vec<Option<String>> {
        let schema = Schema::new(vec![Field::new("c", array.data_type().clone(), true)]);
        let plain_schema = plain_schema(&schema);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![array]).unwrap();
        let batch = plain(&batch, &plain_schema).unwrap();
        let column = Column::new(batch.column(0)).unwrap();
        (0..batch.num_rows())
            .map(|row| {
                let mut out = BytesMut::new();
                column.write(row, false, &mut out).then(|| String::from_utf8(out.to_vec()).unwrap())
            })
            .collect()
    }

    #[test]
    fn every_column_type_has_a_form() {
        for ty in nowcast_model::ColumnType::ALL {
            let array = arrow::array::new_null_array(&plain_type(&ty.arrow()), 1);
            assert!(Column::new(&array).is_some(), "{ty}");
        }
    }

    #[test]
    fn lists_quote_what_would_be_read_otherwise() {
        let items: ArrayRef =
            Arc::new(StringArray::from(vec![Some("a"), Some("b,c"), None, Some("null"), Some("")]));
        let mut out = BytesMut::new();
        list(&mut out, &items, &Type::TEXT, false);
        assert_eq!(&out[..], br#"{a,"b,c",NULL,"null",""}"#);
        out.clear();
        list(&mut out, &(Arc::new(Int64Array::from(vec![7])) as ArrayRef), &Type::INT8, true);
        assert_eq!(&out[..20], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn what_the_wire_has_no_word_for_goes_as_a_wider_type() {
        let of = |array: ArrayRef| text(array).remove(0).unwrap();
        assert_eq!(of(Arc::new(arrow::array::UInt64Array::from(vec![7]))), "7");
        assert_eq!(
            of(Arc::new(arrow::array::TimestampNanosecondArray::from(vec![1_500]))),
            "1970-01-01 00:00:00.000001"
        );
        assert_eq!(of(Arc::new(arrow::array::DurationMillisecondArray::from(vec![61_500]))), "00:01:01.5");
    }
}
