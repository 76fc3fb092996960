//! Joins by time.
//!
//! Both sides are read in the order of time, once. ASOF gives each left row the last right row of its key
//! that is not later, LT the last that is earlier; SPLICE does so from both sides: a right row that no left
//! row of its instant took has a row of its own, beside the last left one. NULL keys are equal to each other.
//! What is held is one row of each key and a few batches, within the memory that queries may have.

use std::{fmt, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    compute::SortOptions,
    datatypes::{DataType, SchemaRef},
    row::{RowConverter, SortField},
};
use datafusion::{
    common::{Result, tree_node::TreeNodeRecursion},
    error::DataFusionError,
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{
        Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, PhysicalExpr,
        PhysicalSortRequirement,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties,
        ReplaceChildrenOptions, execution_plan::EmissionType, stream::RecordBatchStreamAdapter,
    },
};
use futures::stream;

use super::{
    ByTime, properties,
    side::{At, Side, gather},
};

/// Batches of one side that may wait before all but the last rows of keys are let go.
const BATCHES_MAX: usize = 16;

/// What is joined with what.
#[derive(Debug, Clone)]
pub(super) struct On {
    pub(super) kind: ByTime,
    pub(super) tolerance_us: Option<i64>,
    /// Left and right.
    pub(super) times: [Arc<dyn PhysicalExpr>; 2],
    /// The order of rows of one time, if it is known.
    pub(super) seqs: [Option<Arc<dyn PhysicalExpr>>; 2],
    pub(super) keys: [Vec<Arc<dyn PhysicalExpr>>; 2],
    pub(super) key_types: Vec<DataType>,
}

#[derive(Debug)]
pub(super) struct AsofExec {
    inputs: [Arc<dyn ExecutionPlan>; 2],
    on: Arc<On>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl AsofExec {
    pub(super) fn new(inputs: [Arc<dyn ExecutionPlan>; 2], on: Arc<On>, schema: SchemaRef) -> AsofExec {
        let equivalence = EquivalenceProperties::new(schema.clone());
        AsofExec { inputs, on, schema, properties: properties(equivalence, EmissionType::Incremental) }
    }

    fn with(&self, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let inputs = children.try_into().map_err(|children: Vec<_>| {
            DataFusionError::Internal(format!("a join has {} inputs", children.len()))
        })?;
        Ok(Arc::new(AsofExec::new(inputs, self.on.clone(), self.schema.clone())))
    }
}

impl DisplayAs for AsofExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsofExec: {:?}, keys={}", self.on.kind, self.on.key_types.len())
    }
}

impl ExecutionPlan for AsofExec {
    fn name(&self) -> &str {
        "AsofExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; 2])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let options = Some(SortOptions { descending: false, nulls_first: false });
        let order = |side: usize| {
            let columns = std::iter::once(&self.on.times[side]).chain(&self.on.seqs[side]);
            let columns = columns.map(|expr| PhysicalSortRequirement::new(expr.clone(), options));
            LexRequirement::new(columns).map(OrderingRequirements::new)
        };
        vec![order(0), order(1)]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
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
        let fields = self.on.key_types.iter().map(|ty| SortField::new(ty.clone())).collect();
        let converter = Arc::new(RowConverter::new(fields)?);
        let side = |at: usize| -> Result<Side> {
            let rows = self.inputs[at].execute(partition, context.clone())?;
            Ok(Side::new(rows, self.on.times[at].clone(), self.on.keys[at].clone(), converter.clone()))
        };
        let join = Join {
            left: side(0)?,
            right: side(1)?,
            on: self.on.clone(),
            schemas: [self.inputs[0].schema(), self.inputs[1].schema()],
            schema: self.schema.clone(),
            pairs: Vec::new(),
            batch_rows: context.session_config().batch_size().max(1),
            reservation: MemoryConsumer::new("AsofExec").register(context.memory_pool()),
        };
        let rows =
            stream::try_unfold(
                join,
                |mut join| async move { Ok(join.next().await?.map(|rows| (rows, join))) },
            );
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows)))
    }
}

struct Join {
    left: Side,
    right: Side,
    on: Arc<On>,
    schemas: [SchemaRef; 2],
    schema: SchemaRef,
    /// Rows that wait to leave: a left and a right one.
    pairs: Vec<(Option<At>, Option<At>)>,
    batch_rows: usize,
    reservation: MemoryReservation,
}

impl Join {
    /// The next rows; `None` at the end.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let more = match self.on.kind {
                ByTime::Asof | ByTime::Lt => self.step().await?,
                ByTime::Splice => self.splice().await?,
            };
            let crowded = self.left.batches.len().max(self.right.batches.len()) > BATCHES_MAX;
            if self.pairs.len() >= self.batch_rows || crowded || !more {
                self.reservation.try_resize(self.left.bytes() + self.right.bytes())?;
                if !self.pairs.is_empty() {
                    return self.leave().map(Some);
                }
                self.left.compact()?;
                self.right.compact()?;
            }
            if !more {
                return Ok(None);
            }
        }
    }

    /// One left row with its right one; or room is needed first. False at the end.
    async fn step(&mut self) -> Result<bool> {
        if !self.left.fetch().await? {
            return Ok(false);
        }
        let Some(now_us) = self.left.time() else {
            self.pairs.push((Some(self.left.place()), None));
            self.left.skip();
            return Ok(true);
        };
        while self.right.fetch().await? {
            let Some(at_us) = self.right.time() else { break };
            if at_us > now_us || (self.on.kind == ByTime::Lt && at_us == now_us) {
                break;
            }
            self.right.keep(at_us);
            self.right.skip();
            if self.right.batches.len() > BATCHES_MAX {
                // The left row waits; what was paired leaves.
                return Ok(true);
            }
        }
        let found = self.near(self.right.last(self.left.key()), now_us);
        self.pairs.push((Some(self.left.place()), found));
        self.left.skip();
        Ok(true)
    }

    fn near(&self, found: Option<(At, i64)>, now_us: i64) -> Option<At> {
        let (place, at_us) = found?;
        let near = self.on.tolerance_us.is_none_or(|max_us| now_us.saturating_sub(at_us) <= max_us);
        near.then_some(place)
    }

    /// All rows of the next instant of either side. False at the end.
    async fn splice(&mut self) -> Result<bool> {
        let has_left = self.left.fetch().await?;
        let has_right = self.right.fetch().await?;
        if !has_left && !has_right {
            return Ok(false);
        }
        let times = [self.left.time().filter(|_| has_left), self.right.time().filter(|_| has_right)];
        let Some(now_us) = times.into_iter().flatten().min() else {
            // Rows without a time, which stand last.
            if has_left {
                self.pairs.push((Some(self.left.place()), None));
                self.left.skip();
            } else {
                self.pairs.push((None, Some(self.right.place())));
                self.right.skip();
            }
            return Ok(true);
        };
        let mut rights: Vec<(Box<[u8]>, At)> = Vec::new();
        while self.right.fetch().await? && self.right.time() == Some(now_us) {
            rights.push((self.right.key().into(), self.right.place()));
            self.right.keep(now_us);
            self.right.skip();
        }
        let mut taken = std::collections::HashSet::new();
        while self.left.fetch().await? && self.left.time() == Some(now_us) {
            let found = self.near(self.right.last(self.left.key()), now_us);
            taken.extend(found);
            self.pairs.push((Some(self.left.place()), found));
            self.left.keep(now_us);
            self.left.skip();
        }
        for (key, place) in rights {
            if !taken.contains(&place) {
                let found = self.near(self.left.last(&key), now_us);
                self.pairs.push((found, Some(place)));
            }
        }
        Ok(true)
    }

    /// The pairs that wait as a batch; then what is not needed any more is let go.
    fn leave(&mut self) -> Result<RecordBatch> {
        let (lefts, rights): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pairs).into_iter().unzip();
        let left = gather(&self.schemas[0], &self.left.batches, &lefts)?;
        let right = gather(&self.schemas[1], &self.right.batches, &rights)?;
        let columns = left.columns().iter().chain(right.columns()).cloned().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(lefts.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        self.left.compact()?;
        self.right.compact()?;
        Ok(rows)
    }
}
