//! Text to statements.
//!
//! The first words decide. Queries, and the rows of INSERT, go to DataFusion's SQL parser as folded tokens;
//! the statements around them are few and small, and are read here, so that QuestDB's and PostgreSQL's
//! spellings both work and a refusal can name the clause and what works instead.

mod chains;
mod clauses;
mod copy;
mod cursor;
mod cursors;
mod ddl;
mod grammar;
mod modes;
mod mutate;
mod session;
mod types;

use std::sync::Arc;

use datafusion::sql::sqlparser::{
    ast,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan, Word},
};

use self::cursor::Cursor;
pub use self::grammar::Grammar;
pub(crate) use self::types::type_of;
use crate::{
    dialect,
    error::{Place, SqlCode, SqlError, closest},
    statement::{Insert, Savepoint, Select, Statement},
    text::Text,
};

/// Nesting that the SQL parser and planner may recurse into.
pub(crate) const DEPTH_MAX: usize = 64;

/// Words and signs of a query: planning time grows with their square, and cannot be interrupted.
const TOKENS_MAX: usize = 20_000;

/// Statements of one text.
const STATEMENTS_MAX: usize = 1_000;

/// One statement of a text, not parsed yet.
#[derive(Debug, Clone)]
pub struct Piece(Text);

impl Piece {
    /// The statement as the user wrote it.
    pub fn sql(&self) -> &str {
        self.0.slice()
    }

    /// Its words outside of literals, quoted ones included, and whether a parenthesis follows each.
    pub fn words(&self) -> impl Iterator<Item = (&str, bool)> {
        let is_called = |i| self.0.token(i + 1) == Some(&Token::LParen);
        (0..self.0.tokens.len()).filter_map(move |i| Some((self.0.word(i)?.value.as_str(), is_called(i))))
    }

    /// Parses it.
    ///
    /// # Errors
    /// As [`crate::QueryEngine::parse`].
    pub fn parse(&self) -> Result<Statement, SqlError> {
        statement(&self.0)
    }
}

/// Cuts a text into its statements.
pub(crate) fn split(sql: &str) -> Result<Vec<Piece>, SqlError> {
    Ok(texts(sql)?.into_iter().map(Piece).collect())
}

/// Parses all statements of a text; none for an empty one.
pub(crate) fn parse(sql: &str) -> Result<Vec<Statement>, SqlError> {
    texts(sql)?.iter().map(statement).collect()
}

fn texts(sql: &str) -> Result<Vec<Text>, SqlError> {
    let texts = Text::split(sql)?;
    if texts.len() > STATEMENTS_MAX {
        let message =
            format!("the text has {} statements, at most {STATEMENTS_MAX} are allowed", texts.len());
        return Err(SqlError::new(SqlCode::Resources, message));
    }
    Ok(texts)
}

fn statement(text: &Text) -> Result<Statement, SqlError> {
    let Some(first) = first_word(text) else {
        // `'trips'`: a table's name alone, or something that the SQL parser will refuse with its place.
        return Ok(Statement::Query(bare_table(text).unwrap_or_else(|| select(text))?));
    };
    let mut cursor = Cursor::new(text, 1);
    match first.as_str() {
        "SELECT" | "WITH" | "VALUES" | "TABLE" => {
            if text.tokens.len() > TOKENS_MAX {
                let message = format!(
                    "the query has {} words and signs, at most {TOKENS_MAX} are allowed",
                    text.tokens.len()
                );
                let error = SqlError::new(SqlCode::Resources, message);
                return Err(error.hint("put values into a table and join it"));
            }
            Ok(Statement::Query(select(text)?))
        }
        "EXPLAIN" => explain(text),
        "INSERT" => Ok(Statement::Insert(insert(text)?)),
        "UPDATE" if text.tokens.len() > 1 => mutate::update(text),
        "DELETE" if text.tokens.len() > 1 => mutate::delete(text),
        // A table may have such a name: `copy WHERE …` is a query.
        "COPY" if text.token(1) == Some(&Token::LParen) || bare_table(text).is_none() => {
            Ok(Statement::Copy(copy::copy(text)?))
        }
        "DECLARE" if bare_table(text).is_none() => Ok(Statement::Declare(cursors::declare(text)?)),
        "FETCH" | "MOVE" if text.tokens.len() > 1 && bare_table(text).is_none() => {
            Ok(Statement::Fetch(cursors::fetch(&mut cursor, first == "MOVE")?))
        }
        "CREATE" => ddl::create(&mut cursor),
        "DROP" => ddl::drop(&mut cursor),
        "TRUNCATE" => ddl::truncate(&mut cursor),
        "ALTER" => ddl::alter(&mut cursor),
        "RENAME" if cursor.accept("TABLE") => ddl::rename(&mut cursor),
        "GRANT" if text.tokens.len() > 1 => Ok(Statement::Grant { word: "GRANT" }),
        "REVOKE" if text.tokens.len() > 1 => Ok(Statement::Grant { word: "REVOKE" }),
        "SHOW" => session::show(&mut cursor),
        "SET" => session::set(&mut cursor),
        "RESET" => session::reset(&mut cursor),
        "BEGIN" | "START" => modes::begin(&mut cursor),
        "COMMIT" | "END" => Ok(Statement::Commit),
        "ROLLBACK" | "ABORT" => session::rollback(&mut cursor),
        "SAVEPOINT" if text.tokens.len() > 1 && bare_table(text).is_none() => {
            session::savepoint(&mut cursor, Savepoint::Set)
        }
        "RELEASE" if text.tokens.len() > 1 && bare_table(text).is_none() => {
            session::savepoint(&mut cursor, Savepoint::Release)
        }
        "DISCARD" => session::discard(&mut cursor, "DISCARD"),
        "DEALLOCATE" => session::discard(&mut cursor, "DEALLOCATE"),
        "CLOSE" => session::discard(&mut cursor, "CLOSE"),
        "UNLISTEN" => session::discard(&mut cursor, "UNLISTEN"),
        word => {
            if let Some(error) = clauses::refused_statement(text, word) {
                return Err(error);
            }
            match bare_table(text) {
                Some(query) => Ok(Statement::Query(query?)),
                None => {
                    let message =
                        format!("a statement cannot begin with {:?}", text.written(text.tokens[0].span));
                    let error = SqlError::new(SqlCode::Syntax, message).at(text.place(0));
                    Err(match closest(word, clauses::STATEMENTS.iter().copied()) {
                        Some(best) => error.hint(format!("did you mean {best}?")),
                        None => error.hint(format!("begin with one of {}", clauses::STATEMENTS.join(", "))),
                    })
                }
            }
        }
    }
}

/// The first token if it is an unquoted word, upper case.
fn first_word(text: &Text) -> Option<String> {
    let word = text.word(0)?;
    word.quote_style.is_none().then(|| word.value.to_ascii_uppercase())
}

/// `trips`, `public.trips`, `'trips'`, `trips WHERE …`: QuestDB's short form of SELECT * FROM.
fn bare_table(text: &Text) -> Option<Result<Select, SqlError>> {
    let is_name = |i| matches!(text.token(i), Some(Token::Word(_) | Token::SingleQuotedString(_)));
    if !is_name(0) {
        return None;
    }
    let mut end = 1;
    while text.token(end) == Some(&Token::Period) && is_name(end + 1) {
        end += 2;
    }
    let after = ["WHERE", "ORDER", "LIMIT", "GROUP", "SAMPLE", "LATEST", "ASOF", "LT", "SPLICE", "UNION"];
    let call = text.token(end) == Some(&Token::LParen) && end == 1;
    if end != text.tokens.len() && !call && !after.iter().any(|word| text.is(end, word)) {
        return None;
    }
    let span = text.tokens[0].span;
    let word = |value: &str, keyword| {
        let word = Word { value: value.to_owned(), quote_style: None, keyword };
        TokenWithSpan { token: Token::Word(word), span }
    };
    let mut tokens = vec![
        word("SELECT", Keyword::SELECT),
        TokenWithSpan { token: Token::Mul, span },
        word("FROM", Keyword::FROM),
    ];
    tokens.extend(text.tokens.iter().cloned());
    Some(select(&Text { source: text.source.clone(), tokens: tokens.into() }))
}

/// Parses a query that is all of `text`.
pub(crate) fn select(text: &Text) -> Result<Select, SqlError> {
    if let Some(error) = clauses::refused_clause(text) {
        return Err(error);
    }
    chains::check(text)?;
    let dialect = Grammar::new(text.tokens.len());
    let end = text.tokens.last().map_or(Location::new(1, 1), |t| t.span.end);
    let (mut tokens, clauses) = dialect::lift(text)?;
    tokens.push(TokenWithSpan::new(Token::EOF, (end..end).into_span()));
    let mut parser = Parser::new(&dialect).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens);
    let ast = parser.parse_query().map_err(|e| syntax(text, &e))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let message = format!("{:?} is not expected here", text.written(next.span));
        return Err(SqlError::new(SqlCode::Syntax, message).at(text.place_of(next.span.start)));
    }
    clauses::check_query(text, &ast)?;
    Ok(Select { text: text.clone(), ast, clauses: Arc::new(clauses) })
}

trait IntoSpan {
    fn into_span(self) -> datafusion::sql::sqlparser::tokenizer::Span;
}

impl IntoSpan for std::ops::Range<Location> {
    fn into_span(self) -> datafusion::sql::sqlparser::tokenizer::Span {
        datafusion::sql::sqlparser::tokenizer::Span::new(self.start, self.end)
    }
}

/// The SQL parser's error with its place taken out of the message.
fn syntax(text: &Text, error: &ParserError) -> SqlError {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            let message = format!("the query nests more than {DEPTH_MAX} deep");
            return SqlError::new(SqlCode::Resources, message).at(text.place(0));
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message.as_str(),
    };
    let number_after = |word: &str| -> Option<u64> {
        let rest = &message[message.rfind(word)? + word.len()..];
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let place = match (number_after("Line: "), number_after("Column: ")) {
        (Some(line), Some(column)) => text.place_of(Location::new(line, column)),
        _ => text.place(text.tokens.len()),
    };
    let fact = message.find(" at Line: ").map_or(message, |at| &message[..at]);
    let fact = match fact.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: ")) {
        Some((expected, "EOF")) => format!("the text ends where {expected} is expected"),
        Some((expected, found)) => format!("{expected} is expected, found {found:?}"),
        None => fact.strip_prefix("sql parser error: ").unwrap_or(fact).to_lowercase(),
    };
    SqlError::new(SqlCode::Syntax, fact).at(place)
}

fn explain(text: &Text) -> Result<Statement, SqlError> {
    if text.is(1, "LIVE") {
        return Ok(Statement::ExplainLive(query_in(text, 2, "EXPLAIN LIVE")?));
    }
    let (mut at, mut analyze, mut verbose) = (1, false, false);
    loop {
        match () {
            () if text.is(at, "ANALYZE") => analyze = true,
            () if text.is(at, "VERBOSE") => verbose = true,
            () => break,
        }
        at += 1;
    }
    Ok(Statement::Explain { query: query_in(text, at, "EXPLAIN")?, analyze, verbose })
}

/// The query that stands in `text` from token `at` on, a table's name alone included.
fn query_in(text: &Text, at: usize, what: &str) -> Result<Select, SqlError> {
    let rest = text.from(at);
    if rest.tokens.is_empty() {
        let error = SqlError::new(SqlCode::Syntax, format!("{what} needs a query")).at(text.place(at));
        return Err(error.hint(format!("write {what} SELECT …")));
    }
    match statement(&rest)? {
        Statement::Query(query) => Ok(query),
        other => {
            let message = format!("{what} takes a query, found {}", other.tag());
            Err(SqlError::new(SqlCode::NotSupported, message).at(text.place(at)))
        }
    }
}

fn insert(text: &Text) -> Result<Insert, SqlError> {
    let mut cursor = Cursor::new(text, 1);
    if cursor.accept("BATCH") || cursor.accept("ATOMIC") {
        // QuestDB's hints: a statement here is one atomic record anyway.
        cursor.accept_number();
    }
    cursor.expect("INTO", "INSERT INTO table …")?;
    let table = cursor.table()?;
    let starts_query = |text: &Text, at: usize| ["SELECT", "WITH", "VALUES"].iter().any(|w| text.is(at, w));
    let mut columns: Vec<(String, Place)> = Vec::new();
    if cursor.peek() == Some(&Token::LParen) && !starts_query(text, cursor.index() + 1) {
        columns = cursor.names("a column")?;
    }
    if cursor.are(&["DEFAULT", "VALUES"]) {
        let error = SqlError::new(SqlCode::NotSupported, "INSERT … DEFAULT VALUES is not supported");
        return Err(error.hint("columns have no defaults; name the values").at(cursor.place()));
    }
    for (i, token) in text.tokens.iter().enumerate().skip(cursor.index()) {
        let is = |word| text.is(i, word);
        let (clause, hint) = match &token.token {
            Token::Word(_) if is("ON") && text.is(i + 1, "CONFLICT") => (
                "ON CONFLICT",
                "insert the row again, and read the newest row of a key with SELECT DISTINCT ON (key) … ORDER BY key, ts DESC",
            ),
            Token::Word(_) if is("RETURNING") => ("RETURNING", "read the rows back with SELECT"),
            _ => continue,
        };
        let message = format!("INSERT … {clause} is not supported");
        return Err(SqlError::new(SqlCode::NotSupported, message).hint(hint).at(text.place(i)));
    }
    let source = query_in(text, cursor.index(), "INSERT INTO table")?;
    if let ast::SetExpr::Values(values) = &*source.ast.body {
        let width = if columns.is_empty() { None } else { Some(columns.len()) };
        for row in &values.rows {
            if let Some(width) = width
                && row.content.len() != width
            {
                let message = format!("a row has {} values for {width} columns", row.content.len());
                return Err(SqlError::new(SqlCode::Syntax, message).at(cursor.place()));
            }
        }
    }
    Ok(Insert { table, columns, source })
}
