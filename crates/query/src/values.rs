//! Record batches to single cells.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{
        DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
        TimestampMicrosecondType, TimestampNanosecondType, UInt64Type,
    },
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use nowcast_model::{ColumnType, Value};

/// The column type that comes closest to an Arrow type, for results: anything without one is shown as text.
pub fn column_type(data_type: &DataType) -> ColumnType {
    if let Some(ty) = ColumnType::from_arrow(data_type) {
        return ty;
    }
    match data_type {
        DataType::UInt8 => ColumnType::Short,
        DataType::UInt16 => ColumnType::Int,
        DataType::UInt32 | DataType::UInt64 => ColumnType::Long,
        DataType::Float16 => ColumnType::Float,
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => ColumnType::Double,
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => ColumnType::TimestampNs,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        DataType::Dictionary(_, value) => match column_type(value) {
            ColumnType::Varchar => ColumnType::Symbol,
            ty => ty,
        },
        _ => ColumnType::Varchar,
    }
}

/// The rows of a batch.
///
/// # Errors
/// If a column cannot be shown as a cell.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Arc<[Value]>>, ArrowError> {
    let columns = batch.columns().iter().map(cells).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    let row = |_| columns.iter_mut().map(|c| c.next().unwrap_or(Value::Null)).collect();
    Ok((0..batch.num_rows()).map(row).collect())
}

/// The cells of a column: integers, floats and times of any width become one kind each; what has no kind of
/// its own (intervals, lists) becomes text.
///
/// # Errors
/// If the column cannot be shown as text either.
pub fn cells(array: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    macro_rules! primitive {
        ($ty:ty, $wrap:expr) => {
            Ok(array.as_primitive::<$ty>().iter().map(|cell| cell.map_or(Value::Null, $wrap)).collect())
        };
    }
    match array.data_type() {
        DataType::Null => Ok(vec![Value::Null; array.len()]),
        DataType::Boolean => {
            Ok(array.as_boolean().iter().map(|cell| cell.map_or(Value::Null, Value::Bool)).collect())
        }
        DataType::Int8 => primitive!(Int8Type, |v| Value::Int(v.into())),
        DataType::Int16 => primitive!(Int16Type, |v| Value::Int(v.into())),
        DataType::Int32 => primitive!(Int32Type, |v| Value::Int(v.into())),
        DataType::Int64 => primitive!(Int64Type, Value::Int),
        DataType::UInt64 => primitive!(UInt64Type, Value::UInt),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => cells(&cast(array, &DataType::Int64)?),
        DataType::Float32 => primitive!(Float32Type, |v| Value::Float(v.into())),
        DataType::Float64 => primitive!(Float64Type, Value::Float),
        DataType::Float16
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => cells(&cast(array, &DataType::Float64)?),
        DataType::Utf8 => {
            Ok(array.as_string::<i32>().iter().map(|cell| cell.map_or(Value::Null, Value::from)).collect())
        }
        DataType::LargeUtf8 | DataType::Utf8View => cells(&cast(array, &DataType::Utf8)?),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive!(TimestampMicrosecondType, Value::Timestamp)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            primitive!(TimestampNanosecondType, Value::TimestampNs)
        }
        DataType::Timestamp(_, zone) => {
            cells(&cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?)
        }
        DataType::Date32 | DataType::Date64 => {
            cells(&cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?)
        }
        DataType::Dictionary(_, value) => {
            if let Some(dictionary) = array.as_any_dictionary_opt() {
                let values = cells(dictionary.values())?;
                if values.is_empty() {
                    // Without values all rows are NULL, and there is nothing that a key could point at.
                    return Ok(vec![Value::Null; array.len()]);
                }
                let keys = dictionary.normalized_keys();
                let cell =
                    |row: usize| if array.is_null(row) { Value::Null } else { values[keys[row]].clone() };
                return Ok((0..array.len()).map(cell).collect());
            }
            cells(&cast(array, value)?)
        }
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(array, &options)?;
            let cell = |row| match array.is_null(row) {
                true => Value::Null,
                false => Value::Str(formatter.value(row).to_string().into()),
            };
            Ok((0..array.len()).map(cell).collect())
        }
    }
}
