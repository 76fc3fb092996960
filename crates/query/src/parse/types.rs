//! Names of column types: QuestDB's and PostgreSQL's.

use datafusion::sql::sqlparser::tokenizer::Token;
use nowcast_model::ColumnType;

use super::cursor::Cursor;
use crate::error::{SqlCode, SqlError, did_you_mean};

/// The type called `name` (upper case, one word).
///
/// `UUID`, `JSON`, `CHAR`, `IPv4`, `LONG256`, `GEOHASH` and `BINARY` are VARCHAR: they keep their text, and nothing here
/// computes with them. `DECIMAL` is DOUBLE: fifteen digits, which sums of money in one currency do not use up.
/// `TIMESTAMPTZ` is TIMESTAMP: times are UTC.
pub(crate) fn type_of(name: &str) -> Option<ColumnType> {
    Some(match name {
        "BOOLEAN" | "BOOL" => ColumnType::Boolean,
        "BYTE" | "TINYINT" | "INT1" => ColumnType::Byte,
        "SHORT" | "SMALLINT" | "INT2" | "SMALLSERIAL" => ColumnType::Short,
        "INT" | "INT4" | "INTEGER" => ColumnType::Int,
        "LONG" | "BIGINT" | "INT8" => ColumnType::Long,
        "FLOAT" | "FLOAT4" | "REAL" => ColumnType::Float,
        "DOUBLE" | "FLOAT8" | "DECIMAL" | "NUMERIC" => ColumnType::Double,
        "SYMBOL" => ColumnType::Symbol,
        "VARCHAR" | "STRING" | "TEXT" | "CHAR" | "CHARACTER" | "BPCHAR" | "NAME" | "UUID" | "JSON"
        | "JSONB" | "IPV4" | "INET" | "LONG256" | "LONG128" | "GEOHASH" | "BINARY" | "BYTEA" => {
            ColumnType::Varchar
        }
        "TIMESTAMP" | "TIMESTAMPTZ" => ColumnType::Timestamp,
        "TIMESTAMP_NS" => ColumnType::TimestampNs,
        "DATE" => ColumnType::Date,
        _ => return None,
    })
}

/// Types that are known and refused, with what to take instead.
fn refused(name: &str) -> Option<&'static str> {
    Some(match name {
        "SERIAL" | "SERIAL4" | "BIGSERIAL" | "SERIAL8" => {
            "there are no sequences; use LONG and send the number"
        }
        "INTERVAL" => "use LONG with microseconds",
        "TIME" | "TIMETZ" => "use TIMESTAMP, or LONG with microseconds since midnight",
        "ARRAY" => "use one column for each element",
        _ => return None,
    })
}

/// Every name, for "did you mean".
const NAMES: [&str; 29] = [
    "BOOLEAN",
    "BYTE",
    "TINYINT",
    "SHORT",
    "SMALLINT",
    "INT2",
    "INT",
    "INT4",
    "INTEGER",
    "LONG",
    "BIGINT",
    "INT8",
    "FLOAT",
    "FLOAT4",
    "REAL",
    "DOUBLE",
    "FLOAT8",
    "SYMBOL",
    "VARCHAR",
    "STRING",
    "TEXT",
    "CHAR",
    "UUID",
    "JSON",
    "JSONB",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "TIMESTAMP_NS",
    "DATE",
];

/// Reads a type: `double precision`, `varchar(20)`, `timestamp with time zone`, `SYMBOL CAPACITY 256 CACHE`.
pub(super) fn column_type(cursor: &mut Cursor<'_>) -> Result<ColumnType, SqlError> {
    let place = cursor.place();
    let Some(name) = cursor.upper() else { return Err(cursor.error("a column's type")) };
    cursor.skip();
    if let Some(hint) = refused(&name) {
        let message = format!("there is no type {name}");
        return Err(SqlError::new(SqlCode::NotSupported, message).hint(hint).at(place));
    }
    let Some(ty) = type_of(&name) else {
        let error = SqlError::new(SqlCode::NotSupported, format!("there is no type {name}")).at(place);
        return Err(match did_you_mean("types", &name, NAMES) {
            Some(hint) => error.hint(hint),
            None => error,
        });
    };
    match name.as_str() {
        "DOUBLE" => {
            cursor.accept("PRECISION");
        }
        "CHARACTER" | "CHAR" => {
            cursor.accept("VARYING");
        }
        "FLOAT" => {
            // PostgreSQL: float(1..24) is real, float(25..53) is double precision.
            if let Some(precision) = length(cursor)? {
                return Ok(if precision > 24 { ColumnType::Double } else { ColumnType::Float });
            }
        }
        _ => {}
    }
    length(cursor)?;
    if matches!(name.as_str(), "TIMESTAMP")
        && (cursor.are(&["WITH", "TIME"]) || cursor.are(&["WITHOUT", "TIME"]))
    {
        cursor.skip();
        cursor.skip();
        cursor.expect("ZONE", "TIMESTAMP WITH TIME ZONE")?;
    }
    if cursor.peek() == Some(&Token::LBracket) {
        let error = SqlError::new(SqlCode::NotSupported, "there are no array columns").at(cursor.place());
        return Err(error.hint("use one column for each element"));
    }
    if ty == ColumnType::Symbol {
        loop {
            // How QuestDB stores symbols; here dictionaries grow by themselves.
            if cursor.accept("CAPACITY") {
                cursor.accept_number().ok_or_else(|| cursor.error("a number"))?;
            } else if !(cursor.accept("CACHE") || cursor.accept("NOCACHE") || cursor.accept("INDEX")) {
                break;
            }
        }
    }
    Ok(ty)
}

/// `(20)`, `(10, 2)`, and `(5c)` of a GEOHASH.
fn length(cursor: &mut Cursor<'_>) -> Result<Option<u64>, SqlError> {
    if !cursor.accept_token(&Token::LParen) {
        return Ok(None);
    }
    let length = match cursor.peek() {
        Some(Token::Number(digits, _)) => {
            let digits = digits.trim_end_matches(['c', 'b']);
            digits.parse().map_err(|_| cursor.error("a number"))?
        }
        _ => return Err(cursor.error("a number")),
    };
    cursor.skip();
    if !cursor.accept("C") {
        cursor.accept("B");
    }
    if cursor.accept_token(&Token::Comma) {
        cursor.accept_number().ok_or_else(|| cursor.error("a number"))?;
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(Some(length))
}
