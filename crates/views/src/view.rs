//! A plan with its state.
//!
//! **How rows go.** A batch is cut to the plan's columns and filtered; rows that the window will never hold are
//! dropped; the body *prepares* the rest (group numbers and arguments, or output columns); what is inside now
//! is applied, what enters later or leaves later is kept in panes as prepared, and applied or taken back at its
//! tick. Nothing is evaluated twice.
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
use nowcast_model::{RowChange, TableSchema, Tick, Version, Weights};

use crate::{
    Body, ExprRef, Key, LiveSchema, LiveTable, Row, ViewError, ViewLimits, ViewPlan,
    aggregate::Signs,
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
    panes: Option<Panes>,
    body: BodyState,
    /// True if something happened since the last publication.
    moved: bool,
    reseed: Option<&'static str>,
    /// Where the table has the plan's columns and `_seq`, in the form of the last change.
    places: Option<(Arc<TableSchema>, Vec<usize>)>,
}

enum BodyState {
    Rows(Box<Rows>),
    Groups(Box<Groups>),
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
        let empty = RecordBatch::new_empty(Arc::clone(&plan.input));
        if let Some(filter) = &plan.filter {
            evaluate_mask(filter, &empty)?;
        }
        let expires = plan.window.is_some_and(|window| window.lower.is_some());
        let body = match &plan.body {
            Body::Rows { project } => {
                let top = Top::new(Arc::clone(&schema), limits, false);
                BodyState::Rows(Box::new(Rows::new(project, &empty, top, Arc::clone(&schema))?))
            }
            Body::Groups { keys, aggregates, project } => {
                let top = Top::new(Arc::clone(&schema), limits, true);
                let retracts = expires || plan.hints.retracts();
                let having = plan.having.as_ref();
                let groups = Groups::new(keys, aggregates, project, having, &empty, retracts, top)?;
                BodyState::Groups(Box::new(groups))
            }
        };
        Ok(View {
            schema,
            state_bytes_max: limits.state_bytes_max,
            panes: plan.window.map(Panes::new),
            body,
            moved: true,
            reseed: None,
            places: None,
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

    /// Takes in rows of a snapshot, in the plan's input form (its columns, then `_seq`). Call
    /// [`View::tick`] first. Rows that cannot be within the window may be left out.
    ///
    /// # Errors
    /// An expression failed, or the state outgrew its bound: give up.
    pub fn seed(&mut self, rows: &RecordBatch) -> Result<(), ViewError> {
        self.take_in(rows.clone(), None)
    }

    /// Takes in a change of the plan's table, in the table's stored form.
    ///
    /// # Errors
    /// As [`View::seed`].
    pub fn apply(&mut self, change: &RowChange) -> Result<(), ViewError> {
        if self.places.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, &change.schema)) {
            self.places = Some((change.schema.clone(), self.plan.places_in(&change.schema)?));
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
        self.take_in(change.rows.project(columns)?, weights)
    }

    /// Moves the clock; rows enter and leave the window. Never steps back.
    ///
    /// # Errors
    /// As [`View::seed`].
    pub fn tick(&mut self, tick: Tick) -> Result<(), ViewError> {
        let Some(panes) = &mut self.panes else { return Ok(()) };
        for step in panes.tick(tick.us())? {
            self.moved = true;
            match step {
                Move::Enter(chunk) => self.body.apply(&chunk, 1)?,
                Move::Leave(chunk) => self.body.apply(&chunk, -1)?,
                Move::Forget(chunk) => self.body.release(&chunk),
            }
        }
        self.check_bytes()
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
        self.moved = false;
        let delta = match &mut self.body {
            BodyState::Groups(groups) => {
                let delta = groups.collect()?;
                if groups.is_lost() {
                    self.plan.hints.set_retracts();
                    self.reseed = Some("a row that held a minimum or maximum went");
                }
                delta
            }
            BodyState::Rows(rows) => {
                if rows.is_starved()
                    && let Some(panes) = self.panes.as_ref().filter(|p| p.keeps_all_inside())
                {
                    rows.clear();
                    for chunk in panes.inside() {
                        rows.apply(&chunk.columns, chunk.rows, chunk.signs(1))?;
                    }
                }
                if rows.is_starved() {
                    self.reseed = Some("more rows went than were kept in reserve");
                }
                rows.collect()
            }
        };
        self.check_bytes()?;
        Ok(delta)
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
            BodyState::Groups(groups) => groups.bytes(),
        };
        body + self.panes.as_ref().map_or(0, Panes::bytes)
    }

    fn take_in(&mut self, rows: RecordBatch, weights: Option<Vec<i8>>) -> Result<(), ViewError> {
        let fits = |(a, b): (&Arc<arrow::datatypes::Field>, &Arc<arrow::datatypes::Field>)| {
            a.data_type() == b.data_type()
        };
        let (had, wanted) = (rows.schema(), &self.plan.input);
        if had.fields().len() != wanted.fields().len() || !had.fields().iter().zip(wanted.fields()).all(fits)
        {
            return Err(ViewError::Plan("rows of other columns than planned".into()));
        }
        // Under the plan's own schema: a column's new spelling is no concern of expressions.
        let rows = RecordBatch::try_new(Arc::clone(wanted), rows.columns().to_vec())?;
        let (mut rows, mut weights) = match &self.plan.filter {
            Some(filter) => select(rows.clone(), weights, &evaluate_mask(filter, &rows)?)?,
            None => (rows, weights),
        };
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let Some(panes) = &mut self.panes else {
            self.moved = true;
            let columns = self.body.prepare(&rows)?;
            self.body.apply(&Chunk { columns, weights, rows: rows.num_rows() }, 1)?;
            return self.check_bytes();
        };
        let column = self.plan.window.map_or(0, |window| window.column);
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
        self.check_bytes()
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
            BodyState::Groups(groups) => groups.prepare(input),
        }
    }

    fn apply(&mut self, chunk: &Chunk, sign: i64) -> Result<(), ViewError> {
        match self {
            BodyState::Rows(rows) => rows.apply(&chunk.columns, chunk.rows, chunk.signs(sign)),
            BodyState::Groups(groups) => groups.apply(&chunk.columns, chunk.signs(sign)),
        }
    }

    fn hold(&mut self, chunk: &Chunk) {
        if let BodyState::Groups(groups) = self {
            groups.hold(&chunk.columns);
        }
    }

    fn release(&mut self, chunk: &Chunk) {
        if let BodyState::Groups(groups) = self {
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
fn times(column: &ArrayRef) -> Result<TimestampMicrosecondArray, ViewError> {
    let us = DataType::Timestamp(TimeUnit::Microsecond, None);
    let column = if *column.data_type() == us { Arc::clone(column) } else { cast(column, &us)? };
    Ok(column.as_primitive::<TimestampMicrosecondType>().clone())
}

/// Rows, and their weights if not all are +1.
type Weighted = (RecordBatch, Option<Vec<i8>>);

fn select(rows: RecordBatch, weights: Option<Vec<i8>>, mask: &BooleanArray) -> Result<Weighted, ViewError> {
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
    let (inputs, outputs) = (plan.input.fields().len(), plan.output.len());
    if inputs != plan.columns.len() + 1 {
        return refuse("the input is not the columns and _seq");
    }
    if plan.window.is_some_and(|window| window.column >= inputs) {
        return refuse("the window has no column");
    }
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
        Body::Rows { .. } if plan.key.is_empty() => refuse("rows have no key"),
        Body::Rows { .. } if plan.having.is_some() => refuse("having without groups"),
        _ => Ok(()),
    }
}
