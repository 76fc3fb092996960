//! Makes the rows that SAMPLE BY misses.
//!
//! The rows are gathered and sorted into one series for each key. Every series then has a row at every bucket
//! from the first that any of them has to the last (or from FROM to TO): its own, or one made of its
//! neighbours. Rows leave in the order of time, then of keys. A row without a time is left out.

use std::{collections::BTreeMap, fmt, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{SchemaRef, TimestampMicrosecondType},
    row::{RowConverter, SortField},
};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, plan_err, tree_node::TreeNodeRecursion},
    error::DataFusionError,
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    logical_expr::Expr,
    physical_expr::{
        Distribution, EquivalenceProperties, PhysicalExpr, PhysicalSortExpr, expressions::Column,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties,
        ReplaceChildrenOptions, execution_plan::EmissionType, stream::RecordBatchStreamAdapter,
    },
};
use futures::{TryStreamExt, stream};

use super::{gather::gather, index_of, literal, nullable_schema, properties, rows::Made};
use crate::{
    dialect::{
        bucket,
        calendar::{Buckets, Stride, Zone},
    },
    error::{SqlCode, SqlError},
};

/// Rows of one filled result: what a mistyped step over years of rows would make has no end else.
const ROWS_MAX: usize = 10_000_000;

/// What a made row shows in a column.
#[derive(Debug, Clone)]
pub(super) enum How {
    Key,
    Null,
    Prev,
    Linear,
    Value(ScalarValue),
}

#[derive(Debug, Clone)]
struct Spec {
    stride: Stride,
    zone: Zone,
    /// By the wall clock; `None`: the first row's time.
    origin_us: Option<i64>,
    from_us: Option<i64>,
    to_us: Option<i64>,
    time: usize,
    columns: Vec<(usize, How)>,
}

#[derive(Debug)]
pub(super) struct FillExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<Spec>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl FillExec {
    /// Of the marker's arguments, over the columns of `schema`.
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, args: &[Expr], schema: &DFSchema) -> Result<FillExec> {
        Ok(FillExec::with(input, Arc::new(spec(args, schema)?)))
    }

    fn with(input: Arc<dyn ExecutionPlan>, spec: Arc<Spec>) -> FillExec {
        let schema = nullable_schema(&input.schema());
        let time = Arc::new(Column::new(schema.field(spec.time).name(), spec.time));
        let options = arrow::compute::SortOptions { descending: false, nulls_first: false };
        let by_time = PhysicalSortExpr::new(time, options);
        let equivalence = EquivalenceProperties::new_with_orderings(schema.clone(), [[by_time]]);
        FillExec { input, spec, schema, properties: properties(equivalence, EmissionType::Final) }
    }
}

fn spec(args: &[Expr], schema: &DFSchema) -> Result<Spec> {
    let text = |expr: &Expr| match literal(expr) {
        Some(ScalarValue::Utf8(Some(text))) => Some(text.clone()),
        _ => None,
    };
    let [what, time, origin, from, to, columns @ ..] = args else {
        return plan_err!("FILL lacks its stride");
    };
    let Some((stride, zone)) = text(what).and_then(|text| bucket::spec(&text)) else {
        return plan_err!("FILL lacks its stride");
    };
    let instant = |expr: &Expr| match literal(expr) {
        Some(ScalarValue::TimestampMicrosecond(us, _)) => Ok(*us),
        _ => Err(refuse(
            "the ends of SAMPLE BY … FROM … TO … are no constants",
            "write times, or now() and intervals",
        )),
    };
    let mut made = Vec::new();
    let mut rest = columns.iter();
    while let (Some(how), Some(column)) = (rest.next(), rest.next()) {
        let column = index_of(column, schema)?;
        let how = match text(how).as_deref() {
            Some("key") => How::Key,
            Some("null") => How::Null,
            Some("prev") => How::Prev,
            Some("linear") if schema.field(column).data_type().is_numeric() => How::Linear,
            Some("linear") => {
                let ty = crate::values::column_type(schema.field(column).data_type());
                return Err(refuse(&format!("FILL(LINEAR) needs a number, got {ty}"), "use PREV or NULL"));
            }
            Some("value") => {
                let value = rest.next().and_then(literal);
                let ty = schema.field(column).data_type();
                let fits = value.and_then(|value| value.cast_to(ty).ok());
                let Some(fits) = fits else {
                    let ty = crate::values::column_type(ty);
                    let hint = "give a constant of the aggregate's type, or NULL, PREV, LINEAR";
                    return Err(refuse(&format!("a value of FILL is not a {ty}"), hint));
                };
                How::Value(fits)
            }
            _ => return plan_err!("FILL has an unknown column"),
        };
        made.push((column, how));
    }
    Ok(Spec {
        stride,
        zone,
        origin_us: instant(origin)?,
        from_us: instant(from)?,
        to_us: instant(to)?,
        time: index_of(time, schema)?,
        columns: made,
    })
}

fn refuse(message: &str, hint: &str) -> DataFusionError {
    let error = SqlError::new(SqlCode::Syntax, message).hint(hint);
    crate::failure::external(error, "FILL")
}

fn too_many() -> DataFusionError {
    let message = format!("FILL would make more than {ROWS_MAX} rows");
    let hint =
        "narrow the time range with WHERE or FROM … TO …, group by fewer keys, or sample by a longer step";
    crate::failure::external(SqlError::new(SqlCode::Resources, message).hint(hint), "FILL")
}

impl DisplayAs for FillExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FillExec: step={}", self.spec.stride)
    }
}

impl ExecutionPlan for FillExec {
    fn name(&self) -> &str {
        "FillExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
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
        Ok(Arc::new(FillExec::with(children.swap_remove(0), self.spec.clone())))
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(FillExec::with(children.swap_remove(0), self.spec.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context.clone())?;
        let reservation = MemoryConsumer::new("FillExec").register(context.memory_pool());
        let (spec, schema) = (self.spec.clone(), self.schema.clone());
        let batch_rows = context.session_config().batch_size().max(1);
        let all = async move {
            let rows = gather(input, &reservation).await?;
            let filling = Filling::new(&spec, rows, schema, reservation)?;
            Ok::<_, DataFusionError>(stream::try_unfold(filling, move |mut filling| async move {
                Ok(filling.next(batch_rows)?.map(|batch| (batch, filling)))
            }))
        };
        let stream = stream::once(all).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream)))
    }
}

/// The rows of one key.
struct Series {
    /// Times with their rows, in order.
    rows: Vec<(i64, u32)>,
    /// The next of them.
    at: usize,
}

/// A fill that is under way.
struct Filling {
    made: Made,
    series: Vec<Series>,
    buckets: Buckets,
    /// The bucket to be written; `None` at the end.
    now_us: Option<i64>,
    /// The series to be written at it.
    key: usize,
    /// Behind the last bucket.
    end_us: i64,
    rows: usize,
    /// Held until all rows are out.
    _reservation: MemoryReservation,
}

impl Filling {
    fn new(
        spec: &Spec,
        rows: RecordBatch,
        schema: SchemaRef,
        reservation: MemoryReservation,
    ) -> Result<Filling> {
        let Some(times) = rows.column(spec.time).as_primitive_opt::<TimestampMicrosecondType>() else {
            return plan_err!("FILL needs a time");
        };
        let (min, max) = (arrow::compute::min(times), arrow::compute::max(times));
        reservation.try_grow(rows.num_rows() * 32)?;
        let series = series(spec, &rows, times)?;
        let origin_us = spec.origin_us.or(min).unwrap_or(0);
        let buckets = Buckets { stride: spec.stride, zone: spec.zone, origin_us };
        // FROM and TO are of the wall clock only as far as buckets are: rows were filtered by the instant.
        let start_us = spec.from_us.map(|us| buckets.floor(us)).or(min);
        let end_us = spec.to_us.or_else(|| max.map(|us| us.saturating_add(1)));
        let (now_us, end_us) = match (start_us, end_us) {
            (Some(start_us), Some(end_us)) if start_us < end_us && !series.is_empty() => {
                (Some(start_us), end_us)
            }
            _ => (None, i64::MIN),
        };
        if let Some(start_us) = now_us {
            let step_us = spec.stride.fixed_us().unwrap_or(28 * 86_400_000_000);
            let steps = (i128::from(end_us) - i128::from(start_us)) / i128::from(step_us.max(1));
            if steps * series.len() as i128 > ROWS_MAX as i128 {
                return Err(too_many());
            }
        }
        let made = Made::new(schema, rows, spec.time, &spec.columns)?;
        Ok(Filling { made, series, buckets, now_us, key: 0, end_us, rows: 0, _reservation: reservation })
    }

    /// The next rows, about `count`; `None` at the end.
    fn next(&mut self, count: usize) -> Result<Option<RecordBatch>> {
        while let Some(now_us) = self.now_us
            && self.made.len() < count
        {
            let series = &mut self.series[self.key];
            let next = series.rows.get(series.at).copied();
            let before = series.at.checked_sub(1).map(|at| series.rows[at]);
            match next {
                Some((at_us, row)) if at_us <= now_us => {
                    series.at += 1;
                    self.made.own(at_us, row);
                }
                _ => self.made.gap(now_us, before, next),
            }
            self.rows += 1;
            if self.rows > ROWS_MAX {
                return Err(too_many());
            }
            self.key += 1;
            if self.key == self.series.len() {
                self.key = 0;
                let next_us = self.buckets.next(now_us);
                // A row off the grid, of another way to cut time, would be left behind.
                let own_us = self.series.iter().filter_map(|s| s.rows.get(s.at).map(|row| row.0)).min();
                let next_us = match (next_us, own_us) {
                    (Some(next_us), Some(own_us)) => Some(next_us.min(own_us)),
                    (next_us, own_us) => next_us.or(own_us),
                };
                self.now_us = next_us.filter(|us| *us < self.end_us);
            }
        }
        if self.made.is_empty() { Ok(None) } else { self.made.take().map(Some) }
    }
}

/// The rows by key, keys in their order.
fn series(
    spec: &Spec,
    rows: &RecordBatch,
    times: &arrow::array::TimestampMicrosecondArray,
) -> Result<Vec<Series>> {
    let keys: Vec<ArrayRef> = spec
        .columns
        .iter()
        .filter(|(_, how)| matches!(how, How::Key))
        .map(|(column, _)| rows.column(*column).clone())
        .collect();
    let mut of_key: Vec<Vec<(i64, u32)>> = Vec::new();
    let row_of = |row: usize| u32::try_from(row).map_err(|_| too_many());
    if keys.is_empty() {
        // With FROM and TO there are rows even if there were none.
        let has_rows = times.null_count() < times.len() || (spec.from_us.is_some() && spec.to_us.is_some());
        let mut all = Vec::new();
        for row in (0..times.len()).filter(|&row| times.is_valid(row)) {
            all.push((times.value(row), row_of(row)?));
        }
        if has_rows {
            of_key.push(all);
        }
    } else {
        let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
        let converted = RowConverter::new(fields)?.convert_columns(&keys)?;
        let mut by_key: BTreeMap<arrow::row::Row<'_>, Vec<(i64, u32)>> = BTreeMap::new();
        for row in (0..times.len()).filter(|&row| times.is_valid(row)) {
            by_key.entry(converted.row(row)).or_default().push((times.value(row), row_of(row)?));
        }
        of_key.extend(by_key.into_values());
    }
    let series = of_key.into_iter().map(|mut rows| {
        rows.sort_unstable();
        Series { rows, at: 0 }
    });
    Ok(series.collect())
}
