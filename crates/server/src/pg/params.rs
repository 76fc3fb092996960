//! Bound parameters, from either format, as values.

use bytes::{Buf, Bytes};
use chrono::{NaiveDate, NaiveTime};
use datafusion::{common::ParamValues, scalar::ScalarValue};
use nowcast_model::Value;
use nowcast_query::{Param, Params};
use pgwire::api::Type;
use tokio_postgres::types::Kind;

use super::{
    error::WireError,
    time::{EPOCH_DAYS, EPOCH_US},
};

/// Dimensions, NULLs and type of an array, and length and first index of its only dimension.
const ARRAY_HEADER: usize = 20;

/// All parameters of a portal. The type that the client declared wins: it is what it encoded; else the one
/// that it was told.
///
/// # Errors
/// A value does not decode as its type, or the type is not taken.
pub(super) fn values(
    values: &[Option<Bytes>],
    formats: &[i16],
    declared: &[Option<Type>],
    announced: &[Type],
) -> Result<Vec<Param>, WireError> {
    let is_binary = |index: usize| match formats {
        [] => false,
        [one] => *one == 1,
        many => many.get(index) == Some(&1),
    };
    let value = |(index, value): (usize, &Option<Bytes>)| {
        let declared = declared.get(index).cloned().flatten();
        let ty = declared.or_else(|| announced.get(index).cloned()).unwrap_or(Type::TEXT);
        let Some(bytes) = value else { return Ok(Param::Scalar(Value::Null)) };
        let found = if is_binary(index) { binary(&ty, bytes.clone()) } else { text(&ty, bytes) };
        found.map_err(|wrong| wrong.into_error(index, &ty))
    };
    values.iter().enumerate().map(value).collect()
}

/// Why a parameter is no value.
enum Wrong {
    /// The type is not taken.
    Type,
    /// The bytes are no value of the type.
    Value(Option<String>),
}

impl Wrong {
    fn into_error(self, index: usize, ty: &Type) -> WireError {
        let number = index + 1;
        match self {
            Wrong::Type => {
                let message = format!("parameter ${number} has the type {ty}, which is not taken");
                WireError::new("0A000", message)
                    .hint("send a number, a text, a timestamp, or an array of them")
            }
            Wrong::Value(Some(text)) => {
                WireError::new("22P02", format!("parameter ${number} is {ty}, got {text:?}"))
            }
            Wrong::Value(None) => {
                WireError::new("22P03", format!("parameter ${number} is {ty}, and its bytes are not"))
            }
        }
    }
}

fn list_item(ty: &Type) -> Option<&Type> {
    match ty.kind() {
        Kind::Array(item) => Some(item),
        _ => None,
    }
}

fn text(ty: &Type, bytes: &[u8]) -> Result<Param, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|_| Wrong::Value(None))?;
    let wrong = || Wrong::Value(Some(text.chars().take(64).collect()));
    if let Some(item) = list_item(ty) {
        let items = split_array(text).ok_or_else(wrong)?;
        let items = items.iter().map(|cell| match cell {
            None => Ok(Value::Null),
            Some(cell) => scalar_text(item, cell),
        });
        return items.collect::<Result<_, _>>().map(Param::List);
    }
    if *ty == Type::INTERVAL {
        let plain = |c: char| c.is_ascii_alphanumeric() || " :.+-".contains(c);
        return if text.chars().all(plain) { Ok(Param::Interval(text.to_owned())) } else { Err(wrong()) };
    }
    scalar_text(ty, text).map(Param::Scalar)
}

fn scalar_text(ty: &Type, text: &str) -> Result<Value, Wrong> {
    let wrong = || Wrong::Value(Some(text.chars().take(64).collect()));
    let trimmed = text.trim();
    Ok(match *ty {
        Type::BOOL => match trimmed.to_ascii_lowercase().as_str() {
            "t" | "true" | "1" | "on" | "yes" | "y" => Value::Bool(true),
            "f" | "false" | "0" | "off" | "no" | "n" => Value::Bool(false),
            _ => return Err(wrong()),
        },
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Value::Int(trimmed.parse().map_err(|_| wrong())?),
        Type::FLOAT4 | Type::FLOAT8 => Value::Float(trimmed.parse().map_err(|_| wrong())?),
        Type::NUMERIC => number(trimmed).ok_or_else(wrong)?,
        // What is no ISO time may still be one to the parser of SQL, which knows more of them.
        Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::DATE => {
            timestamp(trimmed, *ty == Type::TIMESTAMPTZ).unwrap_or_else(|| Value::Str(text.into()))
        }
        Type::BYTEA | Type::TIME | Type::TIMETZ => return Err(Wrong::Type),
        _ => Value::Str(text.into()),
    })
}

/// An integer where it is one, else the nearest double.
fn number(text: &str) -> Option<Value> {
    let whole = text.split_once('.').map_or(
        text,
        |(whole, rest)| {
            if rest.bytes().all(|b| b == b'0') { whole } else { text }
        },
    );
    whole.parse().map(Value::Int).ok().or_else(|| text.parse().map(Value::Float).ok())
}

/// `2024-05-01 12:00:00.5+02`. An offset moves a `timestamptz`; a `timestamp` is what the clock shows.
fn timestamp(text: &str, moves: bool) -> Option<Value> {
    let (date, rest) = text.split_at_checked(10)?;
    let date: NaiveDate = date.parse().ok()?;
    let rest = rest.trim_start_matches(['T', ' ']);
    let zone = rest.find(['+', '-', 'Z', 'z']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone);
    let time = match clock.trim_end() {
        "" => NaiveTime::MIN,
        clock => clock.parse().ok()?,
    };
    let mut us = date.and_time(time).and_utc().timestamp_micros();
    if moves && let Some(sign) = zone.chars().next().filter(|c| "+-".contains(*c)) {
        let mut parts = zone[1..].splitn(2, ':');
        let (hours, minutes) = (parts.next()?, parts.next().unwrap_or("0"));
        let (hours, minutes) = match hours.len() {
            4 => hours.split_at(2),
            _ => (hours, minutes),
        };
        let offset = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
        us -= if sign == '-' { -offset } else { offset } * 60_000_000;
    }
    Some(Value::Timestamp(us))
}

/// `{1,NULL,"a,b"}`, of one dimension.
fn split_array(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim().is_empty() {
        return Some(items);
    }
    let (mut item, mut quoted, mut was_quoted) = (String::new(), false, false);
    let mut end = |item: &mut String, was_quoted: &mut bool| {
        let text = std::mem::take(item);
        let null = !std::mem::take(was_quoted) && text.trim().eq_ignore_ascii_case("null");
        items.push((!null).then_some(text));
    };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => item.push(chars.next()?),
            '"' => (quoted, was_quoted) = (!quoted, true),
            ',' if !quoted => end(&mut item, &mut was_quoted),
            '{' | '}' if !quoted => return None,
            c => item.push(c),
        }
    }
    if quoted {
        return None;
    }
    end(&mut item, &mut was_quoted);
    Some(items)
}

fn binary(ty: &Type, mut bytes: Bytes) -> Result<Param, Wrong> {
    if let Some(item) = list_item(ty) {
        return array(item, bytes).map(Param::List);
    }
    if *ty == Type::INTERVAL {
        if bytes.len() != 16 {
            return Err(Wrong::Value(None));
        }
        let (us, days, months) = (bytes.get_i64(), bytes.get_i32(), bytes.get_i32());
        return Ok(Param::Interval(format!("{months} months {days} days {us} microseconds")));
    }
    scalar_binary(ty, bytes).map(Param::Scalar)
}

fn array(item: &Type, mut bytes: Bytes) -> Result<Vec<Value>, Wrong> {
    let wrong = || Wrong::Value(None);
    if bytes.len() < 12 {
        return Err(wrong());
    }
    match bytes.get_i32() {
        0 => return Ok(Vec::new()),
        1 if bytes.len() >= ARRAY_HEADER - 4 => {}
        _ => return Err(wrong()),
    }
    bytes.advance(8);
    let count = usize::try_from(bytes.get_i32()).map_err(|_| wrong())?;
    bytes.advance(4);
    if count > bytes.len() / 4 {
        return Err(wrong());
    }
    (0..count)
        .map(|_| {
            if bytes.len() < 4 {
                return Err(wrong());
            }
            match usize::try_from(bytes.get_i32()) {
                Err(_) => Ok(Value::Null),
                Ok(len) if len <= bytes.len() => scalar_binary(item, bytes.split_to(len)),
                Ok(_) => Err(wrong()),
            }
        })
        .collect()
}

fn scalar_binary(ty: &Type, bytes: Bytes) -> Result<Value, Wrong> {
    fn exact<const N: usize>(bytes: &Bytes) -> Result<[u8; N], Wrong> {
        bytes.as_ref().try_into().map_err(|_| Wrong::Value(None))
    }
    let str = |bytes: &[u8]| {
        std::str::from_utf8(bytes).map(|text| Value::Str(text.into())).map_err(|_| Wrong::Value(None))
    };
    Ok(match *ty {
        Type::BOOL => Value::Bool(exact::<1>(&bytes)?[0] != 0),
        Type::INT2 => Value::Int(i16::from_be_bytes(exact(&bytes)?).into()),
        Type::INT4 => Value::Int(i32::from_be_bytes(exact(&bytes)?).into()),
        Type::INT8 => Value::Int(i64::from_be_bytes(exact(&bytes)?)),
        Type::OID => Value::Int(u32::from_be_bytes(exact(&bytes)?).into()),
        Type::FLOAT4 => Value::Float(f32::from_be_bytes(exact(&bytes)?).into()),
        Type::FLOAT8 => Value::Float(f64::from_be_bytes(exact(&bytes)?)),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            Value::Timestamp(i64::from_be_bytes(exact(&bytes)?).saturating_add(EPOCH_US))
        }
        Type::DATE => {
            let days = i64::from(i32::from_be_bytes(exact(&bytes)?)) + i64::from(EPOCH_DAYS);
            Value::Timestamp(days * 86_400_000_000)
        }
        Type::NUMERIC => numeric(bytes)?,
        Type::UUID => {
            let hex = format!("{:032x}", u128::from_be_bytes(exact(&bytes)?));
            let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
            Value::Str(parts.join("-").into())
        }
        // One byte of version.
        Type::JSONB => str(bytes.get(1..).ok_or(Wrong::Value(None))?)?,
        Type::TEXT | Type::VARCHAR | Type::NAME | Type::BPCHAR | Type::CHAR | Type::UNKNOWN | Type::JSON => {
            str(&bytes)?
        }
        _ => return Err(Wrong::Type),
    })
}

/// Digits to the base of 10,000, as a decimal.
fn numeric(mut bytes: Bytes) -> Result<Value, Wrong> {
    let wrong = || Wrong::Value(None);
    if bytes.len() < 8 {
        return Err(wrong());
    }
    let (count, weight, sign, scale) = (bytes.get_i16(), bytes.get_i16(), bytes.get_u16(), bytes.get_i16());
    let infinite = |value| Ok(Value::Float(value));
    match sign {
        0xc000 => return infinite(f64::NAN),
        0xd000 => return infinite(f64::INFINITY),
        0xf000 => return infinite(f64::NEG_INFINITY),
        _ => {}
    }
    let count = usize::try_from(count).map_err(|_| wrong())?;
    // No double needs more digits, and no integer.
    if bytes.len() != count * 2 || count > 400 || weight.unsigned_abs() > 400 || scale < 0 {
        return Err(wrong());
    }
    let mut text = String::from(if sign == 0x4000 { "-" } else { "" });
    let digits: Vec<i16> = (0..count).map(|_| bytes.get_i16()).collect();
    let digit = |place: i32| {
        let index = usize::try_from(i32::from(weight) - place).ok();
        index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    for place in (0..=i32::from(weight).max(0)).rev() {
        text += &format!("{:04}", digit(place));
    }
    let least = i32::from(weight) - i32::try_from(count).unwrap_or(0) + 1;
    if least < 0 {
        text.push('.');
        for place in (least..0).rev() {
            text += &format!("{:04}", digit(place));
        }
    }
    number(&text).ok_or_else(wrong)
}

/// The same for our own plans.
pub(super) fn positional(values: Vec<Param>) -> Params {
    Params { positional: values, ..Params::default() }
}

/// The same for DataFusion's.
pub(super) fn scalars(values: Vec<Param>) -> ParamValues {
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
    let param = |param| match param {
        Param::Scalar(value) => scalar(value),
        Param::List(values) => {
            let values: Vec<ScalarValue> = values.into_iter().map(scalar).collect();
            let ty = values
                .iter()
                .find(|v| !v.is_null())
                .map_or(arrow::datatypes::DataType::Utf8, ScalarValue::data_type);
            ScalarValue::List(ScalarValue::new_list_nullable(&values, &ty))
        }
        Param::Interval(text) => ScalarValue::Utf8(Some(text)),
        Param::All | Param::Ago { .. } => ScalarValue::Null,
    };
    ParamValues::from(values.into_iter().map(param).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        text.parse::<chrono::NaiveDateTime>().map_or(0, |time| time.and_utc().timestamp_micros())
    }

    fn of(ty: &Type, bytes: &'static [u8]) -> Option<Param> {
        binary(ty, Bytes::from_static(bytes)).ok()
    }

    #[test]
    fn texts() {
        let at = |text| Some(Param::Scalar(Value::Timestamp(us(text))));
        let table = [
            (Type::TIMESTAMP, "2024-05-01 12:00:00.5", at("2024-05-01T12:00:00.5")),
            (Type::TIMESTAMP, "2024-05-01T12:00:00+02", at("2024-05-01T12:00:00")),
            (Type::TIMESTAMPTZ, "2024-05-01 12:00:00+02", at("2024-05-01T10:00:00")),
            (Type::TIMESTAMPTZ, "2024-05-01 12:00:00-0330", at("2024-05-01T15:30:00")),
            (Type::TIMESTAMPTZ, "2024-05-01 12:00:00Z", at("2024-05-01T12:00:00")),
            (Type::DATE, "2024-05-01", at("2024-05-01T00:00:00")),
            (Type::BOOL, "t", Some(Param::Scalar(Value::Bool(true)))),
            (Type::NUMERIC, "12.00", Some(Param::Scalar(Value::Int(12)))),
            (Type::NUMERIC, "12.5", Some(Param::Scalar(Value::Float(12.5)))),
            (Type::INT8, "x", None),
            (Type::BYTEA, "\\x00", None),
            (Type::TIME, "12:00", None),
            (
                Type::INT4_ARRAY,
                "{1,NULL,3}",
                Some(Param::List(vec![Value::Int(1), Value::Null, Value::Int(3)])),
            ),
            (
                Type::TEXT_ARRAY,
                r#"{a,"b,\"c",""}"#,
                Some(Param::List(vec![
                    Value::Str("a".into()),
                    Value::Str("b,\"c".into()),
                    Value::Str("".into()),
                ])),
            ),
            (Type::TEXT_ARRAY, "{}", Some(Param::List(vec![]))),
            (Type::TEXT_ARRAY, "{{a},{b}}", None),
            (Type::INTERVAL, "1 day 02:00:00", Some(Param::Interval("1 day 02:00:00".into()))),
            (Type::INTERVAL, "1' day", None),
        ];
        for (ty, given, expected) in table {
            assert_eq!(text(&ty, given.as_bytes()).ok(), expected, "{ty} {given}");
        }
    }

    #[test]
    fn binaries() {
        let scalar = |value| Some(Param::Scalar(value));
        assert_eq!(of(&Type::INT2, &[0, 7]), scalar(Value::Int(7)));
        assert_eq!(of(&Type::INT2, &[0]), None);
        assert_eq!(
            of(&Type::NUMERIC, &[0, 2, 0, 0, 0x40, 0, 0, 2, 0, 123, 0x11, 0x94]),
            scalar(Value::Float(-123.45))
        );
        assert_eq!(of(&Type::NUMERIC, &[0, 1, 0, 1, 0, 0, 0, 0, 0, 2]), scalar(Value::Int(20_000)));
        assert_eq!(of(&Type::NUMERIC, &[0, 1, 0xff, 0xff, 0, 0, 0, 3, 0, 50]), scalar(Value::Float(0.005)));
        assert_eq!(of(&Type::NUMERIC, &[0x7f, 0xff, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(
            of(&Type::UUID, &[0x11; 16]),
            scalar(Value::Str("11111111-1111-1111-1111-111111111111".into()))
        );
        let list = &[
            0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 21, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 255, 255, 255, 255,
        ];
        assert_eq!(of(&Type::INT2_ARRAY, list), Some(Param::List(vec![Value::Int(5), Value::Null])));
        for end in 0..list.len() {
            assert_eq!(of(&Type::INT2_ARRAY, &list[..end]), None, "{end}");
        }
        assert_eq!(
            of(&Type::INTERVAL, &[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 1]),
            Some(Param::Interval("1 months 2 days 9 microseconds".into()))
        );
    }
}
