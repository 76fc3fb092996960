//! The types of the parameters of statements that write.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr, Value as AstValue};
use nowcast_model::TableSchema;

use crate::{
    catalog::require_table,
    context::QueryContext,
    engine::{Mode, QueryEngine},
    error::{Place, SqlError},
    insert::targets,
    planned,
    statement::{Insert, NameRef, Select},
};

/// The types of the parameters of an UPDATE or a DELETE.
pub(crate) fn mutation(
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
pub(crate) fn insert(
    engine: &QueryEngine,
    ctx: &QueryContext,
    insert: &Insert,
) -> Result<Vec<Option<DataType>>, SqlError> {
    let schema = require_table(ctx, &insert.table)?.schema.clone();
    let targets = targets(&schema, &insert.columns)?;
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
