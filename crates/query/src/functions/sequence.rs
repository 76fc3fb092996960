//! `long_sequence(n[, seed1, seed2])`: a table of one column `x`, 1 to n, made batch by batch as it is read.
//!
//! The seeds are not its own: they are found by what draws random values over it (see [`super::random`]).

use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{
        Session, TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider,
        streaming::StreamingTable,
    },
    common::{Column, Result, ScalarValue, plan_err},
    datasource::TableType,
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryConsumer},
    logical_expr::Expr,
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
    /// `x`.
    table: StreamingTable,
    /// The rows alone.
    bare: StreamingTable,
}

impl Sequence {
    fn new(rows: i64, seeds: Option<[u64; 2]>) -> Result<Sequence> {
        Sequence::of(COLUMN, 1, rows, seeds)
    }

    /// So many numbers from `first` on, as column `name`.
    fn of(name: &str, first: i64, rows: i64, seeds: Option<[u64; 2]>) -> Result<Sequence> {
        let table = |schema: Schema| {
            let schema = Arc::new(schema);
            StreamingTable::try_new(schema.clone(), vec![Arc::new(Numbers { schema, first, rows })])
        };
        let numbers = table(Schema::new(vec![Field::new(name, DataType::Int64, false)]))?;
        let sorted = numbers.with_sort_order(vec![Expr::Column(Column::from_name(name)).sort(true, true)]);
        Ok(Sequence { seeds, table: sorted, bare: table(Schema::empty())? })
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
        match projection {
            Some(columns) if columns.is_empty() => self.bare.scan(state, None, filters, limit).await,
            _ => self.table.scan(state, projection, filters, limit).await,
        }
    }
}

/// `generate_series` and `range` of whole numbers by ones are sequences, too; others stay DataFusion's.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) inner: Arc<TableFunction>,
}

impl TableFunctionImpl for Series {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let number = |arg: &Expr| match arg {
            Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
            _ => None,
        };
        let numbers: Option<Vec<i64>> = args.exprs().iter().map(number).collect();
        let (first, last) = match numbers.as_deref() {
            Some([last]) => (0, *last),
            Some([first, last] | [first, last, 1]) => (*first, *last),
            _ => return self.inner.create_table_provider_with_args(args),
        };
        let last = if self.inner.name() == "range" { last.saturating_sub(1) } else { last };
        let rows = last.saturating_sub(first).saturating_add(1).max(0);
        Ok(Arc::new(Sequence::of("value", first, rows, None)?))
    }
}

/// What a batch without columns weighs where somebody gathers such batches; nobody else would count it.
const BARE_BYTES: usize = 64;

#[derive(Debug)]
struct Numbers {
    schema: SchemaRef,
    first: i64,
    rows: i64,
}

impl PartitionStream for Numbers {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let bare = self.schema.fields().is_empty();
        // Also without columns: what is written beside each row may be long.
        let step = i64::try_from(context.session_config().batch_size()).unwrap_or(i64::MAX);
        let (schema, first, rows) = (self.schema.clone(), self.first, self.rows);
        let held = MemoryConsumer::new(NAME).register(context.memory_pool());
        let batches = (0..rows).step_by(usize::try_from(step).unwrap_or(usize::MAX)).map(move |done| {
            let count = step.min(rows - done);
            if bare {
                held.try_grow(BARE_BYTES)?;
                let options = RecordBatchOptions::new().with_row_count(usize::try_from(count).ok());
                return Ok(RecordBatch::try_new_with_options(schema.clone(), Vec::new(), &options)?);
            }
            let from = first.saturating_add(done);
            let numbers = Int64Array::from_iter_values(from..=from.saturating_add(count - 1));
            Ok(RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers)])?)
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream::iter(batches)))
    }
}
