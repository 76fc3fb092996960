//! UPDATE and DELETE as items of a record: the rows that go by their numbers, and the rows that come.
//!
//! The rows are found in the statement's snapshot. Whoever runs the statement sees to it that no other one takes rows
//! away between the snapshot and the record.

use std::sync::Arc;

use ahash::AHashSet;
use arrow::{
    array::{AsArray, BooleanArray, RecordBatch, UInt64Array},
    compute::{concat_batches, filter_record_batch, max, min, sort_to_indices, take_record_batch},
    datatypes::{Field, Schema, TimestampMicrosecondType, UInt64Type},
};
use datafusion::{
    common::Column,
    logical_expr::{Expr, LogicalPlanBuilder},
};
use futures::TryStreamExt;
use nowcast_model::{Batch, Event, Item, TableSchema, limits::RECORD_BYTES_MAX};

use crate::{
    catalog::require_table,
    context::QueryContext,
    convert::convert,
    engine::{Mode, QueryEngine},
    error::{SqlCode, SqlError},
    failure,
    planned::Planned,
    statement::{Delete, Update},
    write::undefined_column,
};

/// Ranges of row numbers in one record: each is some twenty bytes in the log.
const RANGES_MAX: usize = 1_000_000;

pub(crate) async fn update(
    engine: &QueryEngine,
    ctx: &QueryContext,
    update: &Update,
) -> Result<Vec<Item>, SqlError> {
    let schema = require_table(ctx, &update.table)?.schema.clone();
    let mut targets = Vec::with_capacity(update.columns.len());
    for (name, place) in &update.columns {
        let index = schema.index_of(name).ok_or_else(|| undefined_column(&schema, name).at(*place))?;
        if targets.contains(&index) {
            let message = format!("the column {name:?} is set twice");
            return Err(SqlError::new(SqlCode::DuplicateColumn, message).at(*place));
        }
        if schema.timestamp == Some(index) {
            let message = format!("the time column {name:?} cannot be set");
            let error = SqlError::new(SqlCode::NotSupported, message).at(*place);
            return Err(error.hint("INSERT the rows with their new times, and DELETE the old ones"));
        }
        targets.push(index);
    }
    let planned = engine.plan(ctx, &update.select, Mode::Batch)?;
    let fields = schema.columns.iter().map(|column| Field::new(&*column.name, column.ty.arrow(), true));
    let mut fields: Vec<Field> = fields.collect();
    fields.push(Field::new("", arrow::datatypes::DataType::UInt64, false));
    let form = Arc::new(Schema::new(fields));
    let width = schema.columns.len();
    let place = update.select.text.place(0);
    let rows = read(engine, ctx, &planned, &form, |batch| {
        // `_seq`, the table's columns, then the new values.
        let mut columns = batch.columns()[1..=width].to_vec();
        for (value, &target) in targets.iter().enumerate() {
            let new = batch.column(1 + width + value);
            columns[target] = convert(new, form.field(target)).map_err(|e| e.at(update.columns[value].1))?;
        }
        for (column, field) in columns.iter_mut().zip(form.fields()) {
            *column = convert(column, field).map_err(|e| e.at(place))?;
        }
        columns.push(batch.column(0).clone());
        Ok(columns)
    })
    .await?;
    let Some(event) = gone(&schema, &rows, schema.timestamp, width)? else { return Ok(Vec::new()) };
    let columns: Vec<usize> = (0..width).collect();
    let rows = rows.project(&columns).map_err(|e| internal(&e))?;
    let batch = Batch { table: schema.name.clone(), rows, timestamp: schema.timestamp };
    Ok(vec![Item::Event(event), Item::Rows(batch)])
}

pub(crate) async fn delete(
    engine: &QueryEngine,
    ctx: &QueryContext,
    delete: &Delete,
) -> Result<Vec<Item>, SqlError> {
    let schema = require_table(ctx, &delete.table)?.schema.clone();
    if delete.is_all {
        return Ok(vec![Item::Event(Event::Truncate { table: schema.name.clone() })]);
    }
    let mut planned = engine.plan(ctx, &delete.select, Mode::Batch)?;
    // Of the columns, the time alone is read.
    let needed = [Some(0), schema.timestamp.map(|time| time + 1)];
    let needed = needed.into_iter().flatten();
    let exprs = needed.map(|index| {
        let (qualifier, field) = planned.plan.schema().qualified_field(index);
        Expr::Column(Column::from((qualifier, field)))
    });
    let exprs: Vec<Expr> = exprs.collect();
    planned.names.truncate(0);
    planned.plan = LogicalPlanBuilder::from(planned.plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| failure::locate(&e, &delete.select.text, Some(&planned.state)))?;
    let mut fields = Vec::new();
    if let Some(time) = schema.timestamp {
        fields.push(Field::new("ts", schema.columns[time].ty.arrow(), true));
    }
    fields.push(Field::new("", arrow::datatypes::DataType::UInt64, false));
    let time = schema.timestamp.map(|_| 0);
    let seq = fields.len() - 1;
    let form = Arc::new(Schema::new(fields));
    let rows = read(engine, ctx, &planned, &form, |batch| {
        Ok(batch.columns().iter().skip(1).chain([batch.column(0)]).cloned().collect())
    })
    .await?;
    Ok(gone(&schema, &rows, time, seq)?.map(Item::Event).into_iter().collect())
}

/// The rows of the plan in the form `form`, each once, ascending by `_seq`, which is the last column.
async fn read(
    engine: &QueryEngine,
    ctx: &QueryContext,
    planned: &Planned,
    form: &Arc<Schema>,
    mut columns: impl FnMut(&RecordBatch) -> Result<Vec<arrow::array::ArrayRef>, SqlError>,
) -> Result<RecordBatch, SqlError> {
    let mut result = engine.run(ctx, planned).await?;
    let (mut batches, mut bytes) = (Vec::new(), 0);
    // A row that several rows of other tables fit changes once.
    let mut seen: AHashSet<u64> = AHashSet::new();
    let failed = |e: &datafusion::error::DataFusionError| failure::locate(e, &planned.text, None);
    while let Some(batch) = result.stream.try_next().await.map_err(|e| failed(&e))? {
        let rows = RecordBatch::try_new(form.clone(), columns(&batch)?).map_err(|e| internal(&e))?;
        let seqs = rows.column(rows.num_columns() - 1).as_primitive::<UInt64Type>();
        let first: BooleanArray = seqs.values().iter().map(|&seq| Some(seen.insert(seq))).collect();
        let rows = match first.true_count() == rows.num_rows() {
            true => rows,
            false => filter_record_batch(&rows, &first).map_err(|e| internal(&e))?,
        };
        bytes += rows.get_array_memory_size();
        if bytes > RECORD_BYTES_MAX {
            let mib = RECORD_BYTES_MAX >> 20;
            let message =
                format!("one statement may change at most {mib} MiB of rows: it is one atomic record");
            let error = SqlError::new(SqlCode::Resources, message).at(planned.text.place(0));
            return Err(error.hint("change a range of time after the other"));
        }
        batches.push(rows);
    }
    let rows = concat_batches(form, &batches).map_err(|e| internal(&e))?;
    let order = sort_to_indices(rows.column(rows.num_columns() - 1), None, None).map_err(|e| internal(&e))?;
    take_record_batch(&rows, &order).map_err(|e| internal(&e))
}

/// The event that takes the rows away; `None` if there are none.
fn gone(
    schema: &TableSchema,
    rows: &RecordBatch,
    time: Option<usize>,
    seq: usize,
) -> Result<Option<Event>, SqlError> {
    let seqs: &UInt64Array = rows.column(seq).as_primitive();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &seq in seqs.values() {
        match ranges.last_mut() {
            Some((_, end)) if *end == seq => *end += 1,
            _ => ranges.push((seq, seq + 1)),
        }
    }
    if ranges.is_empty() {
        return Ok(None);
    }
    if ranges.len() > RANGES_MAX {
        let message =
            format!("the rows to change lie in {} places, at most {RANGES_MAX} are allowed", ranges.len());
        return Err(SqlError::new(SqlCode::Resources, message).hint("change a range of time after the other"));
    }
    let times = time.and_then(|time| rows.column(time).as_primitive_opt::<TimestampMicrosecondType>());
    let times_us = times.and_then(|times| min(times).zip(max(times)));
    let times_us = times_us.map(|(first_us, last_us)| (first_us, last_us + 1));
    Ok(Some(Event::DeleteRows { table: schema.name.clone(), seqs: ranges, times_us }))
}

fn internal(error: &arrow::error::ArrowError) -> SqlError {
    SqlError::new(SqlCode::Internal, error.to_string())
}
