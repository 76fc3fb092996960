//! `first(x)` and `last(x)`: by the time of the rows, not by the chance of which thread came first.
//!
//! Both are DataFusion's `first_value` and `last_value`. A call without ORDER BY gets one: the designated timestamp
//! of the table below, then `_seq`, so that of rows with one time the one that was written first, or last, is taken.

use datafusion::{
    catalog::default_table_source::source_as_provider,
    common::{
        Column, Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan, expr::Sort, expr_rewriter::NamePreserver},
};
use nowcast_model::SEQ_COLUMN;

use crate::table::SnapshotTable;

/// Gives the calls of a plan their order.
pub(in crate::functions) fn order(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut wanted = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            wanted |= expr.exists(|expr| Ok(is_unordered(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if !wanted {
        return Ok(plan);
    }
    Ok(plan.transform_up_with_subqueries(order_node)?.data)
}

fn is_unordered(expr: &Expr) -> bool {
    match expr {
        Expr::AggregateFunction(call) => {
            matches!(call.func.name(), "first_value" | "last_value") && call.params.order_by.is_empty()
        }
        _ => false,
    }
}

fn order_node(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = &node else { return Ok(Transformed::no(node)) };
    let order = times(&aggregate.input);
    if order.is_empty() {
        return Ok(Transformed::no(node));
    }
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let saved = names.save(&expr);
        let expr = expr.transform_up(|expr| match expr {
            Expr::AggregateFunction(mut call) if is_unordered(&Expr::AggregateFunction(call.clone())) => {
                call.params.order_by = order.clone();
                Ok(Transformed::yes(Expr::AggregateFunction(call)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(if expr.transformed { Transformed::yes(saved.restore(expr.data)) } else { expr })
    })?
    .map_data(LogicalPlan::recompute_schema)
}

/// What orders the rows of a plan in time: the designated timestamp of the one table that it reads, and `_seq`
/// where the plan shows it.
fn times(plan: &LogicalPlan) -> Vec<Sort> {
    let (Some(time), seq) = found(plan) else { return Vec::new() };
    std::iter::once(time).chain(seq).map(|column| Expr::Column(column).sort(true, true)).collect()
}

/// The columns of a plan that hold the time and the number of its rows.
fn found(plan: &LogicalPlan) -> (Option<Column>, Option<Column>) {
    let columns = || plan.schema().columns();
    let carried = |input: &LogicalPlan, show: &dyn Fn(&Column) -> Option<Column>| {
        let (time, seq) = found(input);
        (time.and_then(|time| show(&time)), seq.and_then(|seq| show(&seq)))
    };
    match plan {
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source).ok();
            let Some(time) = provider.and_then(|p| p.downcast_ref::<SnapshotTable>()?.timestamp()) else {
                return (None, None);
            };
            let named = |name: &str| columns().into_iter().find(|column| column.name == name);
            (named(&time), named(SEQ_COLUMN))
        }
        LogicalPlan::SubqueryAlias(alias) => carried(&alias.input, &|column| {
            let at = alias.input.schema().maybe_index_of_column(column)?;
            columns().get(at).cloned()
        }),
        LogicalPlan::Projection(projection) => carried(&projection.input, &|column| {
            let is_it = |expr: &Expr| match expr {
                Expr::Alias(alias) => matches!(&*alias.expr, Expr::Column(inner) if inner == column),
                Expr::Column(inner) => inner == column,
                _ => false,
            };
            columns().get(projection.expr.iter().position(is_it)?).cloned()
        }),
        LogicalPlan::Filter(_) | LogicalPlan::Limit(_) | LogicalPlan::Sort(_) | LogicalPlan::Window(_) => {
            plan.inputs().first().map_or((None, None), |input| found(input))
        }
        // The rows of a join are in the time of its left side.
        LogicalPlan::Join(join) => {
            carried(&join.left, &|column| plan.schema().has_column(column).then(|| column.clone()))
        }
        _ => (None, None),
    }
}
