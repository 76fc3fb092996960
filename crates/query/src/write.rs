//! Statements that change tables, as items of a record.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::{CastOptions, cast_with_options, concat_batches},
    datatypes::{DataType, Field, Schema},
};
use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr, Value as AstValue};
use futures::TryStreamExt;
use nowcast_model::{Batch, Event, Item, PartitionBy, TableSchema, limits::RECORD_BYTES_MAX};
use nowcast_store::partition_range_us;

use crate::{
    catalog::{new_name, require_table},
    context::QueryContext,
    engine::{Mode, QueryEngine},
    error::{Place, SqlCode, SqlError, did_you_mean},
    failure, mutate, planned,
    statement::{CreateTable, Insert, NameRef, Select, Statement},
};

pub(crate) async fn items(
    engine: &QueryEngine,
    ctx: &QueryContext,
    statement: &Statement,
) -> Result<Vec<Item>, SqlError> {
    let one = |event| Ok(vec![Item::Event(event)]);
    match statement {
        Statement::Insert(insert) => {
            Ok(rows(engine, ctx, insert).await?.into_iter().map(Item::Rows).collect())
        }
        Statement::Update(update) => mutate::update(engine, ctx, update).await,
        Statement::Delete(delete) => mutate::delete(engine, ctx, delete).await,
        Statement::CreateTable(create) => match table_schema(ctx, create)? {
            Some(schema) => one(Event::CreateTable { schema }),
            None => Ok(Vec::new()),
        },
        Statement::CreateSchema { name, if_not_exists, place } => {
            nowcast_model::check_name(name)
                .map_err(|e| SqlError::new(SqlCode::Name, e.to_string()).at(*place))?;
            match (ctx.snapshot.has_schema(name), if_not_exists) {
                (false, _) => one(Event::CreateSchema { schema: name.clone() }),
                (true, true) => Ok(Vec::new()),
                (true, false) => {
                    let message = format!("the schema {name:?} exists already");
                    let error = SqlError::new(SqlCode::DuplicateTable, message).at(*place);
                    Err(error.hint("write CREATE SCHEMA IF NOT EXISTS"))
                }
            }
        }
        Statement::DropTable { tables, if_exists } => {
            each(ctx, tables, *if_exists, |schema| Event::DropTable { table: schema.name.clone() })
        }
        Statement::Truncate { tables, if_exists } => {
            each(ctx, tables, *if_exists, |schema| Event::Truncate { table: schema.name.clone() })
        }
        Statement::AddColumns { table, columns, if_not_exists } => {
            let schema = &require_table(ctx, table)?.schema;
            let mut new = schema.as_ref().clone();
            let mut added = Vec::new();
            for column in columns {
                if schema.index_of(&column.name).is_some() {
                    if *if_not_exists {
                        continue;
                    }
                    let message = format!("the table {} has a column {:?} already", schema.name, column.name);
                    let error = SqlError::new(SqlCode::DuplicateColumn, message).at(table.place);
                    return Err(error.hint("write ADD COLUMN IF NOT EXISTS"));
                }
                new.columns.push(column.clone());
                added.push(column.clone());
            }
            new.check().map_err(|e| SqlError::new(SqlCode::Name, e.to_string()).at(table.place))?;
            match added.is_empty() {
                true => Ok(Vec::new()),
                false => one(Event::AddColumns { table: schema.name.clone(), columns: added }),
            }
        }
        Statement::SetTtl { table, ttl_s } => {
            let schema = &require_table(ctx, table)?.schema;
            if ttl_s.is_some() && schema.partition_by == PartitionBy::None {
                let message = format!("the table {} has no partitions that could grow old", schema.name);
                let error = SqlError::new(SqlCode::NotSupported, message).at(table.place);
                return Err(error.hint("create it with timestamp(ts) PARTITION BY DAY"));
            }
            one(Event::SetTtl { table: schema.name.clone(), ttl_s: *ttl_s })
        }
        Statement::SetDedup { table, keys } => {
            let mut schema = TableSchema::clone(&require_table(ctx, table)?.schema);
            schema.dedup_keys = key_columns(&schema, keys, table.place)?;
            let keys = schema.dedup_keys.iter().map(|&key| schema.columns[key].name.clone()).collect();
            one(Event::SetDedupKeys { table: schema.name, keys })
        }
        Statement::DropPartitions { table, partitions } => {
            let schema = &require_table(ctx, table)?.schema;
            partitions
                .iter()
                .map(|(text, place)| {
                    let Some((from_us, until_us)) = partition_times(schema.partition_by, text) else {
                        let message = format!("{text:?} names no partition of {}", schema.name);
                        let error = SqlError::new(SqlCode::Syntax, message).at(*place);
                        return Err(match schema.partition_by {
                            PartitionBy::None => {
                                error.hint("it has no partitions: TRUNCATE TABLE takes all rows")
                            }
                            by => error.hint(format!(
                                "it is partitioned by {}: write its beginning, as {:?}",
                                by.name(),
                                partition_example(by)
                            )),
                        });
                    };
                    Ok(Item::Event(Event::DropRange { table: schema.name.clone(), from_us, until_us }))
                })
                .collect()
        }
        other => {
            let message = format!("{} changes no table", other.tag());
            Err(SqlError::new(SqlCode::Internal, message))
        }
    }
}

fn each(
    ctx: &QueryContext,
    tables: &[NameRef],
    if_exists: bool,
    event: impl Fn(&TableSchema) -> Event,
) -> Result<Vec<Item>, SqlError> {
    let mut items = Vec::new();
    for table in tables {
        match require_table(ctx, table) {
            Ok(version) => items.push(Item::Event(event(&version.schema))),
            Err(_) if if_exists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(items)
}

/// What CREATE TABLE makes; `None` if the table is there and may be.
fn table_schema(ctx: &QueryContext, create: &CreateTable) -> Result<Option<TableSchema>, SqlError> {
    let name = new_name(ctx, &create.table);
    let place = create.table.place;
    if ctx.snapshot.table(&name).is_some() {
        if create.if_not_exists {
            return Ok(None);
        }
        let message = format!("the table {name} exists already");
        let error = SqlError::new(SqlCode::DuplicateTable, message).at(place);
        return Err(error.hint("write CREATE TABLE IF NOT EXISTS"));
    }
    if !ctx.snapshot.has_schema(&name.schema) {
        let message = format!("there is no schema {:?}", &*name.schema);
        let error = SqlError::new(SqlCode::UndefinedSchema, message).at(place);
        return Err(error.hint(format!("CREATE SCHEMA {} first", name.schema)));
    }
    let mut schema = TableSchema {
        name,
        columns: create.columns.clone(),
        timestamp: None,
        partition_by: PartitionBy::None,
        ttl_s: create.ttl_s,
        dedup_keys: Vec::new(),
    };
    let index = |schema: &TableSchema, column: &(String, Place)| {
        schema.index_of(&column.0).ok_or_else(|| undefined_column(schema, &column.0).at(column.1))
    };
    if let Some(column) = &create.timestamp {
        let at = index(&schema, column)?;
        schema.timestamp = Some(at);
        schema.partition_by = PartitionBy::Day;
    }
    if let Some((by, place)) = create.partition_by {
        if by != PartitionBy::None && schema.timestamp.is_none() {
            let message = format!("PARTITION BY {} needs a time column", by.name());
            let error = SqlError::new(SqlCode::Syntax, message).at(place);
            return Err(error.hint("name it before: … ) timestamp(ts) PARTITION BY …"));
        }
        schema.partition_by = by;
    }
    if create.ttl_s.is_some() && schema.partition_by == PartitionBy::None {
        let error = SqlError::new(SqlCode::Syntax, "TTL needs partitions that can grow old").at(place);
        return Err(error.hint("write … ) timestamp(ts) PARTITION BY DAY TTL 7 DAYS"));
    }
    schema.dedup_keys = key_columns(&schema, &create.dedup_keys, place)?;
    schema.check().map_err(|e| {
        let code = if matches!(e, nowcast_model::SchemaError::Duplicate { .. }) {
            SqlCode::DuplicateColumn
        } else {
            SqlCode::Name
        };
        SqlError::new(code, e.to_string()).at(place)
    })?;
    Ok(Some(schema))
}

/// The columns of DEDUP UPSERT KEYS, none for none.
fn key_columns(schema: &TableSchema, keys: &[(String, Place)], place: Place) -> Result<Vec<usize>, SqlError> {
    let mut columns = Vec::with_capacity(keys.len());
    for (name, place) in keys {
        let column = schema.index_of(name).ok_or_else(|| undefined_column(schema, name).at(*place))?;
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let place = keys.first().map_or(place, |(_, place)| *place);
    match schema.timestamp {
        _ if columns.is_empty() => Ok(columns),
        Some(time) if columns.contains(&time) => Ok(columns),
        Some(time) => {
            let time = &schema.columns[time].name;
            let message = format!("DEDUP UPSERT KEYS must name the time column {time:?}");
            Err(SqlError::new(SqlCode::Syntax, message).at(place).hint("a key holds within one time"))
        }
        None => {
            let error = SqlError::new(SqlCode::Syntax, "DEDUP UPSERT KEYS needs a time column").at(place);
            Err(error.hint("write … ) timestamp(ts) PARTITION BY DAY DEDUP UPSERT KEYS(ts, …)"))
        }
    }
}

fn partition_example(by: PartitionBy) -> &'static str {
    match by {
        PartitionBy::Hour => "2026-01-31T15",
        PartitionBy::Month => "2026-01",
        PartitionBy::Year => "2026",
        PartitionBy::Day | PartitionBy::Week | PartitionBy::None => "2026-01-31",
    }
}

/// The times of the partition that holds the beginning of `text`: `2026`, `2026-01`, `2026-01-31`,
/// `2026-01-31T15`, or any longer time.
fn partition_times(by: PartitionBy, text: &str) -> Option<(i64, i64)> {
    let full = match text.len() {
        4 => format!("{text}-01-01T00:00:00"),
        7 => format!("{text}-01T00:00:00"),
        10 => format!("{text}T00:00:00"),
        13 => format!("{text}:00:00"),
        _ => text.trim_end_matches('Z').to_owned(),
    };
    let time: chrono::NaiveDateTime = full.replacen(' ', "T", 1).parse().ok()?;
    partition_range_us(by, time.and_utc().timestamp_micros())
}

pub(crate) fn undefined_column(schema: &TableSchema, name: &str) -> SqlError {
    let message = format!("the table {} has no column {name:?}", schema.name);
    let error = SqlError::new(SqlCode::UndefinedColumn, message);
    match did_you_mean("columns", name, schema.columns.iter().map(|c| &*c.name)) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The table's columns that an INSERT fills, in its order.
fn targets(schema: &TableSchema, insert: &Insert) -> Result<Vec<usize>, SqlError> {
    if insert.columns.is_empty() {
        return Ok((0..schema.columns.len()).collect());
    }
    let mut targets = Vec::with_capacity(insert.columns.len());
    for (name, place) in &insert.columns {
        let index = schema.index_of(name).ok_or_else(|| undefined_column(schema, name).at(*place))?;
        if targets.contains(&index) {
            let message = format!("the column {name:?} is named twice");
            return Err(SqlError::new(SqlCode::DuplicateColumn, message).at(*place));
        }
        targets.push(index);
    }
    Ok(targets)
}

async fn rows(engine: &QueryEngine, ctx: &QueryContext, insert: &Insert) -> Result<Option<Batch>, SqlError> {
    let schema = require_table(ctx, &insert.table)?.schema.clone();
    let targets = targets(&schema, insert)?;
    let planned = engine.plan(ctx, &insert.source, Mode::Batch)?;
    let width = planned.plan.schema().fields().len();
    if width != targets.len() && !(insert.columns.is_empty() && width < targets.len()) {
        let message = format!("{width} values are given for {} columns", targets.len());
        let error = SqlError::new(SqlCode::Syntax, message).at(insert.source.text.place(0));
        let names: Vec<&str> = targets.iter().map(|&i| &*schema.columns[i].name).collect();
        return Err(error.hint(format!("the columns are {}", names.join(", "))));
    }
    let targets = &targets[..width];
    if let Some(time) = schema.timestamp
        && !targets.contains(&time)
    {
        let message = format!("no value is given for the time column {:?}", &*schema.columns[time].name);
        let error = SqlError::new(SqlCode::Data, message).at(insert.table.place);
        return Err(error.hint("name it among the columns; now() is a value"));
    }
    let fields: Vec<Field> = targets
        .iter()
        .map(|&i| Field::new(&*schema.columns[i].name, schema.columns[i].ty.arrow(), true))
        .collect();
    let target = Arc::new(Schema::new(fields));
    let mut result = engine.run(ctx, &planned).await?;
    let mut batches = Vec::new();
    let mut bytes = 0;
    let failed = |e: &datafusion::error::DataFusionError| failure::locate(e, &insert.source.text, None);
    while let Some(batch) = result.stream.try_next().await.map_err(|e| failed(&e))? {
        let columns = batch
            .columns()
            .iter()
            .zip(target.fields())
            .map(|(array, field)| convert(array, field).map_err(|e| e.at(insert.source.text.place(0))));
        let batch = RecordBatch::try_new(target.clone(), columns.collect::<Result<Vec<_>, _>>()?)
            .map_err(|e| SqlError::new(SqlCode::Internal, e.to_string()))?;
        bytes += batch.get_array_memory_size();
        if bytes > RECORD_BYTES_MAX {
            let mib = RECORD_BYTES_MAX >> 20;
            let message = format!("one INSERT may write at most {mib} MiB: it is one atomic record");
            let error = SqlError::new(SqlCode::Resources, message).at(insert.source.text.place(0));
            return Err(error.hint("insert a range of time after the other"));
        }
        batches.push(batch);
    }
    let rows = concat_batches(&target, &batches).map_err(|e| SqlError::new(SqlCode::Data, e.to_string()))?;
    let timestamp = schema.timestamp.and_then(|time| targets.iter().position(|&t| t == time));
    if let Some(at) = timestamp
        && rows.column(at).null_count() > 0
    {
        let message = format!("the time column {:?} cannot be NULL", target.field(at).name());
        let error = SqlError::new(SqlCode::Data, message).at(insert.source.text.place(0));
        return Err(error.hint("give every row a time; now() is a value"));
    }
    Ok((rows.num_rows() > 0).then(|| Batch { table: schema.name.clone(), rows, timestamp }))
}

/// Casts a column of the source to the type of the table's. A value that does not fit is an error.
pub(crate) fn convert(array: &ArrayRef, field: &Field) -> Result<ArrayRef, SqlError> {
    let to = field.data_type();
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let refuse = |cause: String| {
        let ty = crate::values::column_type(to);
        let message = format!("column {:?} is {ty}: {cause}", field.name());
        let error = SqlError::new(SqlCode::Data, message);
        match to {
            DataType::Timestamp(..) => {
                error.hint("write '2024-05-01T12:00:00.000000Z', or a number of microseconds")
            }
            _ => error.hint(format!("give a value that is {ty}")),
        }
    };
    let from = array.data_type();
    let is_text = |ty: &DataType| matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_time = |ty: &DataType| matches!(ty, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    // Casts that Arrow does and nobody means.
    if (is_time(from) && to.is_numeric() && !matches!(to, DataType::Int64))
        || (is_time(to) && (from.is_floating() || *from == DataType::Boolean))
        || (*from == DataType::Boolean && to.is_numeric())
        || (*to == DataType::Boolean && from.is_numeric())
    {
        return Err(refuse(format!("got {}", crate::values::column_type(from))));
    }
    if to.is_integer() && from.is_floating() {
        let rounded = cast_with_options(array, to, &options).map_err(|e| refuse(e.to_string()))?;
        let back = cast_with_options(&rounded, from, &options).map_err(|e| refuse(e.to_string()))?;
        if back.to_data() != array.to_data() {
            return Err(refuse("got a number with a fraction".to_owned()));
        }
        return Ok(rounded);
    }
    let array = if matches!(to, DataType::Dictionary(..)) && !is_text(from) {
        &cast_with_options(array, &DataType::Utf8, &options).map_err(|e| refuse(e.to_string()))?
    } else {
        array
    };
    cast_with_options(array, to, &options).map_err(|e| {
        let cause = e.to_string();
        let cause = cause.split_once(": ").map_or(cause.as_str(), |(_, rest)| rest);
        refuse(cause.to_owned())
    })
}

/// The types of the parameters of an UPDATE or a DELETE.
pub(crate) fn describe_mutation(
    engine: &QueryEngine,
    ctx: &QueryContext,
    table: &NameRef,
    columns: &[(String, Place)],
    select: &Select,
) -> Result<Vec<Option<DataType>>, SqlError> {
    let schema = require_table(ctx, table)?.schema.clone();
    let planned = engine.plan(ctx, select, Mode::Describe)?;
    let mut params = planned::parameter_types(&planned)?;
    let SetExpr::Select(body) = &*select.ast.body else { return Ok(params) };
    // The new values stand last.
    let values = body.projection.iter().rev().zip(columns.iter().rev());
    for (item, (name, _)) in values {
        let SelectItem::ExprWithAlias { expr, .. } = item else { continue };
        let Some(column) = schema.index_of(name) else { continue };
        param_type(&mut params, expr, &schema, column);
    }
    Ok(params)
}

/// A placeholder that stands for a cell has the type of its column.
fn param_type(params: &mut Vec<Option<DataType>>, expr: &Expr, schema: &TableSchema, column: usize) {
    let mut expr = expr;
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    let Expr::Value(value) = expr else { return };
    let AstValue::Placeholder(name) = &value.value else { return };
    let Some(number) = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()) else { return };
    if (1..=65_535).contains(&number) {
        if params.len() < number {
            params.resize(number, None);
        }
        let ty = schema.columns[column].ty.arrow();
        // Drivers know text, not dictionaries.
        let ty = if let DataType::Dictionary(_, value) = ty { *value } else { ty };
        params[number - 1] = Some(ty);
    }
}

/// The types of an INSERT's parameters: a placeholder that stands for a cell has its column's.
pub(crate) fn describe(
    engine: &QueryEngine,
    ctx: &QueryContext,
    insert: &Insert,
) -> Result<Vec<Option<DataType>>, SqlError> {
    let schema = require_table(ctx, &insert.table)?.schema.clone();
    let targets = targets(&schema, insert)?;
    let planned = engine.plan(ctx, &insert.source, Mode::Describe)?;
    let mut params = planned::parameter_types(&planned)?;
    let rows: Vec<&[Expr]> = match &*insert.source.ast.body {
        SetExpr::Values(values) => values.rows.iter().map(|row| &row.content[..]).collect(),
        _ => Vec::new(),
    };
    for row in rows {
        for (expr, &target) in row.iter().zip(&targets) {
            param_type(&mut params, expr, &schema, target);
        }
    }
    Ok(params)
}
