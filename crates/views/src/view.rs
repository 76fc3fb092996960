//! A plan with its state.
//!
//! **How rows go.** The source turns changes and ticks into rows that came and went: of a table they are the
//! change's own columns, otherwise what joins, unions and subqueries make of it ([`crate::flow`]). They are
//! filtered; rows that the window will never hold are dropped; the body *prepares* the rest (group numbers and
//! arguments, or output columns); what is inside now is applied, what enters later or leaves later is kept in
//! panes as prepared, and applied or taken back at its tick. Nothing is evaluated twice.
//!
//! **The cheap path and its end.** Where rows only come, a minimum is one value and the first rows of an order
//! are a short list. When a row goes that these need ([`View::needs_reseed`]), the view has to be filled anew
//! from a snapshot; for extremes the plan's [`crate::Hints`] then make the next view keep every value.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray},
    compute::{cast, filter_record_batch},
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
};
use nowcast_model::{RowChange, Tick, Version};

use crate::{
    Body, ExprRef, Key, LiveSchema, LiveTable, Row, ViewError, ViewLimits, ViewPlan,
    aggregate::Signs,
    flow::{self, Event, Making, Moved, Node},
    groups::{Groups, evaluate_mask},
    rows::Rows,
    top::Top,
    window::{Chunk, Move, Panes},
};

/// A plan with its state: rows in, changes of a live table out. See the module's story.
pub struct View {
    plan: Arc<ViewPlan>,
    schema: Arc<LiveSchema>,
    state_bytes_max: usize,
    node: Node,
    /// True if a change has to say which table it is of.
    is_routed: bool,
    /// True if subqueries tell once a moment what became of their groups.
    settles: bool,
    panes: Option<Panes>,
    body: BodyState,
    /// True if something happened since the last publication.
    moved: bool,
    reseed: Option<&'static str>,
}

enum BodyState {
    Rows(Box<Rows>),
    Groups(Box<Groups>, Box<Top>),
}

/// What a moment changes in a live table.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    pub(crate) upsert: Vec<Row>,
    pub(crate) delete: Vec<Key>,
    pub(crate) truncated: bool,
}

impl Delta {
    pub(crate) fn install(self, version: Version, table: &mut LiveTable) -> bool {
        table.advance(version);
        let mut changed = false;
        for key in &self.delete {
            changed |= table.delete(key);
        }
        for row in self.upsert {
            changed |= table.upsert(row);
        }
        table.set_truncated(self.truncated);
        changed
    }
}

impl View {
    /// A view without rows, before its first tick.
    ///
    /// # Errors
    /// [`ViewError::Plan`] if the plan's parts do not fit each other, or a type cannot be maintained.
    pub fn new(plan: Arc<ViewPlan>, limits: &ViewLimits) -> Result<View, ViewError> {
        let schema = Arc::new(plan.live_schema());
        check(&plan)?;
        let flow = &plan.flow;
        flow::check(flow)?;
        let empty = RecordBatch::new_empty(Arc::clone(&flow.input));
        let retracts = plan.hints.retracts();
        let node = Node::new(flow, &mut Making { leaf: 0, retracts })?;
        let body = match &plan.body {
            Body::Rows { project } => {
                let top = Top::new(Arc::clone(&schema), limits, false);
                BodyState::Rows(Box::new(Rows::new(project, &empty, top, Arc::clone(&schema))?))
            }
            Body::Groups { keys, aggregates, project } => {
                let top = Top::new(Arc::clone(&schema), limits, true);
                let retracts = retracts || !flow.only_inserts();
                let having = plan.having.as_ref();
                let groups = Groups::new(keys, aggregates, project, having, &empty, retracts)?;
                BodyState::Groups(Box::new(groups), Box::new(top))
            }
        };
        Ok(View {
            schema,
            state_bytes_max: limits.state_bytes_max,
            is_routed: !matches!(node, Node::Table(_)),
            settles: Node::changes(flow),
            node,
            panes: flow.window.map(|window| Panes::new(window, Node::changes(flow))),
            body,
            moved: true,
            reseed: None,
            plan,
        })
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<ViewPlan> {
        &self.plan
    }

    /// What the live table looks like that it fills.
    pub fn schema(&self) -> &Arc<LiveSchema> {
        &self.schema
    }

    /// Takes in rows of a snapshot for a leaf ([`crate::Flow::leaves`]) of the plan, in the leaf's form (its
    /// columns, then `_seq`). Call [`View::tick`] first. Rows that cannot be within the leaf's window may be left
    /// out.
    ///
    /// # Errors
    /// An expression failed, or the state outgrew its bound: give up.
    pub fn seed(&mut self, leaf: usize, rows: &RecordBatch) -> Result<(), ViewError> {
        self.take(Event::Seed(leaf, rows))
    }

    /// Takes in a change of a table, in the table's stored form. One that the plan does not read is ignored if
    /// it reads several, and must not come if it reads one.
    ///
    /// # Errors
    /// As [`View::seed`].
    pub fn apply(&mut self, change: &RowChange) -> Result<(), ViewError> {
        let table = self.is_routed.then(|| change.schema.name.key());
        self.take(Event::Change(table.as_ref(), change))
    }

    /// Moves the clock; rows enter and leave the window. Never steps back.
    ///
    /// # Errors
    /// As [`View::seed`].
    pub fn tick(&mut self, tick: Tick) -> Result<(), ViewError> {
        if let Some(panes) = &mut self.panes {
            for step in panes.tick(tick.us())? {
                self.moved = true;
                match step {
                    Move::Enter(chunk) => self.body.apply(&chunk, 1)?,
                    Move::Leave(chunk) => self.body.apply(&chunk, -1)?,
                    Move::Forget(chunk) => self.body.release(&chunk),
                }
            }
        }
        self.take(Event::Tick(tick))
    }

    /// Puts what changed since the last call into `table`, as of `version`. True if rows of it changed.
    /// Nothing is changed if the view [needs to be seeded anew](View::needs_reseed).
    ///
    /// # Errors
    /// As [`View::seed`].
    pub fn publish(&mut self, version: Version, table: &mut LiveTable) -> Result<bool, ViewError> {
        let delta = self.collect()?;
        if self.reseed.is_some() {
            table.advance(version);
            return Ok(false);
        }
        Ok(delta.install(version, table))
    }

    /// What changed since the last call; nothing to be relied on once [`View::needs_reseed`].
    pub(crate) fn collect(&mut self) -> Result<Delta, ViewError> {
        if self.reseed.is_some() || !self.moved {
            self.moved = false;
            return Ok(Delta::default());
        }
        if self.settles {
            self.take(Event::Settle)?;
            if self.node.is_lost() {
                self.plan.hints.set_retracts();
                self.reseed = Some("a row that a group within the query had picked went");
                return Ok(Delta::default());
            }
        }
        self.moved = false;
        if let BodyState::Rows(rows) = &self.body
            && rows.is_starved()
        {
            self.fill()?;
        }
        let delta = match &mut self.body {
            BodyState::Groups(groups, top) => {
                for (old, new) in groups.collect()? {
                    old.into_iter().for_each(|row| top.remove(row));
                    new.into_iter().for_each(|row| top.insert(row));
                }
                let delta = top.take();
                if groups.is_lost() {
                    self.plan.hints.set_retracts();
                    self.reseed = Some("a row that held a minimum or maximum went");
                }
                delta
            }
            BodyState::Rows(rows) => {
                if rows.is_starved() {
                    self.reseed = Some("more rows went than were kept in reserve");
                }
                rows.collect()
            }
        };
        self.check_bytes()?;
        Ok(delta)
    }

    /// Fills the first rows anew from what the view has, if it has all.
    fn fill(&mut self) -> Result<(), ViewError> {
        let BodyState::Rows(rows) = &mut self.body else { return Ok(()) };
        match &self.panes {
            Some(panes) if panes.keeps_all_inside() => {
                rows.clear();
                for chunk in panes.inside()? {
                    rows.apply(&chunk.columns, chunk.rows, chunk.signs(1))?;
                }
            }
            Some(_) => {}
            None => {
                let Some(content) = self.node.content()? else { return Ok(()) };
                rows.clear();
                content.into_iter().try_for_each(|moved| self.take_in(moved))?;
            }
        }
        Ok(())
    }

    /// True if something happened since the last [`View::publish`].
    pub(crate) fn is_dirty(&self) -> bool {
        self.moved
    }

    /// Why the view has to be seeded anew, if it has to. It changes nothing in its live table from then on.
    pub fn needs_reseed(&self) -> Option<&'static str> {
        self.reseed
    }

    /// Bytes of state, by estimate.
    pub fn state_bytes(&self) -> usize {
        let body = match &self.body {
            BodyState::Rows(rows) => rows.bytes(),
            BodyState::Groups(groups, top) => groups.bytes() + top.bytes(),
        };
        body + self.node.bytes() + self.panes.as_ref().map_or(0, Panes::bytes)
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), ViewError> {
        let mut moved = Vec::new();
        self.node.take(event, &mut moved)?;
        self.moved |= self.settles;
        moved.into_iter().try_for_each(|moved| self.take_in(moved))?;
        self.check_bytes()
    }

    fn take_in(&mut self, moved: Moved) -> Result<(), ViewError> {
        let Moved { rows, weights } = moved;
        let (mut rows, mut weights) = match &self.plan.flow.filter {
            Some(filter) => select(rows.clone(), weights, &evaluate_mask(filter, &rows)?)?,
            None => (rows, weights),
        };
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let Some(panes) = &mut self.panes else {
            self.moved = true;
            let columns = self.body.prepare(&rows)?;
            return self.body.apply(&Chunk { columns, weights, rows: rows.num_rows() }, 1);
        };
        let column = self.plan.flow.window.map_or(0, |window| window.column);
        let spans = panes.spans(&times(rows.column(column))?);
        if spans.iter().any(Option::is_none) {
            let mask = spans.iter().map(|span| Some(span.is_some())).collect();
            (rows, weights) = select(rows, weights, &mask)?;
        }
        let spans: Vec<_> = spans.into_iter().flatten().collect();
        if spans.is_empty() {
            return Ok(());
        }
        let columns = self.body.prepare(&rows)?;
        let chunk = Chunk { columns, weights, rows: rows.num_rows() };
        for arrival in panes.arrive(chunk, &spans)? {
            if arrival.kept {
                self.body.hold(&arrival.chunk);
            }
            if arrival.inside {
                self.moved = true;
                self.body.apply(&arrival.chunk, 1)?;
            }
        }
        Ok(())
    }

    fn check_bytes(&self) -> Result<(), ViewError> {
        let (bytes, max) = (self.state_bytes(), self.state_bytes_max);
        if bytes > max { Err(ViewError::Overflow { bytes, max }) } else { Ok(()) }
    }
}

impl BodyState {
    fn prepare(&mut self, input: &RecordBatch) -> Result<Vec<ArrayRef>, ViewError> {
        match self {
            BodyState::Rows(rows) => rows.prepare(input),
            BodyState::Groups(groups, _) => groups.prepare(input),
        }
    }

    fn apply(&mut self, chunk: &Chunk, sign: i64) -> Result<(), ViewError> {
        match self {
            BodyState::Rows(rows) => rows.apply(&chunk.columns, chunk.rows, chunk.signs(sign)),
            BodyState::Groups(groups, _) => groups.apply(&chunk.columns, chunk.signs(sign)),
        }
    }

    fn hold(&mut self, chunk: &Chunk) {
        if let BodyState::Groups(groups, _) = self {
            groups.hold(&chunk.columns);
        }
    }

    fn release(&mut self, chunk: &Chunk) {
        if let BodyState::Groups(groups, _) = self {
            groups.release(&chunk.columns);
        }
    }
}

impl Chunk {
    fn signs(&self, sign: i64) -> Signs<'_> {
        Signs { weights: self.weights.as_deref(), sign }
    }
}

/// Evaluates an expression and checks its length.
pub(crate) fn evaluate(expr: &ExprRef, input: &RecordBatch) -> Result<ArrayRef, ViewError> {
    let array = expr.eval(input)?;
    if array.len() != input.num_rows() {
        let (got, rows) = (array.len(), input.num_rows());
        return Err(ViewError::Plan(format!("an expression yields {got} values for {rows} rows")));
    }
    Ok(array)
}

/// Times in microseconds. Nanoseconds are cut off, as everywhere.
pub(crate) fn times(column: &ArrayRef) -> Result<TimestampMicrosecondArray, ViewError> {
    let us = DataType::Timestamp(TimeUnit::Microsecond, None);
    let column = if *column.data_type() == us { Arc::clone(column) } else { cast(column, &us)? };
    Ok(column.as_primitive::<TimestampMicrosecondType>().clone())
}

/// Rows, and their weights if not all are +1.
pub(crate) type Weighted = (RecordBatch, Option<Vec<i8>>);

pub(crate) fn select(
    rows: RecordBatch,
    weights: Option<Vec<i8>>,
    mask: &BooleanArray,
) -> Result<Weighted, ViewError> {
    if mask.true_count() == rows.num_rows() {
        return Ok((rows, weights));
    }
    let kept = |weights: Vec<i8>| {
        weights.into_iter().zip(mask.values()).filter_map(|(weight, keep)| keep.then_some(weight)).collect()
    };
    Ok((filter_record_batch(&rows, mask)?, weights.map(kept)))
}

/// Checks the numbers in a plan against each other.
fn check(plan: &ViewPlan) -> Result<(), ViewError> {
    let refuse = |what: &str| Err(ViewError::Plan(what.to_owned()));
    let outputs = plan.output.len();
    let project = match &plan.body {
        Body::Rows { project } | Body::Groups { project, .. } => project.len(),
    };
    if project != outputs {
        return refuse("the projection is not as wide as the output");
    }
    if plan.key.iter().chain(plan.order.iter().map(|(column, _)| column)).any(|&column| column >= outputs) {
        return refuse("a key or an order names no output column");
    }
    match &plan.body {
        Body::Rows { .. } if plan.key.is_empty() && !Node::changes(&plan.flow) => refuse("rows have no key"),
        Body::Rows { .. } if plan.having.is_some() => refuse("having without groups"),
        _ => Ok(()),
    }
}
