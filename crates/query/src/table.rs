//! A table of a snapshot as the planner sees it.
//!
//! One scan over two kinds of rows: hot batches in memory, and Parquet parts through DataFusion's reader (see
//! [`crate::parts`]), which skips row groups by their statistics. Parts whose time cannot match are left out before that. The
//! planner sees folded names (see [`crate::text`]); parts are read by the names that their files have, then
//! renamed. A part that is older than a column yields NULL for it.

use std::{any::Any, fmt, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{
        ColumnStatistics, DFSchema, Result, ScalarValue, Statistics, pruning::PrunableStatistics,
        stats::Precision,
    },
    datasource::{
        TableType,
        memory::{DataSourceExec, MemorySourceConfig},
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
    },
    execution::object_store::ObjectStoreUrl,
    logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, utils::conjunction},
    physical_expr::{PhysicalExpr, expressions::Column},
    physical_optimizer::pruning::PruningPredicateBuilder,
    physical_plan::{
        ExecutionPlan, empty::EmptyExec, filter::FilterExec, projection::ProjectionExec, union::UnionExec,
    },
};
use nowcast_model::name_key;
use nowcast_store::{Part, TableVersion};

use crate::{
    alive::Alive,
    parts::{PartReaders, file},
};

/// Hot batches that one partition of the scan is worth.
const HOT_BATCHES_SPLIT: usize = 8;

/// How a table shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Column names folded, for the planner; or as written, for catalogues.
    pub(crate) folded: bool,
    /// With the hidden `_seq` as the last column.
    pub(crate) seq: bool,
}

pub(crate) struct SnapshotTable {
    version: Arc<TableVersion>,
    schema: SchemaRef,
    /// The stored form under the names that files have.
    filed: SchemaRef,
}

impl fmt::Debug for SnapshotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotTable({})", self.version.schema.name)
    }
}

impl SnapshotTable {
    pub(crate) fn new(version: Arc<TableVersion>, shape: Shape) -> SnapshotTable {
        let mut fields: Vec<Field> =
            version.stored.fields().iter().map(|field| field.as_ref().clone()).collect();
        if !shape.seq {
            fields.pop();
        }
        if shape.folded {
            fields = fields
                .into_iter()
                .map(|f| {
                    let name = name_key(f.name());
                    f.with_name(name)
                })
                .collect();
        }
        let filed = Arc::new(version.schema.filed());
        SnapshotTable { version, schema: Arc::new(Schema::new(fields)), filed }
    }

    /// The table as the snapshot has it.
    pub(crate) fn version(&self) -> Arc<TableVersion> {
        Arc::clone(&self.version)
    }

    /// What the planner calls the designated timestamp.
    pub(crate) fn timestamp(&self) -> Option<String> {
        self.version.schema.timestamp.map(|at| self.schema.field(at).name().clone())
    }

    /// The hot rows, the columns of `projection` only.
    fn hot(&self, projection: &[usize], schema: &SchemaRef) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if self.version.hot.is_empty() {
            return Ok(None);
        }
        let project = |batch: &RecordBatch| {
            let columns = projection.iter().map(|&index| batch.column(index).clone()).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        };
        let batches: Vec<RecordBatch> =
            self.version.hot.iter().map(project).collect::<std::result::Result<_, _>>()?;
        let per_partition = batches.len().div_ceil(2).max(HOT_BATCHES_SPLIT);
        let partitions: Vec<Vec<RecordBatch>> = batches.chunks(per_partition).map(<[_]>::to_vec).collect();
        let exec = MemorySourceConfig::try_new_exec(&partitions, schema.clone(), None)?;
        Ok(Some(exec))
    }

    /// What is known of a part's rows, for all columns of the stored form. Of a part that hides its beginning:
    /// of the rows that it shows; its earliest time is a bound.
    fn part_statistics(&self, part: &Part) -> Statistics {
        let mut columns = vec![ColumnStatistics::new_unknown(); self.version.stored.fields().len()];
        if let (Some(time), Some(min), Some(max)) = (self.version.schema.timestamp, part.min_us, part.max_us)
        {
            let at = |us| Precision::Exact(ScalarValue::TimestampMicrosecond(Some(us), None));
            columns[time].min_value = at(min);
            columns[time].max_value = at(max);
            columns[time].null_count = Precision::Exact(0);
        }
        Statistics {
            num_rows: Precision::Exact(usize::try_from(part.rows).unwrap_or(usize::MAX)),
            total_byte_size: Precision::Absent,
            column_statistics: columns,
        }
    }

    /// The parts in which a row may satisfy `predicate` (over the stored form).
    fn prune(&self, predicate: Option<&Arc<dyn PhysicalExpr>>) -> Result<Vec<&Arc<Part>>> {
        let parts: Vec<&Arc<Part>> = self.version.parts.iter().collect();
        let (Some(predicate), false) = (predicate, parts.is_empty()) else { return Ok(parts) };
        let stored = &self.filed;
        let builder = PruningPredicateBuilder::new().with_file_schema(stored.clone());
        let Some(pruning) = builder.build(predicate.clone()) else { return Ok(parts) };
        let statistics = parts.iter().map(|part| Arc::new(self.part_statistics(part))).collect();
        let keep = pruning.prune(&PrunableStatistics::new(statistics, stored.clone()))?;
        Ok(parts.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(part, _)| part).collect())
    }

    /// A scan of parts that hide nothing, or of one that does. With `early` the reader itself holds rows against what
    /// is asked of them, column by column, and decodes the other columns of those that are left.
    fn parts(
        &self,
        parts: &[&Arc<Part>],
        projection: &[usize],
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        early: bool,
        partitions: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut source = ParquetSource::new(self.filed.clone())
            .with_parquet_file_reader_factory(Arc::new(PartReaders))
            .with_pushdown_filters(early);
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate.clone());
        }
        let mut total = Statistics::new_unknown(&self.filed);
        total.num_rows = Precision::Exact(0);
        let mut groups = vec![Vec::new(); partitions.clamp(1, parts.len().max(1))];
        // The earliest first: the first rows by time then are found before the most of them is read.
        let mut parts = parts.to_vec();
        parts.sort_by_key(|part| part.min_us);
        for (i, part) in parts.iter().enumerate() {
            let mut file = file(part);
            if !part.is_masked() {
                let statistics = self.part_statistics(part);
                total.num_rows = total.num_rows.add(&statistics.num_rows);
                file = file.with_statistics(Arc::new(statistics));
            } else {
                // The file holds more than the part shows.
                total.num_rows = Precision::Absent;
            }
            let slot = i % groups.len();
            groups[slot].push(file);
        }
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_statistics(total)
            .with_projection_indices(Some(projection.to_vec()))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// One that hides rows: their number, and the time if need be, are read along, and hidden rows left out.
    fn masked(
        &self,
        part: &Arc<Part>,
        projection: &[usize],
        predicate: Option<&Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut wanted = projection.to_vec();
        let mut place = |column: usize| {
            wanted.iter().position(|&c| c == column).unwrap_or_else(|| {
                wanted.push(column);
                wanted.len() - 1
            })
        };
        let seq = place(self.version.schema.columns.len());
        let time = self.version.schema.timestamp.filter(|_| part.visible_from_us.is_some()).map(place);
        let scan = self.parts(&[part], &wanted, predicate, false, 1)?;
        let column = |at: usize| -> Arc<dyn PhysicalExpr> {
            Arc::new(Column::new(scan.schema().field(at).name(), at))
        };
        let alive = Alive::new(part.clone(), column(seq), time.map(column));
        let rows: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(Arc::new(alive), scan)?);
        self.renamed(rows, projection.len())
    }

    /// The first `width` columns under the names that the planner knows.
    fn renamed(&self, plan: Arc<dyn ExecutionPlan>, width: usize) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = plan.schema();
        let shown = |index: usize| {
            let name = schema.field(index).name();
            let found = self.filed.index_of(name).ok();
            found.map_or_else(|| name.clone(), |i| self.schema.fields()[i].name().clone())
        };
        let names: Vec<String> = (0..width).map(shown).collect();
        let same = schema.fields().len() == width
            && names.iter().zip(schema.fields()).all(|(name, field)| name == field.name());
        if same {
            return Ok(plan);
        }
        let exprs: Vec<(Arc<dyn PhysicalExpr>, String)> = names
            .into_iter()
            .enumerate()
            .map(|(i, name)| {
                (Arc::new(Column::new(schema.field(i).name(), i)) as Arc<dyn PhysicalExpr>, name)
            })
            .collect();
        Ok(Arc::new(ProjectionExec::try_new(exprs, plan)?))
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let schema = Arc::new(self.schema.project(projection)?);
        let predicate = match conjunction(filters.to_vec()) {
            Some(filter) => {
                let df_schema = DFSchema::try_from(self.schema.clone())?;
                let folded = state.create_physical_expr(filter, &df_schema)?;
                Some(rename_columns(folded, &self.filed)?)
            }
            None => None,
        };
        let mut inputs = Vec::new();
        inputs.extend(self.hot(projection, &schema)?);
        let parts = self.prune(predicate.as_ref())?;
        let (masked, whole): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.is_masked());
        if !whole.is_empty() {
            let partitions = state.config().target_partitions();
            let early = filters.iter().any(|filter| selects_symbols(filter, &self.schema));
            let scan = self.parts(&whole, projection, predicate.as_ref(), early, partitions)?;
            inputs.push(self.renamed(scan, projection.len())?);
        }
        for part in masked {
            inputs.push(self.masked(part, projection, predicate.as_ref())?);
        }
        match inputs.len() {
            0 => Ok(Arc::new(EmptyExec::new(schema))),
            1 => Ok(inputs.remove(0)),
            _ => UnionExec::try_new(inputs),
        }
    }

    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Exact(usize::try_from(self.version.rows()).unwrap_or(usize::MAX));
        Some(statistics)
    }
}

/// True if rows with few of the values of a symbol are asked for: most rows fail it, and it costs little to say so, since
/// a symbol is held against it once for each value of a dictionary. Other conditions leave runs of rows too short or too
/// many to be worth a second reading.
fn selects_symbols(filter: &Expr, schema: &Schema) -> bool {
    let is_symbol = |expr: &Expr| {
        let Expr::Column(column) = expr else { return false };
        let field = schema.field_with_name(&column.name);
        field.is_ok_and(|field| matches!(field.data_type(), DataType::Dictionary(..)))
    };
    let is_value = |expr: &Expr| matches!(expr, Expr::Literal(..));
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            (is_symbol(left) && is_value(right)) || (is_value(left) && is_symbol(right))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            selects_symbols(left, schema) || selects_symbols(right, schema)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            selects_symbols(left, schema) && selects_symbols(right, schema)
        }
        Expr::InList(list) => !list.negated && is_symbol(&list.expr) && list.list.iter().all(is_value),
        _ => false,
    }
}

/// The expression over the names in files; indices are the same.
fn rename_columns(expr: Arc<dyn PhysicalExpr>, filed: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let renamed = expr.transform_up(|expr| {
        let any: &dyn Any = expr.as_ref();
        Ok(match any.downcast_ref::<Column>() {
            Some(column) => {
                let name = filed.field(column.index()).name();
                Transformed::yes(Arc::new(Column::new(name, column.index())) as Arc<dyn PhysicalExpr>)
            }
            None => Transformed::no(expr),
        })
    })?;
    Ok(renamed.data)
}
