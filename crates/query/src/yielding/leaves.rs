//! What reads, and asks before each batch whether it is to end: what is made of a batch may take long, with hundreds of
//! columns, and a task yields by itself only after more than a hundred of them.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{Result, internal_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;

use super::Interrupt;

#[derive(Debug)]
pub(super) struct AskingExec {
    input: Arc<dyn ExecutionPlan>,
    interrupt: Interrupt,
}

impl AskingExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, interrupt: Interrupt) -> AskingExec {
        AskingExec { input, interrupt }
    }

    fn with(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else { return internal_err!("without an input") };
        Ok(Arc::new(AskingExec { input, interrupt: self.interrupt.clone() }))
    }
}

impl DisplayAs for AskingExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AskingExec")
    }
}

impl ExecutionPlan for AskingExec {
    fn name(&self) -> &str {
        "AskingExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
        let rows = self.input.execute(partition, context)?;
        let (schema, interrupt) = (rows.schema(), self.interrupt.clone());
        let rows = rows.map(move |batch| interrupt.check().and(batch));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}
