//! What a view should hold, computed the slow and obvious way: all rows, one by one, from nothing, each time.
//!
//! For tests, here and in `query` (feature `oracle`). It shares with the views how a cell is read and how rows
//! are ordered, and nothing else: no batches, no windows that slide, no state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use nowcast_model::{Tick, Value};

use crate::{
    AggFunction, Aggregate, Body, ExprRef, Row, ViewError, ViewPlan, Window,
    cells::{column_of, rows_of},
};

/// What a live table should show.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// The rows in order.
    pub rows: Vec<Row>,
    /// True if there are more than `rows_max`.
    pub truncated: bool,
}

/// Evaluates `plan` over `rows`: all the table's rows at a position, in the plan's input form.
///
/// # Errors
/// An expression failed.
pub fn evaluate(
    plan: &ViewPlan,
    rows: &RecordBatch,
    tick: Tick,
    rows_max: usize,
) -> Result<Expected, ViewError> {
    let mut passed = Vec::new();
    for index in 0..rows.num_rows() {
        let row = rows.slice(index, 1);
        let filtered = plan.filter.as_ref().map_or(Ok(true), |filter| is_true(filter, &row))?;
        if filtered && plan.window.is_none_or(|window| is_inside(window, &row, tick)) {
            passed.push(row);
        }
    }
    let mut output = match &plan.body {
        Body::Rows { project } => {
            passed.iter().map(|row| project_one(project, row)).collect::<Result<Vec<_>, _>>()?
        }
        Body::Groups { keys, aggregates, project } => groups(plan, rows, &passed, keys, aggregates, project)?,
    };
    let schema = plan.live_schema();
    output.sort_by(|a, b| schema.compare(a, b));
    output.truncate(plan.limit.unwrap_or(usize::MAX));
    let truncated = output.len() > rows_max;
    output.truncate(rows_max);
    Ok(Expected { rows: output, truncated })
}

/// Compares rows in order; doubles may differ by `tolerance`, a tiny part (1e-9) of the sum of magnitudes.
///
/// # Errors
/// Says where they differ.
pub fn same(expected: &[Row], actual: &[Row], tolerance: f64) -> Result<(), String> {
    let close = |a: &Value, b: &Value| match (a, b) {
        (Value::Float(x), Value::Float(y)) => a == b || (x - y).abs() <= tolerance,
        _ => a == b,
    };
    if expected.len() != actual.len() {
        let (want, got) = (expected.len(), actual.len());
        return Err(format!("{want} rows expected, got {got}: {expected:?} / {actual:?}"));
    }
    for (index, (want, got)) in expected.iter().zip(actual).enumerate() {
        if want.len() != got.len() || !want.iter().zip(got.iter()).all(|(want, got)| close(want, got)) {
            return Err(format!("row {index} should be {want:?}, is {got:?}"));
        }
    }
    Ok(())
}

fn is_true(expr: &ExprRef, row: &RecordBatch) -> Result<bool, ViewError> {
    let array = expr.eval(row)?;
    let array = array.as_boolean();
    Ok(array.is_valid(0) && array.value(0))
}

fn is_inside(window: Window, row: &RecordBatch, tick: Tick) -> bool {
    let cell = rows_of(&[Arc::clone(row.column(window.column))], 1).map(|rows| rows[0][0].clone());
    let Ok(Value::Timestamp(time)) = cell else { return false };
    let over_lower = window.lower.is_none_or(|bound| {
        let edge = tick.us() + bound.offset_us;
        time > edge || (bound.inclusive && time == edge)
    });
    let under_upper = window.upper.is_none_or(|bound| {
        let edge = tick.us() + bound.offset_us;
        time < edge || (bound.inclusive && time == edge)
    });
    over_lower && under_upper
}

fn project_one(project: &[ExprRef], row: &RecordBatch) -> Result<Row, ViewError> {
    project.iter().map(|expr| one(expr, row)).collect()
}

fn one(expr: &ExprRef, row: &RecordBatch) -> Result<Value, ViewError> {
    Ok(rows_of(&[expr.eval(row)?], 1)?[0][0].clone())
}

fn groups(
    plan: &ViewPlan,
    rows: &RecordBatch,
    passed: &[RecordBatch],
    keys: &[ExprRef],
    aggregates: &[Aggregate],
    project: &[ExprRef],
) -> Result<Vec<Row>, ViewError> {
    let mut groups: BTreeMap<Vec<Value>, Vec<&RecordBatch>> = BTreeMap::new();
    if keys.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    for row in passed {
        let key = keys.iter().map(|key| one(key, row)).collect::<Result<Vec<_>, _>>()?;
        groups.entry(key).or_default().push(row);
    }
    let empty = rows.slice(0, 0);
    let mut output = Vec::new();
    for (key, members) in groups {
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for (value, expr) in key.iter().zip(keys) {
            let ty = expr.eval(&empty)?.data_type().clone();
            columns.push(column_of(&[Some(value)], &ty)?);
            fields.push(Field::new("key", ty, true));
        }
        for aggregate in aggregates {
            let ty = match &aggregate.arg {
                Some(arg) => aggregate.function.output(arg.eval(&empty)?.data_type())?,
                None => arrow::datatypes::DataType::Int64,
            };
            let value = reduce(aggregate, &members)?;
            columns.push(column_of(&[Some(&value)], &ty)?);
            fields.push(Field::new("aggregate", ty, true));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let results = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        if plan.having.as_ref().map_or(Ok(true), |having| is_true(having, &results))? {
            output.push(project_one(project, &results)?);
        }
    }
    Ok(output)
}

fn reduce(aggregate: &Aggregate, members: &[&RecordBatch]) -> Result<Value, ViewError> {
    let mut values = Vec::new();
    for row in members {
        if aggregate.filter.as_ref().map_or(Ok(true), |filter| is_true(filter, row))? {
            values.push(aggregate.arg.as_ref().map_or(Ok(Value::Bool(true)), |arg| one(arg, row))?);
        }
    }
    values.retain(|value| *value != Value::Null);
    let whole = |value: &Value| match value {
        Value::Int(v) => i128::from(*v),
        Value::UInt(v) => i128::from(*v),
        _ => 0,
    };
    let double = |value: &Value| if let Value::Float(v) = value { *v } else { 0.0 };
    // Naive in time, not in arithmetic: integers are summed as integers.
    let total = values.iter().map(whole).sum::<i128>() as f64 + values.iter().map(double).sum::<f64>();
    Ok(match (aggregate.function, values.first()) {
        (AggFunction::Count, _) => Value::Int(values.len() as i64),
        (AggFunction::CountDistinct, _) => Value::Int(values.iter().collect::<BTreeSet<_>>().len() as i64),
        (_, None) => Value::Null,
        (AggFunction::Avg, _) => Value::Float(total / values.len() as f64),
        (AggFunction::Sum, Some(Value::Float(_))) => Value::Float(total),
        (AggFunction::Sum, Some(Value::UInt(_))) => {
            let add =
                |sum: u64, value: &Value| if let Value::UInt(v) = value { sum.wrapping_add(*v) } else { sum };
            Value::UInt(values.iter().fold(0, add))
        }
        (AggFunction::Sum, _) => {
            let add =
                |sum: i64, value: &Value| if let Value::Int(v) = value { sum.wrapping_add(*v) } else { sum };
            Value::Int(values.iter().fold(0, add))
        }
        (AggFunction::Min, _) => values.into_iter().min().unwrap_or(Value::Null),
        (AggFunction::Max, _) => values.into_iter().max().unwrap_or(Value::Null),
    })
}
