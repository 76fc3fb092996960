//! The rows from the last to the first: a tail is the beginning of the order's reverse, turned round.

use std::{fmt, sync::Arc};

use arrow::{
    array::{RecordBatch, UInt64Array},
    compute::take_record_batch,
};
use datafusion::{
    common::{Result, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryConsumer},
    physical_expr::{Distribution, EquivalenceProperties, OrderingRequirements, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
        PlanProperties, ReplaceChildrenOptions, execution_plan::EmissionType,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{TryStreamExt, stream};

use super::{gather::gather, properties};

#[derive(Debug)]
pub(super) struct ReverseExec {
    input: Arc<dyn ExecutionPlan>,
    /// The order that is turned round: without a demand for it, the planner would leave the sort out.
    order: Option<OrderingRequirements>,
    properties: Arc<PlanProperties>,
}

impl ReverseExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>) -> ReverseExec {
        let order = input.output_ordering().cloned().map(OrderingRequirements::from);
        ReverseExec::with(input, order)
    }

    fn with(input: Arc<dyn ExecutionPlan>, order: Option<OrderingRequirements>) -> ReverseExec {
        let equivalence = EquivalenceProperties::new(input.schema());
        ReverseExec { input, order, properties: properties(equivalence, EmissionType::Final) }
    }
}

impl DisplayAs for ReverseExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReverseExec")
    }
}

impl ExecutionPlan for ReverseExec {
    fn name(&self) -> &str {
        "ReverseExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order.clone()]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(ReverseExec::with(children.swap_remove(0), self.order.clone())))
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(ReverseExec::with(children.swap_remove(0), self.order.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context.clone())?;
        let reservation = MemoryConsumer::new("ReverseExec").register(context.memory_pool());
        let step = context.session_config().batch_size().max(1);
        let all = async move {
            let rows = gather(input, &reservation).await?;
            let end = rows.num_rows();
            Ok::<_, datafusion::error::DataFusionError>(stream::try_unfold(
                (rows, end, reservation),
                move |(rows, end, reservation)| async move {
                    let start = end.saturating_sub(step);
                    if end == 0 {
                        return Ok(None);
                    }
                    let back: UInt64Array = (start..end).rev().map(|row| row as u64).collect();
                    let batch: RecordBatch = take_record_batch(&rows, &back)?;
                    Ok(Some((batch, (rows, start, reservation))))
                },
            ))
        };
        let stream = stream::once(all).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}
