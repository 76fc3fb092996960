//! Statements about the session: SHOW, SET, RESET, ROLLBACK, DISCARD.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{cursor::Cursor, modes};
use crate::{
    error::SqlError,
    statement::{Savepoint, Show, Statement},
};

pub(super) fn show(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let show = match cursor.upper().as_deref() {
        Some("TABLES") => {
            cursor.skip();
            Show::Tables
        }
        Some("SCHEMAS") => {
            cursor.skip();
            Show::Schemas
        }
        Some("COLUMNS") => {
            cursor.skip();
            cursor.expect("FROM", "SHOW COLUMNS FROM table")?;
            Show::Columns(cursor.table()?)
        }
        Some("CREATE") => {
            cursor.skip();
            cursor.expect("TABLE", "SHOW CREATE TABLE table")?;
            Show::CreateTable(cursor.table()?)
        }
        Some("PARTITIONS") => {
            cursor.skip();
            cursor.expect("FROM", "SHOW PARTITIONS FROM table")?;
            Show::Partitions(cursor.table()?)
        }
        Some("TIME") if cursor.are(&["TIME", "ZONE"]) => {
            cursor.accept_all(&["TIME", "ZONE"]);
            Show::Variable("timezone".into())
        }
        Some("TRANSACTION") => {
            cursor.accept_all(&["TRANSACTION", "ISOLATION", "LEVEL"]);
            Show::Variable("transaction_isolation".into())
        }
        _ => Show::Variable(variable(cursor)?),
    };
    cursor.expect_end()?;
    Ok(Statement::Show(show))
}

/// `name` or `extension.name`, lower case.
fn variable(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let mut name = cursor.name("a session variable")?.0;
    while cursor.accept_token(&Token::Period) {
        name.push('.');
        name.push_str(&cursor.name("a session variable")?.0);
    }
    Ok(name.to_lowercase())
}

pub(super) fn set(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.accept_all(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        return modes::of_session(cursor);
    }
    if cursor.accept("TRANSACTION") {
        return modes::of_transaction(cursor);
    }
    let is_local = cursor.accept("LOCAL");
    if !is_local {
        cursor.accept("SESSION");
    }
    Ok(match variable_to(cursor)? {
        // One that ends with the transaction, as its name says.
        Statement::Set { name, value } if is_local || name.starts_with("transaction_") => {
            Statement::SetLocal(vec![(name, value)])
        }
        set => set,
    })
}

/// `name = value`, and the other forms of it.
fn variable_to(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.accept_all(&["TIME", "ZONE"]) {
        return Ok(Statement::Set { name: "timezone".into(), value: Some(rest(cursor)) });
    }
    if cursor.accept("NAMES") {
        return Ok(Statement::Set { name: "client_encoding".into(), value: Some(rest(cursor)) });
    }
    let name = variable(cursor)?;
    if !(cursor.accept("TO") || cursor.accept_token(&Token::Eq)) {
        return Err(cursor.error("= or TO").hint("write SET name = value"));
    }
    if cursor.is_end() {
        return Err(cursor.error("a value"));
    }
    let value = if cursor.are(&["DEFAULT"]) { None } else { Some(rest(cursor)) };
    Ok(Statement::Set { name, value })
}

/// All that is left, as text; quotes of single values are taken off.
fn rest(cursor: &mut Cursor<'_>) -> String {
    let mut value = String::new();
    while let Some(token) = cursor.peek() {
        match token {
            Token::SingleQuotedString(text) => value.push_str(text),
            Token::Word(word) => {
                if !value.is_empty() && !value.ends_with(['.', '-', '+']) {
                    value.push(' ');
                }
                value.push_str(&word.value);
            }
            Token::Comma => value.push_str(", "),
            other => value.push_str(&other.to_string()),
        }
        cursor.skip();
    }
    value.replace(",  ", ", ")
}

pub(super) fn reset(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let name = variable(cursor)?;
    cursor.expect_end()?;
    Ok(Statement::Set { name, value: None })
}

/// Behind ROLLBACK or ABORT.
pub(super) fn rollback(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if !cursor.accept("WORK") {
        cursor.accept("TRANSACTION");
    }
    if cursor.accept("TO") { savepoint(cursor, Savepoint::RollbackTo) } else { Ok(Statement::Rollback) }
}

/// Behind SAVEPOINT, RELEASE or ROLLBACK TO.
pub(super) fn savepoint(cursor: &mut Cursor<'_>, does: Savepoint) -> Result<Statement, SqlError> {
    if does != Savepoint::Set {
        cursor.accept("SAVEPOINT");
    }
    let (name, _) = cursor.name("a savepoint's name")?;
    cursor.expect_end()?;
    Ok(Statement::Savepoint { name, does })
}

pub(super) fn discard(cursor: &mut Cursor<'_>, word: &'static str) -> Result<Statement, SqlError> {
    cursor.accept("PREPARE");
    let name = rest(cursor);
    Ok(Statement::Discard { word, name })
}
