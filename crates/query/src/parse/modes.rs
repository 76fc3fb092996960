//! What a transaction may be asked to be: ISOLATION LEVEL …, READ ONLY, DEFERRABLE.

use super::cursor::Cursor;
use crate::{error::SqlError, statement::Statement};

type Modes = Vec<(String, Option<String>)>;

/// Behind BEGIN or START.
pub(super) fn begin(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if !cursor.accept("WORK") {
        cursor.accept("TRANSACTION");
    }
    Ok(Statement::Begin(modes(cursor, "transaction_")?))
}

/// Behind SET TRANSACTION.
pub(super) fn of_transaction(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    match cursor.is_end() {
        true => Err(expected(cursor)),
        false => Ok(Statement::SetLocal(modes(cursor, "transaction_")?)),
    }
}

/// Behind SET SESSION CHARACTERISTICS AS TRANSACTION.
pub(super) fn of_session(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    match cursor.is_end() {
        true => Err(expected(cursor)),
        false => Ok(Statement::SetAll(modes(cursor, "default_transaction_")?)),
    }
}

fn expected(cursor: &Cursor<'_>) -> SqlError {
    cursor.error("ISOLATION LEVEL …, READ ONLY, READ WRITE or DEFERRABLE")
}

fn modes(cursor: &mut Cursor<'_>, prefix: &str) -> Result<Modes, SqlError> {
    let mut modes = Modes::new();
    while !cursor.is_end() {
        let (name, value) = mode(cursor)?;
        modes.push((format!("{prefix}{name}"), Some(value.to_owned())));
        cursor.accept_token(&datafusion::sql::sqlparser::tokenizer::Token::Comma);
    }
    Ok(modes)
}

/// A variable and what it is set to.
fn mode(cursor: &mut Cursor<'_>) -> Result<(&'static str, &'static str), SqlError> {
    if cursor.accept_all(&["ISOLATION", "LEVEL"]) {
        let levels: [(&[&str], &str); 4] = [
            (&["READ", "UNCOMMITTED"], "read uncommitted"),
            (&["READ", "COMMITTED"], "read committed"),
            (&["REPEATABLE", "READ"], "repeatable read"),
            (&["SERIALIZABLE"], "serializable"),
        ];
        let level = levels.into_iter().find(|(words, _)| cursor.accept_all(words));
        let (_, level) =
            level.ok_or_else(|| cursor.error("READ COMMITTED, REPEATABLE READ or SERIALIZABLE"))?;
        return Ok(("isolation", level));
    }
    let others: [(&[&str], &str, &str); 4] = [
        (&["READ", "ONLY"], "read_only", "on"),
        (&["READ", "WRITE"], "read_only", "off"),
        (&["DEFERRABLE"], "deferrable", "on"),
        (&["NOT", "DEFERRABLE"], "deferrable", "off"),
    ];
    let found = others.into_iter().find(|(words, ..)| cursor.accept_all(words));
    found.map(|(_, name, value)| (name, value)).ok_or_else(|| expected(cursor))
}
