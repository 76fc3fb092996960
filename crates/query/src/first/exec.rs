//! The node that runs.

use std::{fmt, sync::Arc};

use arrow::compute::SortOptions;
use datafusion::{
    common::{Result, tree_node::TreeNodeRecursion},
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryConsumer},
    physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr},
    physical_expr_common::utils::evaluate_expressions_to_arrays,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
        Partitioning, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{codes::Codes, held::Held, ranks::Ranks};

/// A column of the order.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) expr: Arc<dyn PhysicalExpr>,
    pub(super) options: SortOptions,
}

/// Of each partition, or of all, the first row of each key.
#[derive(Debug)]
pub(super) struct FirstExec {
    input: Arc<dyn ExecutionPlan>,
    keys: Arc<[Arc<dyn PhysicalExpr>]>,
    order: Arc<[Order]>,
    /// Over all rows in one stream.
    whole: bool,
    properties: Arc<PlanProperties>,
}

impl FirstExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        keys: Arc<[Arc<dyn PhysicalExpr>]>,
        order: Arc<[Order]>,
        whole: bool,
    ) -> Result<FirstExec> {
        let partitions = if whole { 1 } else { input.output_partitioning().partition_count() };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(FirstExec { input, keys, order, whole, properties: Arc::new(properties) })
    }

    fn with(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.swap_remove(0);
        Ok(Arc::new(FirstExec::new(input, self.keys.clone(), self.order.clone(), self.whole)?))
    }
}

impl DisplayAs for FirstExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        let order: Vec<String> = self.order.iter().map(|by| format!("{} {}", by.expr, by.options)).collect();
        let mode = if self.whole { "Final" } else { "Partial" };
        write!(f, "FirstExec: mode={mode}, keys=[{}], order=[{}]", keys.join(", "), order.join(", "))
    }
}

impl ExecutionPlan for FirstExec {
    fn name(&self) -> &str {
        "FirstExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let one =
            if self.whole { Distribution::SinglePartition } else { Distribution::UnspecifiedDistribution };
        InputDistributionRequirements::new(vec![one])
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expr in self.keys.iter().chain(self.order.iter().map(|by| &by.expr)) {
            if visit(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.with(children)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.with(children)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut input = self.input.execute(partition, context.clone())?;
        let schema = self.input.schema();
        let types = self.keys.iter().map(|key| key.data_type(&schema)).collect::<Result<Vec<_>>>()?;
        let order = self.order.iter().map(|by| Ok((by.expr.data_type(&schema)?, by.options)));
        let (mut codes, mut ranks) =
            (Codes::new(&types, context.memory_pool())?, Ranks::new(&order.collect::<Result<Vec<_>>>()?)?);
        let (keys, order) = (self.keys.clone(), self.order.clone());
        let reservation = MemoryConsumer::new("FirstExec").register(context.memory_pool());
        let step = context.session_config().batch_size().max(1);
        let firsts = async move {
            let (mut held, mut numbers) = (Held::default(), Vec::new());
            while let Some(batch) = input.next().await {
                let batch = batch?;
                let columns = evaluate_expressions_to_arrays(&keys[..], &batch)?;
                let places = evaluate_expressions_to_arrays(order.iter().map(|by| &by.expr), &batch)?;
                numbers.clear();
                codes.number(&columns, &mut numbers)?;
                held.begin(batch);
                ranks.compete(&places, &numbers, codes.len(), |row, key| held.put(key, row))?;
                held.end()?;
                reservation.try_resize(codes.bytes() + ranks.bytes() + held.bytes())?;
            }
            Ok::<_, DataFusionError>(stream::try_unfold(
                (held, reservation, 0),
                move |(held, reservation, start)| async move {
                    let end = held.len().min(start + step);
                    let rows = if start < end { held.take(start, end)? } else { None };
                    Ok(rows.map(|rows| (rows, (held, reservation, end))))
                },
            ))
        };
        let rows = stream::once(firsts).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}
