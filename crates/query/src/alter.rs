//! Statements that take columns from a table, or give it another name.

use nowcast_model::{Event, Item, TableName, TableSchema, check_name, name_key};

use crate::{
    catalog::{new_name, require_table},
    context::QueryContext,
    error::{Place, SqlCode, SqlError},
    statement::NameRef,
    write::undefined_column,
};

/// ALTER TABLE … DROP COLUMN.
pub(crate) fn drop(
    ctx: &QueryContext,
    table: &NameRef,
    columns: &[(String, Place)],
    if_exists: bool,
) -> Result<Vec<Item>, SqlError> {
    let schema = &require_table(ctx, table)?.schema;
    let mut dropped = Vec::with_capacity(columns.len());
    for (name, place) in columns {
        let is_it = |column: &nowcast_model::Column| name_key(&column.name) == name_key(name);
        let Some(index) = schema.columns.iter().position(is_it) else {
            if if_exists {
                continue;
            }
            return Err(undefined_column(schema, name).at(*place));
        };
        if !schema.may_drop(index) {
            return Err(needed(schema, index).at(*place));
        }
        let name = &schema.columns[index].name;
        if !dropped.contains(name) {
            dropped.push(name.clone());
        }
    }
    if dropped.len() == schema.columns.len() {
        let message = format!("the table {} would have no columns", schema.name);
        return Err(SqlError::new(SqlCode::NotSupported, message)
            .at(table.place)
            .hint("DROP TABLE takes all of it"));
    }
    match dropped.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(vec![Item::Event(Event::DropColumns { table: schema.name.clone(), columns: dropped })]),
    }
}

/// Why a column has to stay.
fn needed(schema: &TableSchema, index: usize) -> SqlError {
    let name = &*schema.columns[index].name;
    if schema.timestamp == Some(index) {
        let message = format!("{name:?} is the time column of {} and cannot be dropped", schema.name);
        return SqlError::new(SqlCode::NotSupported, message)
            .hint("create a table with another one, and INSERT INTO it SELECT … FROM this");
    }
    let message =
        format!("{name:?} is one of the DEDUP UPSERT KEYS of {} and cannot be dropped", schema.name);
    SqlError::new(SqlCode::NotSupported, message)
        .hint("ALTER TABLE … DEDUP ENABLE UPSERT KEYS(…) without it, or DEDUP DISABLE, first")
}

/// RENAME TABLE, ALTER TABLE … RENAME TO.
pub(crate) fn rename(
    ctx: &QueryContext,
    table: &NameRef,
    to: &NameRef,
    if_exists: bool,
) -> Result<Vec<Item>, SqlError> {
    let schema = match require_table(ctx, table) {
        Ok(version) => &version.schema,
        Err(_) if if_exists => return Ok(Vec::new()),
        Err(error) => return Err(system_table(ctx, table).unwrap_or(error)),
    };
    if ctx.system.as_ref().is_some_and(|system| system.is_own(schema)) {
        return Err(is_system(&schema.name).at(table.place));
    }
    let to_name = match to.schema {
        Some(_) => new_name(ctx, to),
        None => TableName { schema: schema.name.schema.clone(), table: to.table.as_str().into() },
    };
    check_name(&to_name.table).map_err(|e| SqlError::new(SqlCode::Name, e.to_string()).at(to.place))?;
    if !ctx.snapshot.has_schema(&to_name.schema) {
        let message = format!("there is no schema {:?}", to_name.schema);
        let error = SqlError::new(SqlCode::UndefinedSchema, message).at(to.place);
        return Err(error.hint(format!("CREATE SCHEMA {} first", to_name.schema)));
    }
    if to_name == schema.name {
        return Ok(Vec::new());
    }
    // One that differs by case alone is the same name, and the table's own may change its case.
    if to_name.key() != schema.name.key()
        && let Some(other) = ctx.snapshot.table(&to_name)
    {
        let message = format!("the table {} exists already", other.schema.name);
        let error = SqlError::new(SqlCode::DuplicateTable, message).at(to.place);
        return Err(error.hint("choose another name, or drop or rename that table first"));
    }
    Ok(vec![Item::Event(Event::RenameTable { table: schema.name.clone(), to: to_name })])
}

/// What is said of a name that one of the server's own tables has.
fn system_table(ctx: &QueryContext, table: &NameRef) -> Option<SqlError> {
    let system = ctx.system.as_ref()?;
    let is_it = |name: &TableName| {
        let schema = table.schema.as_ref().map(|schema| name_key(schema));
        name_key(&name.table) == name_key(&table.table) && schema.is_none_or(|s| s == name_key(&name.schema))
    };
    let name = system.tables().into_iter().find(is_it)?;
    Some(is_system(&name).at(table.place))
}

fn is_system(name: &TableName) -> SqlError {
    let message = format!("{name} is a table of the system and keeps its name");
    SqlError::new(SqlCode::NotSupported, message).hint("INSERT INTO a table of your own SELECT … FROM it")
}
