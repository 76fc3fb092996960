//! Tests of the views as a whole: scripts, a model, the live table and the engine.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine;
mod live;
mod property;
mod script;
mod sources;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray, UInt64Array,
    },
    datatypes::Int32Type,
};
use nowcast_model::{
    Change, Column, ColumnType, Offset, PartitionBy, RowChange, TableName, TableSchema, Tick, Value, Weights,
};

use crate::*;

/// A row of the test table; the time in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TestRow {
    pub(super) sym: Option<&'static str>,
    pub(super) n: Option<i64>,
    pub(super) x: Option<f64>,
    pub(super) ts_ms: Option<i64>,
    pub(super) s: Option<&'static str>,
}

pub(super) const SYM: usize = 0;
pub(super) const N: usize = 1;
pub(super) const X: usize = 2;
pub(super) const TS: usize = 3;
pub(super) const S: usize = 4;
pub(super) const SEQ: usize = 5;

pub(super) fn table_schema() -> Arc<TableSchema> {
    schema_of("T")
}

pub(super) fn schema_of(name: &str) -> Arc<TableSchema> {
    Arc::new(TableSchema {
        name: TableName::public(name),
        columns: vec![
            Column::new("sym", ColumnType::Symbol),
            Column::new("n", ColumnType::Long),
            Column::new("x", ColumnType::Double),
            Column::new("ts", ColumnType::Timestamp),
            Column::new("s", ColumnType::Varchar),
        ],
        timestamp: Some(TS),
        partition_by: PartitionBy::Day,
        ttl_s: None,
        dedup_keys: vec![],
        dropped: 0,
    })
}

pub(super) fn at_s(second: i64) -> Tick {
    Tick::containing(second * 1_000_000)
}

/// A table that yields changes as the store would.
pub(super) struct TestTable {
    schema: Arc<TableSchema>,
    pub(super) rows: BTreeMap<u64, TestRow>,
    next: u64,
}

impl Default for TestTable {
    fn default() -> TestTable {
        TestTable::named("T")
    }
}

impl TestTable {
    pub(super) fn named(name: &str) -> TestTable {
        TestTable { schema: schema_of(name), rows: BTreeMap::new(), next: 0 }
    }

    pub(super) fn position(&self) -> Offset {
        Offset::new(self.next)
    }

    pub(super) fn batch<'a>(rows: impl Iterator<Item = (u64, &'a TestRow)>) -> RecordBatch {
        let rows: Vec<_> = rows.collect();
        let sym: DictionaryArray<Int32Type> = rows.iter().map(|(_, r)| r.sym).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(sym),
            Arc::new(rows.iter().map(|(_, r)| r.n).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|(_, r)| r.x).collect::<Float64Array>()),
            Arc::new(
                rows.iter().map(|(_, r)| r.ts_ms.map(|t| t * 1_000)).collect::<TimestampMicrosecondArray>(),
            ),
            Arc::new(rows.iter().map(|(_, r)| r.s).collect::<StringArray>()),
            Arc::new(rows.iter().map(|(seq, _)| *seq).collect::<UInt64Array>()),
        ];
        RecordBatch::try_new(Arc::new(table_schema().stored()), columns).unwrap()
    }

    pub(super) fn all(&self) -> RecordBatch {
        TestTable::batch(self.rows.iter().map(|(seq, row)| (*seq, row)))
    }

    fn change(&self, rows: RecordBatch, weights: Weights) -> Change {
        Change::Rows(RowChange { schema: Arc::clone(&self.schema), rows, weights })
    }

    pub(super) fn insert(&mut self, rows: Vec<TestRow>) -> Change {
        let numbered: Vec<_> = (self.next..).zip(rows).collect();
        self.next += numbered.len() as u64;
        let batch = TestTable::batch(numbered.iter().map(|(seq, row)| (*seq, row)));
        self.rows.extend(numbered);
        self.change(batch, Weights::Inserted)
    }

    pub(super) fn delete(&mut self, seqs: &[u64]) -> Change {
        self.next += 1;
        let gone: Vec<_> = seqs.iter().filter_map(|seq| Some((*seq, self.rows.remove(seq)?))).collect();
        self.change(TestTable::batch(gone.iter().map(|(seq, r)| (*seq, r))), Weights::Deleted)
    }

    /// An upsert: the old row goes, the new one comes, in one change.
    pub(super) fn replace(&mut self, seq: u64, new: TestRow) -> Change {
        let old = self.rows.remove(&seq);
        let seq_new = self.next;
        self.next += 1;
        let mut weights = Vec::new();
        let mut rows = Vec::new();
        if let Some(old) = &old {
            rows.push((seq, old));
            weights.push(-1);
        }
        rows.push((seq_new, &new));
        weights.push(1);
        let batch = TestTable::batch(rows.into_iter());
        self.rows.insert(seq_new, new);
        self.change(batch, Weights::Mixed(weights))
    }
}

/// A column.
pub(super) struct Col(pub(super) usize);

impl Expr for Col {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ViewError> {
        Ok(Arc::clone(batch.column(self.0)))
    }
}

type Function = dyn Fn(&RecordBatch) -> Result<ArrayRef, ViewError> + Send + Sync;

/// Anything.
pub(super) struct Fun(Box<Function>);

impl Expr for Fun {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ViewError> {
        (self.0)(batch)
    }
}

pub(super) fn col(index: usize) -> ExprRef {
    Arc::new(Col(index))
}

pub(super) fn fun(
    f: impl Fn(&RecordBatch) -> Result<ArrayRef, ViewError> + Send + Sync + 'static,
) -> ExprRef {
    Arc::new(Fun(Box::new(f)))
}

/// `column > limit` for integers; NULL for NULL.
pub(super) fn greater(column: usize, limit: i64) -> ExprRef {
    fun(move |batch| {
        let values = batch.column(column).as_any().downcast_ref::<Int64Array>().unwrap();
        Ok(Arc::new(values.iter().map(|v| v.map(|v| v > limit)).collect::<BooleanArray>()))
    })
}

/// The time, cut to whole `seconds`.
pub(super) fn bin(seconds: i64) -> ExprRef {
    fun(move |batch| {
        let step = seconds * 1_000_000;
        let values = batch.column(TS).as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap();
        let cut = values.iter().map(|v| v.map(|v| v.div_euclid(step) * step));
        Ok(Arc::new(cut.collect::<TimestampMicrosecondArray>()))
    })
}

pub(super) fn count() -> Aggregate {
    Aggregate { function: AggFunction::Count, arg: None, filter: None, order: vec![] }
}

pub(super) fn agg(function: AggFunction, column: usize) -> Aggregate {
    Aggregate { function, arg: Some(col(column)), filter: None, order: vec![] }
}

fn output_type(name: usize) -> ColumnType {
    [
        ColumnType::Symbol,
        ColumnType::Long,
        ColumnType::Double,
        ColumnType::Timestamp,
        ColumnType::Varchar,
        ColumnType::Long,
    ][name]
}

fn plan(body: Body, output: Vec<OutputColumn>, key: Vec<usize>) -> ViewPlan {
    let columns = vec![SYM, N, X, TS, S];
    ViewPlan {
        flow: Flow::table(&table_schema(), columns),
        body,
        output,
        key,
        order: vec![],
        limit: None,
        having: None,
        hints: Hints::default(),
    }
}

/// Keys, then aggregates, as they are. Types of outputs do not matter to views.
pub(super) fn groups(keys: Vec<ExprRef>, aggregates: Vec<Aggregate>) -> ViewPlan {
    let width = keys.len() + aggregates.len();
    let output = (0..width).map(|i| LiveColumn::new(&format!("c{i}"), ColumnType::Long)).collect();
    let key = (0..keys.len()).collect();
    let project = (0..width).map(col).collect();
    plan(Body::Groups { keys, aggregates, project }, output, key)
}

/// Some columns, then `_seq`, which is the key.
pub(super) fn rows(columns: &[usize]) -> ViewPlan {
    rows_by(columns, &[SEQ])
}

/// Some columns, then those that tell rows apart.
pub(super) fn rows_by(columns: &[usize], identity: &[usize]) -> ViewPlan {
    let project = columns.iter().chain(identity).map(|&c| col(c)).collect();
    let mut output: Vec<_> =
        columns.iter().map(|&c| LiveColumn::new(&format!("c{c}"), output_type(c))).collect();
    output.extend(identity.iter().map(|c| LiveColumn::hidden(&format!("_id{c}"), ColumnType::Long)));
    plan(Body::Rows { project }, output, (columns.len()..columns.len() + identity.len()).collect())
}

/// How the engine is to keep a plan's view.
pub(super) fn kind(plan: &ViewPlan) -> Kind {
    plan.kind(Arc::new(plan.live_schema()))
}

/// A plan with a sliding range.
pub(super) fn within(window: Window, mut plan: ViewPlan) -> ViewPlan {
    plan.flow.window = Some(window);
    plan
}

pub(super) fn last(lower_ms: i64) -> Window {
    let lower = Bound { offset_us: -lower_ms * 1_000, inclusive: true };
    Window { column: TS, lower: Some(lower), upper: None }
}

/// A cell as a script shows it.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::UInt(v) => format!("#{v}"),
        Value::Float(v) => format!("{v:?}"),
        Value::Str(v) => v.to_string(),
        Value::Timestamp(v) => format!("@{}", *v as f64 / 1e6),
        Value::TimestampNs(v) => format!("@{v}ns"),
    }
}

pub(super) fn show_row(row: &[Value]) -> String {
    row.iter().map(show).collect::<Vec<_>>().join(" ")
}
