//! `ts IN '2026-01'`: times as comparisons with the column.
//!
//! | written | the times |
//! |---|---|
//! | `'2026'`, `'2026-01'`, `'2026-01-01'`, `'2026-01-01T10'`, `'2026-W05'`, … | that begin so |
//! | `'2026-01-01;6h'`, `'2026-01-01;1h30m'` | from there, so long |
//! | `'2026-01-01;6h;1d;3'` | three such, the beginnings a day apart |
//! | `'2026-01-[05,10..12]T[09:30,14:00];1h'` | of each item of the brackets |
//! | `'2026-01-01@Europe/Berlin'` | by that clock |
//! | `'2026-01#workday'`, `'2026#Mon,Wed'` | of those days |
//! | `'$today'`, `'$yesterday'`, `'$tomorrow'`, `today()`, `today('Europe/Berlin')` | of that day |
//! | `'$now - 1h..$now'`, `'$today - 2d..$today'` | from the first's beginning to the second's end |
//! | `interval(low, high)` | from low to high |

mod text;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{BinaryOperator, Expr, Function, Spanned, UnaryOperator, VisitorMut},
    keywords::Keyword,
    tokenizer::Token,
};

use self::text::Range;
use super::{calendar, lift::Lift, sql};
use crate::{
    error::{SqlCode, SqlError},
    text::Text,
};

/// As the only item of an IN: the text of it.
pub(crate) const INTERVAL: &str = "_interval";

/// Words and signs that are looked back at for `position(`.
const POSITION_TOKENS_MAX: usize = 64;

const FORMS: &str = "write '2026-01', '2026-01-01T10', '2026-01-01;6h', '2026-01-01;6h;1d;3', '2026-01-[05,10..12]', \
                     '2026-01-01@Europe/Berlin', '$today' or '$now - 1h..$now'";

/// Calls that are intervals.
const CALLS: [&str; 4] = ["today", "yesterday", "tomorrow", "interval"];

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
    let (what, width) = match &token.token {
        Token::SingleQuotedString(text) => (Token::SingleQuotedString(text.clone()), 1),
        Token::Placeholder(name) if is_variable(name) => {
            let width = if empty_call(at + 1) { 3 } else { 1 };
            (Token::SingleQuotedString(name.to_lowercase()), width)
        }
        Token::Placeholder(name) => (Token::Placeholder(name.clone()), 1),
        Token::Word(word) if is_variable(&format!("${}", word.value)) && empty_call(at + 1) => {
            (Token::SingleQuotedString(format!("${}", word.value.to_lowercase())), 3)
        }
        Token::Word(word) if CALLS.iter().any(|name| word.value.eq_ignore_ascii_case(name)) => {
            return Ok(lift_call(lift));
        }
        _ => return Ok(false),
    };
    let span = token.span;
    lift.copy();
    lift.add(Token::LParen, span);
    lift.add_word(INTERVAL, Keyword::NoKeyword, span);
    lift.add(Token::LParen, span);
    lift.add(what, span);
    lift.add(Token::RParen, span);
    lift.add(Token::RParen, span);
    lift.at += width;
    Ok(true)
}

/// Puts a call behind IN into another; false if no call stands there.
fn lift_call(lift: &mut Lift<'_>) -> bool {
    let start = lift.at + 1;
    let (mut end, mut depth) = (start + 1, 0_usize);
    while let Some(token) = lift.text.token(end) {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        end += 1;
        if depth == 0 {
            break;
        }
    }
    if depth > 0 || end < start + 3 {
        return false;
    }
    let span = lift.tokens[start].span;
    lift.copy();
    lift.add(Token::LParen, span);
    lift.add_word(INTERVAL, Keyword::NoKeyword, span);
    lift.add(Token::LParen, span);
    lift.copy_name();
    while lift.at < end {
        lift.copy();
    }
    lift.add(Token::RParen, span);
    lift.add(Token::RParen, span);
    true
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
        match bound(expr) {
            Some(Ok(time)) => {
                *expr = time;
                return ControlFlow::Continue(());
            }
            Some(Err(error)) => return ControlFlow::Break(error.at(self.text.place_of(expr.span().start))),
            None => {}
        }
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
        let place = self.text.place_of(call.name.span().start);
        let args = sql::args_of(&Expr::Function(call.clone()), INTERVAL).unwrap_or_default();
        let Some(what) = args.first() else { return Err(refuse("").at(place)) };
        let any = match bounds(what) {
            Some(bounds) => bounds.map(|(low, high)| between(column, low, high, true)),
            None => self.of_text(column, sql::text_of(what).unwrap_or_default()),
        };
        any.map_err(|error| error.at(place))
    }

    fn of_text(&self, column: &Expr, text: &str) -> Result<Expr, SqlError> {
        let ranges = match text::parse(text) {
            Ok(Some(ranges)) => ranges,
            Ok(None) => return Err(refuse(text)),
            Err(hint) => {
                let error = SqlError::new(SqlCode::Syntax, format!("{text:?} cannot be an interval of time"));
                return Err(error.hint(hint));
            }
        };
        let each = ranges.into_iter().map(|range| {
            Ok(match range {
                Range::Fixed { low_us, high_us } => between(column, at(low_us)?, at(high_us)?, false),
                Range::Relative { low, high, closed } => {
                    between(column, sql::expr(&low)?, sql::expr(&high)?, closed)
                }
            })
        });
        let none = || Expr::value(datafusion::sql::sqlparser::ast::Value::Boolean(false));
        Ok(any(each.collect::<Result<_, SqlError>>()?).unwrap_or_else(none))
    }
}

/// One of them holds: as a tree that is no deeper than it must be.
fn any(mut each: Vec<Expr>) -> Option<Expr> {
    while each.len() > 1 {
        let mut pairs = Vec::with_capacity(each.len().div_ceil(2));
        let mut left = each.into_iter();
        while let Some(one) = left.next() {
            pairs.push(match left.next() {
                Some(other) => {
                    let (left, right) = (Box::new(one), Box::new(other));
                    Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Or, right }))
                }
                None => one,
            });
        }
        each = pairs;
    }
    each.pop()
}

fn between(column: &Expr, low: Expr, high: Expr, closed: bool) -> Expr {
    let side = |op, bound| Expr::BinaryOp { left: Box::new(column.clone()), op, right: Box::new(bound) };
    let op = if closed { BinaryOperator::LtEq } else { BinaryOperator::Lt };
    Expr::Nested(Box::new(sql::both(side(BinaryOperator::GtEq, low), side(op, high))))
}

/// The first and the last time of a call that is an interval; `None` for something else.
fn bounds(call: &Expr) -> Option<Result<(Expr, Expr), SqlError>> {
    if let Some(args) = sql::args_of(call, "interval") {
        let [low, high] = &args[..] else {
            let error = SqlError::new(SqlCode::Syntax, "interval() takes two times");
            return Some(Err(error.hint("write interval('2026-01-01', '2026-02-01')")));
        };
        return Some(Ok((low.clone(), high.clone())));
    }
    let next = |args: &[Expr], days: i64| {
        let low = crate::functions::day(days, args.first().cloned());
        let next = crate::functions::day(days + 1, args.first().cloned());
        let op = BinaryOperator::Minus;
        let (left, right) = (Box::new(next), Box::new(sql::micros(1)?));
        Ok((low, Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }))))
    };
    let (args, days) = [("today", 0), ("yesterday", -1), ("tomorrow", 1)]
        .into_iter()
        .find_map(|(name, days)| Some((sql::args_of(call, name)?, days)))?;
    (args.len() <= 1).then(|| next(&args, days))
}

/// `interval_start(interval(a, b))`, `interval_end(today())`: the bound in the place of the call.
pub(super) fn bound(call: &Expr) -> Option<Result<Expr, SqlError>> {
    let (args, is_low) = match sql::args_of(call, "interval_start") {
        Some(args) => (args, true),
        None => (sql::args_of(call, "interval_end")?, false),
    };
    let [of] = &args[..] else { return None };
    let both = match (sql::text_of(of), bounds(of)) {
        (_, Some(both)) => both,
        (Some(text), None) => match text::parse(text) {
            Ok(Some(ranges)) => ends(ranges),
            _ => Err(refuse(text)),
        },
        (None, None) => return None,
    };
    Some(both.and_then(|(low, high)| sql::as_timestamp(if is_low { low } else { high })))
}

/// The first and the last time of a text's only range.
fn ends(ranges: Vec<Range>) -> Result<(Expr, Expr), SqlError> {
    match &ranges[..] {
        [Range::Fixed { low_us, high_us }] => Ok((at(*low_us)?, at(high_us - 1)?)),
        [Range::Relative { low, high, closed }] => {
            let last = if *closed { high.clone() } else { format!("({high} - interval '1 microseconds')") };
            Ok((sql::expr(low)?, sql::expr(&last)?))
        }
        _ => {
            let error = SqlError::new(SqlCode::Syntax, "the text names more than one interval of time");
            Err(error.hint("write a text without brackets, days and repetition"))
        }
    }
}

fn refuse(text: &str) -> SqlError {
    SqlError::new(SqlCode::Syntax, format!("{text:?} is no interval of time")).hint(FORMS)
}

/// A time as text, so that it takes the column's type.
fn at(us: i64) -> Result<Expr, SqlError> {
    match calendar::iso(us) {
        Some(text) => Ok(sql::text(&text)),
        None => sql::timestamp(us),
    }
}
