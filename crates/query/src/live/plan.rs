//! From a query's plan to a view's.
//!
//! The plan is analysed (types are settled, `*` is expanded) but not optimised: it still has the form of the
//! query. Read from its root, an incremental query is
//!
//! ```text
//! [Limit] [Projection that drops order columns] [Sort] [Distinct]
//! Projection [Filter: HAVING] [Aggregate] rows
//! rows = Filter* (table | join of rows | union of rows | subquery)
//! ```
//!
//! Anything else ends in a reason in words, and the query is re-evaluated.

use std::sync::Arc;

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::{Expr, LogicalPlan, Volatility},
};
use nowcast_model::TableName;
use nowcast_views::{Hints, LiveSchema, View, ViewLimits, ViewPlan};

use super::{
    LiveMode,
    body::{self, Input},
    keyed,
    parts::{Parts, parts, projected},
    tree::{Builder, Needed, note},
    window,
};
use crate::{
    error::{SqlCode, SqlError},
    failure,
    planned::Planned,
};

pub(super) struct Made {
    pub(super) schema: LiveSchema,
    pub(super) mode: LiveMode,
}

/// Decides how to keep a query up to date.
pub(super) fn make(planned: &Planned) -> Result<Made, SqlError> {
    let found = scan(&planned.plan).map_err(|e| failure::of(&e))?;
    if let Some(function) = found.volatile {
        let error = SqlError::new(SqlCode::NotSupported, format!("a live query cannot use {function}()"));
        let place = planned.text.find_name(&function).unwrap_or_else(|| planned.text.place(0));
        return Err(error
            .hint("its answer would change with nothing having happened; leave it out")
            .at(place));
    }
    let options = planned.state.config_options();
    let plan = planned
        .state
        .analyzer()
        .execute_and_check(planned.plan.clone(), options, |_, _| {})
        .map_err(|e| failure::locate(&e, &planned.text, Some(&planned.state)))?;
    let (again, key) = keyed::schema(planned, &plan);
    match projected(&plan).and_then(|plan| incremental(planned, &plan)) {
        Ok(plan) => {
            let (schema, plan) = (plan.live_schema(), Arc::new(plan));
            Ok(Made { schema, mode: LiveMode::Incremental { plan, again: Arc::new(again), key } })
        }
        Err(reason) => {
            let tables: Vec<TableName> = planned.found.values().map(|t| t.schema.name.clone()).collect();
            // Nobody tells when a system table changes: look at every tick.
            let clock = found.clock || planned.found_other;
            Ok(Made { schema: again, mode: LiveMode::Reevaluated { tables, clock, reason, key } })
        }
    }
}

struct Found {
    clock: bool,
    volatile: Option<String>,
}

/// Looks for the clock and for chance, subqueries included.
fn scan(plan: &LogicalPlan) -> datafusion::common::Result<Found> {
    let mut found = Found { clock: false, volatile: None };
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found.clock |= window::names_clock(expr);
            expr.apply(|expr| {
                if let Expr::ScalarFunction(f) = expr
                    && f.func.signature().volatility == Volatility::Volatile
                {
                    found.volatile = Some(f.name().to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn incremental(planned: &Planned, plan: &LogicalPlan) -> Result<ViewPlan, String> {
    let parts = parts(plan)?;
    if planned.found_other {
        return Err("it reads more than tables, which is not maintained".to_owned());
    }
    let builder = Builder::new(planned);
    let over: Vec<Expr> = match parts.group {
        Some(group) => group.group_expr.iter().chain(&group.aggr_expr).cloned().collect(),
        None => parts.projection.expr.clone(),
    };
    let mut needed = Needed::new();
    note(&over, parts.base.schema(), &mut needed)?;
    let built = builder.build(parts.base, Vec::new(), &needed)?;
    let input = Input { builder: &builder, schema: &built.schema, identity: &built.identity };
    let made = match parts.group {
        Some(group) => body::groups(&input, &parts, group)?,
        None if parts.distinct => body::distinct(&input, &parts)?,
        None => body::rows(&input, &parts)?,
    };
    let Parts { limit, .. } = parts;
    let plan = ViewPlan {
        flow: built.flow,
        body: made.body,
        output: made.output,
        key: made.key,
        order: made.order,
        limit,
        having: made.having,
        hints: Hints::default(),
    };
    // Types that cannot be kept show now, not once someone watches.
    View::new(Arc::new(plan.clone()), &ViewLimits::default()).map_err(|e| e.to_string())?;
    Ok(plan)
}
