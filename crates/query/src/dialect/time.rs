//! Which column is a block's time.
//!
//! A table has its designated timestamp; `t timestamp(ts)` says it; a subquery's is the column that shows the
//! time of what it reads, or a bucket of it.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

use super::{clause::Clauses, sql};
use crate::{
    error::SqlError,
    rewrite::{self, World},
    text::Text,
};

/// Functions whose result is a time for the time that they are given.
const BUCKETS: [&str; 9] = [
    "date_bin",
    "date_trunc",
    "timestamp_floor",
    "timestamp_ceil",
    "time_bucket",
    "tumble",
    "hop",
    "session",
    super::marker::BUCKET,
];

/// Words that name the time in an alias: `(SELECT …) timestamp(ts)`.
pub(super) const DESIGNATION: &str = "timestamp";

/// A time column.
#[derive(Debug, Clone)]
pub(super) struct Time {
    pub(super) name: String,
    /// What the relation is called that has it.
    pub(super) relation: Option<String>,
    /// True if other relations stand beside it: the name alone might be theirs.
    qualified: bool,
    /// True if it is a table's, which has `_seq`, too.
    pub(super) of_table: bool,
}

impl Time {
    pub(super) fn expr(&self) -> Expr {
        sql::column(self.relation.as_deref().filter(|_| self.qualified), &self.name)
    }

    /// The order in which a table's rows came, behind their time.
    pub(super) fn seq(&self) -> Option<Expr> {
        let relation = self.relation.as_deref().filter(|_| self.qualified);
        self.of_table.then(|| sql::column(relation, nowcast_model::SEQ_COLUMN))
    }

    /// True if the expression names this column.
    pub(super) fn is(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Identifier(ident) => ident.value == self.name,
            Expr::CompoundIdentifier(parts) => match &parts[..] {
                [.., relation, name] => {
                    name.value == self.name && self.relation.as_ref().is_none_or(|r| *r == relation.value)
                }
                _ => false,
            },
            _ => false,
        }
    }
}

/// What is known of names where a block stands.
pub(super) struct Times<'a> {
    pub(super) world: &'a dyn World,
    pub(super) clauses: &'a Clauses,
    /// The time of each CTE, if it has one.
    pub(super) ctes: BTreeMap<String, Option<String>>,
}

impl Times<'_> {
    /// The time of the block: that of its first relation.
    pub(super) fn of_select(&self, select: &Select) -> Option<Time> {
        let from = select.from.first()?;
        let qualified = select.from.len() > 1 || !from.joins.is_empty();
        self.of_relation(&from.relation, qualified)
    }

    /// The time of one relation; `qualified` if others stand beside it.
    pub(super) fn of_relation(&self, factor: &TableFactor, qualified: bool) -> Option<Time> {
        if let TableFactor::NestedJoin { table_with_joins, alias: None } = factor {
            return self.of_relation(&table_with_joins.relation, true);
        }
        let name = self.of_factor(factor)?;
        let of_table = matches!(factor, TableFactor::Table { name, .. } if self.is_table(name));
        Some(Time { name, relation: relation_name(factor), qualified, of_table })
    }

    /// The first table of the block that is not there. A clause that finds no time in it would hide that.
    pub(super) fn missing(&self, text: &Text, select: &Select) -> Option<SqlError> {
        let joined = select.from.iter().flat_map(|from| from.joins.iter().map(|join| &join.relation));
        let mut factors = select.from.iter().map(|from| &from.relation).chain(joined);
        factors.find_map(|factor| match factor {
            TableFactor::Table { name, args: None, .. } if !self.is_cte(name) => {
                let error = self.world.missing(name)?;
                let place = text.find_name(&rewrite::last(name));
                Some(place.map_or(error.clone(), |place| error.at(place)))
            }
            _ => None,
        })
    }

    fn is_cte(&self, name: &ObjectName) -> bool {
        name.0.len() == 1 && self.ctes.contains_key(&rewrite::last(name))
    }

    pub(super) fn is_table(&self, name: &ObjectName) -> bool {
        !self.is_cte(name) && self.world.is_table(name)
    }

    fn of_factor(&self, factor: &TableFactor) -> Option<String> {
        if let Some(name) = designated(factor) {
            return Some(name);
        }
        match factor {
            TableFactor::Table { name, args: None, .. } => match self.ctes.get(&rewrite::last(name)) {
                Some(time) if name.0.len() == 1 => time.clone(),
                _ => self.world.time_of(name),
            },
            TableFactor::Derived { subquery, .. } => self.of_query(subquery),
            TableFactor::NestedJoin { table_with_joins, .. } => self.of_factor(&table_with_joins.relation),
            _ => None,
        }
    }

    /// The column of a query that is its time.
    pub(super) fn of_query(&self, query: &Query) -> Option<String> {
        let mut inner = Times { world: self.world, clauses: self.clauses, ctes: self.ctes.clone() };
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let time = inner.of_query(&cte.query);
            inner.ctes.insert(cte.alias.name.value.clone(), time);
        }
        inner.of_body(&query.body)
    }

    fn of_body(&self, body: &SetExpr) -> Option<String> {
        match body {
            SetExpr::Select(select) => self.shown_by(select),
            SetExpr::Query(query) => self.of_query(query),
            SetExpr::SetOperation { left, .. } => self.of_body(left),
            _ => None,
        }
    }

    /// Under which name a block shows its time.
    fn shown_by(&self, select: &Select) -> Option<String> {
        let time = self.of_select(select);
        let is_time = |expr: &Expr| time.as_ref().is_some_and(|time| time.is(expr));
        let is_bucket = |expr: &Expr| match expr {
            Expr::Function(function) => BUCKETS.contains(&rewrite::last(&function.name).as_str()),
            _ => false,
        };
        let shows = |expr: &Expr| is_time(expr) || is_bucket(expr);
        select.projection.iter().find_map(|item| match item {
            SelectItem::UnnamedExpr(expr) if shows(expr) => Some(rewrite::short_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } if shows(expr) => Some(alias.value.clone()),
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                time.as_ref().map(|time| time.name.clone())
            }
            _ => None,
        })
    }
}

/// `… timestamp(ts)`: the column that an alias designates.
fn designated(factor: &TableFactor) -> Option<String> {
    let (TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. }) = factor else { return None };
    let alias = alias.as_ref()?;
    match &alias.columns[..] {
        [column] if alias.name.value == DESIGNATION && !alias.explicit => Some(column.name.value.clone()),
        _ => None,
    }
}

/// Takes designations off a block's relations, which then are called as they were without.
pub(super) fn take_designations(from: &mut [TableWithJoins]) {
    let relations = from.iter_mut().flat_map(|from| {
        let joins = from.joins.iter_mut().map(|join| &mut join.relation);
        std::iter::once(&mut from.relation).chain(joins)
    });
    for factor in relations {
        if designated(factor).is_some()
            && let TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } = factor
        {
            *alias = None;
        }
    }
}

/// What columns of the relation are qualified with.
pub(super) fn relation_name(factor: &TableFactor) -> Option<String> {
    let (alias, own) = match factor {
        TableFactor::Table { name, alias, .. } => (alias, Some(rewrite::last(name))),
        TableFactor::Derived { alias, .. } => (alias, None),
        _ => return None,
    };
    match alias {
        Some(alias) if designated(factor).is_none() => Some(alias.name.value.clone()),
        _ => own,
    }
}
