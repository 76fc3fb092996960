//! Bound parameters, from either format, as values.

use arrow::datatypes::DataType;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime};
use datafusion::{common::ParamValues, scalar::ScalarValue};
use nowcast_model::Value;
use pgwire::{
    api::{Type, portal::Portal},
    error::{ErrorInfo, PgWireError, PgWireResult},
};

/// The type that a parameter is announced with, where the statement tells one.
pub(super) fn wire_type(inferred: Option<&DataType>) -> Type {
    match inferred {
        Some(DataType::Boolean) => Type::BOOL,
        Some(DataType::Int8 | DataType::Int16 | DataType::UInt8) => Type::INT2,
        Some(DataType::Int32 | DataType::UInt16) => Type::INT4,
        Some(DataType::Int64 | DataType::UInt32 | DataType::UInt64) => Type::INT8,
        Some(DataType::Float16 | DataType::Float32) => Type::FLOAT4,
        Some(DataType::Float64) => Type::FLOAT8,
        Some(DataType::Timestamp(..)) => Type::TIMESTAMP,
        Some(DataType::Date32 | DataType::Date64) => Type::DATE,
        _ => Type::TEXT,
    }
}

/// All parameters of a portal. The type that the client declared wins: it is what it encoded; else the one
/// that it was told.
///
/// # Errors
/// A value does not decode as its type, or the type is not taken.
pub(super) fn values<S: Clone>(portal: &Portal<S>, announced: &[Type]) -> PgWireResult<Vec<Value>> {
    let declared = |index: usize| portal.statement.parameter_types.get(index).cloned().flatten();
    (0..portal.parameter_len())
        .map(|index| {
            let ty = declared(index)
                .filter(|ty| *ty != Type::UNKNOWN)
                .or_else(|| announced.get(index).cloned())
                .unwrap_or(Type::TEXT);
            value(portal, index, &ty)
        })
        .collect()
}

fn value<S: Clone>(portal: &Portal<S>, index: usize, ty: &Type) -> PgWireResult<Value> {
    let or_null = |value: Option<Value>| value.unwrap_or(Value::Null);
    let micros = |at: NaiveDateTime| Value::Timestamp(at.and_utc().timestamp_micros());
    Ok(match *ty {
        Type::BOOL => or_null(portal.parameter::<bool>(index, ty)?.map(Value::Bool)),
        Type::CHAR => or_null(portal.parameter::<i8>(index, ty)?.map(|v| Value::Int(v.into()))),
        Type::INT2 => or_null(portal.parameter::<i16>(index, ty)?.map(|v| Value::Int(v.into()))),
        Type::INT4 => or_null(portal.parameter::<i32>(index, ty)?.map(|v| Value::Int(v.into()))),
        Type::INT8 => or_null(portal.parameter::<i64>(index, ty)?.map(Value::Int)),
        Type::OID => or_null(portal.parameter::<u32>(index, ty)?.map(|v| Value::Int(v.into()))),
        Type::FLOAT4 => or_null(portal.parameter::<f32>(index, ty)?.map(|v| Value::Float(v.into()))),
        Type::FLOAT8 => or_null(portal.parameter::<f64>(index, ty)?.map(Value::Float)),
        Type::TIMESTAMP => or_null(portal.parameter::<NaiveDateTime>(index, ty)?.map(micros)),
        Type::TIMESTAMPTZ => or_null(
            portal
                .parameter::<DateTime<FixedOffset>>(index, ty)?
                .map(|at| Value::Timestamp(at.timestamp_micros())),
        ),
        Type::DATE => or_null(
            portal
                .parameter::<NaiveDate>(index, ty)?
                .map(|date| micros(date.and_time(chrono::NaiveTime::MIN))),
        ),
        Type::TEXT | Type::VARCHAR | Type::NAME | Type::BPCHAR | Type::UNKNOWN => {
            or_null(portal.parameter::<String>(index, &Type::TEXT)?.map(|text| Value::Str(text.into())))
        }
        Type::NUMERIC => numeric(portal, index)?,
        _ => {
            let message = format!("parameter ${} has the type {ty}, which is not taken", index + 1);
            let mut error = ErrorInfo::new("ERROR".to_owned(), "0A000".to_owned(), message);
            error.hint = Some(
                "cast it on the client's side to bigint, double precision, text or timestamp".to_owned(),
            );
            return Err(PgWireError::UserError(Box::new(error)));
        }
    })
}

/// A decimal becomes an integer where it is one, else the nearest double.
fn numeric<S: Clone>(portal: &Portal<S>, index: usize) -> PgWireResult<Value> {
    let Some(decimal) = portal.parameter::<rust_decimal::Decimal>(index, &Type::NUMERIC)? else {
        return Ok(Value::Null);
    };
    let text = decimal.normalize().to_string();
    let float = || text.parse::<f64>().map_or(Value::Null, Value::Float);
    Ok(text.parse::<i64>().map_or_else(|_| float(), Value::Int))
}

/// The same for DataFusion's own plans.
pub(super) fn scalars(values: Vec<Value>) -> ParamValues {
    let scalar = |value| match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(v) => ScalarValue::Boolean(Some(v)),
        Value::Int(v) => ScalarValue::Int64(Some(v)),
        Value::UInt(v) => ScalarValue::UInt64(Some(v)),
        Value::Float(v) => ScalarValue::Float64(Some(v)),
        Value::Str(v) => ScalarValue::Utf8(Some(v.as_ref().to_owned())),
        Value::Timestamp(v) => ScalarValue::TimestampMicrosecond(Some(v), None),
        Value::TimestampNs(v) => ScalarValue::TimestampNanosecond(Some(v), None),
    };
    ParamValues::from(values.into_iter().map(scalar).collect::<Vec<_>>())
}
