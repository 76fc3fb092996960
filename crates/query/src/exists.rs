//! `EXISTS (query)` as a value, which the planner has in conditions alone: `(SELECT count(*) FROM …) > 0`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, LimitClause, Query, SelectItem, SetExpr, TableFactor, UnaryOperator, Value, VisitMut, VisitorMut,
};

use crate::params::parse_expr;

/// Rewrites what `expr` asks for outside of its own subqueries.
pub(crate) fn as_value(expr: &mut Expr) {
    let ControlFlow::Continue(()) = expr.visit(&mut Exists { queries: 0 });
}

struct Exists {
    queries: usize,
}

impl VisitorMut for Exists {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if self.queries == 0
            && let Expr::Exists { subquery, negated } = expr
            && let Some(mut counted) = counted(subquery)
        {
            if *negated {
                counted = Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(counted) };
            }
            *expr = counted;
        }
        ControlFlow::Continue(())
    }
}

/// Whether the query has a row: one is enough.
fn counted(query: &Query) -> Option<Expr> {
    let mut query = Box::new(query.clone());
    if query.limit_clause.is_none() && query.fetch.is_none() {
        let limit = Some(Expr::value(Value::Number("1".to_owned(), false)));
        query.limit_clause = Some(LimitClause::LimitOffset { limit, offset: None, limit_by: Vec::new() });
    }
    if let SetExpr::Select(select) = &mut *query.body
        && select.projection.is_empty()
    {
        let one = Expr::value(Value::Number("1".to_owned(), false));
        select.projection.push(SelectItem::UnnamedExpr(one));
    }
    let mut whole = parse_expr("((SELECT count(*) FROM (SELECT 1) AS _found) > 0)").ok()?;
    let Expr::Nested(compared) = &mut whole else { return None };
    let Expr::BinaryOp { left, .. } = &mut **compared else { return None };
    let Expr::Subquery(count) = &mut **left else { return None };
    let SetExpr::Select(select) = &mut *count.body else { return None };
    match &mut select.from.first_mut()?.relation {
        TableFactor::Derived { subquery, .. } => *subquery = query,
        _ => return None,
    }
    Some(whole)
}
