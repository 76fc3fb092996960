//! Refuses expressions that are so long that their tree is too deep.
//!
//! `a OR b OR c …` nests as deep as it has parts, though the parser reads it without recursion. Everything behind it
//! walks the tree, and a thread's stack has an end: a tree that reaches it ends the process.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::{
    error::{SqlCode, SqlError},
    text::Text,
};

/// Operators of one expression, and queries of one UNION.
const CHAIN_MAX: usize = 1_000;

const OPERATORS: [&str; 13] = [
    "AND", "OR", "XOR", "IS", "LIKE", "ILIKE", "IN", "BETWEEN", "COLLATE", "SIMILAR", "ISNULL", "NOTNULL",
    "AT",
];

const CLAUSES: [&str; 14] = [
    "SELECT", "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "ON", "WHEN", "THEN", "ELSE", "JOIN",
    "AS", "VALUES",
];

/// What one pair of parentheses holds.
#[derive(Default)]
struct Level {
    operators: usize,
    unions: usize,
}

pub(super) fn check(text: &Text) -> Result<(), SqlError> {
    let mut levels = vec![Level::default()];
    for (at, token) in text.tokens.iter().enumerate() {
        let depth = levels.len();
        let is = |words: &[&str]| words.iter().any(|word| text.is(at, word));
        let Some(level) = levels.last_mut() else { return Ok(()) };
        match &token.token {
            Token::LParen => levels.push(Level::default()),
            Token::RParen if depth > 1 => {
                levels.pop();
            }
            Token::Comma => level.operators = 0,
            Token::Word(_) if is(&["UNION", "EXCEPT", "INTERSECT"]) => {
                *level = Level { operators: 0, unions: level.unions + 1 };
            }
            Token::Word(_) if is(&CLAUSES) => level.operators = 0,
            Token::Word(_) if is(&OPERATORS) => level.operators += 1,
            Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::RParen
            | Token::Period
            | Token::SemiColon => {}
            _ => level.operators += 1,
        }
        let Some(level) = levels.last() else { return Ok(()) };
        if level.operators > CHAIN_MAX || level.unions > CHAIN_MAX {
            let message = format!("an expression has more than {CHAIN_MAX} operators in a row");
            let error = SqlError::new(SqlCode::Resources, message).at(text.place(at));
            return Err(error.hint("write x IN (…), or put values into a table and join it"));
        }
    }
    Ok(())
}
