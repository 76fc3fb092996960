//! Where a view's rows come from: a tree with tables at its leaves.
//!
//! ```text
//! Flow: source ─► filter ─► window
//!         ├─ Table   columns of a table, then `_seq`
//!         ├─ Join    two flows, by equal keys: the left columns, then the right ones
//!         ├─ Union   several flows, each through a projection
//!         └─ Select  a flow, grouped
//! ```
//!
//! Rows are told apart by *identity*: a table's by `_seq`, those of a join by the identities of both sides, a
//! group by its keys. Two rows of one flow that are there at one time differ in it.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use nowcast_model::{Column, ColumnType, TableName, TableSchema};

use crate::{Aggregate, ExprRef, ViewError, Window, view::evaluate};

/// Rows of a source that pass a condition and lie in a range of time.
#[derive(Clone)]
pub struct Flow {
    /// Where the rows come from.
    pub source: Source,
    /// What they look like.
    pub input: SchemaRef,
    /// Over the input, to Boolean: rows for which it is not true are dropped.
    pub filter: Option<ExprRef>,
    /// A range of time that slides with the tick.
    pub window: Option<Window>,
}

/// Where rows come from.
#[derive(Clone)]
pub enum Source {
    /// A table.
    Table(Leaf),
    /// Two flows, joined.
    Join(Box<Join>),
    /// Flows behind one another.
    Union(Vec<Branch>),
    /// The groups of a flow.
    Select(Box<Select>),
}

/// A table.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Its name.
    pub table: TableName,
    /// The columns that are needed, as indices into `TableSchema::columns`; `_seq` follows them.
    pub columns: Vec<usize>,
}

/// Two flows, brought together where their keys are equal. NULL equals nothing.
#[derive(Clone)]
pub struct Join {
    /// Which rows it yields.
    pub kind: JoinKind,
    /// Left and right.
    pub sides: [Flow; 2],
    /// Over the left input and over the right input: what must be equal, of one type (dictionaries aside).
    pub on: Vec<[ExprRef; 2]>,
    /// Columns of the sides' inputs that tell their rows apart.
    pub identity: [Vec<usize>; 2],
    /// Over the left columns and then the right ones, to Boolean: pairs for which it is not true are none.
    pub filter: Option<ExprRef>,
}

/// Which rows a join yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and left rows without a partner beside NULLs.
    Left,
    /// Pairs, and right rows without a partner beside NULLs.
    Right,
    /// Pairs, and rows of either side without a partner.
    Full,
    /// Left rows that have a partner; the left columns alone.
    Semi,
    /// Left rows that have none; the left columns alone.
    Anti,
}

/// A part of a union.
#[derive(Clone)]
pub struct Branch {
    /// The rows.
    pub flow: Flow,
    /// Over the flow's input: the union's columns. Without it the columns stay as they are.
    pub project: Option<Vec<ExprRef>>,
}

/// A flow, grouped; without keys one group, which is always there.
#[derive(Clone)]
pub struct Select {
    /// The rows.
    pub flow: Flow,
    /// As in [`crate::Body::Groups`].
    pub keys: Vec<ExprRef>,
    /// As in [`crate::Body::Groups`].
    pub aggregates: Vec<Aggregate>,
    /// As in [`crate::ViewPlan`].
    pub having: Option<ExprRef>,
    /// As in [`crate::Body::Groups`]. The group's keys must be among the columns: they are its identity.
    pub project: Vec<ExprRef>,
}

/// What a view reads of a table, with the types it was planned for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    /// The table.
    pub table: TableName,
    /// The columns.
    pub columns: Vec<Column>,
}

impl Leaf {
    /// What the leaf's rows look like: the columns with the table's names and types, then `_seq` (`UInt64`).
    pub fn schema(&self, table: &TableSchema) -> SchemaRef {
        let stored = table.stored();
        let seq = table.columns.len();
        let fields: Vec<_> =
            self.columns.iter().chain([&seq]).map(|&index| stored.field(index).clone()).collect();
        Arc::new(Schema::new(fields))
    }

    /// Where `table` has the columns that the leaf needs, then `_seq`: it may have lost others since `input`, what the
    /// leaf's rows look like, was planned.
    ///
    /// # Errors
    /// One of them is gone, or has another type.
    pub fn places_in(&self, input: &Schema, table: &TableSchema) -> Result<Vec<usize>, ViewError> {
        let mut places = Vec::with_capacity(self.columns.len() + 1);
        for field in &input.fields()[..self.columns.len()] {
            let (name, column) = (|| table.name.clone(), field.name());
            let Some(place) = table.index_of(column) else {
                return Err(ViewError::ColumnDropped { table: name(), column: column.clone() });
            };
            let now = table.columns[place].ty;
            match ColumnType::from_arrow(field.data_type()) {
                Some(was) if was != now => {
                    return Err(ViewError::ColumnRetyped { table: name(), column: column.clone(), was, now });
                }
                _ => places.push(place),
            }
        }
        places.push(table.columns.len());
        Ok(places)
    }
}

impl Flow {
    /// All rows of `columns` of a table.
    pub fn table(table: &TableSchema, columns: Vec<usize>) -> Flow {
        let leaf = Leaf { table: table.name.clone(), columns };
        let input = leaf.schema(table);
        Flow { source: Source::Table(leaf), input, filter: None, window: None }
    }

    /// The tables at the leaves from left to right, each with the flow around it. Their places here are the
    /// numbers by which [`crate::View::seed`] knows them.
    pub fn leaves(&self) -> Vec<(&Leaf, &Flow)> {
        match &self.source {
            Source::Table(leaf) => vec![(leaf, self)],
            Source::Join(join) => join.sides.iter().flat_map(Flow::leaves).collect(),
            Source::Union(branches) => branches.iter().flat_map(|branch| branch.flow.leaves()).collect(),
            Source::Select(select) => select.flow.leaves(),
        }
    }

    /// What it reads, a table once for each leaf.
    pub fn reads(&self) -> Vec<Reads> {
        let reads = |(leaf, flow): (&Leaf, &Flow)| {
            let fields = flow.input.fields().iter().take(leaf.columns.len());
            let column = |field: &Arc<Field>| {
                Some(Column::new(field.name(), ColumnType::from_arrow(field.data_type())?))
            };
            Reads { table: leaf.table.clone(), columns: fields.filter_map(column).collect() }
        };
        self.leaves().into_iter().map(reads).collect()
    }

    /// True if the clock moves rows in or out.
    pub fn has_window(&self) -> bool {
        self.window.is_some()
            || match &self.source {
                Source::Table(_) => false,
                Source::Join(join) => join.sides.iter().any(Flow::has_window),
                Source::Union(branches) => branches.iter().any(|branch| branch.flow.has_window()),
                Source::Select(select) => select.flow.has_window(),
            }
    }

    /// True if rows never go, as long as none goes from a table.
    pub(crate) fn only_inserts(&self) -> bool {
        self.window.is_none_or(|window| window.lower.is_none())
            && match &self.source {
                Source::Table(_) => true,
                Source::Join(join) => {
                    join.kind == JoinKind::Inner && join.sides.iter().all(Flow::only_inserts)
                }
                Source::Union(branches) => branches.iter().all(|branch| branch.flow.only_inserts()),
                Source::Select(_) => false,
            }
    }
}

impl Join {
    /// What the rows of the join look like.
    pub fn schema(&self) -> SchemaRef {
        let [left, right] = &self.sides;
        let fields = |flow: &Flow, padded: bool| -> Vec<Field> {
            let field = |field: &Arc<Field>| {
                let nullable = field.is_nullable() || padded;
                field.as_ref().clone().with_nullable(nullable)
            };
            flow.input.fields().iter().map(field).collect()
        };
        let mut all = fields(left, matches!(self.kind, JoinKind::Right | JoinKind::Full));
        if !matches!(self.kind, JoinKind::Semi | JoinKind::Anti) {
            all.extend(fields(right, matches!(self.kind, JoinKind::Left | JoinKind::Full)));
        }
        Arc::new(Schema::new(all))
    }
}

/// A schema of columns that expressions yield over `input`.
pub(crate) fn projected(
    project: &[ExprRef],
    input: &SchemaRef,
    names: &SchemaRef,
) -> Result<SchemaRef, ViewError> {
    let empty = RecordBatch::new_empty(Arc::clone(input));
    let types = project.iter().map(|expr| Ok(evaluate(expr, &empty)?.data_type().clone()));
    let types: Vec<DataType> = types.collect::<Result<_, ViewError>>()?;
    if types.len() != names.fields().len() {
        return Err(ViewError::Plan("a projection is not as wide as its columns".into()));
    }
    let field = |(ty, named): (DataType, &Arc<Field>)| Field::new(named.name(), ty, true);
    Ok(Arc::new(Schema::new(types.into_iter().zip(names.fields()).map(field).collect::<Vec<_>>())))
}
