//! `long_sequence(n[, seed1, seed2])`: a table of one column `x`, 1 to n, made batch by batch as it is read.
//!
//! The seeds are not its own: they are found by what draws random values over it (see [`super::random`]).

use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider, streaming::StreamingTable},
    common::{Result, ScalarValue, plan_err},
    datasource::TableType,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, col},
    physical_plan::{ExecutionPlan, stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use futures::stream;

pub(super) const NAME: &str = "long_sequence";

/// The one column.
pub(super) const COLUMN: &str = "x";

#[derive(Debug)]
pub(super) struct LongSequence;

impl TableFunctionImpl for LongSequence {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let (rows, seeds) = match args.exprs() {
            [rows] => (rows, None),
            [rows, first, second] => (rows, Some([long(first)? as u64, long(second)? as u64])),
            other => return plan_err!("the function '{NAME}' takes 1 or 3 arguments, got {}", other.len()),
        };
        Ok(Arc::new(Sequence::new(long(rows)?.max(0), seeds)?))
    }
}

fn long(arg: &Expr) -> Result<i64> {
    match arg {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(Some(value))) => Ok(value),
            _ => plan_err!("the function '{NAME}' takes whole numbers as arguments, got {value}"),
        },
        other => plan_err!("the function '{NAME}' takes constants as arguments, got {other}"),
    }
}

/// The table of one call.
#[derive(Debug)]
pub(super) struct Sequence {
    /// What the caller gave, for equal values in every run.
    pub(super) seeds: Option<[u64; 2]>,
    table: StreamingTable,
}

impl Sequence {
    fn new(rows: i64, seeds: Option<[u64; 2]>) -> Result<Sequence> {
        let schema = Arc::new(Schema::new(vec![Field::new(COLUMN, DataType::Int64, false)]));
        let table = StreamingTable::try_new(schema.clone(), vec![Arc::new(Numbers { schema, rows })])?
            .with_sort_order(vec![col(COLUMN).sort(true, true)]);
        Ok(Sequence { seeds, table })
    }
}

#[async_trait]
impl TableProvider for Sequence {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.scan(state, projection, filters, limit).await
    }
}

#[derive(Debug)]
struct Numbers {
    schema: SchemaRef,
    rows: i64,
}

impl PartitionStream for Numbers {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let step = i64::try_from(context.session_config().batch_size()).unwrap_or(i64::MAX);
        let (schema, rows) = (self.schema.clone(), self.rows);
        let batches = (0..rows).step_by(usize::try_from(step).unwrap_or(usize::MAX)).map(move |done| {
            let numbers = Int64Array::from_iter_values(done + 1..=done.saturating_add(step).min(rows));
            Ok(RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers)])?)
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream::iter(batches)))
    }
}
