//! Takes what the SQL parser does not know out of a query's tokens.
//!
//! One walk over the tokens, with a stack of open parentheses. SELECT opens a block of its parenthesis; what
//! is lifted is kept by the place of that SELECT, which the parser keeps as well: so a clause finds its block
//! again in the AST. What stands in an expression is not lifted but spelled as a call that the parser knows:
//!
//! | written | parsed |
//! |---|---|
//! | `ts IN '2026-01'` | `ts IN (_interval('2026-01'))` |
//! | `LIMIT 5, 10` | `LIMIT _limit(5, 10)` |
//! | `a ASOF JOIN b ON (k) TOLERANCE 1s` | `a LEFT JOIN b ON _asof('ASOF', (k), 1000000)` |

use datafusion::sql::sqlparser::{
    ast::Expr,
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Location, Span, Token, TokenWithSpan, Word},
};

use super::{
    calendar::{Stride, UNITS},
    clause::{Clauses, Latest},
    interval, sample,
};
use crate::{
    error::{SqlCode, SqlError},
    parse::Grammar,
    text::Text,
};

/// The tokens that the SQL parser gets, and what was taken out of them.
pub(crate) fn lift(text: &Text) -> Result<(Vec<TokenWithSpan>, Clauses), SqlError> {
    let folded = text.folded();
    let frames = vec![Frame::default()];
    let mut lift = Lift {
        text,
        out: Vec::with_capacity(folded.len()),
        tokens: folded,
        at: 0,
        frames,
        clauses: Clauses::default(),
    };
    while lift.at < lift.tokens.len() {
        lift.step()?;
    }
    lift.end_join();
    Ok((lift.out, lift.clauses))
}

/// An open parenthesis.
#[derive(Default)]
struct Frame {
    /// The SELECT that is being read in it.
    select: Option<Location>,
    join: Option<Join>,
}

/// A join by time whose condition is not read yet, or is being read.
struct Join {
    kind: &'static str,
    span: Span,
    in_condition: bool,
    tolerance: Option<Tolerance>,
}

/// How old what is joined may be.
enum Tolerance {
    Us(i64),
    /// The parameter that tells it.
    Param(String),
}

/// The walk, as the clauses' own readers see it.
pub(super) struct Lift<'a> {
    pub(super) text: &'a Text,
    /// Folded; as many as the text has.
    pub(super) tokens: Vec<TokenWithSpan>,
    /// The next token.
    pub(super) at: usize,
    out: Vec<TokenWithSpan>,
    frames: Vec<Frame>,
    clauses: Clauses,
}

/// Words that begin another join, which ends the condition of one.
const BEGINS_JOIN: [&str; 7] = ["JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "NATURAL"];

/// Words that end a clause of SAMPLE BY or LATEST, and a join's condition.
const ENDS_CLAUSE: [&str; 16] = [
    "WHERE",
    "GROUP",
    "SAMPLE",
    "LATEST",
    "ORDER",
    "LIMIT",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "HAVING",
    "WINDOW",
    "OFFSET",
    "FETCH",
    "FOR",
    "FILL",
    "ALIGN",
];

impl Lift<'_> {
    fn step(&mut self) -> Result<(), SqlError> {
        let span = self.tokens[self.at].span;
        match &self.tokens[self.at].token {
            Token::LParen => self.frames.push(Frame::default()),
            Token::RParen => {
                self.end_join();
                if self.frames.len() > 1 {
                    self.frames.pop();
                }
            }
            Token::Comma => self.end_join(),
            Token::Word(word) if word.quote_style.is_none() => {
                if word.keyword == Keyword::SELECT {
                    self.end_join();
                    self.frame().select = Some(span.start);
                } else if self.word()? {
                    return Ok(());
                }
            }
            _ => {}
        }
        self.copy();
        Ok(())
    }

    /// Handles a word that begins something of the dialect; false if it does not.
    fn word(&mut self) -> Result<bool, SqlError> {
        let (text, at) = (self.text, self.at);
        let is_name = at > 0 && (text.is(at - 1, "AS") || text.token(at - 1) == Some(&Token::Period));
        if is_name {
            return Ok(false);
        }
        let begins_join = ["ASOF", "LT", "SPLICE"].into_iter().find(|word| text.are(at, &[word, "JOIN"]));
        let call = text.token(at + 1) == Some(&Token::LParen);
        if begins_join.is_some()
            || (!call && BEGINS_JOIN.iter().chain(&ENDS_CLAUSE).any(|word| text.is(at, word)))
        {
            self.end_join();
        }
        let select = self.frame().select;
        match (select, begins_join) {
            (Some(_), Some(kind)) => self.begin_join(kind),
            (Some(select), None) if text.are(at, &["SAMPLE", "BY"]) => self.sample(select)?,
            (Some(select), None) if text.are(at, &["LATEST", "ON"]) || text.are(at, &["LATEST", "BY"]) => {
                self.latest(select)?;
            }
            (Some(_), None) if text.are(at, &["ALIGN", "TO"]) || (call && self.is_stray_fill()) => {
                let what = if call { "FILL" } else { "ALIGN TO" };
                let error = SqlError::new(SqlCode::Syntax, format!("{what} stands without a SAMPLE BY"));
                let hint = "write SAMPLE BY 5m FILL(PREV) ALIGN TO CALENDAR, behind WHERE";
                return Err(error.hint(hint).at(text.place(at)));
            }
            _ if text.is(at, "ON") || text.is(at, "USING") => return Ok(self.begin_condition()),
            _ if text.is(at, "TOLERANCE") && self.frame().join.is_some() => self.tolerance()?,
            _ if text.is(at, "IN") => return interval::lift(self),
            _ if call && text.is(at, "INTERVAL") => self.copy_name(),
            _ if text.is(at, "LIMIT") => return Ok(self.limit()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `FILL(` where only a clause can begin: behind an expression.
    fn is_stray_fill(&self) -> bool {
        let behind = match self.at.checked_sub(1).and_then(|before| self.text.token(before)) {
            Some(Token::Word(word)) => word.keyword == Keyword::NoKeyword,
            Some(Token::RParen | Token::Number(..) | Token::SingleQuotedString(_)) => true,
            _ => false,
        };
        behind && self.text.is(self.at, "FILL")
    }

    fn frame(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// Hands the next token on as it is.
    pub(super) fn copy(&mut self) {
        self.out.push(self.tokens[self.at].clone());
        self.at += 1;
    }

    /// Hands the next token on as a name that is no word of SQL.
    pub(super) fn copy_name(&mut self) {
        let mut token = self.tokens[self.at].clone();
        if let Token::Word(word) = &mut token.token {
            word.keyword = Keyword::NoKeyword;
        }
        self.out.push(token);
        self.at += 1;
    }

    /// Adds a token of ours, with a place of the user's.
    pub(super) fn add(&mut self, token: Token, span: Span) {
        self.out.push(TokenWithSpan { token, span });
    }

    pub(super) fn add_word(&mut self, value: &str, keyword: Keyword, span: Span) {
        let word = Word { value: value.to_owned(), quote_style: None, keyword };
        self.add(Token::Word(word), span);
    }

    /// An error of the clause `what` at the next token.
    pub(super) fn error(&self, expected: &str, hint: &str) -> SqlError {
        let found = match self.text.tokens.get(self.at) {
            Some(token) => format!("found {:?}", self.text.written(token.span)),
            None => "found the end of the statement".to_owned(),
        };
        let error = SqlError::new(SqlCode::Syntax, format!("{expected} is expected, {found}"));
        error.hint(hint).at(self.text.place(self.at))
    }

    pub(super) fn accept(&mut self, words: &[&str]) -> bool {
        let found = self.text.are(self.at, words);
        self.at += if found { words.len() } else { 0 };
        found
    }

    pub(super) fn accept_token(&mut self, token: &Token) -> bool {
        let found = self.text.token(self.at) == Some(token);
        self.at += usize::from(found);
        found
    }

    /// Reads `30s`, `30 s` or `'30s'`.
    pub(super) fn stride(&mut self, hint: &str) -> Result<Stride, SqlError> {
        let refuse = |lift: &Self, written: &str, at: usize| {
            let message = format!("{written:?} is no length of time");
            let hint = format!("write a whole number and a unit: {UNITS}; {hint}");
            SqlError::new(SqlCode::Syntax, message).hint(hint).at(lift.text.place(at))
        };
        match self.text.token(self.at) {
            Some(Token::SingleQuotedString(text)) => {
                let stride = Stride::parse(text).ok_or_else(|| refuse(self, text, self.at))?;
                self.at += 1;
                Ok(stride)
            }
            Some(Token::Number(digits, false)) => {
                let unit = self.text.word(self.at + 1).map_or("", |word| word.value.as_str());
                let written = format!("{digits}{unit}");
                let stride = digits.parse().ok().and_then(|count| Stride::new(count, unit));
                let stride = stride.ok_or_else(|| refuse(self, &written, self.at))?;
                self.at += 2;
                Ok(stride)
            }
            _ => Err(self.error("a length of time", hint)),
        }
    }

    /// Reads an expression up to a comma, a word of `ends`, or the end of the clause.
    pub(super) fn expr(&mut self, ends: &[&str], hint: &str) -> Result<Expr, SqlError> {
        let (start, mut depth) = (self.at, 0_usize);
        while let Some(token) = self.text.token(self.at) {
            let ended = match token {
                Token::LParen => {
                    depth += 1;
                    false
                }
                Token::RParen if depth > 0 => {
                    depth -= 1;
                    false
                }
                Token::RParen => true,
                Token::Comma => depth == 0,
                Token::Word(_) => {
                    let ends = ends.iter().chain(&ENDS_CLAUSE);
                    depth == 0 && self.at > start && ends.into_iter().any(|w| self.text.is(self.at, w))
                }
                _ => false,
            };
            if ended {
                break;
            }
            self.at += 1;
        }
        let mut tokens = self.tokens[start..self.at].to_vec();
        if let (Some(first), Some(written)) = (tokens.first_mut(), self.text.tokens.get(start)) {
            // Behind FROM a text in quotes is a table's name, but not here.
            if matches!(written.token, Token::SingleQuotedString(_)) {
                *first = written.clone();
            }
        }
        let end = self.tokens.get(self.at.saturating_sub(1)).map_or(Span::empty(), |t| t.span);
        tokens.push(TokenWithSpan { token: Token::EOF, span: Span::new(end.end, end.end) });
        let grammar = Grammar::new(tokens.len());
        let mut parser = Parser::new(&grammar)
            .with_recursion_limit(crate::parse::DEPTH_MAX)
            .with_tokens_with_locations(tokens);
        let parsed = parser.parse_expr().ok().filter(|_| parser.peek_token().token == Token::EOF);
        parsed.ok_or_else(|| {
            self.at = start;
            self.error("an expression", hint)
        })
    }

    fn sample(&mut self, select: Location) -> Result<(), SqlError> {
        let place = self.text.place(self.at);
        let sample = sample::read(self)?;
        if self.clauses.block(select).sample.replace(sample).is_some() {
            let error = SqlError::new(SqlCode::Syntax, "SAMPLE BY is given twice");
            return Err(error.hint("sample a subquery that is sampled itself").at(place));
        }
        Ok(())
    }

    /// `LATEST ON ts PARTITION BY a, b`, `LATEST BY a, b`.
    fn latest(&mut self, select: Location) -> Result<(), SqlError> {
        const FORM: &str = "write LATEST ON ts PARTITION BY key, behind WHERE";
        let place = self.text.place(self.at);
        let by = self.accept(&["LATEST", "BY"]);
        let mut on = None;
        if !by {
            self.at += 2;
            on = Some(self.expr(&["PARTITION"], FORM)?);
            if !self.accept(&["PARTITION", "BY"]) {
                return Err(self.error("PARTITION BY", FORM));
            }
        }
        let mut keys = vec![self.expr(&[], FORM)?];
        while self.accept_token(&Token::Comma) {
            keys.push(self.expr(&[], FORM)?);
        }
        if self.clauses.block(select).latest.replace(Latest { place, on, keys }).is_some() {
            let error = SqlError::new(SqlCode::Syntax, "LATEST is given twice");
            return Err(error.hint(FORM).at(place));
        }
        Ok(())
    }

    fn begin_join(&mut self, kind: &'static str) {
        let span = self.tokens[self.at].span;
        let (word, keyword) =
            if kind == "SPLICE" { ("full", Keyword::FULL) } else { ("left", Keyword::LEFT) };
        self.add_word(word, keyword, span);
        self.at += 1;
        self.copy();
        self.frame().join = Some(Join { kind, span, in_condition: false, tolerance: None });
    }

    /// ON or USING of a join by time; false if it belongs to something else.
    fn begin_condition(&mut self) -> bool {
        let span = self.tokens[self.at].span;
        let Some(join) = self.frame().join.as_mut().filter(|join| !join.in_condition) else { return false };
        join.in_condition = true;
        let (kind, kind_span) = (join.kind, join.span);
        self.at += 1;
        self.begin_call(kind, span, kind_span);
        self.add(Token::Comma, span);
        true
    }

    fn begin_call(&mut self, kind: &str, span: Span, kind_span: Span) {
        self.add_word("on", Keyword::ON, span);
        self.add_word("_asof", Keyword::NoKeyword, span);
        self.add(Token::LParen, span);
        self.add(Token::SingleQuotedString(kind.to_owned()), kind_span);
    }

    fn tolerance(&mut self) -> Result<(), SqlError> {
        let at = self.at;
        self.at += 1;
        if let Some(Token::Placeholder(name)) = self.text.token(self.at) {
            self.at += 1;
            if let Some(join) = &mut self.frame().join {
                join.tolerance = Some(Tolerance::Param(name.clone()));
            }
            return Ok(());
        }
        let stride = self.stride("as in TOLERANCE 10s")?;
        let Some(us) = stride.fixed_us() else {
            let error = SqlError::new(SqlCode::Syntax, "TOLERANCE cannot be months or years");
            return Err(error.hint("their lengths differ; write days").at(self.text.place(at)));
        };
        if let Some(join) = &mut self.frame().join {
            join.tolerance = Some(Tolerance::Us(us));
        }
        Ok(())
    }

    /// Closes the call that stands for a join's condition.
    fn end_join(&mut self) {
        let Some(join) = self.frame().join.take() else { return };
        if !join.in_condition {
            self.begin_call(join.kind, join.span, join.span);
        }
        self.add(Token::Comma, join.span);
        match join.tolerance {
            Some(Tolerance::Us(us)) => self.add(Token::Number(us.to_string(), false), join.span),
            Some(Tolerance::Param(name)) => {
                self.add_word(super::marker::LENGTH, Keyword::NoKeyword, join.span);
                self.add(Token::LParen, join.span);
                self.add(Token::Placeholder(name), join.span);
                self.add(Token::RParen, join.span);
            }
            None => self.add_word("null", Keyword::NULL, join.span),
        }
        self.add(Token::RParen, join.span);
    }

    /// `LIMIT a, b`; false for a LIMIT that the parser knows.
    fn limit(&mut self) -> bool {
        let (start, mut depth, mut comma) = (self.at + 1, 0_usize, None);
        let mut end = start;
        while let Some(token) = self.text.token(end) {
            match token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => break,
                Token::RParen => depth -= 1,
                Token::Comma if depth == 0 && comma.is_none() => comma = Some(end),
                Token::Comma if depth == 0 => break,
                Token::Word(_) if depth == 0 && ENDS_CLAUSE.iter().any(|word| self.text.is(end, word)) => {
                    break;
                }
                _ => {}
            }
            end += 1;
        }
        let Some(comma) = comma else { return false };
        let span = self.tokens[self.at].span;
        self.copy();
        self.add_word("_limit", Keyword::NoKeyword, span);
        self.add(Token::LParen, span);
        if comma == start {
            self.add(Token::Number("0".to_owned(), false), span);
        }
        while self.at < end {
            self.copy();
        }
        if comma + 1 == end {
            self.add(Token::Number("0".to_owned(), false), span);
        }
        self.add(Token::RParen, span);
        true
    }
}
