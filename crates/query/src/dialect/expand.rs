//! Rewrites blocks with clauses of the dialect to blocks that the planner knows.

use std::{collections::BTreeMap, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, VisitMut, VisitorMut,
    helpers::attached_token::AttachedToken,
};

use super::{
    asof,
    clause::Clauses,
    interval::Intervals,
    latest, limit, sample, sql,
    time::{self, Time, Times},
    windows,
};
use crate::{
    error::{Place, SqlCode, SqlError},
    rewrite::{self, World},
    text::Text,
};

/// Rewrites `query` in place. True if tables must show `_seq`.
pub(crate) fn expand(
    text: &Text,
    query: &mut Query,
    clauses: &Clauses,
    world: &dyn World,
) -> Result<bool, SqlError> {
    if let ControlFlow::Break(error) = query.visit(&mut Intervals { text }) {
        return Err(error);
    }
    let times = Times { world, clauses, ctes: BTreeMap::new() };
    let mut expand = Expand { text, times, seq: false, missing: None, outermost: true, names: 0 };
    match query.visit(&mut expand) {
        ControlFlow::Continue(()) => Ok(expand.seq),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The rewriting, as each clause's own sees it.
pub(super) struct Expand<'a> {
    pub(super) text: &'a Text,
    pub(super) times: Times<'a>,
    pub(super) seq: bool,
    /// What the block at hand lacks.
    missing: Option<SqlError>,
    outermost: bool,
    names: usize,
}

impl VisitorMut for Expand<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        match self.query(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Expand<'_> {
    fn query(&mut self, query: &mut Query) -> Result<(), SqlError> {
        let outermost = std::mem::replace(&mut self.outermost, false);
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let time = self.times.of_query(&cte.query);
            self.times.ctes.insert(cte.alias.name.value.clone(), time);
        }
        let by_time = self.body(&mut query.body)?;
        let ordered = outermost || query.limit_clause.is_some() || query.fetch.is_some();
        if let Some(by_time) = by_time
            && ordered
            && query.order_by.is_none()
        {
            let kind = OrderByKind::Expressions(vec![sql::order(by_time, true)]);
            query.order_by = Some(OrderBy { kind, interpolate: None });
        }
        limit::expand(self, query)
    }

    /// What orders the rows by time, if the body says so.
    fn body(&mut self, body: &mut SetExpr) -> Result<Option<Expr>, SqlError> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left)?;
                self.body(right)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn select(&mut self, select: &mut Select) -> Result<Option<Expr>, SqlError> {
        let block = self.times.clauses.of(select).cloned().unwrap_or_default();
        // Done once: what is copied out of the block must not be found again.
        select.select_token = AttachedToken::empty();
        let time = self.times.of_select(select);
        self.missing = self.times.missing(self.text, select);
        asof::expand(self, select)?;
        time::take_designations(&mut select.from);
        let mut time = time;
        if let Some(latest) = &block.latest {
            latest::expand(self, select, latest, time.as_ref())?;
            time = self.times.of_select(select);
        }
        let mut by_time = None;
        if let Some(sample) = &block.sample {
            let time = self.need(time.as_ref(), "SAMPLE BY", sample.place)?;
            by_time = Some(sample::expand(self, select, sample, &time)?);
        }
        windows::expand(self, select)?;
        self.group(select);
        Ok(by_time)
    }

    /// The block's time, or what to do if it has none.
    pub(super) fn need(&self, time: Option<&Time>, clause: &str, place: Place) -> Result<Time, SqlError> {
        time.cloned().ok_or_else(|| {
            if let Some(missing) = &self.missing {
                return missing.clone();
            }
            let message = format!("{clause} needs a time column, and what it reads has none that is known");
            let hint = "name it behind the table or the subquery: FROM (SELECT …) timestamp(ts)";
            SqlError::new(SqlCode::Syntax, message).hint(hint).at(place)
        })
    }

    /// A name that nothing else has.
    pub(super) fn name(&mut self, stem: &str) -> String {
        self.names += 1;
        format!("{stem}{}", self.names)
    }

    /// True for a call of an aggregate.
    pub(super) fn is_aggregate(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Function(function) if function.over.is_none() => {
                let name = rewrite::last(&function.name);
                name == rewrite::COUNT_DISTINCT || self.times.world.is_aggregate(&name)
            }
            _ => false,
        }
    }

    /// True if the block's rows are groups.
    pub(super) fn is_grouped(&self, select: &Select) -> bool {
        let is_aggregate = |expr: &Expr| self.is_aggregate(expr);
        let groups = match &select.group_by {
            GroupByExpr::Expressions(groups, _) => !groups.is_empty(),
            GroupByExpr::All(_) => true,
        };
        groups
            || select.projection.iter().any(|item| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    sql::any(expr, &is_aggregate)
                }
                _ => false,
            })
    }

    /// Columns beside aggregates, where no GROUP BY stands, are what to group by.
    fn group(&self, select: &mut Select) {
        let GroupByExpr::Expressions(groups, modifiers) = &mut select.group_by else { return };
        if !groups.is_empty() || !modifiers.is_empty() {
            return;
        }
        let exprs = || {
            select.projection.iter().filter_map(|item| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
                _ => None,
            })
        };
        let is_aggregate = |expr: &Expr| self.is_aggregate(expr);
        if !exprs().any(|expr| sql::any(expr, &is_aggregate)) {
            return;
        }
        let is_column = |e: &Expr| matches!(e, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        let is_window = |e: &Expr| matches!(e, Expr::Function(function) if function.over.is_some());
        for expr in exprs() {
            let is_key =
                sql::any(expr, &is_column) && !sql::any(expr, &is_aggregate) && !sql::any(expr, &is_window);
            if is_key && !groups.contains(expr) {
                groups.push(expr.clone());
            }
        }
    }
}
