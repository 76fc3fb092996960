//! A query's values as a table's columns take them.

use arrow::{
    array::{Array, ArrayRef},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field},
};

use crate::error::{SqlCode, SqlError};

/// Casts a column of the source to the type of the table's. A value that does not fit is an error.
pub(crate) fn convert(array: &ArrayRef, field: &Field) -> Result<ArrayRef, SqlError> {
    let to = field.data_type();
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let refuse = |cause: String| {
        let ty = crate::values::column_type(to);
        let message = format!("column {:?} is {ty}: {cause}", field.name());
        let error = SqlError::new(SqlCode::Data, message);
        match to {
            DataType::Timestamp(..) => {
                error.hint("write '2024-05-01T12:00:00.000000Z', or a number of microseconds")
            }
            _ => error.hint(format!("give a value that is {ty}")),
        }
    };
    let from = array.data_type();
    let is_text = |ty: &DataType| matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_time = |ty: &DataType| matches!(ty, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    // Casts that Arrow does and nobody means.
    if (is_time(from) && to.is_numeric() && !matches!(to, DataType::Int64))
        || (is_time(to) && (from.is_floating() || *from == DataType::Boolean))
        || (*from == DataType::Boolean && to.is_numeric())
        || (*to == DataType::Boolean && from.is_numeric())
    {
        return Err(refuse(format!("got {}", crate::values::column_type(from))));
    }
    if to.is_integer() && from.is_floating() {
        let rounded = cast_with_options(array, to, &options).map_err(|e| refuse(e.to_string()))?;
        let back = cast_with_options(&rounded, from, &options).map_err(|e| refuse(e.to_string()))?;
        if back.to_data() != array.to_data() {
            return Err(refuse("got a number with a fraction".to_owned()));
        }
        return Ok(rounded);
    }
    let array = if matches!(to, DataType::Dictionary(..)) && !is_text(from) {
        &cast_with_options(array, &DataType::Utf8, &options).map_err(|e| refuse(e.to_string()))?
    } else {
        array
    };
    cast_with_options(array, to, &options).map_err(|e| {
        let cause = e.to_string();
        let cause = cause.split_once(": ").map_or(cause.as_str(), |(_, rest)| rest);
        refuse(cause.to_owned())
    })
}
