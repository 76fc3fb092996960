//! A bound that comes beside a statement, as REST's `limit=` does: it acts as a LIMIT in the text would.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, LimitClause, SelectItem, SetExpr, VisitMut, VisitorMut,
};

use crate::{
    QueryEngine, Statement,
    ast::{call, number},
    dialect::LAST,
    rewrite::last,
};

impl Statement {
    /// The statement with a LIMIT of its first `rows`, of its last ones if negative; `None` where it has a bound of
    /// its own, or is no SELECT. The last rows are all rows where nothing orders them.
    #[must_use]
    pub fn limited(&self, rows: i64) -> Option<Statement> {
        let Statement::Query(select) = self else { return None };
        let query = &select.ast;
        if query.limit_clause.is_some() || query.fetch.is_some() || (rows < 0 && query.order_by.is_some()) {
            return None;
        }
        let limit = if rows < 0 { call(LAST, vec![number(rows)]) } else { number(rows) };
        let mut select = select.clone();
        select.ast.limit_clause =
            Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by: Vec::new() });
        Some(Statement::Query(select))
    }
}

impl QueryEngine {
    /// The statement that counts the rows of `statement`, where that is less than to read them: where its columns do
    /// not matter.
    #[must_use]
    pub fn counted(&self, statement: &Statement) -> Option<Statement> {
        let Statement::Query(outer) = statement else { return None };
        let mut outer = outer.clone();
        let has_bound = outer.ast.limit_clause.is_some() || outer.ast.fetch.is_some();
        let SetExpr::Select(select) = &mut *outer.ast.body else { return None };
        let groups = match &select.group_by {
            GroupByExpr::Expressions(keys, modifiers) => !keys.is_empty() || !modifiers.is_empty(),
            GroupByExpr::All(_) => true,
        };
        let is_plain = !has_bound
            && !groups
            && select.distinct.is_none()
            && select.having.is_none()
            && select.qualify.is_none()
            && !select.from.is_empty()
            && outer.clauses.of(select).is_none();
        if !is_plain || select.projection.visit(&mut Scalar { engine: self }).is_break() {
            return None;
        }
        outer.ast.order_by = None;
        select.projection = vec![SelectItem::UnnamedExpr(call("count", Vec::new()))];
        Some(Statement::Query(outer))
    }
}

/// Breaks at a function that may make other than one value of one row.
struct Scalar<'a> {
    engine: &'a QueryEngine,
}

impl VisitorMut for Scalar<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if !self.engine.is_scalar(&last(&function.name)) => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
