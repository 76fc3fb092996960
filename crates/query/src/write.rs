//! Statements that change tables, as items of a record.

use nowcast_model::{Event, Item, PartitionBy, TableSchema, limits::RECORD_BYTES_MAX, name_key};
use nowcast_store::partition_range_us;

use crate::{
    alter,
    catalog::require_table,
    context::QueryContext,
    create::{self, key_columns},
    engine::QueryEngine,
    error::{SqlCode, SqlError, did_you_mean},
    insert::Inserting,
    mutate,
    statement::{CreateTable, NameRef, Statement},
};

pub(crate) async fn items(
    engine: &QueryEngine,
    ctx: &QueryContext,
    statement: &Statement,
) -> Result<Vec<Item>, SqlError> {
    let one = |event| Ok(vec![Item::Event(event)]);
    match statement {
        Statement::Insert(_) | Statement::CreateTable(CreateTable { source: Some(_), .. }) => {
            one_record(engine, ctx, statement).await
        }
        Statement::Update(update) => mutate::update(engine, ctx, update).await,
        Statement::Delete(delete) => mutate::delete(engine, ctx, delete).await,
        Statement::CreateTable(create) => match create::schema(ctx, create)? {
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
        Statement::SetDefault { name, value, .. } => {
            one(Event::SetDefault { name: name.clone(), value: value.clone() })
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
        Statement::RenameColumn { table, from, to } => {
            let schema = &require_table(ctx, table)?.schema;
            let column = schema.columns.iter().find(|column| name_key(&column.name) == name_key(&from.0));
            let column = column.ok_or_else(|| undefined_column(schema, &from.0).at(from.1))?;
            // One that it had before is its own.
            let others = schema.columns.iter().filter(|other| other.name != column.name);
            let mut taken = others.filter(|other| {
                [&other.name].into_iter().chain(&other.former).any(|name| name_key(name) == name_key(&to.0))
            });
            if let Some(other) = taken.next() {
                let message = format!("{:?} is, or was, the name of the column {:?}", to.0, &*other.name);
                let error = SqlError::new(SqlCode::DuplicateColumn, message).at(to.1);
                return Err(
                    error.hint("choose a name that no other column had: rows written under it are there")
                );
            }
            nowcast_model::check_name(&to.0)
                .map_err(|e| SqlError::new(SqlCode::Name, e.to_string()).at(to.1))?;
            let (from, to) = (column.name.clone(), to.0.as_str().into());
            one(Event::RenameColumn { table: schema.name.clone(), from, to })
        }
        Statement::DropColumns { table, columns, if_exists } => alter::drop(ctx, table, columns, *if_exists),
        Statement::RenameTable { table, to, if_exists, .. } => alter::rename(ctx, table, to, *if_exists),
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

/// All rows of a statement as one record.
async fn one_record(
    engine: &QueryEngine,
    ctx: &QueryContext,
    statement: &Statement,
) -> Result<Vec<Item>, SqlError> {
    let Some(mut rows) = Inserting::new(engine, ctx, statement).await? else { return Ok(Vec::new()) };
    let items = rows.next().await?.unwrap_or_default();
    if rows.next().await?.is_some() {
        let mib = RECORD_BYTES_MAX >> 20;
        let message = format!("the statement writes more than fits into one record of {mib} MiB");
        let error = SqlError::new(SqlCode::Resources, message);
        return Err(error.hint("send it outside of a transaction, where it is written in several"));
    }
    Ok(items)
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
