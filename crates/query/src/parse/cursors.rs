//! DECLARE, FETCH, MOVE: results that are read piece by piece, forward.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{cursor::Cursor, query_in};
use crate::{
    error::{SqlCode, SqlError},
    statement::{Declare, Fetch},
    text::Text,
};

pub(super) fn declare(text: &Text) -> Result<Declare, SqlError> {
    let mut cursor = Cursor::new(text, 1);
    let (name, place) = cursor.name("a cursor's name")?;
    let mut binary = false;
    loop {
        match () {
            () if cursor.accept("BINARY") => binary = true,
            () if cursor.accept("INSENSITIVE") || cursor.accept("ASENSITIVE") => {}
            () if cursor.accept_all(&["NO", "SCROLL"]) => {}
            () if cursor.are(&["SCROLL"]) => return Err(backward(&cursor, "a SCROLL cursor")),
            () => break,
        }
    }
    cursor.expect("CURSOR", "DECLARE name CURSOR FOR SELECT …")?;
    let hold = cursor.accept_all(&["WITH", "HOLD"]);
    if !hold {
        cursor.accept_all(&["WITHOUT", "HOLD"]);
    }
    cursor.expect("FOR", "DECLARE name CURSOR FOR SELECT …")?;
    let query = query_in(text, cursor.index(), "DECLARE … CURSOR FOR")?;
    Ok(Declare { name, place, binary, hold, query })
}

/// Behind FETCH or MOVE.
pub(super) fn fetch(cursor: &mut Cursor<'_>, moves: bool) -> Result<Fetch, SqlError> {
    let mut count = Some(1);
    match cursor.upper().as_deref() {
        Some("NEXT") => cursor.skip(),
        Some("ALL") => {
            cursor.skip();
            count = None;
        }
        Some("FORWARD") => {
            cursor.skip();
            if cursor.accept("ALL") {
                count = None;
            } else if let Some(number) = cursor.accept_number() {
                count = Some(number);
            }
        }
        Some("PRIOR" | "FIRST" | "LAST" | "ABSOLUTE" | "RELATIVE" | "BACKWARD") => {
            return Err(backward(cursor, "this direction"));
        }
        _ if cursor.peek() == Some(&Token::Minus) => return Err(backward(cursor, "this direction")),
        _ => {
            if let Some(number) = cursor.accept_number() {
                count = Some(number);
            }
        }
    }
    if !cursor.accept("FROM") {
        cursor.accept("IN");
    }
    let (name, place) = cursor.name("a cursor's name")?;
    cursor.expect_end()?;
    Ok(Fetch { name, place, count, moves })
}

fn backward(cursor: &Cursor<'_>, what: &str) -> SqlError {
    let error = SqlError::new(SqlCode::NotSupported, format!("{what} is not supported: rows are not kept"));
    error.at(cursor.place()).hint("declare NO SCROLL, and FETCH NEXT, n, FORWARD n or ALL")
}
