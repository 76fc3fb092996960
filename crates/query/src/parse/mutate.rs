//! UPDATE and DELETE, as the query of the rows that they change.
//!
//! ```text
//! UPDATE t SET a = x, b = y FROM s WHERE p   ─►  SELECT t._seq, t.*, x, y FROM t, s WHERE p
//! DELETE FROM t USING s WHERE p              ─►  SELECT t._seq, t.* FROM t, s WHERE p
//! ```
//!
//! The tokens keep their places, so an error in an expression points at where the user wrote it.

use std::ops::Range;

use datafusion::sql::sqlparser::{
    keywords::Keyword,
    tokenizer::{Span, Token, TokenWithSpan, Word},
};

use super::{cursor::Cursor, select};
use crate::{
    error::{Place, SqlCode, SqlError},
    statement::{Delete, NameRef, Statement, Update},
    text::Text,
};

pub(super) fn update(text: &Text) -> Result<Statement, SqlError> {
    let mut cursor = Cursor::new(text, 1);
    cursor.accept("ONLY");
    let target = target(&mut cursor, &["SET"])?;
    cursor.expect("SET", "UPDATE table SET column = value WHERE …")?;
    let (mut columns, mut values): (Vec<(String, Place)>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
    loop {
        let (mut name, mut place) = cursor.name("a column")?;
        // `t.a = …`, which QuestDB takes.
        while cursor.accept_token(&Token::Period) {
            (name, place) = cursor.name("a column")?;
        }
        cursor.expect_token(&Token::Eq)?;
        let from = cursor.index();
        skip_until(&mut cursor, &["FROM", "WHERE", "RETURNING"], true);
        if cursor.index() == from {
            return Err(cursor.error("a value"));
        }
        columns.push((name, place));
        values.push(from..cursor.index());
        if !cursor.accept_token(&Token::Comma) {
            break;
        }
    }
    let (sources, condition) = sources(&mut cursor, "FROM")?;
    let mut tokens = target.selected();
    for (index, value) in values.into_iter().enumerate() {
        tokens.extend([target.sign(Token::Comma), target.sign(Token::LParen)]);
        tokens.extend_from_slice(&text.tokens[value]);
        tokens.extend([target.sign(Token::RParen), target.keyword("AS", Keyword::AS)]);
        // No column has such a name.
        tokens.push(target.quoted(format!("={index}")));
    }
    target.rows(text, &mut tokens, sources, condition);
    let select = select(&Text { source: text.source.clone(), tokens: tokens.into() })?;
    Ok(Statement::Update(Update { table: target.table, columns, select }))
}

pub(super) fn delete(text: &Text) -> Result<Statement, SqlError> {
    let mut cursor = Cursor::new(text, 1);
    cursor.expect("FROM", "DELETE FROM table WHERE …")?;
    cursor.accept("ONLY");
    let target = target(&mut cursor, &["USING", "WHERE", "RETURNING"])?;
    let (sources, condition) = sources(&mut cursor, "USING")?;
    let is_all = sources.is_empty() && condition.is_empty();
    let mut tokens = target.selected();
    target.rows(text, &mut tokens, sources, condition);
    let select = select(&Text { source: text.source.clone(), tokens: tokens.into() })?;
    Ok(Statement::Delete(Delete { table: target.table, is_all, select }))
}

/// The table that is changed.
struct Target {
    table: NameRef,
    /// Its tokens.
    written: Range<usize>,
    /// What its columns are called by.
    alias: Word,
    has_alias: bool,
    /// Of all that the user did not write.
    span: Span,
}

fn target(cursor: &mut Cursor<'_>, behind: &[&str]) -> Result<Target, SqlError> {
    let from = cursor.index();
    let table = cursor.table()?;
    let written = from..cursor.index();
    let span = cursor.text().tokens[from].span;
    let plain =
        |name: &str| Word { value: name.to_owned(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
    let is_behind = cursor.is_end() || behind.iter().any(|word| cursor.are(&[word]));
    let has_alias = cursor.accept("AS") || !is_behind;
    let alias = if has_alias { plain(&cursor.name("an alias")?.0) } else { plain(&table.table) };
    Ok(Target { table, written, alias, has_alias, span })
}

impl Target {
    fn sign(&self, token: Token) -> TokenWithSpan {
        TokenWithSpan { token, span: self.span }
    }

    fn keyword(&self, word: &str, keyword: Keyword) -> TokenWithSpan {
        self.sign(Token::Word(Word { value: word.to_owned(), quote_style: None, keyword }))
    }

    fn quoted(&self, name: String) -> TokenWithSpan {
        self.sign(Token::Word(Word { value: name, quote_style: Some('"'), keyword: Keyword::NoKeyword }))
    }

    /// `SELECT t._seq, t.*`.
    fn selected(&self) -> Vec<TokenWithSpan> {
        let alias = || self.sign(Token::Word(self.alias.clone()));
        vec![
            self.keyword("SELECT", Keyword::SELECT),
            alias(),
            self.sign(Token::Period),
            self.quoted(nowcast_model::SEQ_COLUMN.to_owned()),
            self.sign(Token::Comma),
            alias(),
            self.sign(Token::Period),
            self.sign(Token::Mul),
        ]
    }

    /// `FROM t, s WHERE p`.
    fn rows(
        &self,
        text: &Text,
        tokens: &mut Vec<TokenWithSpan>,
        sources: Range<usize>,
        condition: Range<usize>,
    ) {
        tokens.push(self.keyword("FROM", Keyword::FROM));
        tokens.extend_from_slice(&text.tokens[self.written.clone()]);
        if self.has_alias {
            tokens.extend([self.keyword("AS", Keyword::AS), self.sign(Token::Word(self.alias.clone()))]);
        }
        if !sources.is_empty() {
            tokens.push(self.sign(Token::Comma));
            tokens.extend_from_slice(&text.tokens[sources]);
        }
        tokens.extend_from_slice(&text.tokens[condition]);
    }
}

/// What stands behind `word`, and WHERE with what follows it.
fn sources(cursor: &mut Cursor<'_>, word: &str) -> Result<(Range<usize>, Range<usize>), SqlError> {
    let mut from = cursor.index()..cursor.index();
    if cursor.accept(word) {
        let at = cursor.index();
        skip_until(cursor, &["WHERE", "RETURNING"], false);
        from = at..cursor.index();
        if from.is_empty() {
            return Err(cursor.error("a table"));
        }
    }
    let at = cursor.index();
    skip_until(cursor, &["RETURNING"], false);
    if !cursor.is_end() {
        let error = SqlError::new(SqlCode::NotSupported, "RETURNING is not supported").at(cursor.place());
        return Err(error.hint("read the rows with SELECT"));
    }
    if at < cursor.index() && !cursor.text().is(at, "WHERE") {
        let error = SqlError::new(SqlCode::Syntax, "WHERE or the end of the statement is expected");
        return Err(error.at(cursor.text().place(at)));
    }
    Ok((from, at..cursor.index()))
}

/// Goes to one of `words`, or to a comma, outside of parentheses.
fn skip_until(cursor: &mut Cursor<'_>, words: &[&str], comma: bool) {
    let mut depth = 0_usize;
    while let Some(token) = cursor.peek() {
        match token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            Token::Comma if comma && depth == 0 => return,
            Token::Word(_) if depth == 0 && words.iter().any(|word| cursor.are(&[word])) => return,
            _ => {}
        }
        cursor.skip();
    }
}
