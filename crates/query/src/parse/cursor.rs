//! Reads a statement's tokens one after the other.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::{
    error::{Place, SqlCode, SqlError},
    statement::NameRef,
    text::Text,
};

/// A statement and how far it was read.
pub(crate) struct Cursor<'a> {
    text: &'a Text,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a Text, at: usize) -> Cursor<'a> {
        Cursor { text, at }
    }

    pub(crate) fn text(&self) -> &'a Text {
        self.text
    }

    /// Index of the next token.
    pub(crate) fn index(&self) -> usize {
        self.at
    }

    /// Place of the next token.
    pub(crate) fn place(&self) -> Place {
        self.text.place(self.at)
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.text.token(self.at)
    }

    pub(crate) fn is_end(&self) -> bool {
        self.peek().is_none()
    }

    pub(crate) fn skip(&mut self) {
        self.at += 1;
    }

    pub(crate) fn are(&self, words: &[&str]) -> bool {
        self.text.are(self.at, words)
    }

    /// The next token if it is an unquoted word, upper case.
    pub(crate) fn upper(&self) -> Option<String> {
        let word = self.text.word(self.at)?;
        word.quote_style.is_none().then(|| word.value.to_ascii_uppercase())
    }

    /// Takes the word `word` (upper case) if it is next.
    pub(crate) fn accept(&mut self, word: &str) -> bool {
        self.accept_all(&[word])
    }

    /// Takes all of `words` if they are next.
    pub(crate) fn accept_all(&mut self, words: &[&str]) -> bool {
        let found = self.are(words);
        if found {
            self.at += words.len();
        }
        found
    }

    pub(crate) fn accept_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.at += 1;
        }
        found
    }

    pub(crate) fn accept_number(&mut self) -> Option<u64> {
        let Some(Token::Number(digits, _)) = self.peek() else { return None };
        let number = digits.parse().ok()?;
        self.at += 1;
        Some(number)
    }

    /// What stands next, for messages.
    pub(crate) fn found(&self) -> String {
        match self.text.tokens.get(self.at) {
            Some(token) => format!("found {:?}", self.text.written(token.span)),
            None => "found the end of the statement".to_owned(),
        }
    }

    /// A syntax error at the next token.
    pub(crate) fn error(&self, expected: &str) -> SqlError {
        let message = format!("{expected} is expected, {}", self.found());
        SqlError::new(SqlCode::Syntax, message).at(self.place())
    }

    pub(crate) fn expect(&mut self, word: &str, form: &str) -> Result<(), SqlError> {
        if self.accept(word) { Ok(()) } else { Err(self.error(word).hint(format!("write {form}"))) }
    }

    pub(crate) fn expect_token(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.accept_token(token) { Ok(()) } else { Err(self.error(&format!("\"{token}\""))) }
    }

    /// Refuses anything that is left.
    pub(crate) fn expect_end(&self) -> Result<(), SqlError> {
        if self.is_end() { Ok(()) } else { Err(self.error("the end of the statement")) }
    }

    /// A name: a word, quoted in any way or not.
    pub(crate) fn name(&mut self, what: &str) -> Result<(String, Place), SqlError> {
        let place = self.place();
        let name = match self.peek() {
            Some(Token::Word(word)) => word.value.clone(),
            Some(Token::SingleQuotedString(text)) => text.clone(),
            _ => return Err(self.error(what)),
        };
        self.at += 1;
        Ok((name, place))
    }

    /// `(name, …)`.
    pub(crate) fn names(&mut self, what: &str) -> Result<Vec<(String, Place)>, SqlError> {
        self.expect_token(&Token::LParen)?;
        let mut names = vec![self.name(what)?];
        while self.accept_token(&Token::Comma) {
            names.push(self.name(what)?);
        }
        self.expect_token(&Token::RParen)?;
        Ok(names)
    }

    /// `table`, `schema.table` or `database.schema.table`; the database is not looked at.
    pub(crate) fn table(&mut self) -> Result<NameRef, SqlError> {
        let (mut table, place) = self.name("a table's name")?;
        let mut schema = None;
        while self.accept_token(&Token::Period) {
            let (next, _) = self.name("a table's name")?;
            schema = Some(std::mem::replace(&mut table, next));
        }
        Ok(NameRef { schema, table, place })
    }

    /// `table, …`.
    pub(crate) fn tables(&mut self) -> Result<Vec<NameRef>, SqlError> {
        let mut tables = vec![self.table()?];
        while self.accept_token(&Token::Comma) {
            tables.push(self.table()?);
        }
        Ok(tables)
    }

    /// IF NOT EXISTS.
    pub(crate) fn if_not_exists(&mut self) -> bool {
        self.accept_all(&["IF", "NOT", "EXISTS"])
    }

    /// IF EXISTS.
    pub(crate) fn if_exists(&mut self) -> bool {
        self.accept_all(&["IF", "EXISTS"])
    }
}
