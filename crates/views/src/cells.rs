//! Single cells out of Arrow columns and back, where a view handles single cells: extremes, distinct values
//! and published rows.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, UInt64Array,
        new_null_array,
    },
    compute::cast,
    datatypes::{
        DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
        TimestampNanosecondType, UInt64Type,
    },
};
use nowcast_model::Value;

use crate::ViewError;

/// True for types whose every value a [`Value`] holds exactly (dictionaries of text included): what group keys,
/// outputs and the arguments of min, max and count(distinct) may be.
pub fn is_supported(ty: &DataType) -> bool {
    match ty {
        DataType::Dictionary(_, value) => is_supported(value),
        DataType::Null | DataType::Boolean => true,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Timestamp(_, None) | DataType::Date32 => true,
        DataType::Float16 => false,
        other => other.is_integer() || other.is_floating(),
    }
}

/// A column whose cells can be read one by one.
pub(crate) enum Cells {
    Null,
    Bool(BooleanArray),
    Int(Int64Array),
    UInt(UInt64Array),
    Float(Float64Array),
    Str(StringArray),
    /// Text by dictionary: the values once, as cells that are shared, and a key a row.
    Symbol(arrow::array::Int32Array, Vec<Value>),
    Timestamp(arrow::array::TimestampMicrosecondArray),
    TimestampNs(arrow::array::TimestampNanosecondArray),
}

impl Cells {
    /// Reads `array`; whole columns are cast at once.
    pub(crate) fn new(array: &ArrayRef) -> Result<Cells, ViewError> {
        let to =
            |ty: &DataType| if array.data_type() == ty { Ok(Arc::clone(array)) } else { cast(array, ty) };
        let ty = array.data_type();
        Ok(match ty {
            DataType::Null => Cells::Null,
            DataType::Boolean => Cells::Bool(array.as_boolean().clone()),
            ty if ty.is_signed_integer() => {
                Cells::Int(to(&DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            ty if ty.is_unsigned_integer() => {
                Cells::UInt(to(&DataType::UInt64)?.as_primitive::<UInt64Type>().clone())
            }
            DataType::Float32 | DataType::Float64 => {
                Cells::Float(to(&DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Cells::Str(to(&DataType::Utf8)?.as_string::<i32>().clone())
            }
            DataType::Dictionary(key, value) if **key == DataType::Int32 && **value == DataType::Utf8 => {
                let dictionary = array.as_dictionary::<Int32Type>();
                let values = dictionary.values().as_string::<i32>();
                // A slice of a column may carry a dictionary far larger than itself.
                if values.len() > 2 * array.len() + 16 {
                    return Ok(Cells::Str(cast(array, &DataType::Utf8)?.as_string::<i32>().clone()));
                }
                let values = values.iter().map(|v| v.map_or(Value::Null, Value::from)).collect();
                Cells::Symbol(dictionary.keys().clone(), values)
            }
            DataType::Dictionary(_, value) => return Cells::new(&cast(array, value)?),
            DataType::Timestamp(TimeUnit::Nanosecond, None) => {
                Cells::TimestampNs(array.as_primitive::<TimestampNanosecondType>().clone())
            }
            DataType::Timestamp(_, None) | DataType::Date32 => {
                let us = to(&DataType::Timestamp(TimeUnit::Microsecond, None))?;
                Cells::Timestamp(us.as_primitive::<TimestampMicrosecondType>().clone())
            }
            other => {
                return Err(ViewError::Plan(format!("a live table cannot hold {other}")));
            }
        })
    }

    /// The cell of row `row`.
    pub(crate) fn get(&self, row: usize) -> Value {
        fn some<A: Array>(array: &A, row: usize, cell: impl FnOnce(&A) -> Value) -> Value {
            if array.is_null(row) { Value::Null } else { cell(array) }
        }
        match self {
            Cells::Null => Value::Null,
            Cells::Bool(a) => some(a, row, |a| Value::Bool(a.value(row))),
            Cells::Int(a) => some(a, row, |a| Value::Int(a.value(row))),
            Cells::UInt(a) => some(a, row, |a| Value::UInt(a.value(row))),
            Cells::Float(a) => some(a, row, |a| Value::Float(a.value(row))),
            Cells::Str(a) => some(a, row, |a| Value::from(a.value(row))),
            Cells::Symbol(keys, values) => some(keys, row, |k| {
                usize::try_from(k.value(row)).ok().and_then(|k| values.get(k)).cloned().unwrap_or(Value::Null)
            }),
            Cells::Timestamp(a) => some(a, row, |a| Value::Timestamp(a.value(row))),
            Cells::TimestampNs(a) => some(a, row, |a| Value::TimestampNs(a.value(row))),
        }
    }
}

/// Columns as rows.
pub(crate) fn rows_of(columns: &[ArrayRef], rows: usize) -> Result<Vec<crate::Row>, ViewError> {
    let cells: Vec<Cells> = columns.iter().map(Cells::new).collect::<Result<_, _>>()?;
    Ok((0..rows).map(|row| cells.iter().map(|column| column.get(row)).collect()).collect())
}

/// Cells as a column of type `ty`, which is one that they came from.
pub(crate) fn column_of(values: &[Option<&Value>], ty: &DataType) -> Result<ArrayRef, ViewError> {
    let ints = || values.iter().map(|v| v.and_then(int_of));
    let made: ArrayRef = match ty {
        DataType::Null => new_null_array(ty, values.len()),
        DataType::Boolean => {
            let bools = values.iter().map(|v| if let Some(Value::Bool(b)) = v { Some(*b) } else { None });
            Arc::new(bools.collect::<BooleanArray>())
        }
        ty if ty.is_unsigned_integer() => {
            let cells = values.iter().map(|v| if let Some(Value::UInt(u)) = v { Some(*u) } else { None });
            Arc::new(cells.collect::<UInt64Array>())
        }
        ty if ty.is_signed_integer() => Arc::new(ints().collect::<Int64Array>()),
        ty if ty.is_floating() => {
            let cells = values.iter().map(|v| if let Some(Value::Float(f)) = v { Some(*f) } else { None });
            Arc::new(cells.collect::<Float64Array>())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Arc::new(ints().collect::<arrow::array::TimestampNanosecondArray>())
        }
        DataType::Timestamp(..) | DataType::Date32 => {
            Arc::new(ints().collect::<arrow::array::TimestampMicrosecondArray>())
        }
        _ => {
            let cells = values.iter().map(|v| if let Some(Value::Str(s)) = v { Some(&**s) } else { None });
            Arc::new(cells.collect::<StringArray>())
        }
    };
    Ok(if made.data_type() == ty { made } else { cast(&made, ty)? })
}

fn int_of(value: &Value) -> Option<i64> {
    match value {
        Value::Int(v) | Value::Timestamp(v) | Value::TimestampNs(v) => Some(*v),
        _ => None,
    }
}
