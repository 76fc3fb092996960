//! What CREATE TABLE makes.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr};
use nowcast_model::{Column, ColumnType, PartitionBy, TableSchema, name_key};

use crate::{
    catalog::{new_name, require_table},
    context::QueryContext,
    error::{Place, SqlCode, SqlError, did_you_mean},
    planned::Planned,
    statement::{CreateTable, Select},
    values::column_type,
    write::undefined_column,
};

/// What CREATE TABLE makes; `None` if the table is there and may be.
pub(crate) fn schema(ctx: &QueryContext, create: &CreateTable) -> Result<Option<TableSchema>, SqlError> {
    let Some(like) = &create.like else { return schema_with(ctx, create, create.columns.clone()) };
    let like = TableSchema::clone(&require_table(ctx, like)?.schema);
    // Without what the columns of the other were called before, there and in its files.
    let columns: Vec<Column> =
        like.columns.iter().map(|column| Column::new(&column.name, column.ty)).collect();
    let made = schema_with(ctx, create, columns.clone())?;
    Ok(made.map(|made| TableSchema { name: made.name, columns, dropped: 0, ..like }))
}

/// What CREATE TABLE AS makes of the columns of its query.
pub(crate) fn schema_of_query(
    ctx: &QueryContext,
    create: &CreateTable,
    planned: &Planned,
) -> Result<Option<TableSchema>, SqlError> {
    let symbols = create.source.as_ref().map(symbols_of).unwrap_or_default();
    let shown = planned.schema();
    let mut columns: Vec<Column> = Vec::with_capacity(shown.fields().len());
    for (index, field) in shown.fields().iter().enumerate() {
        let ty = if symbols.contains(&index) { ColumnType::Symbol } else { column_type(field.data_type()) };
        columns.push(Column::new(field.name(), ty));
    }
    for (name, ty, place) in &create.casts {
        let Some(column) = columns.iter_mut().find(|column| name_key(&column.name) == name_key(name)) else {
            let message = format!("the query has no column {name:?}");
            let error = SqlError::new(SqlCode::UndefinedColumn, message).at(*place);
            let names = shown.fields().iter().map(|field| field.name().as_str());
            return Err(match did_you_mean("columns", name, names) {
                Some(hint) => error.hint(hint),
                None => error,
            });
        };
        column.ty = *ty;
    }
    schema_with(ctx, create, columns)
}

/// The places of outermost columns that are cast to SYMBOL, or drawn as such: in a query they are text.
fn symbols_of(source: &Select) -> BTreeSet<usize> {
    let SetExpr::Select(select) = &*source.ast.body else { return BTreeSet::new() };
    let is_symbol = |expr: &Expr| match expr {
        Expr::Cast { data_type, .. } => data_type.to_string().eq_ignore_ascii_case("symbol"),
        Expr::Function(function) => function.name.to_string().eq_ignore_ascii_case("rnd_symbol"),
        _ => false,
    };
    let mut symbols = BTreeSet::new();
    for (index, item) in select.projection.iter().enumerate() {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                symbols.extend(is_symbol(expr).then_some(index));
            }
            // How many columns it stands for is not known here.
            _ => break,
        }
    }
    symbols
}

fn schema_with(
    ctx: &QueryContext,
    create: &CreateTable,
    columns: Vec<Column>,
) -> Result<Option<TableSchema>, SqlError> {
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
        columns,
        timestamp: None,
        partition_by: PartitionBy::None,
        ttl_s: create.ttl_s,
        dedup_keys: Vec::new(),
        dropped: 0,
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
pub(crate) fn key_columns(
    schema: &TableSchema,
    keys: &[(String, Place)],
    place: Place,
) -> Result<Vec<usize>, SqlError> {
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
