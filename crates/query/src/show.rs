//! Tables about tables: `tables()`, `table_columns()`, SHOW, and the part of `information_schema` that tools
//! read. `table_partitions()` is in [`crate::partitions`].

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    error::ArrowError,
};
use datafusion::{catalog::TableProvider, common::Result};
use nowcast_model::{Column, ColumnType, TableSchema};
use nowcast_store::Written;

use crate::{
    catalog::{CATALOG, mem_table},
    context::QueryContext,
};

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
}

fn text<T: Into<Option<String>>>(cells: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(cells.into_iter().map(Into::into).collect::<StringArray>())
}

fn long(cells: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(cells.into_iter().map(Some).collect::<Int64Array>())
}

/// Every table, as QuestDB's `tables()`. Bytes written are NULL where nobody counts them.
pub(crate) fn tables(ctx: &QueryContext) -> Result<RecordBatch, ArrowError> {
    let all = || ctx.snapshot.tables.values();
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let written = ctx.system.as_ref().map(|system| system.written());
    let written: Vec<Option<Written>> = ctx
        .snapshot
        .tables
        .keys()
        .map(|key| written.as_ref().map(|all| all.get(key).copied().unwrap_or_default()))
        .collect();
    let bytes = |get: fn(&Written) -> u64| -> ArrayRef {
        Arc::new(written.iter().map(|w| w.as_ref().map(get).map(count)).collect::<Int64Array>())
    };
    let amplification = |w: &Option<Written>| {
        let w = w.filter(|w| w.flushed_bytes > 0)?;
        Some((w.flushed_bytes + w.merged_bytes) as f64 / w.flushed_bytes as f64)
    };
    batch(vec![
        ("id", long(1..=all().count() as i64)),
        ("table_name", text(all().map(|t| t.schema.name.table.to_string()))),
        ("schema_name", text(all().map(|t| t.schema.name.schema.to_string()))),
        ("designatedTimestamp", text(all().map(|t| t.schema.timestamp_column().map(|c| c.name.to_string())))),
        ("partitionBy", text(all().map(|t| t.schema.partition_by.name().to_owned()))),
        ("walEnabled", Arc::new(all().map(|_| Some(true)).collect::<BooleanArray>())),
        ("dedup", Arc::new(all().map(|t| Some(!t.schema.dedup_keys.is_empty())).collect::<BooleanArray>())),
        ("ttlSeconds", Arc::new(all().map(|t| t.schema.ttl_s.map(count)).collect::<Int64Array>())),
        ("rows", long(all().map(|t| count(t.rows())))),
        ("bytes", long(all().map(|t| count(t.bytes())))),
        ("oldest", Arc::new(all().map(|t| t.oldest_us).collect::<TimestampMicrosecondArray>())),
        ("newest", Arc::new(all().map(|t| t.newest_us).collect::<TimestampMicrosecondArray>())),
        ("parts", long(all().map(|t| t.parts.len() as i64))),
        ("hotRows", long(all().map(|t| t.hot.rows() as i64))),
        ("flushedBytes", bytes(|w| w.flushed_bytes)),
        ("mergedBytes", bytes(|w| w.merged_bytes)),
        ("writeAmplification", Arc::new(written.iter().map(amplification).collect::<Float64Array>())),
        ("system", Arc::new(all().map(|t| Some(is_own(ctx, &t.schema))).collect::<BooleanArray>())),
    ])
}

/// True for a table that the server writes itself.
pub(crate) fn is_own(ctx: &QueryContext, schema: &TableSchema) -> bool {
    ctx.system.as_ref().is_some_and(|system| system.is_own(schema))
}

/// The columns of one table, as QuestDB's `table_columns()`.
pub(crate) fn table_columns(table: &TableSchema) -> Result<RecordBatch, ArrowError> {
    let columns = || table.columns.iter().enumerate();
    let flag = |is: &dyn Fn(usize, &Column) -> bool| {
        Arc::new(columns().map(|(i, c)| Some(is(i, c))).collect::<BooleanArray>()) as ArrayRef
    };
    // There are no indexes, and a symbol's dictionary has no capacity; QuestDB's clients look for the columns.
    let zero = || Arc::new(columns().map(|_| Some(0)).collect::<Int32Array>()) as ArrayRef;
    batch(vec![
        ("column", text(columns().map(|(_, c)| c.name.to_string()))),
        ("type", text(columns().map(|(_, c)| c.ty.name().to_owned()))),
        ("indexed", flag(&|_, _| false)),
        ("indexBlockCapacity", zero()),
        ("symbolCached", flag(&|_, c| c.ty == ColumnType::Symbol)),
        ("symbolCapacity", zero()),
        ("designated", flag(&|i, _| table.timestamp == Some(i))),
        ("upsertKey", flag(&|i, _| table.dedup_keys.contains(&i))),
    ])
}

/// One column of text.
pub(crate) fn list(name: &str, cells: Vec<String>) -> Result<RecordBatch, ArrowError> {
    batch(vec![(name, text(cells))])
}

/// Columns of text.
pub(crate) fn texts(columns: Vec<(&str, Vec<String>)>) -> Result<RecordBatch, ArrowError> {
    batch(columns.into_iter().map(|(name, cells)| (name, text(cells))).collect())
}

/// The statement that makes the table.
pub(crate) fn create_table(table: &TableSchema) -> String {
    let quoted = |name: &str| format!("\"{name}\"");
    let columns: Vec<String> =
        table.columns.iter().map(|c| format!("  {} {}", quoted(&c.name), c.ty)).collect();
    let mut sql = format!("CREATE TABLE {} (\n{}\n)", table.name, columns.join(",\n"));
    if let Some(column) = table.timestamp_column() {
        sql += &format!(" timestamp({}) PARTITION BY {}", quoted(&column.name), table.partition_by.name());
    }
    if let Some(ttl_s) = table.ttl_s {
        sql += &format!(" TTL {ttl_s} SECONDS");
    }
    if !table.dedup_keys.is_empty() {
        let keys: Vec<String> = table.dedup_keys.iter().map(|&i| quoted(&table.columns[i].name)).collect();
        sql += &format!(" DEDUP UPSERT KEYS({})", keys.join(", "));
    }
    sql + ";"
}

/// PostgreSQL's name of a type.
fn postgres_type(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Boolean => "boolean",
        ColumnType::Byte | ColumnType::Short => "smallint",
        ColumnType::Int => "integer",
        ColumnType::Long => "bigint",
        ColumnType::Float => "real",
        ColumnType::Double => "double precision",
        ColumnType::Symbol | ColumnType::Varchar => "character varying",
        ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => "timestamp without time zone",
    }
}

/// `information_schema.{schemata,tables,columns}`; `None` for any other name.
pub(crate) fn information_schema(
    ctx: &QueryContext,
    schema: Option<&str>,
    table: &str,
) -> Result<Option<Arc<dyn TableProvider>>> {
    if !schema.is_some_and(|schema| schema.eq_ignore_ascii_case("information_schema")) {
        return Ok(None);
    }
    let tables = || ctx.snapshot.tables.values().map(|t| &t.schema);
    let columns = || tables().flat_map(|t| t.columns.iter().enumerate().map(move |(i, c)| (t, i, c)));
    let rows = match table.to_ascii_lowercase().as_str() {
        "schemata" => batch(vec![
            ("catalog_name", text(ctx.snapshot.schemas.iter().map(|_| CATALOG.to_owned()))),
            ("schema_name", text(ctx.snapshot.schemas.iter().cloned())),
        ])?,
        "tables" => batch(vec![
            ("table_catalog", text(tables().map(|_| CATALOG.to_owned()))),
            ("table_schema", text(tables().map(|t| t.name.schema.to_string()))),
            ("table_name", text(tables().map(|t| t.name.table.to_string()))),
            ("table_type", text(tables().map(|_| "BASE TABLE".to_owned()))),
        ])?,
        "columns" => batch(vec![
            ("table_catalog", text(columns().map(|_| CATALOG.to_owned()))),
            ("table_schema", text(columns().map(|(t, _, _)| t.name.schema.to_string()))),
            ("table_name", text(columns().map(|(t, _, _)| t.name.table.to_string()))),
            ("column_name", text(columns().map(|(_, _, c)| c.name.to_string()))),
            ("ordinal_position", long(columns().map(|(_, i, _)| i as i64 + 1))),
            ("column_default", text(columns().map(|_| None::<String>))),
            ("is_nullable", text(columns().map(|_| "YES".to_owned()))),
            ("data_type", text(columns().map(|(_, _, c)| postgres_type(c.ty).to_owned()))),
        ])?,
        _ => return Ok(None),
    };
    mem_table(rows).map(Some)
}
