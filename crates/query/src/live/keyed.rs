//! Re-evaluated queries: how their rows are told apart, and their rows.
//!
//! A live table needs a key and an order. Where the query groups at its top, the grouping is the key. Any
//! other row is identified by all of its cells and, among equal rows, by its number (the hidden `_n`): a
//! row that stays is then no change, wherever it moves. Where the query's ORDER BY cannot be told in terms
//! of the result's columns, the hidden `_row` counts the rows, and orders them.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{FieldRef, Schema};
use datafusion::{
    common::DFSchema,
    logical_expr::{Aggregate, Expr, LogicalPlan, Projection, SortExpr},
};
use futures::TryStreamExt;
use nowcast_model::{ColumnType, Value};
use nowcast_views::{Direction, LiveColumn, LiveSchema};

use super::{LiveMode, LiveQuery};
use crate::{
    context::QueryContext,
    engine::QueryEngine,
    error::{SqlCode, SqlError},
    failure,
    planned::Planned,
    values::{column_type, rows},
};

/// How the rows of a re-evaluated query are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowKey {
    /// The hidden `_n` numbers equal rows.
    pub numbered: bool,
    /// The hidden `_row` counts all rows, in their order.
    pub counted: bool,
}

/// The live table of a query that is run again. `plan` is analysed.
pub(super) fn schema(planned: &Planned, plan: &LogicalPlan) -> (LiveSchema, RowKey) {
    let arrow = planned.schema();
    let mut columns: Vec<LiveColumn> =
        arrow.fields().iter().map(|f| LiveColumn::new(f.name(), column_type(f.data_type()))).collect();
    let width = columns.len();
    let top = Top::of(plan);
    let (mut key, numbered) = match top.key(width) {
        Some(key) => (key, false),
        None => ((0..width).collect(), true),
    };
    if numbered {
        columns.push(LiveColumn::hidden("_n", ColumnType::Long));
        key.push(width);
    }
    let (order, counted) = match top.order() {
        Some(order) => (order, false),
        None => {
            columns.push(LiveColumn::hidden("_row", ColumnType::Long));
            (vec![(columns.len() - 1, Direction::Asc)], true)
        }
    };
    (LiveSchema { columns, key, order, limit: top.limit }, RowKey { numbered, counted })
}

/// The upper nodes of a plan.
struct Top<'a> {
    limit: Option<usize>,
    sort: &'a [SortExpr],
    /// The visible columns, as places in `projection`.
    shown: Option<Vec<usize>>,
    projection: Option<&'a Projection>,
    aggregate: Option<&'a Aggregate>,
    root: &'a DFSchema,
}

impl Top<'_> {
    fn of(mut plan: &LogicalPlan) -> Top<'_> {
        let mut top = Top {
            limit: None,
            sort: &[],
            shown: None,
            projection: None,
            aggregate: None,
            root: plan.schema(),
        };
        if let LogicalPlan::Limit(limit) = plan {
            if let Ok(datafusion::logical_expr::FetchType::Literal(fetch)) = limit.get_fetch_type() {
                top.limit = fetch;
            }
            plan = &limit.input;
        }
        let mut strip = None;
        if let LogicalPlan::Projection(projection) = plan
            && matches!(&*projection.input, LogicalPlan::Sort(_))
        {
            strip = Some(projection);
            plan = &projection.input;
        }
        if let LogicalPlan::Sort(sort) = plan {
            top.sort = &sort.expr;
            plan = &sort.input;
        }
        if let LogicalPlan::Projection(projection) = plan {
            top.projection = Some(projection);
            top.shown = strip.and_then(|strip| {
                strip
                    .expr
                    .iter()
                    .map(|e| place(unalias(e), &projection.schema))
                    .collect::<Option<Vec<usize>>>()
            });
            plan = &projection.input;
            if let LogicalPlan::Filter(filter) = plan {
                plan = &filter.input;
            }
            if let LogicalPlan::Aggregate(aggregate) = plan {
                top.aggregate = Some(aggregate);
            }
        }
        top
    }

    /// Places of the grouping's keys in the result, if all are in it.
    fn key(&self, width: usize) -> Option<Vec<usize>> {
        let (projection, aggregate) = (self.projection?, self.aggregate?);
        if aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
            return None;
        }
        let keys = 0..aggregate.group_expr.len();
        let key_place = |key: usize| {
            let inner =
                projection.expr.iter().position(|e| place(unalias(e), &aggregate.schema) == Some(key))?;
            self.shown_place(inner).filter(|&p| p < width)
        };
        keys.map(key_place).collect()
    }

    fn shown_place(&self, inner: usize) -> Option<usize> {
        match &self.shown {
            Some(shown) => shown.iter().position(|&p| p == inner),
            None => Some(inner),
        }
    }

    /// ORDER BY in terms of the result's columns; empty without one.
    fn order(&self) -> Option<Vec<(usize, Direction)>> {
        let schema = self.projection.map_or(self.root, |projection| &*projection.schema);
        let entry = |sort: &SortExpr| {
            // Only PostgreSQL's own placing of NULL is told without words.
            let column = self.shown_place(place(unalias(&sort.expr), schema)?)?;
            match (sort.asc, sort.nulls_first) {
                (true, false) => Some((column, Direction::Asc)),
                (false, true) => Some((column, Direction::Desc)),
                _ => None,
            }
        };
        self.sort.iter().map(entry).collect()
    }
}

pub(super) fn unalias(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unalias(&alias.expr),
        other => other,
    }
}

/// The place of a column in a schema.
pub(super) fn place(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        _ => None,
    }
}

/// `*` stands for the columns that there were when the query was planned.
fn check_columns(now: &Schema, live: &LiveQuery) -> Result<(), SqlError> {
    let is_same = |(was, now): (&LiveColumn, &FieldRef)| {
        *was.name == **now.name() && was.ty == column_type(now.data_type())
    };
    let was = || live.schema.columns.iter().filter(|column| !column.hidden);
    if was().count() == now.fields().len() && was().zip(now.fields()).all(is_same) {
        return Ok(());
    }
    let message = "a table of the query has other columns than when it was planned";
    Err(SqlError::new(SqlCode::UndefinedColumn, message).hint("subscribe again"))
}

/// Runs the query and numbers its rows.
pub(super) async fn evaluate(
    engine: &QueryEngine,
    ctx: &QueryContext,
    planned: &Planned,
    live: &LiveQuery,
    rows_max: usize,
) -> Result<Vec<Arc<[Value]>>, SqlError> {
    let (LiveMode::Reevaluated { key, .. } | LiveMode::Incremental { key, .. }) = live.mode;
    check_columns(&planned.schema(), live)?;
    let mut result = engine.run(ctx, planned).await?;
    let failed =
        |e: &datafusion::error::DataFusionError| failure::locate(e, &planned.text, Some(&planned.state));
    let mut made: Vec<Arc<[Value]>> = Vec::new();
    let mut seen: HashMap<Arc<[Value]>, i64> = HashMap::new();
    while let Some(batch) = result.stream.try_next().await.map_err(|e| failed(&e))? {
        for row in rows(&batch).map_err(|e| SqlError::new(SqlCode::Internal, e.to_string()))? {
            if made.len() > rows_max {
                return Ok(made);
            }
            if !(key.numbered || key.counted) {
                made.push(row);
                continue;
            }
            let mut cells = row.to_vec();
            if key.numbered {
                let number = seen.entry(row).or_insert(-1);
                *number += 1;
                cells.push(Value::Int(*number));
            }
            if key.counted {
                cells.push(Value::Int(i64::try_from(made.len()).unwrap_or(i64::MAX)));
            }
            made.push(cells.into());
        }
    }
    Ok(made)
}
