//! `DISTINCT ON` in the logical plan, and how its node is planned.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashSet},
    fmt,
    sync::Arc,
};

use datafusion::{
    catalog::Session,
    common::{DFSchemaRef, Result, tree_node::Transformed},
    logical_expr::{
        Distinct, Expr, LogicalPlan, Projection, Sort, SortExpr, UserDefinedLogicalNodeCore,
        expr_rewriter::{normalize_cols, normalize_sorts},
        logical_plan::Extension,
        physical_planning_context::PhysicalPlanningContext,
    },
    optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule},
    physical_plan::ExecutionPlan,
    physical_planner::PhysicalPlanner,
};

use super::exec::{FirstExec, Order};

/// Of the rows of each key the first in an order; all columns of the input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FirstOf {
    keys: Vec<Expr>,
    order: Vec<SortExpr>,
    input: LogicalPlan,
}

impl FirstOf {
    /// The node's plan over that of its input: of each partition first, then of all.
    pub(crate) fn physical(
        &self,
        planner: &dyn PhysicalPlanner,
        input: &Arc<dyn ExecutionPlan>,
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let physical =
            |expr: &Expr| planner.create_physical_expr(expr, self.input.schema(), session, context);
        let keys = self.keys.iter().map(physical).collect::<Result<Vec<_>>>()?;
        let order = self.order.iter().map(|by| {
            let options = arrow::compute::SortOptions { descending: !by.asc, nulls_first: by.nulls_first };
            Ok(Order { expr: physical(&by.expr)?, options })
        });
        let order = order.collect::<Result<Vec<_>>>()?;
        let partial = FirstExec::new(input.clone(), keys.clone().into(), order.clone().into(), false)?;
        Ok(Arc::new(FirstExec::new(Arc::new(partial), keys.into(), order.into(), true)?))
    }
}

impl PartialOrd for FirstOf {
    fn partial_cmp(&self, other: &FirstOf) -> Option<Ordering> {
        let order = |node: &FirstOf| node.order.iter().map(|by| by.expr.clone()).collect::<Vec<_>>();
        let key = |node: &FirstOf| (node.keys.clone(), order(node), node.input.clone());
        key(self).partial_cmp(&key(other)).filter(|order| *order != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for FirstOf {
    fn name(&self) -> &str {
        "FirstOf"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.iter().chain(self.order.iter().map(|by| &by.expr)).cloned().collect()
    }

    /// What is asked of keys can be asked before: it takes all rows of a key or none.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let is_key = |name: &str| {
            let is_it = |key: &Expr| matches!(key, Expr::Column(column) if column.name == name);
            self.keys.iter().any(is_it)
        };
        let names = self.schema().fields().iter().map(|field| field.name().clone());
        let mut seen = HashSet::new();
        let twice: HashSet<String> = names.clone().filter(|name| !seen.insert(name.clone())).collect();
        names.filter(|name| !is_key(name) || twice.contains(name)).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |exprs: Vec<String>| exprs.join(", ");
        let keys = list(self.keys.iter().map(ToString::to_string).collect());
        let order = list(self.order.iter().map(ToString::to_string).collect());
        write!(f, "FirstOf: keys=[{keys}], order=[{order}]")
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<FirstOf> {
        let mut exprs = exprs.into_iter();
        let keys = exprs.by_ref().take(self.keys.len()).collect();
        let order = self.order.iter().zip(exprs).map(|(by, expr)| by.with_expr(expr)).collect();
        Ok(FirstOf { keys, order, input: inputs.swap_remove(0) })
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let exprs = self.keys.iter().chain(self.order.iter().map(|by| &by.expr));
        let read = exprs.flat_map(Expr::column_refs).filter_map(|c| schema.maybe_index_of_column(c));
        let needed: BTreeSet<usize> = output.iter().copied().chain(read).collect();
        Some(vec![needed.into_iter().collect()])
    }
}

/// DataFusion's rules, and ours before the one that makes aggregates of `DISTINCT`.
pub(crate) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let place = rules.iter().position(|rule| rule.name() == "replace_distinct_aggregate").unwrap_or(0);
    rules.insert(place, Arc::new(FirstOfDistinctOn));
    rules
}

/// Makes a [`FirstOf`] of `DISTINCT ON … ORDER BY`. Without an order any row of a key will do, and DataFusion's own
/// plan is as good.
#[derive(Debug)]
struct FirstOfDistinctOn;

impl OptimizerRule for FirstOfDistinctOn {
    fn name(&self) -> &str {
        "first_of_distinct_on"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Distinct(Distinct::On(on)) = &plan else { return Ok(Transformed::no(plan)) };
        let Some(sort) = &on.sort_expr else { return Ok(Transformed::no(plan)) };
        let keys = normalize_cols(on.on_expr.clone(), &on.input)?;
        let sort = normalize_sorts(sort.clone(), &on.input)?;
        // The order begins with the keys, which say nothing about the rows of one.
        let by_key: Vec<SortExpr> = sort.iter().take(keys.len()).cloned().collect();
        let order: Vec<SortExpr> = sort.into_iter().filter(|by| !keys.contains(&by.expr)).collect();
        let node = FirstOf { keys, order, input: on.input.as_ref().clone() };
        let select = normalize_cols(on.select_expr.clone(), &on.input)?;
        let select = select.into_iter().zip(on.schema.iter()).map(|(expr, (qualifier, field))| {
            let same = matches!(&expr, Expr::Column(c) if c.relation.as_ref() == qualifier && c.name == *field.name());
            if same { expr } else { expr.alias_qualified(qualifier.cloned(), field.name()) }
        });
        let select: Vec<Expr> = select.collect();
        let first = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        let sorted = LogicalPlan::Sort(Sort { expr: by_key, input: Arc::new(first), fetch: None });
        Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(select, Arc::new(sorted))?)))
    }
}
