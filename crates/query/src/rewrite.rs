//! The query as DataFusion is to plan it.
//!
//! - `count()` counts rows; every spelling of the present is `now()`.
//! - A column without a name gets one as short as PostgreSQL's and QuestDB's: `sum`, not `sum(t.price)`.
//! - `ORDER BY … LIMIT` over one table is made total, by the grouping or by `_seq`: a batch answer and the
//!   live one, which orders ties by key, then agree on which rows are the first.
//! - `BETWEEN` is two comparisons.
//! - `_seq` stays out of `*`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use datafusion::{
    logical_expr::LogicalPlan,
    sql::sqlparser::{
        ast::{
            self, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
            OrderByExpr, OrderByKind, OrderByOptions, Query, Select, SelectItem, SetExpr, TableFactor,
            VisitMut, VisitorMut,
        },
        tokenizer::{Span, Token},
    },
};
use nowcast_model::{SEQ_COLUMN, TableSchema, name_key};

use crate::{
    dialect::{self, Clauses},
    error::SqlError,
    exists,
    functions::{NOW, respell},
    text::Text,
};

/// What a sampled block with gaps filled is called in the query that it becomes.
pub(crate) const SAMPLED: &str = "_sampled";

/// QuestDB's spelling of `count(DISTINCT x)`.
pub(crate) const COUNT_DISTINCT: &str = "count_distinct";

/// What is known of names outside of the query.
pub(crate) trait World {
    /// True if it is a table of the snapshot.
    fn is_table(&self, name: &ObjectName) -> bool;
    /// The column, by key, that is the table's time, if it is a table of the snapshot and has one.
    fn time_of(&self, name: &ObjectName) -> Option<String>;
    /// That there is no such table, with what was meant; `None` if there is one.
    fn missing(&self, name: &ObjectName) -> Option<SqlError>;
    /// True if it is an aggregate function.
    fn is_aggregate(&self, name: &str) -> bool;
}

/// What the rewriting found.
pub(crate) struct Rewritten {
    /// Tables must show `_seq`.
    pub(crate) seq: bool,
    /// Names given with AS in the outermost SELECT, by key.
    outer: BTreeMap<String, String>,
    /// Names given with AS anywhere, by key.
    inner: BTreeMap<String, String>,
}

/// Rewrites `query` in place. A live plan needs no `break_ties`: its view orders ties by key.
pub(crate) fn rewrite(
    text: &Text,
    query: &mut Query,
    clauses: &Clauses,
    world: &dyn World,
    break_ties: bool,
) -> Result<Rewritten, SqlError> {
    let named = |token: &Token| matches!(token, Token::Word(w) if name_key(&w.value) == SEQ_COLUMN);
    let mut visitor = Rewrite {
        text,
        world,
        ctes: BTreeSet::new(),
        seq: text.tokens.iter().any(|t| named(&t.token)),
        inner: BTreeMap::new(),
        ties: break_ties,
    };
    let mut outer = BTreeMap::new();
    if let Some(select) = first_select(&query.body) {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                outer.insert(alias.value.clone(), text.spelling(alias));
            }
        }
    }
    visitor.seq |= dialect::expand(text, query, clauses, world)?;
    let ControlFlow::Continue(()) = query.visit(&mut visitor);
    let Rewrite { seq, inner, ctes, .. } = visitor;
    if seq {
        let ControlFlow::Continue(()) = query.visit(&mut HideSeq { world, ctes: &ctes });
    }
    Ok(Rewritten { seq, outer, inner })
}

impl Rewritten {
    /// What to call the columns of `plan`: as the query writes them, else as the tables do. No name twice.
    pub(crate) fn output_names<'a>(
        &self,
        plan: &LogicalPlan,
        tables: impl Iterator<Item = &'a TableSchema> + Clone,
        others: &BTreeMap<String, String>,
    ) -> Vec<String> {
        let mut used = BTreeSet::new();
        let fields = plan.schema().fields().iter();
        let names = fields.map(|field| {
            let key = field.name();
            let of_table = || {
                let mut columns = tables.clone().flat_map(|t| &t.columns);
                columns.find(|c| name_key(&c.name) == *key).map(|c| c.name.to_string())
            };
            let of_seq = || (key == SEQ_COLUMN).then(|| SEQ_COLUMN.to_owned());
            let name = self
                .outer
                .get(key)
                .cloned()
                .or_else(of_seq)
                .or_else(of_table)
                .or_else(|| others.get(key).cloned());
            unique(name.or_else(|| self.inner.get(key).cloned()).unwrap_or_else(|| key.clone()), &mut used)
        });
        names.collect()
    }
}

/// `name`, or `name1`, `name2`, … if it is taken.
fn unique(name: String, used: &mut BTreeSet<String>) -> String {
    let mut candidate = name.clone();
    let mut number = 0;
    while !used.insert(name_key(&candidate)) {
        number += 1;
        candidate = format!("{name}{number}");
    }
    candidate
}

fn first_select(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

struct Rewrite<'a> {
    text: &'a Text,
    world: &'a dyn World,
    ctes: BTreeSet<String>,
    seq: bool,
    inner: BTreeMap<String, String>,
    ties: bool,
}

impl VisitorMut for Rewrite<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.ctes.insert(cte.alias.name.value.clone());
            for column in &cte.alias.columns {
                self.inner.insert(column.name.value.clone(), self.text.spelling(&column.name));
            }
        }
        if self.ties {
            self.break_ties(query);
        }
        dialect::flip(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.inner.entry(alias.value.clone()).or_insert_with(|| self.text.spelling(alias));
            }
        }
        name_columns(select);
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                exists::as_value(expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        split_between(expr);
        self.seq |= respell(expr);
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let [ast::ObjectNamePart::Identifier(name)] = &mut function.name.0[..] else {
            return ControlFlow::Continue(());
        };
        name.quote_style = None;
        match name.value.as_str() {
            COUNT_DISTINCT => {
                name.value = "count".to_owned();
                if let FunctionArguments::List(list) = &mut function.args {
                    list.duplicate_treatment = Some(ast::DuplicateTreatment::Distinct);
                }
            }
            "count" => {
                if let FunctionArguments::List(list) = &mut function.args
                    && list.args.is_empty()
                {
                    list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
                }
            }
            "now"
            | "current_timestamp"
            | "localtimestamp"
            | "systimestamp"
            | "sysdate"
            | "transaction_timestamp"
            | "statement_timestamp"
            | "clock_timestamp"
            | "getdate" => {
                name.value = NOW.to_owned();
                function.args = FunctionArguments::List(ast::FunctionArgumentList {
                    duplicate_treatment: None,
                    args: Vec::new(),
                    clauses: Vec::new(),
                });
            }
            "now_ns" | "systimestamp_ns" => {
                *expr = crate::ast::call("to_timestamp_ns", vec![crate::ast::call(NOW, Vec::new())]);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `x BETWEEN a AND b` of a column as two comparisons: each bound then takes the column's type, where DataFusion
/// would bring all three to a common one, cast the column, and lose what it knows of the column's range.
fn split_between(expr: &mut Expr) {
    let Expr::Between { expr: column, negated, low, high } = expr else { return };
    if !matches!(**column, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
        return;
    }
    let side = |op, bound: &Expr| {
        let right = Box::new(Expr::Nested(Box::new(bound.clone())));
        Box::new(Expr::BinaryOp { left: column.clone(), op, right })
    };
    let (left, op, right) = if *negated {
        (side(BinaryOperator::Lt, low), BinaryOperator::Or, side(BinaryOperator::Gt, high))
    } else {
        (side(BinaryOperator::GtEq, low), BinaryOperator::And, side(BinaryOperator::LtEq, high))
    };
    *expr = Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }));
}

/// Names the columns that have none.
pub(crate) fn name_columns(select: &mut Select) {
    let mut used = BTreeSet::new();
    for item in &select.projection {
        match item {
            SelectItem::ExprWithAlias { alias, .. } => used.insert(alias.value.clone()),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => used.insert(name.value.clone()),
            _ => continue,
        };
    }
    let mut seen = BTreeSet::new();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let name = match &*expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                if seen.insert(expr.to_string()) {
                    continue;
                }
                short_name(expr)
            }
            other => short_name(other),
        };
        let alias = Ident::with_quote('"', unique(name, &mut used));
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
    }
}

pub(crate) fn short_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map_or_else(String::new, |part| part.value.clone()),
        Expr::Function(function) => {
            let name = function.name.0.last().and_then(|part| part.as_ident());
            name.map_or_else(|| function.name.to_string(), |ident| ident.value.clone())
        }
        Expr::Cast { expr, .. } | Expr::Nested(expr) => short_name(expr),
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Floor { .. } => "floor".to_owned(),
        Expr::Ceil { .. } => "ceil".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Trim { .. } => "trim".to_owned(),
        Expr::Value(_) | Expr::TypedString(_) => expr.to_string().chars().take(63).collect(),
        _ => "column".to_owned(),
    }
}

/// The table if the query's body reads exactly one, and nothing is made distinct.
fn only_table(query: &Query) -> Option<(&Select, &ObjectName)> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let [from] = &select.from[..] else { return None };
    match &from.relation {
        TableFactor::Table { name, args: None, .. } if from.joins.is_empty() && select.distinct.is_none() => {
            Some((select, name))
        }
        _ => None,
    }
}

impl Rewrite<'_> {
    /// Makes `ORDER BY … LIMIT` total.
    fn break_ties(&mut self, query: &mut Query) {
        let limited = query.limit_clause.is_some() || query.fetch.is_some();
        let Some((select, table)) = only_table(query) else { return };
        let is_cte = table.0.len() == 1 && self.ctes.contains(&last(table));
        if !limited || is_cte || !self.world.is_table(table) {
            return;
        }
        let Some(ast::OrderBy { kind: OrderByKind::Expressions(_), .. }) = &query.order_by else { return };
        let aggregates = Aggregates { world: self.world };
        let has_aggregate = {
            let mut items = select.projection.clone();
            let mut found = items.visit(&mut aggregates.clone()).is_break();
            let mut having = select.having.clone();
            found |= having.visit(&mut aggregates.clone()).is_break();
            found
        };
        let tie = |expr: &Expr, nulls_first| OrderByExpr {
            expr: expr.clone(),
            options: OrderByOptions { asc: Some(true), nulls_first },
            with_fill: None,
        };
        let ties: Vec<OrderByExpr> = match &select.group_by {
            ast::GroupByExpr::Expressions(keys, modifiers) if !keys.is_empty() && modifiers.is_empty() => {
                keys.iter().map(|key| tie(key, Some(true))).collect()
            }
            ast::GroupByExpr::Expressions(keys, _) if keys.is_empty() && !has_aggregate => {
                self.seq = true;
                let ident = Ident { value: SEQ_COLUMN.to_owned(), quote_style: None, span: Span::empty() };
                vec![tie(&Expr::Identifier(ident), None)]
            }
            _ => return,
        };
        if let Some(ast::OrderBy { kind: OrderByKind::Expressions(order), .. }) = &mut query.order_by {
            let ties =
                ties.into_iter().filter(|t| order.iter().all(|o| o.expr != t.expr)).collect::<Vec<_>>();
            order.extend(ties);
        }
    }
}

pub(crate) fn last(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map_or_else(String::new, |ident| ident.value.clone())
}

#[derive(Clone)]
struct Aggregates<'a> {
    world: &'a dyn World,
}

impl VisitorMut for Aggregates<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(f) if f.over.is_none() && self.world.is_aggregate(&last(&f.name)) => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Takes `_seq` out of `*`.
struct HideSeq<'a> {
    world: &'a dyn World,
    ctes: &'a BTreeSet<String>,
}

impl VisitorMut for HideSeq<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let joined = |from: &ast::TableWithJoins| {
            let joins = from.joins.iter().map(|join| join.relation.clone());
            std::iter::once(from.relation.clone()).chain(joins).collect::<Vec<_>>()
        };
        let is_table = |factor: &TableFactor| match factor {
            TableFactor::Table { name, args: None, .. } => {
                !(name.0.len() == 1 && self.ctes.contains(&last(name))) && self.world.is_table(name)
            }
            _ => false,
        };
        let factors: Vec<TableFactor> = select.from.iter().flat_map(joined).collect();
        for item in &mut select.projection {
            let options = match item {
                SelectItem::Wildcard(options) if factors.iter().any(is_table) => options,
                SelectItem::QualifiedWildcard(
                    ast::SelectItemQualifiedWildcardKind::ObjectName(name),
                    options,
                ) => {
                    let qualifier = last(name);
                    let is_it = |factor: &&TableFactor| match factor {
                        TableFactor::Table { name, alias, .. } => {
                            alias.as_ref().map_or_else(|| last(name), |a| a.name.value.clone()) == qualifier
                        }
                        _ => false,
                    };
                    match factors.iter().find(is_it) {
                        Some(factor) if is_table(factor) => options,
                        _ => continue,
                    }
                }
                _ => continue,
            };
            if options.opt_exclude.is_none() && options.opt_except.is_none() {
                let seq = ObjectName::from(vec![Ident::new(SEQ_COLUMN)]);
                options.opt_exclude = Some(ast::ExcludeSelectItem::Single(seq));
            }
        }
        ControlFlow::Continue(())
    }
}
