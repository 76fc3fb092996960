//! Parameters, put into the query as literals before it is planned.
//!
//! `$1` stands for a value of the caller's; `$country` for what a dashboard's variable is set to: a value, a
//! list, or *all*. A comparison with *all* is true, so that one query serves a drop-down with and without a
//! choice. A relative time becomes `now() - interval …`, so that a live query slides. Literals are typed by
//! the place where they stand, as PostgreSQL types its own.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use arrow::{
    datatypes::{DataType, IntervalUnit, TimeUnit},
    temporal_conversions::timestamp_us_to_datetime,
};
use datafusion::sql::sqlparser::{
    ast::{self, BinaryOperator, Expr, VisitMut, VisitorMut},
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::{Span, Token},
};
use nowcast_model::{Value, name_key};

use crate::{
    dialect::{Clauses, INTERVAL},
    error::{SqlCode, SqlError, did_you_mean},
    stand_in::{self, Placed},
    text::Text,
};

/// What stands for a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// Any value will do: the predicate that the placeholder stands in is true.
    All,
    /// One value; text takes the type of its place.
    Scalar(Value),
    /// `col IN ($x)`, `col = $x` and `col = ANY($x)` hold for each of the values; none of them, never.
    List(Vec<Value>),
    /// A span of time as SQL writes it, such as `1 mons 2 days 03:00:00`.
    Interval(String),
    /// A time relative to now: microseconds ago.
    Ago {
        /// Microseconds; negative for the future.
        ago_us: i64,
    },
}

/// The values of a query's placeholders.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params {
    /// `$1`, `$2`, …
    pub positional: Vec<Param>,
    /// `$name`, without the dollar; matched without case.
    pub named: BTreeMap<String, Param>,
}

impl Params {
    /// Positional values.
    pub fn positional(values: impl IntoIterator<Item = Value>) -> Params {
        let positional = values.into_iter().map(Param::Scalar).collect();
        Params { positional, named: BTreeMap::new() }
    }

    fn get(&self, placeholder: &str) -> Option<&Param> {
        let name = placeholder.strip_prefix('$')?;
        if let Ok(number) = name.parse::<usize>() {
            return self.positional.get(number.checked_sub(1)?);
        }
        let key = name_key(name);
        self.named.iter().find(|(name, _)| name_key(name) == key).map(|(_, param)| param)
    }
}

/// Replaces every placeholder of `query`. `keep` leaves those without a value as they are, for
/// [`crate::QueryEngine::describe`].
pub(crate) fn substitute(
    text: &Text,
    query: &mut ast::Query,
    params: &Params,
    keep: bool,
) -> Result<(), SqlError> {
    match query.visit(&mut Substitute { text, params, keep }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The clauses of a query with every placeholder replaced; by what stands in for it where it is `placed`.
pub(crate) fn clauses(
    text: &Text,
    clauses: &Arc<Clauses>,
    params: &Params,
    placed: Option<&mut Placed>,
) -> Result<Arc<Clauses>, SqlError> {
    let keep = placed.is_some();
    if clauses.is_empty() {
        return Ok(clauses.clone());
    }
    let mut clauses = Clauses::clone(clauses);
    for expr in clauses.exprs_mut() {
        if let ControlFlow::Break(error) = expr.visit(&mut Substitute { text, params, keep }) {
            return Err(error);
        }
    }
    if let Some(placed) = placed {
        clauses.stand_in(placed);
    }
    clauses.resolve(&|name| match params.get(name) {
        Some(Param::Scalar(Value::Str(text))) => Some(text.to_string()),
        _ => None,
    })?;
    Ok(Arc::new(clauses))
}

/// What the planner does not tell of placeholders: `= ANY($1)` compares with a list, and `$1::bigint` is a bigint.
pub(crate) fn typed_by_place(query: &ast::Query, types: &mut [Option<DataType>]) {
    let index = |expr: &Expr| placeholder(expr).and_then(stand_in::index);
    let _ = ast::visit_expressions(query, |expr| {
        match expr {
            Expr::AnyOp { compare_op: BinaryOperator::Eq, right, .. } => {
                if let Some(ty) = index(right).and_then(|i| types.get_mut(i)) {
                    let item = ty.take().unwrap_or(DataType::Utf8);
                    *ty = Some(match item {
                        DataType::List(_) => item,
                        DataType::Dictionary(_, value) => DataType::new_list(*value, true),
                        item => DataType::new_list(item, true),
                    });
                }
            }
            Expr::Cast { expr, data_type, .. } => {
                if let Some(ty) = index(expr).and_then(|i| types.get_mut(i)) {
                    let has_zone = is_zoned(data_type);
                    if ty.is_none() || has_zone {
                        *ty = cast_type(data_type);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
}

/// The type of a cast, of those that clients have values of.
fn cast_type(ty: &ast::DataType) -> Option<DataType> {
    use ast::DataType as Sql;
    Some(match ty {
        Sql::Bool | Sql::Boolean => DataType::Boolean,
        Sql::SmallInt(_) | Sql::Int2(_) => DataType::Int16,
        Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) => DataType::Int32,
        Sql::BigInt(_) | Sql::Int8(_) => DataType::Int64,
        Sql::Real | Sql::Float4 => DataType::Float32,
        Sql::DoublePrecision | Sql::Double(_) | Sql::Float8 => DataType::Float64,
        ty if is_zoned(ty) => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        Sql::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, None),
        Sql::Date => DataType::Date32,
        Sql::Interval { .. } => DataType::Interval(IntervalUnit::MonthDayNano),
        Sql::Array(ast::ArrayElemTypeDef::SquareBracket(item, _)) => {
            DataType::new_list(cast_type(item)?, true)
        }
        _ => return None,
    })
}

/// True for a TIMESTAMPTZ, as which clients send times with a zone.
fn is_zoned(ty: &ast::DataType) -> bool {
    use ast::TimezoneInfo::{Tz, WithTimeZone};
    matches!(ty, ast::DataType::Timestamp(_, Tz | WithTimeZone))
}

struct Substitute<'a> {
    text: &'a Text,
    params: &'a Params,
    keep: bool,
}

impl VisitorMut for Substitute<'_> {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match self.predicate(expr) {
            Ok(Some(predicate)) => *expr = predicate,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let Some(name) = placeholder(expr) else { return ControlFlow::Continue(()) };
        let literal = match self.params.get(name) {
            Some(Param::Scalar(value)) => Ok(literal(value)),
            Some(Param::Ago { ago_us }) => ago(*ago_us),
            Some(Param::Interval(text)) => parse_expr(&format!("interval '{}'", text.replace('\'', "''"))),
            Some(Param::All) => Err(self.misplaced(name, "all")),
            Some(Param::List(values)) if values.len() == 1 => Ok(literal(&values[0])),
            Some(Param::List(_)) => Err(self.misplaced(name, "a list")),
            None => match self.missing(name) {
                Some(error) => Err(error),
                None => return ControlFlow::Continue(()),
            },
        };
        match literal {
            Ok(literal) => *expr = literal,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

impl Substitute<'_> {
    /// What a predicate on a list or on *all* becomes; `None` if it has neither.
    fn predicate(&self, expr: &Expr) -> Result<Option<Expr>, SqlError> {
        let of = |e: &Expr| placeholder(e).and_then(|name| self.params.get(name)).cloned();
        Ok(match expr {
            Expr::BinaryOp { left, op, right } => {
                let (column, param) = match (of(left), of(right)) {
                    (_, Some(param)) => (left, param),
                    (Some(param), None) => (right, param),
                    (None, None) => return Ok(None),
                };
                match (param, op) {
                    (Param::All, op) if is_comparison(op) => Some(bool_literal(true)),
                    (Param::List(values), BinaryOperator::Eq) => Some(in_list(column, &values, false)),
                    (Param::List(values), BinaryOperator::NotEq) => Some(in_list(column, &values, true)),
                    _ => None,
                }
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => match of(right) {
                Some(Param::All) => Some(bool_literal(true)),
                Some(Param::List(values)) => Some(in_list(left, &values, false)),
                Some(Param::Scalar(value)) => Some(in_list(left, &[value], false)),
                // To be described: the list's elements have the type of what they are compared with.
                None if self.keep && placeholder(right).is_some() => {
                    Some(Expr::BinaryOp { left: left.clone(), op: BinaryOperator::Eq, right: right.clone() })
                }
                _ => None,
            },
            Expr::InList { expr, list, negated } => {
                // `ts IN $1`: a text is an interval of time, all else a value.
                let interval = match &list[..] {
                    [Expr::Function(call)] if crate::rewrite::last(&call.name) == INTERVAL => argument(call),
                    _ => None,
                };
                if let Some(argument) = interval {
                    return Ok(match of(argument) {
                        Some(Param::All) => Some(bool_literal(true)),
                        Some(Param::List(values)) => Some(in_list(expr, &values, *negated)),
                        Some(Param::Scalar(Value::Str(_))) | None => None,
                        Some(_) => {
                            let list = vec![argument.clone()];
                            Some(Expr::InList { expr: expr.clone(), list, negated: *negated })
                        }
                    });
                }
                let mut values = Vec::with_capacity(list.len());
                let mut found = false;
                for item in list {
                    match of(item) {
                        Some(Param::All) => return Ok(Some(bool_literal(true))),
                        Some(Param::List(list)) => {
                            found = true;
                            values.extend(list.iter().map(literal));
                        }
                        _ => values.push(item.clone()),
                    }
                }
                match (found, values.is_empty()) {
                    (false, _) => None,
                    (true, true) => Some(bool_literal(*negated)),
                    (true, false) => {
                        Some(Expr::InList { expr: expr.clone(), list: values, negated: *negated })
                    }
                }
            }
            Expr::Like { pattern, .. } | Expr::ILike { pattern, .. } | Expr::SimilarTo { pattern, .. } => {
                matches!(of(pattern), Some(Param::All)).then(|| bool_literal(true))
            }
            Expr::Between { expr, negated: false, low, high } => {
                let side = |op, side: &Expr| Expr::BinaryOp {
                    left: expr.clone(),
                    op,
                    right: Box::new(side.clone()),
                };
                match (of(low) == Some(Param::All), of(high) == Some(Param::All)) {
                    (false, false) => None,
                    (true, true) => Some(bool_literal(true)),
                    (true, false) => Some(side(BinaryOperator::LtEq, high)),
                    (false, true) => Some(side(BinaryOperator::GtEq, low)),
                }
            }
            _ => None,
        })
    }

    fn misplaced(&self, name: &str, what: &str) -> SqlError {
        let message = format!("the parameter {name} is {what}, and a single value is needed here");
        let hint = format!("compare with it: column IN ({name})");
        self.at(name, SqlError::new(SqlCode::Parameter, message).hint(hint))
    }

    fn missing(&self, name: &str) -> Option<SqlError> {
        if name == "?" {
            let error = SqlError::new(SqlCode::Syntax, "\"?\" is no placeholder here");
            return Some(self.at(name, error.hint("write $1, $2, …")));
        }
        let is_positional = name[1..].parse::<usize>().is_ok();
        if self.keep && is_positional {
            return None;
        }
        let error = SqlError::new(SqlCode::Parameter, format!("there is no value for the parameter {name}"));
        let hint = if is_positional {
            Some(format!("{} values were sent", self.params.positional.len()))
        } else {
            let known = self.params.named.keys().map(String::as_str);
            did_you_mean("parameters", &name[1..], known)
                .or(Some("send it as a parameter, or declare it as a variable of the dashboard".into()))
        };
        Some(self.at(name, error.hint(hint.unwrap_or_default())))
    }

    fn at(&self, name: &str, error: SqlError) -> SqlError {
        let is_it = |token: &Token| matches!(token, Token::Placeholder(text) if text == name);
        match self.text.tokens.iter().position(|t| is_it(&t.token)) {
            Some(index) => error.at(self.text.place(index)),
            None => error,
        }
    }
}

pub(crate) fn placeholder(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(name), .. }) => Some(name),
        Expr::Nested(inner) => placeholder(inner),
        _ => None,
    }
}

/// The only argument of a call.
fn argument(call: &ast::Function) -> Option<&Expr> {
    let ast::FunctionArguments::List(list) = &call.args else { return None };
    match &list.args[..] {
        [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument))] => Some(argument),
        _ => None,
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator as Op;
    matches!(op, Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq)
}

fn in_list(column: &Expr, values: &[Value], negated: bool) -> Expr {
    if values.is_empty() {
        return bool_literal(negated);
    }
    Expr::InList { expr: Box::new(column.clone()), list: values.iter().map(literal).collect(), negated }
}

fn value(value: ast::Value) -> Expr {
    Expr::Value(ast::ValueWithSpan { value, span: Span::empty() })
}

fn bool_literal(truth: bool) -> Expr {
    value(ast::Value::Boolean(truth))
}

fn text_literal(text: &str) -> Expr {
    value(ast::Value::SingleQuotedString(text.to_owned()))
}

fn cast(text: &str, data_type: ast::DataType) -> Expr {
    Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(text_literal(text)),
        data_type,
        array: false,
        format: None,
    }
}

fn number(text: String) -> Expr {
    match text.strip_prefix('-') {
        None => value(ast::Value::Number(text, false)),
        // Nested, so that `1 - $1` does not become the beginning of a comment.
        Some(positive) => Expr::Nested(Box::new(Expr::UnaryOp {
            op: ast::UnaryOperator::Minus,
            expr: Box::new(value(ast::Value::Number(positive.to_owned(), false))),
        })),
    }
}

fn literal(cell: &Value) -> Expr {
    match cell {
        Value::Null => value(ast::Value::Null),
        Value::Bool(truth) => bool_literal(*truth),
        // The least integer has no positive twin.
        Value::Int(i64::MIN) => cast("-9223372036854775808", ast::DataType::BigInt(None)),
        Value::Int(int) => number(int.to_string()),
        Value::UInt(int) => number(int.to_string()),
        Value::Float(float) if float.is_finite() => number(format!("{float:?}")),
        Value::Float(float) => cast(&float.to_string(), ast::DataType::DoublePrecision),
        Value::Str(text) => text_literal(text),
        Value::Timestamp(us) => timestamp(*us),
        Value::TimestampNs(ns) => timestamp(ns.div_euclid(1_000)),
    }
}

fn timestamp(us: i64) -> Expr {
    match timestamp_us_to_datetime(us) {
        Some(time) => cast(&time.to_string(), ast::DataType::Timestamp(None, ast::TimezoneInfo::None)),
        None => value(ast::Value::Null),
    }
}

/// `now() - interval …`.
fn ago(ago_us: i64) -> Result<Expr, SqlError> {
    let sign = if ago_us < 0 { '+' } else { '-' };
    let sql = format!("(now() {sign} interval '{} microseconds')", ago_us.unsigned_abs());
    parse_expr(&sql)
}

/// An expression out of our own text.
pub(crate) fn parse_expr(sql: &str) -> Result<Expr, SqlError> {
    let dialect = PostgreSqlDialect {};
    let parsed = Parser::new(&dialect).try_with_sql(sql).and_then(|mut parser| parser.parse_expr());
    parsed.map_err(|e| SqlError::new(SqlCode::Internal, format!("{sql}: {e}")))
}
