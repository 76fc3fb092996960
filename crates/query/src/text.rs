//! The user's text as tokens.
//!
//! A text is tokenised once. Each statement keeps two rows of tokens of equal length: as written, for
//! messages and for names whose case is to be kept; and *folded*, where every word is in the form in which
//! names are equal ([`nowcast_model::name_key`]), quoted or not. Only folded tokens reach the SQL parser, and
//! tables show their columns to the planner folded as well: that is how names match without case, whatever
//! the planner makes of quotes. The spelling of a result's columns is put back at the end.

use std::sync::Arc;

use datafusion::sql::sqlparser::{
    ast::Ident,
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Word},
};
use nowcast_model::name_key;

use crate::error::{Place, SqlCode, SqlError};

/// Bytes of one text of SQL: bounds what the tokeniser and the planner hold.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;

/// One statement's tokens, without white space and comments.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    /// The whole text that the user sent, other statements included: places count in it.
    pub(crate) source: Arc<str>,
    /// The tokens as written.
    pub(crate) tokens: Arc<[TokenWithSpan]>,
}

impl Text {
    /// Cuts a text into statements at its semicolons; empty ones are skipped.
    pub(crate) fn split(sql: &str) -> Result<Vec<Text>, SqlError> {
        if sql.len() > TEXT_BYTES_MAX {
            let message = format!("the text has {} bytes, at most {TEXT_BYTES_MAX} are allowed", sql.len());
            return Err(SqlError::new(SqlCode::Resources, message).hint("send fewer statements at once"));
        }
        let source: Arc<str> = sql.into();
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().map_err(|e| {
            let message = e.message.to_lowercase();
            SqlError::new(SqlCode::Syntax, message).at(place(sql, e.location))
        })?;
        let mut statements = Vec::new();
        let mut current = Vec::new();
        for token in tokens {
            match token.token {
                Token::Whitespace(_) | Token::EOF => {}
                Token::SemiColon => {
                    statements.push(std::mem::take(&mut current));
                }
                _ => current.push(token),
            }
        }
        statements.push(current);
        statements.retain(|tokens| !tokens.is_empty());
        let text = |tokens: Vec<TokenWithSpan>| Text { source: source.clone(), tokens: tokens.into() };
        Ok(statements.into_iter().map(text).collect())
    }

    /// The same text from token `index` on.
    pub(crate) fn from(&self, index: usize) -> Text {
        Text { source: self.source.clone(), tokens: self.tokens[index.min(self.tokens.len())..].into() }
    }

    /// The statement as the user wrote it, without what stands around it.
    pub(crate) fn slice(&self) -> &str {
        let (Some(first), Some(last)) = (self.tokens.first(), self.tokens.last()) else { return "" };
        self.between(first.span.start, last.span.end)
    }

    fn between(&self, start: Location, end: Location) -> &str {
        let start = byte_of(&self.source, start);
        let end = byte_of(&self.source, end).max(start);
        &self.source[start..end]
    }

    /// What the user wrote at `span`.
    pub(crate) fn written(&self, span: Span) -> &str {
        self.between(span.start, span.end)
    }

    /// The place of token `index`, or the end of the statement.
    pub(crate) fn place(&self, index: usize) -> Place {
        match (self.tokens.get(index), self.tokens.last()) {
            (Some(token), _) => place(&self.source, token.span.start),
            (None, Some(last)) => place(&self.source, last.span.end),
            (None, None) => Place::START,
        }
    }

    /// A location as a place.
    pub(crate) fn place_of(&self, location: Location) -> Place {
        if location.line == 0 { self.place(0) } else { place(&self.source, location) }
    }

    /// True if token `index` is the unquoted word `word` (upper case).
    pub(crate) fn is(&self, index: usize, word: &str) -> bool {
        matches!(self.word(index), Some(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
    }

    /// True if the unquoted words from `index` on are `words`.
    pub(crate) fn are(&self, index: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.is(index + i, word))
    }

    /// Token `index` if it is a word.
    pub(crate) fn word(&self, index: usize) -> Option<&Word> {
        match self.tokens.get(index).map(|t| &t.token) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// The token at `index`.
    pub(crate) fn token(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index).map(|t| &t.token)
    }

    /// The first word, or quoted name, that equals `name` without case.
    pub(crate) fn find_name(&self, name: &str) -> Option<Place> {
        let key = name_key(name);
        let matches = |token: &Token| match token {
            Token::Word(word) => name_key(&word.value) == key,
            Token::SingleQuotedString(text) => name_key(text) == key,
            _ => false,
        };
        (0..self.tokens.len()).find(|&i| matches(&self.tokens[i].token)).map(|i| self.place(i))
    }

    /// An identifier as the user wrote it, quotes taken off.
    pub(crate) fn spelling(&self, ident: &Ident) -> String {
        let at = |token: &&TokenWithSpan| token.span.start == ident.span.start;
        match self.tokens.iter().find(at).map(|t| &t.token) {
            Some(Token::Word(word)) => word.value.clone(),
            Some(Token::SingleQuotedString(text)) => text.clone(),
            _ => ident.value.clone(),
        }
    }

    /// The tokens in the form that the SQL parser gets: words folded, `'name'` a name where a table stands.
    pub(crate) fn folded(&self) -> Vec<TokenWithSpan> {
        let mut inside = Vec::new(); // for each open parenthesis: does FROM mean something else in it?
        let mut folded: Vec<TokenWithSpan> = Vec::with_capacity(self.tokens.len());
        for (i, token) in self.tokens.iter().enumerate() {
            let mut token = token.clone();
            match &mut token.token {
                Token::LParen => {
                    let names = ["EXTRACT", "SUBSTRING", "TRIM", "OVERLAY"];
                    inside.push(i > 0 && names.iter().any(|name| self.is(i - 1, name)));
                }
                Token::RParen => {
                    inside.pop();
                }
                Token::Word(word) => {
                    word.value = name_key(&word.value);
                    // A name that is quoted is never a keyword; the tokeniser already says so.
                }
                Token::SingleQuotedString(name) if i > 0 && !inside.last().copied().unwrap_or(false) => {
                    let before = ["FROM", "JOIN", "INTO", "TABLE", "UPDATE"];
                    if before.iter().any(|word| self.is(i - 1, word)) {
                        let value = name_key(name);
                        token.token =
                            Token::Word(Word { value, quote_style: Some('"'), keyword: Keyword::NoKeyword });
                    }
                }
                _ => {}
            }
            folded.push(token);
        }
        folded
    }
}

/// A location of the tokeniser as a place in `text`.
pub(crate) fn place(text: &str, location: Location) -> Place {
    let (line, column) = (location.line.max(1), location.column.max(1));
    let before: usize =
        text.split('\n').take(line as usize - 1).map(|l| l.chars().count() + 1).sum::<usize>();
    let position = before + column as usize - 1;
    let clip = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: clip(line), column: clip(column), position: clip(position as u64) }
}

fn byte_of(text: &str, location: Location) -> usize {
    let (line, column) = (location.line.max(1) as usize, location.column.max(1) as usize);
    let line_start = if line == 1 {
        0
    } else {
        text.match_indices('\n').nth(line - 2).map_or(text.len(), |(byte, _)| byte + 1)
    };
    let rest = &text[line_start..];
    line_start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(byte, _)| byte)
}
