//! The state of a [`Flow`]: events in, rows that came and went out.
//!
//! Events go down the tree to its leaves and come back up as [`Moved`] rows. Tables, joins, unions and windows
//! answer at once; groups gather what happens and tell it when they are asked to settle, once a moment.
//!
//! **Order.** Of one identity a row goes before the next one comes: within a batch, and from batch to batch.
//! Where a row's content changes under its identity (groups), all that goes is told before all that comes, so
//! that windows above, which part rows by their times, keep that order.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
};
use nowcast_model::{RowChange, TableName, TableSchema, Tick, Weights};

use crate::{
    Branch, ExprRef, Flow, Leaf, Source, ViewError,
    groups::evaluate_mask,
    join::JoinState,
    select::SelectState,
    source::projected,
    view::{evaluate, select, times},
    window::{Chunk, Move, Panes},
};

/// Rows that came and went, in order.
#[derive(Clone)]
pub(crate) struct Moved {
    pub(crate) rows: RecordBatch,
    /// `None`: every row came.
    pub(crate) weights: Option<Vec<i8>>,
}

/// What happens to a view.
#[derive(Clone, Copy)]
pub(crate) enum Event<'a> {
    /// Rows of a snapshot, for the leaf of that number.
    Seed(usize, &'a RecordBatch),
    /// A change of a table, by its key; `None` where the view has one table.
    Change(Option<&'a TableName>, &'a RowChange),
    /// The clock moved.
    Tick(Tick),
    /// Groups are to tell what became of them.
    Settle,
}

/// What is passed along while a tree is made.
pub(crate) struct Making {
    /// The number of the next leaf.
    pub(crate) leaf: usize,
    /// True if rows of tables go, too.
    pub(crate) retracts: bool,
}

/// The state of a source.
pub(crate) enum Node {
    Table(Table),
    Join(Box<JoinState>),
    Union(Vec<BranchState>),
    Select(Box<SelectState>),
}

pub(crate) struct Table {
    key: TableName,
    leaf: Leaf,
    number: usize,
    input: SchemaRef,
    /// Where the columns are in the form of the table that came last.
    places: Option<(Arc<TableSchema>, Vec<usize>)>,
}

pub(crate) struct BranchState {
    flow: FlowState,
    project: Option<Vec<ExprRef>>,
    output: SchemaRef,
}

/// The state of a flow within a view's source.
pub(crate) struct FlowState {
    node: Node,
    input: SchemaRef,
    filter: Option<ExprRef>,
    time: usize,
    panes: Option<Panes>,
}

impl Moved {
    /// What row `row` counts.
    pub(crate) fn weight(&self, row: usize) -> i8 {
        self.weights.as_ref().map_or(1, |weights| weights[row])
    }

    /// Rows of columns.
    pub(crate) fn of(
        schema: &SchemaRef,
        columns: Vec<ArrayRef>,
        weights: Option<Vec<i8>>,
        rows: usize,
    ) -> Result<Moved, ViewError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
        Ok(Moved { rows, weights })
    }
}

impl Node {
    /// Without rows.
    pub(crate) fn new(flow: &Flow, making: &mut Making) -> Result<Node, ViewError> {
        Ok(match &flow.source {
            Source::Table(leaf) => {
                let number = making.leaf;
                making.leaf += 1;
                if flow.input.fields().len() != leaf.columns.len() + 1 {
                    return Err(ViewError::Plan("the input is not the columns and _seq".into()));
                }
                let input = Arc::clone(&flow.input);
                Node::Table(Table { key: leaf.table.key(), leaf: leaf.clone(), number, input, places: None })
            }
            Source::Join(join) => Node::Join(Box::new(JoinState::new(join, &flow.input, making)?)),
            Source::Union(branches) => {
                let branch = |branch: &Branch| BranchState::new(branch, &flow.input, making);
                Node::Union(branches.iter().map(branch).collect::<Result<_, _>>()?)
            }
            Source::Select(select) => Node::Select(Box::new(SelectState::new(select, &flow.input, making)?)),
        })
    }

    /// Takes an event; what moved is put behind `out`.
    pub(crate) fn take(&mut self, event: Event<'_>, out: &mut Vec<Moved>) -> Result<(), ViewError> {
        match self {
            Node::Table(table) => table.take(event, out),
            Node::Join(join) => join.take(event, out),
            Node::Union(branches) => branches.iter_mut().try_for_each(|branch| branch.take(event, out)),
            Node::Select(select) => select.take(event, out),
        }
    }

    /// All rows there are, if that is known.
    pub(crate) fn content(&mut self) -> Result<Option<Vec<Moved>>, ViewError> {
        match self {
            Node::Table(_) | Node::Union(_) => Ok(None),
            Node::Join(join) if join.keeps_all() => join.content().map(Some),
            Node::Join(_) => Ok(None),
            Node::Select(select) => select.content().map(Some),
        }
    }

    /// True if groups within took the cheap path, and rows that they need went.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Node::Table(_) => false,
            Node::Join(join) => join.is_lost(),
            Node::Union(branches) => branches.iter().any(|branch| branch.flow.is_lost()),
            Node::Select(select) => select.is_lost(),
        }
    }

    /// True if two rows that differ may have one identity, now one and then the other.
    pub(crate) fn changes(flow: &Flow) -> bool {
        match &flow.source {
            Source::Table(_) => false,
            Source::Join(join) => join.sides.iter().any(Node::changes),
            Source::Union(branches) => branches.iter().any(|branch| Node::changes(&branch.flow)),
            Source::Select(_) => true,
        }
    }

    /// Bytes of state, by estimate.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Node::Table(_) => 0,
            Node::Join(join) => join.bytes(),
            Node::Union(branches) => branches.iter().map(|branch| branch.flow.bytes()).sum(),
            Node::Select(select) => select.bytes(),
        }
    }
}

impl Table {
    fn take(&mut self, event: Event<'_>, out: &mut Vec<Moved>) -> Result<(), ViewError> {
        let (rows, weights) = match event {
            Event::Seed(number, rows) if number == self.number => (rows.clone(), None),
            Event::Change(table, change) if table.is_none_or(|table| *table == self.key) => {
                if self.places.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, &change.schema)) {
                    let places = self.leaf.places_in(&self.input, &change.schema)?;
                    self.places = Some((Arc::clone(&change.schema), places));
                }
                let columns = self.places.as_ref().map_or(&[][..], |(_, places)| places);
                let weights = match &change.weights {
                    Weights::Inserted => None,
                    Weights::Deleted => Some(vec![-1; change.rows.num_rows()]),
                    Weights::Mixed(weights) => Some(weights.clone()),
                };
                if weights.as_ref().is_some_and(|weights| weights.len() != change.rows.num_rows()) {
                    return Err(ViewError::Plan("a change has not one weight a row".into()));
                }
                (change.rows.project(columns)?, weights)
            }
            _ => return Ok(()),
        };
        let (had, wanted) = (rows.schema(), &self.input);
        let mut pairs = had.fields().iter().zip(wanted.fields());
        if had.fields().len() != wanted.fields().len() || !pairs.all(|(a, b)| a.data_type() == b.data_type())
        {
            return Err(ViewError::Plan("rows of other columns than planned".into()));
        }
        // Under the plan's own schema: a column's new spelling is no concern of expressions.
        let rows = RecordBatch::try_new(Arc::clone(wanted), rows.columns().to_vec())?;
        out.push(Moved { rows, weights });
        Ok(())
    }
}

impl BranchState {
    fn new(branch: &Branch, names: &SchemaRef, making: &mut Making) -> Result<BranchState, ViewError> {
        let flow = FlowState::new(&branch.flow, making)?;
        let output = match &branch.project {
            Some(project) => projected(project, &branch.flow.input, names)?,
            None => Arc::clone(names),
        };
        Ok(BranchState { flow, project: branch.project.clone(), output })
    }

    fn take(&mut self, event: Event<'_>, out: &mut Vec<Moved>) -> Result<(), ViewError> {
        let mut moved = Vec::new();
        self.flow.take(event, &mut moved)?;
        for Moved { rows, weights } in moved {
            let count = rows.num_rows();
            let columns = match &self.project {
                Some(project) => project.iter().map(|e| evaluate(e, &rows)).collect::<Result<_, _>>()?,
                None => rows.columns().to_vec(),
            };
            out.push(Moved::of(&self.output, columns, weights, count)?);
        }
        Ok(())
    }
}

impl FlowState {
    /// Without rows, before its first tick.
    pub(crate) fn new(flow: &Flow, making: &mut Making) -> Result<FlowState, ViewError> {
        check(flow)?;
        Ok(FlowState {
            node: Node::new(flow, making)?,
            input: Arc::clone(&flow.input),
            filter: flow.filter.clone(),
            time: flow.window.map_or(0, |window| window.column),
            panes: flow.window.map(|window| Panes::new(window, Node::changes(flow))),
        })
    }

    /// Takes an event; what moved is put behind `out`.
    pub(crate) fn take(&mut self, event: Event<'_>, out: &mut Vec<Moved>) -> Result<(), ViewError> {
        if let (Event::Tick(tick), Some(panes)) = (event, &mut self.panes) {
            for step in panes.tick(tick.us())? {
                match step {
                    Move::Enter(chunk) => out.push(self.moved(chunk, false)?),
                    Move::Leave(chunk) => out.push(self.moved(chunk, true)?),
                    Move::Forget(_) => {}
                }
            }
        }
        let mut moved = Vec::new();
        self.node.take(event, &mut moved)?;
        for Moved { rows, weights } in moved {
            let (mut rows, mut weights) = match &self.filter {
                Some(filter) => select(rows.clone(), weights, &evaluate_mask(filter, &rows)?)?,
                None => (rows, weights),
            };
            let Some(panes) = &mut self.panes else {
                out.push(Moved { rows, weights });
                continue;
            };
            let spans = panes.spans(&times(rows.column(self.time))?);
            if spans.iter().any(Option::is_none) {
                let mask = spans.iter().map(|span| Some(span.is_some())).collect();
                (rows, weights) = select(rows, weights, &mask)?;
            }
            let spans: Vec<_> = spans.into_iter().flatten().collect();
            if spans.is_empty() {
                continue;
            }
            let chunk = Chunk { columns: rows.columns().to_vec(), weights, rows: rows.num_rows() };
            for arrival in panes.arrive(chunk, &spans)?.into_iter().filter(|arrival| arrival.inside) {
                let Chunk { columns, weights, rows } = arrival.chunk;
                out.push(Moved::of(&self.input, columns, weights, rows)?);
            }
        }
        out.retain(|moved| moved.rows.num_rows() > 0);
        Ok(())
    }

    /// As [`Node::is_lost`].
    pub(crate) fn is_lost(&self) -> bool {
        self.node.is_lost()
    }

    /// A pane's rows as they enter, or as they leave: the last that came first.
    fn moved(&self, chunk: Chunk, leaves: bool) -> Result<Moved, ViewError> {
        let rows = chunk.rows;
        match (leaves, chunk.weights) {
            (false, weights) => Moved::of(&self.input, chunk.columns, weights, rows),
            (true, None) => Moved::of(&self.input, chunk.columns, Some(vec![-1; rows]), rows),
            (true, Some(weights)) => {
                let back = arrow::array::UInt32Array::from_iter_values((0..rows as u32).rev());
                let columns = chunk.columns.iter().map(|c| arrow::compute::take(c, &back, None));
                let columns = columns.collect::<Result<_, _>>()?;
                let weights = weights.iter().rev().map(|weight| -weight).collect();
                Moved::of(&self.input, columns, Some(weights), rows)
            }
        }
    }

    /// Bytes of state, by estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.node.bytes() + self.panes.as_ref().map_or(0, Panes::bytes)
    }
}

/// Checks the numbers in a flow against each other.
pub(crate) fn check(flow: &Flow) -> Result<(), ViewError> {
    if flow.window.is_some_and(|window| window.column >= flow.input.fields().len()) {
        return Err(ViewError::Plan("the window has no column".into()));
    }
    if let Some(filter) = &flow.filter {
        evaluate_mask(filter, &RecordBatch::new_empty(Arc::clone(&flow.input)))?;
    }
    Ok(())
}
