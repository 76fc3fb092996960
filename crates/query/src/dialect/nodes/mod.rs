//! What plans of ours hold that DataFusion's do not, and how it is run.

mod asof;
mod fill;
mod gather;
mod plan;
mod reverse;
mod rows;
mod side;

use std::{cmp::Ordering, fmt, sync::Arc};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{DFSchema, DFSchemaRef, Result, ScalarValue, plan_err},
    execution::context::QueryPlanner,
    logical_expr::{Expr, ExprSchemable, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
    },
    physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner},
};

pub(crate) use self::plan::place;
use crate::first::FirstOf;

/// Which node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) enum Kind {
    /// Makes the rows that SAMPLE BY misses.
    Fill,
    /// The rows from the last to the first.
    Reverse,
    /// A join by time.
    Join(ByTime),
}

/// Which rows a join by time brings together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) enum ByTime {
    /// The last one that is not later.
    Asof,
    /// The last one that is earlier.
    Lt,
    /// The last one, from both sides.
    Splice,
}

impl Kind {
    /// Why a live query that holds it runs again.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Kind::Fill => "it fills gaps",
            Kind::Join(_) => "it joins tables by time",
            Kind::Reverse => "it takes the last rows of an order",
        }
    }
}

/// A node of a logical plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    inputs: Vec<LogicalPlan>,
    /// What the kind needs, in its own order.
    exprs: Vec<Expr>,
    schema: DFSchemaRef,
}

impl Node {
    fn new(kind: Kind, inputs: Vec<LogicalPlan>, exprs: Vec<Expr>) -> Result<Node> {
        let schema = match (kind, &inputs[..]) {
            (Kind::Reverse, [input]) => input.schema().clone(),
            (Kind::Fill, [input]) => Arc::new(nullable(input.schema())?),
            (Kind::Join(by), [left, right]) => {
                let left = match by {
                    ByTime::Splice => nullable(left.schema())?,
                    ByTime::Asof | ByTime::Lt => left.schema().as_ref().clone(),
                };
                Arc::new(left.join(&nullable(right.schema())?)?)
            }
            _ => return plan_err!("{kind:?} has {} inputs", inputs.len()),
        };
        Ok(Node { kind, inputs, exprs, schema })
    }
}

/// The schema with NULLs allowed everywhere.
fn nullable(schema: &DFSchema) -> Result<DFSchema> {
    let fields = schema
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(true))));
    DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Node) -> Option<Ordering> {
        let key = |node: &Node| (node.kind, node.inputs.clone(), node.exprs.clone());
        key(self).partial_cmp(&key(other)).filter(|order| *order != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for Node {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Fill => "Fill",
            Kind::Reverse => "Reverse",
            Kind::Join(_) => "JoinByTime",
        }
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.exprs.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exprs: Vec<String> = self.exprs.iter().map(ToString::to_string).collect();
        write!(f, "{:?}: {}", self.kind, exprs.join(", "))
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let (Kind::Join(_), [left, right]) = (self.kind, &self.inputs[..]) else { return None };
        let width = left.schema().fields().len();
        let mut needed = [std::collections::BTreeSet::new(), std::collections::BTreeSet::new()];
        for &at in output {
            if at < width {
                needed[0].insert(at)
            } else {
                needed[1].insert(at - width)
            };
        }
        for column in self.exprs.iter().flat_map(|expr| expr.column_refs()) {
            for (side, input) in [left, right].into_iter().enumerate() {
                needed[side].extend(input.schema().maybe_index_of_column(column));
            }
        }
        Some(needed.into_iter().map(|side| side.into_iter().collect()).collect())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Node> {
        Node::new(self.kind, inputs, exprs)
    }
}

/// Plans our nodes beside DataFusion's.
#[derive(Debug)]
pub(crate) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Planner)]);
        planner.create_physical_plan(plan, session).await
    }
}

#[async_trait]
impl ExtensionPlanner for Planner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical: &[&LogicalPlan],
        physical: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let (Some(first), [input]) = (node.as_any().downcast_ref::<FirstOf>(), physical) {
            return first.physical(planner, input, session, context).map(Some);
        }
        let Some(node) = node.as_any().downcast_ref::<Node>() else { return Ok(None) };
        Ok(Some(match (node.kind, logical, physical) {
            (Kind::Fill, [logical], [input]) => {
                Arc::new(fill::FillExec::new(input.clone(), &node.exprs, logical.schema())?)
            }
            (Kind::Join(kind), [left, right], [left_input, right_input]) => {
                let [tolerance, left_time, right_time, left_seq, right_seq, pairs @ ..] = &node.exprs[..]
                else {
                    return plan_err!("a join by time lacks its times");
                };
                let physical = |expr: &Expr, side: &LogicalPlan| {
                    planner.create_physical_expr(expr, side.schema(), session, context)
                };
                let seq = |expr: &Expr, side: &LogicalPlan| match literal(expr) {
                    Some(_) => Ok(None),
                    None => physical(expr, side).map(Some),
                };
                let (mut keys, mut key_types) = ([Vec::new(), Vec::new()], Vec::new());
                for pair in pairs.chunks_exact(2) {
                    key_types.push(pair[0].get_type(left.schema().as_ref())?);
                    keys[0].push(physical(&pair[0], left)?);
                    keys[1].push(physical(&pair[1], right)?);
                }
                let on = asof::On {
                    kind,
                    tolerance_us: literal(tolerance).and_then(|value| value.to_string().parse().ok()),
                    times: [physical(left_time, left)?, physical(right_time, right)?],
                    seqs: [seq(left_seq, left)?, seq(right_seq, right)?],
                    keys,
                    key_types,
                };
                let schema = Arc::new(node.schema.as_arrow().clone());
                let inputs = [left_input.clone(), right_input.clone()];
                Arc::new(asof::AsofExec::new(inputs, Arc::new(on), schema))
            }
            (Kind::Reverse, _, [input]) => Arc::new(reverse::ReverseExec::new(input.clone())),
            _ => return plan_err!("{:?} has {} inputs", node.kind, physical.len()),
        }))
    }
}

/// The index of the column that `expr` is.
fn index_of(expr: &Expr, schema: &DFSchema) -> Result<usize> {
    match expr {
        Expr::Column(column) => schema.index_of_column(column),
        Expr::Alias(alias) => index_of(&alias.expr, schema),
        other => plan_err!("{other} is no column"),
    }
}

/// The value of a literal.
fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}

/// The properties of a node with one stream of rows.
fn properties(equivalence: EquivalenceProperties, emission: EmissionType) -> Arc<PlanProperties> {
    let partitioning = Partitioning::UnknownPartitioning(1);
    Arc::new(PlanProperties::new(equivalence, partitioning, emission, Boundedness::Bounded))
}

/// The schema with NULLs allowed everywhere.
fn nullable_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}
