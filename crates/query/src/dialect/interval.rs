//! `ts IN '2026-01'`: times as comparisons with the column.
//!
//! | written | the times |
//! |---|---|
//! | `'2026'`, `'2026-01'`, `'2026-01-01'`, `'2026-01-01T10'`, … | that begin so |
//! | `'2026-01-01;6h'` | from there, so long |
//! | `'2026-01-01;6h;1d;3'` | three such, the beginnings a day apart |
//! | `'$today'`, `'$yesterday'`, `'$tomorrow'`, `today()` | of that day of UTC |
//! | `'$now - 1h..$now'`, `'$today - 2d..$today'` | from the first's beginning to the second's end |

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{BinaryOperator, Expr, Function, FunctionArguments, UnaryOperator, VisitorMut},
    keywords::Keyword,
    tokenizer::Token,
};

use super::{
    calendar::{Buckets, Stride, Zone, iso_range_us},
    lift::Lift,
    sql,
};
use crate::{
    error::{SqlCode, SqlError},
    text::Text,
};

const INTERVAL: &str = "_interval";

/// Words and signs that are looked back at for `position(`.
const POSITION_TOKENS_MAX: usize = 64;

/// Comparisons that one text may become.
const RANGES_MAX: i64 = 1_000;

const FORMS: &str =
    "write '2026-01', '2026-01-01T10', '2026-01-01;6h', '2026-01-01;6h;1d;3', '$today' or '$now - 1h..$now'";

/// Spells the interval behind IN as a call; false if none stands there.
pub(super) fn lift(lift: &mut Lift<'_>) -> Result<bool, SqlError> {
    if in_position(lift.text, lift.at) {
        return Ok(false);
    }
    let at = lift.at + 1;
    let Some(token) = lift.text.tokens.get(at) else { return Ok(false) };
    let empty_call = |at: usize| {
        lift.text.token(at) == Some(&Token::LParen) && lift.text.token(at + 1) == Some(&Token::RParen)
    };
    let (text, width) = match &token.token {
        Token::SingleQuotedString(text) => (text.clone(), 1),
        Token::Placeholder(name) if is_variable(name) => {
            (name.to_lowercase(), if empty_call(at + 1) { 3 } else { 1 })
        }
        Token::Word(word) if is_variable(&format!("${}", word.value)) && empty_call(at + 1) => {
            (format!("${}", word.value.to_lowercase()), 3)
        }
        _ => return Ok(false),
    };
    let span = token.span;
    lift.copy();
    lift.add(Token::LParen, span);
    lift.add_word(INTERVAL, Keyword::NoKeyword, span);
    lift.add(Token::LParen, span);
    lift.add(Token::SingleQuotedString(text), span);
    lift.add(Token::RParen, span);
    lift.add(Token::RParen, span);
    lift.at += width;
    Ok(true)
}

/// True within `position(… IN …)`. What stands before IN there is short.
fn in_position(text: &Text, at: usize) -> bool {
    let mut depth = 0_usize;
    for before in (at.saturating_sub(POSITION_TOKENS_MAX)..at).rev() {
        match text.token(before) {
            Some(Token::RParen) => depth += 1,
            Some(Token::LParen) if depth > 0 => depth -= 1,
            Some(Token::LParen) => return before > 0 && text.is(before - 1, "POSITION"),
            _ => {}
        }
    }
    false
}

fn is_variable(name: &str) -> bool {
    ["$now", "$today", "$yesterday", "$tomorrow"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Puts comparisons in the place of the calls.
pub(super) struct Intervals<'a> {
    pub(super) text: &'a crate::text::Text,
}

impl VisitorMut for Intervals<'_> {
    type Break = SqlError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let Expr::InList { expr: column, list, negated } = expr else { return ControlFlow::Continue(()) };
        let [Expr::Function(call)] = &list[..] else { return ControlFlow::Continue(()) };
        if crate::rewrite::last(&call.name) != INTERVAL {
            return ControlFlow::Continue(());
        }
        match self.ranges(column, call) {
            Ok(ranges) => {
                *expr = match negated {
                    true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(ranges) },
                    false => ranges,
                };
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Intervals<'_> {
    fn ranges(&self, column: &Expr, call: &Function) -> Result<Expr, SqlError> {
        use datafusion::sql::sqlparser::ast::Spanned;
        let place = self.text.place_of(call.name.span().start);
        let args = match &call.args {
            FunctionArguments::List(_) => sql::args_of(&Expr::Function(call.clone()), INTERVAL),
            _ => None,
        };
        let text = args.as_deref().and_then(|args| args.first()).and_then(sql::text_of).unwrap_or("");
        let ranges = parse(text).map_err(|error| error.at(place))?;
        let mut any: Option<Expr> = None;
        for range in ranges {
            let side =
                |op, bound| Expr::BinaryOp { left: Box::new(column.clone()), op, right: Box::new(bound) };
            let low = side(BinaryOperator::GtEq, range.low);
            let op = if range.closed { BinaryOperator::LtEq } else { BinaryOperator::Lt };
            let both = Expr::Nested(Box::new(sql::both(low, side(op, range.high))));
            any = Some(match any {
                Some(any) => {
                    Expr::BinaryOp { left: Box::new(any), op: BinaryOperator::Or, right: Box::new(both) }
                }
                None => both,
            });
        }
        any.map(|any| Expr::Nested(Box::new(any))).ok_or_else(|| refuse(text).at(place))
    }
}

struct Range {
    low: Expr,
    high: Expr,
    /// True if the high end belongs to it.
    closed: bool,
}

fn refuse(text: &str) -> SqlError {
    SqlError::new(SqlCode::Syntax, format!("{text:?} is no interval of time")).hint(FORMS)
}

fn parse(text: &str) -> Result<Vec<Range>, SqlError> {
    if let Some((low, high)) = text.split_once("..") {
        let (low, _, _) = bound(low)?.ok_or_else(|| refuse(text))?;
        let (_, high, closed) = bound(high)?.ok_or_else(|| refuse(text))?;
        return Ok(vec![Range { low, high, closed }]);
    }
    let parts: Vec<&str> = text.split(';').map(str::trim).collect();
    if parts.len() == 1 {
        let (low, high, closed) = bound(text)?.ok_or_else(|| refuse(text))?;
        return Ok(vec![Range { low, high, closed }]);
    }
    let (start_us, _) = iso_range_us(parts[0]).ok_or_else(|| refuse(text))?;
    let stride = |at: usize| parts.get(at).and_then(|part| Stride::parse(part));
    let length = stride(1).ok_or_else(|| refuse(text))?;
    let (period, count) = match parts.len() {
        2 => (length, 1),
        4 => {
            let count = parts[3].parse::<i64>().ok().filter(|count| (1..=RANGES_MAX).contains(count));
            (stride(2).ok_or_else(|| refuse(text))?, count.ok_or_else(|| refuse(text))?)
        }
        _ => return Err(refuse(text)),
    };
    let after = |start_us: i64, stride: Stride| {
        let buckets = Buckets { stride, zone: Zone::UTC, origin_us: start_us };
        buckets.next(start_us).ok_or_else(|| refuse(text))
    };
    let (mut ranges, mut low_us) = (Vec::new(), start_us);
    for turn in 0..count {
        if turn > 0 {
            low_us = after(low_us, period)?;
        }
        let high_us = after(low_us, length)?;
        ranges.push(Range { low: at(low_us)?, high: at(high_us)?, closed: false });
    }
    Ok(ranges)
}

/// A time as text, so that it takes the column's type.
fn at(us: i64) -> Result<Expr, SqlError> {
    match super::calendar::iso(us) {
        Some(text) => Ok(sql::text(&text)),
        None => sql::timestamp(us),
    }
}

/// Where the times that `text` names begin and end; true if the end is one of them.
fn bound(text: &str) -> Result<Option<(Expr, Expr, bool)>, SqlError> {
    let text = text.trim();
    if let Some((low_us, high_us)) = iso_range_us(text) {
        return Ok(Some((at(low_us)?, at(high_us)?, false)));
    }
    let end = text.find(|c: char| c != '$' && !c.is_alphanumeric()).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut start = match name.to_ascii_lowercase().as_str() {
        "$now" => "now()".to_owned(),
        "$today" => "date_trunc('day', now())".to_owned(),
        "$yesterday" => "date_trunc('day', now()) - interval '1 days'".to_owned(),
        "$tomorrow" => "date_trunc('day', now()) + interval '1 days'".to_owned(),
        _ => return Ok(None),
    };
    loop {
        rest = rest.trim_start();
        let Some(sign) = rest.chars().next() else { break };
        if !matches!(sign, '+' | '-') {
            return Ok(None);
        }
        let number = rest[1..].trim_start();
        let end = number.find(['+', '-']).unwrap_or(number.len());
        let Some(stride) = Stride::parse(&number[..end]) else { return Ok(None) };
        start = format!("{start} {sign} {}", sql::interval(stride)?);
        rest = &number[end..];
    }
    let low = sql::expr(&format!("({start})"))?;
    if name.eq_ignore_ascii_case("$now") {
        return Ok(Some((low.clone(), low, true)));
    }
    Ok(Some((low, sql::expr(&format!("({start} + interval '1 days')"))?, false)))
}
