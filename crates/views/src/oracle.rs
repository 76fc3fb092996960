//! What a view should hold, computed the slow and obvious way: all rows, one by one, from nothing, each time.
//!
//! For tests, here and in `query` (feature `oracle`). It shares with the views how a cell is read and how rows
//! are ordered, and nothing else: no batches, no windows that slide, no state.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use nowcast_model::{Tick, Value};

use crate::{
    AggFunction, Aggregate, Body, ExprRef, Flow, Join, JoinKind, Row, Select, Source, ViewError, ViewPlan,
    Window,
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

/// Evaluates `plan` over all rows that its tables have at a position: a batch for each of
/// [`crate::Flow::leaves`], in the leaf's form.
///
/// # Errors
/// An expression failed.
pub fn evaluate(
    plan: &ViewPlan,
    leaves: &[RecordBatch],
    tick: Tick,
    rows_max: usize,
) -> Result<Expected, ViewError> {
    let passed = flow(&plan.flow, &mut leaves.iter(), tick)?;
    let having = plan.having.as_ref();
    let mut output = match &plan.body {
        Body::Rows { project } => {
            passed.iter().map(|row| project_one(project, row)).collect::<Result<Vec<_>, _>>()?
        }
        Body::Groups { keys, aggregates, project } => {
            let made = groups(&plan.flow.input, &passed, keys, aggregates, having)?;
            made.iter().map(|row| project_one(project, row)).collect::<Result<Vec<_>, _>>()?
        }
    };
    let schema = plan.live_schema();
    output.sort_by(|a, b| schema.compare(a, b));
    output.truncate(plan.limit.unwrap_or(usize::MAX));
    let truncated = output.len() > rows_max;
    output.truncate(rows_max);
    Ok(Expected { rows: output, truncated })
}

/// The rows of a flow, one by one.
fn flow(flow: &Flow, leaves: &mut Leaves<'_>, tick: Tick) -> Result<Vec<RecordBatch>, ViewError> {
    let mut passed = Vec::new();
    for row in source(flow, leaves, tick)? {
        let filtered = flow.filter.as_ref().map_or(Ok(true), |filter| is_true(filter, &row))?;
        if filtered && flow.window.is_none_or(|window| is_inside(window, &row, tick)) {
            passed.push(row);
        }
    }
    Ok(passed)
}

type Leaves<'a> = std::slice::Iter<'a, RecordBatch>;

fn source(at: &Flow, leaves: &mut Leaves<'_>, tick: Tick) -> Result<Vec<RecordBatch>, ViewError> {
    match &at.source {
        Source::Table(_) => {
            let Some(rows) = leaves.next() else { return Ok(Vec::new()) };
            Ok((0..rows.num_rows()).map(|index| rows.slice(index, 1)).collect())
        }
        Source::Join(made) => {
            let left = flow(&made.sides[0], leaves, tick)?;
            let right = flow(&made.sides[1], leaves, tick)?;
            join(made, &left, &right)
        }
        Source::Union(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                for row in flow(&branch.flow, leaves, tick)? {
                    let columns = match &branch.project {
                        Some(project) => project.iter().map(|e| e.eval(&row)).collect::<Result<_, _>>()?,
                        None => row.columns().to_vec(),
                    };
                    all.push(named(&at.input, columns)?);
                }
            }
            Ok(all)
        }
        Source::Select(select) => {
            let Select { flow: inner, keys, aggregates, having, project } = &**select;
            let passed = flow(inner, leaves, tick)?;
            let made = groups(&inner.input, &passed, keys, aggregates, having.as_ref())?;
            let columns = |row| project.iter().map(|e| e.eval(row)).collect::<Result<Vec<_>, _>>();
            made.iter().map(|row| named(&at.input, columns(row)?)).collect()
        }
    }
}

/// A row of columns, under the names of `schema`.
fn named(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, ViewError> {
    let fields = columns.iter().zip(schema.fields());
    let fields = fields.map(|(column, field)| Field::new(field.name(), column.data_type().clone(), true));
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// Each left row with each right row.
fn join(join: &Join, left: &[RecordBatch], right: &[RecordBatch]) -> Result<Vec<RecordBatch>, ViewError> {
    let whole = Join { kind: JoinKind::Full, ..join.clone() }.schema();
    let pair = |left: &RecordBatch, right: &RecordBatch| {
        named(&whole, [left.columns().to_vec(), right.columns().to_vec()].concat())
    };
    let nulls = |flow: &Flow| {
        let columns = flow.input.fields().iter().map(|field| new_null_array(field.data_type(), 1));
        named(&flow.input, columns.collect())
    };
    let meets = |left: &RecordBatch, right: &RecordBatch| -> Result<bool, ViewError> {
        for [a, b] in &join.on {
            let (a, b) = (one(a, left)?, one(b, right)?);
            if a == Value::Null || a != b {
                return Ok(false);
            }
        }
        join.filter.as_ref().map_or(Ok(true), |filter| is_true(filter, &pair(left, right)?))
    };
    let mut rows = Vec::new();
    let mut met = vec![false; right.len()];
    for a in left {
        let mut any = false;
        for (b, met) in right.iter().zip(&mut met) {
            if meets(a, b)? {
                (any, *met) = (true, true);
                if !matches!(join.kind, JoinKind::Semi | JoinKind::Anti) {
                    rows.push(pair(a, b)?);
                }
            }
        }
        match join.kind {
            JoinKind::Left | JoinKind::Full if !any => rows.push(pair(a, &nulls(&join.sides[1])?)?),
            JoinKind::Semi if any => rows.push(a.clone()),
            JoinKind::Anti if !any => rows.push(a.clone()),
            _ => {}
        }
    }
    for (b, met) in right.iter().zip(met) {
        if !met && matches!(join.kind, JoinKind::Right | JoinKind::Full) {
            rows.push(pair(&nulls(&join.sides[0])?, b)?);
        }
    }
    Ok(rows)
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

/// A row of keys and results for each group that `having` lets pass.
fn groups(
    input: &SchemaRef,
    passed: &[RecordBatch],
    keys: &[ExprRef],
    aggregates: &[Aggregate],
    having: Option<&ExprRef>,
) -> Result<Vec<RecordBatch>, ViewError> {
    let mut groups: BTreeMap<Vec<Value>, Vec<&RecordBatch>> = BTreeMap::new();
    if keys.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    for row in passed {
        let key = keys.iter().map(|key| one(key, row)).collect::<Result<Vec<_>, _>>()?;
        groups.entry(key).or_default().push(row);
    }
    let empty = RecordBatch::new_empty(Arc::clone(input));
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
        if having.map_or(Ok(true), |having| is_true(having, &results))? {
            output.push(results);
        }
    }
    Ok(output)
}

/// The argument of the first or last row.
fn pick(aggregate: &Aggregate, members: &[&RecordBatch]) -> Result<Value, ViewError> {
    let is_last = aggregate.function == AggFunction::Last;
    let mut best: Option<(Vec<Value>, Value)> = None;
    for row in members {
        if !aggregate.filter.as_ref().map_or(Ok(true), |filter| is_true(filter, row))? {
            continue;
        }
        let place = aggregate.order.iter().map(|by| one(&by.expr, row)).collect::<Result<Vec<_>, _>>()?;
        let value = aggregate.arg.as_ref().map_or(Ok(Value::Null), |arg| one(arg, row))?;
        let wins = best.as_ref().is_none_or(|(old, _)| {
            let orders = aggregate.order.iter().zip(old).zip(&place).map(|((by, old), new)| {
                match (*old == Value::Null, *new == Value::Null) {
                    (false, false) if by.descending => new.cmp(old),
                    (false, false) => old.cmp(new),
                    (true, true) => Ordering::Equal,
                    (is_null, _) if is_null == by.nulls_first => Ordering::Less,
                    _ => Ordering::Greater,
                }
            });
            // `Less`: the old one stands before the new one.
            let order = orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
            order == if is_last { Ordering::Less } else { Ordering::Greater }
        });
        if wins {
            best = Some((place, value));
        }
    }
    Ok(best.map_or(Value::Null, |(_, value)| value))
}

fn reduce(aggregate: &Aggregate, members: &[&RecordBatch]) -> Result<Value, ViewError> {
    let mut values = Vec::new();
    for row in members {
        if aggregate.filter.as_ref().map_or(Ok(true), |filter| is_true(filter, row))? {
            values.push(aggregate.arg.as_ref().map_or(Ok(Value::Bool(true)), |arg| one(arg, row))?);
        }
    }
    if matches!(aggregate.function, AggFunction::First | AggFunction::Last) {
        return pick(aggregate, members);
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
        (AggFunction::Median | AggFunction::Percentile(_), _) => {
            values.sort();
            let at = |index: usize| double(&values[index]);
            let last = values.len() - 1;
            match aggregate.function {
                AggFunction::Percentile(fraction) => {
                    let index = fraction.get() * last as f64;
                    let (low, high) = (at(index.floor() as usize), at(index.ceil() as usize));
                    // DataFusion goes in steps of a millionth.
                    let weight = (index.fract() * 1e6).floor() / 1e6;
                    Value::Float(if index.fract() == 0.0 { low } else { low + (high - low) * weight })
                }
                _ if last % 2 == 0 => Value::Float(at(last / 2)),
                _ => Value::Float((at(last / 2) + at(last / 2 + 1)) / 2.0),
            }
        }
        (AggFunction::VarSamp | AggFunction::StddevSamp, _) if values.len() < 2 => Value::Null,
        (
            AggFunction::VarSamp | AggFunction::VarPop | AggFunction::StddevSamp | AggFunction::StddevPop,
            _,
        ) => {
            let numbers: Vec<f64> = values.iter().map(|v| double(v) + whole(v) as f64).collect();
            let mean = total / numbers.len() as f64;
            let around: f64 = numbers.iter().map(|v| (v - mean) * (v - mean)).sum();
            let is_sample = matches!(aggregate.function, AggFunction::VarSamp | AggFunction::StddevSamp);
            let variance = around / (numbers.len() - usize::from(is_sample)) as f64;
            let is_root = matches!(aggregate.function, AggFunction::StddevSamp | AggFunction::StddevPop);
            Value::Float(if is_root { variance.sqrt() } else { variance })
        }
        (AggFunction::First | AggFunction::Last, _) => Value::Null,
        (AggFunction::Min, _) => values.into_iter().min().unwrap_or(Value::Null),
        (AggFunction::Max, _) => values.into_iter().max().unwrap_or(Value::Null),
    })
}
