//! Pieces of SQL that the dialect's clauses are rewritten to.

use datafusion::sql::sqlparser::{
    ast::{
        Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, OrderByExpr, OrderByOptions, Query,
        Select, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, Value, ValueWithSpan, VisitMut,
        VisitorMut, helpers::attached_token::AttachedToken,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::Span,
};

use super::calendar::Stride;
use crate::error::{SqlCode, SqlError};

fn made_wrongly(sql: &str) -> SqlError {
    SqlError::new(SqlCode::Internal, format!("the dialect made SQL that does not parse: {sql}"))
}

/// A query of words of ours.
pub(super) fn query(sql: &str) -> Result<Query, SqlError> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql);
    let query = parser.and_then(|mut parser| parser.parse_query());
    query.map(|query| *query).map_err(|_| made_wrongly(sql))
}

/// A SELECT of words of ours.
pub(super) fn select(sql: &str) -> Result<Select, SqlError> {
    match *query(sql)?.body {
        SetExpr::Select(mut select) => {
            // Its place would be the beginning of the user's text.
            select.select_token = AttachedToken::empty();
            Ok(*select)
        }
        _ => Err(made_wrongly(sql)),
    }
}

/// `SELECT …` as a query.
pub(super) fn query_of(select: Select) -> Result<Query, SqlError> {
    let mut outer = query("SELECT 1")?;
    *outer.body = SetExpr::Select(Box::new(select));
    Ok(outer)
}

/// An expression of words of ours.
pub(super) fn expr(sql: &str) -> Result<Expr, SqlError> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql);
    parser.and_then(|mut parser| parser.parse_expr()).map_err(|_| made_wrongly(sql))
}

pub(super) fn ident(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

pub(super) fn column(qualifier: Option<&str>, name: &str) -> Expr {
    match qualifier {
        Some(qualifier) => Expr::CompoundIdentifier(vec![ident(qualifier), ident(name)]),
        None => Expr::Identifier(ident(name)),
    }
}

/// A literal with its place.
pub(super) fn literal(value: Value) -> Expr {
    Expr::Value(ValueWithSpan { value, span: Span::empty() })
}

pub(super) fn text(text: &str) -> Expr {
    literal(Value::SingleQuotedString(text.to_owned()))
}

pub(super) fn number(number: i64) -> Expr {
    literal(Value::Number(number.to_string(), false))
}

pub(super) fn null() -> Expr {
    literal(Value::Null)
}

/// The arguments of `name(…)` if `expr` is that.
pub(super) fn args_of(expr: &Expr, name: &str) -> Option<Vec<Expr>> {
    let Expr::Function(function) = expr else { return None };
    let [part] = &function.name.0[..] else { return None };
    if part.as_ident()?.value != name || function.over.is_some() {
        return None;
    }
    match &function.args {
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            })
            .collect(),
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
    }
}

/// The text of a literal.
pub(super) fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text),
            ..
        }) => Some(text),
        Expr::Nested(inner) => text_of(inner),
        _ => None,
    }
}

/// The whole number that a literal is.
pub(super) fn number_of(expr: &Expr) -> Option<i64> {
    use datafusion::sql::sqlparser::ast::UnaryOperator;
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => digits.parse().ok(),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => number_of(expr)?.checked_neg(),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } | Expr::Nested(expr) => number_of(expr),
        _ => None,
    }
}

/// `interval '…'` of a stride.
pub(super) fn interval(stride: Stride) -> Result<Expr, SqlError> {
    match (stride.fixed_us(), stride.months()) {
        (Some(us), _) => micros(us),
        (None, months) => expr(&format!("interval '{} months'", months.unwrap_or(1))),
    }
}

/// `interval '…'` of microseconds.
pub(super) fn micros(us: i64) -> Result<Expr, SqlError> {
    match us % 1_000_000 {
        0 => expr(&format!("interval '{} seconds'", us / 1_000_000)),
        _ => expr(&format!("interval '{us} microseconds'")),
    }
}

/// A literal TIMESTAMP.
pub(super) fn timestamp(at_us: i64) -> Result<Expr, SqlError> {
    match super::calendar::iso(at_us) {
        Some(text) => expr(&format!("CAST('{text}' AS TIMESTAMP)")),
        None => expr(&format!("CAST({at_us} AS TIMESTAMP)")),
    }
}

/// Any expression as a TIMESTAMP.
pub(super) fn as_timestamp(of: Expr) -> Result<Expr, SqlError> {
    let mut cast = expr("CAST(x AS TIMESTAMP)")?;
    if let Expr::Cast { expr, .. } = &mut cast {
        **expr = of;
    }
    Ok(cast)
}

pub(super) fn named(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: ident(name) }
}

pub(super) fn alias(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: ident(name), columns: Vec::new(), at: None }
}

/// `(query) AS name`.
pub(super) fn derived(query: Query, name: &str) -> TableWithJoins {
    let relation = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(alias(name)),
        sample: None,
    };
    TableWithJoins { relation, joins: Vec::new() }
}

pub(super) fn order(expr: Expr, asc: bool) -> OrderByExpr {
    OrderByExpr { expr, options: OrderByOptions { asc: Some(asc), nulls_first: None }, with_fill: None }
}

pub(super) fn both(left: Expr, right: Expr) -> Expr {
    use datafusion::sql::sqlparser::ast::BinaryOperator;
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

pub(super) fn and(left: Option<Expr>, right: Expr) -> Expr {
    use datafusion::sql::sqlparser::ast::BinaryOperator;
    match left {
        Some(left) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(left))),
            op: BinaryOperator::And,
            right: Box::new(right),
        },
        None => right,
    }
}

/// Replaces what `with` answers for, innermost first. Subqueries are left as they are, and so is what `keep`
/// holds for.
pub(super) fn replace(expr: &mut Expr, keep: &dyn Fn(&Expr) -> bool, with: &dyn Fn(&Expr) -> Option<Expr>) {
    struct Replace<'a> {
        keep: &'a dyn Fn(&Expr) -> bool,
        with: &'a dyn Fn(&Expr) -> Option<Expr>,
        inside: usize,
        queries: usize,
    }
    impl VisitorMut for Replace<'_> {
        type Break = std::convert::Infallible;

        fn pre_visit_query(&mut self, _: &mut Query) -> std::ops::ControlFlow<Self::Break> {
            self.queries += 1;
            std::ops::ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &mut Query) -> std::ops::ControlFlow<Self::Break> {
            self.queries -= 1;
            std::ops::ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> std::ops::ControlFlow<Self::Break> {
            if self.inside > 0 || (self.keep)(expr) {
                self.inside += 1;
            }
            std::ops::ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &mut Expr) -> std::ops::ControlFlow<Self::Break> {
            if self.inside > 0 {
                self.inside -= 1;
            } else if self.queries == 0
                && let Some(new) = (self.with)(expr)
            {
                *expr = new;
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let _ = expr.visit(&mut Replace { keep, with, inside: 0, queries: 0 });
}

/// True if `is` holds for a part of the expression, subqueries left out.
pub(super) fn any(expr: &Expr, is: &dyn Fn(&Expr) -> bool) -> bool {
    let found = std::cell::Cell::new(false);
    let mut copy = expr.clone();
    let look = |expr: &Expr| {
        found.set(found.get() || is(expr));
        None
    };
    replace(&mut copy, &|_| false, &look);
    found.get()
}
