//! What the engine knows of one view: how it is kept up to date, and how far it is.

use std::{collections::VecDeque, mem, sync::Arc};

use arrow::array::{Array, ArrayRef};
use nowcast_model::{Offset, RowChange, SchemaChange, TableName, TableSchema, Tick, Version};

use crate::{
    Evaluated, Mode, Published, Reads, Row, View, ViewError, ViewLimits, ViewState, engine::Again,
    view::Delta,
};

pub(crate) struct Entry {
    pub(crate) runner: Runner,
    /// Last version at which the content was true; `None` before there was content.
    pub(crate) true_at: Option<Version>,
    /// Why it is run again although it was to be kept up to date by changes.
    pub(crate) fell_back: Option<ViewError>,
    pub(crate) evaluations: u64,
    pub(crate) cost_us: u64,
}

pub(crate) enum Runner {
    Seeding(Seeding),
    Live {
        reads: Arc<[Reads]>,
        again: Arc<Again>,
        view: Box<View>,
        /// Position of the snapshot it was seeded from.
        seeded_at: Offset,
        /// True until its rows were put into the live table for the first time.
        fresh: bool,
        attempts: u32,
    },
    Reevaluated(Reevaluated),
    Failed(Mode),
}

impl Runner {
    /// A view that is run again from now on, first at once.
    pub(crate) fn reevaluated(tables: Vec<TableName>, clock: bool, changed_at: Offset) -> Runner {
        Runner::Reevaluated(Reevaluated {
            tables,
            clock,
            changed_at,
            newest: None,
            pending: None,
            running: false,
            started_us: 0,
            not_before_us: i64::MIN,
        })
    }
}

pub(crate) struct Seeding {
    /// The tables in key form.
    pub(crate) reads: Arc<[Reads]>,
    pub(crate) again: Arc<Again>,
    /// Changes from here on are in `changes`.
    pub(crate) from: Offset,
    /// Changes by the position of the world with them in it.
    pub(crate) changes: Vec<(Offset, RowChange)>,
    pub(crate) bytes: usize,
    /// True if somebody must be told to seed it.
    pub(crate) wanted: bool,
    pub(crate) attempts: u32,
}

pub(crate) struct Reevaluated {
    /// In key form.
    pub(crate) tables: Vec<TableName>,
    pub(crate) clock: bool,
    /// Position of the world with the last change of its tables in it.
    pub(crate) changed_at: Offset,
    /// Position and tick of the newest result, whether it is shown or pending.
    pub(crate) newest: Option<(Offset, Tick)>,
    /// Came, but is not shown yet.
    pub(crate) pending: Option<Evaluated>,
    pub(crate) running: bool,
    pub(crate) started_us: i64,
    pub(crate) not_before_us: i64,
}

impl Reevaluated {
    pub(crate) fn is_dirty(&self, tick: Tick) -> bool {
        self.newest.is_none_or(|(position, at)| self.changed_at > position || (self.clock && tick > at))
    }
}

/// What a view does to its live table in a moment.
pub(crate) enum Step {
    Delta(Delta),
    Replace(Delta),
    Rows(Vec<Row>),
    Nothing,
}

impl Seeding {
    pub(crate) fn new(
        reads: Arc<[Reads]>,
        again: Arc<Again>,
        from: Offset,
        attempts: u32,
        wanted: bool,
    ) -> Seeding {
        Seeding { reads, again, from, changes: Vec::new(), bytes: 0, wanted, attempts }
    }

    pub(crate) fn keep(&mut self, end: Offset, change: &RowChange, bytes_max: usize) {
        // Columns that were read from the log share their memory, and rows in memory are slices: each counts its own.
        let own = |column: &ArrayRef| column.to_data().get_slice_memory_size();
        let bytes: usize = change
            .rows
            .columns()
            .iter()
            .map(|column| own(column).unwrap_or_else(|_| column.get_array_memory_size()))
            .sum();
        self.bytes += bytes;
        self.changes.push((end, change.clone()));
        if self.bytes > bytes_max {
            // The snapshot that is being read is too old by now. `seeded` will notice and ask for another.
            self.changes = Vec::new();
            self.bytes = 0;
            self.from = end;
        }
    }
}

/// True if the table is read.
fn names(reads: &[Reads], table: &TableName) -> bool {
    reads.iter().any(|reads| reads.table == *table)
}

impl Entry {
    pub(crate) fn mode(&self) -> Mode {
        match &self.runner {
            Runner::Seeding(_) | Runner::Live { .. } => Mode::Incremental,
            Runner::Reevaluated(_) => Mode::Reevaluated,
            Runner::Failed(mode) => *mode,
        }
    }

    pub(crate) fn state_bytes(&self) -> usize {
        match &self.runner {
            Runner::Seeding(seeding) => seeding.bytes,
            Runner::Live { view, .. } => view.state_bytes(),
            Runner::Reevaluated(_) | Runner::Failed(_) => 0,
        }
    }

    pub(crate) fn apply_rows(
        &mut self,
        table: &TableName,
        end: Offset,
        change: &RowChange,
        limits: &ViewLimits,
    ) -> Result<(), ViewError> {
        match &mut self.runner {
            Runner::Seeding(seeding) if names(&seeding.reads, table) => {
                seeding.keep(end, change, limits.buffer_bytes_max);
            }
            Runner::Live { reads, view, seeded_at, .. } if end > *seeded_at && names(reads, table) => {
                view.apply(change)?;
            }
            Runner::Reevaluated(runner) if runner.tables.contains(table) => runner.changed_at = end,
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn apply_schema(
        &mut self,
        table: &TableName,
        end: Offset,
        change: &SchemaChange,
    ) -> Result<(), ViewError> {
        let name = || change.table.clone();
        match &mut self.runner {
            Runner::Seeding(Seeding { reads, .. }) | Runner::Live { reads, .. } if names(reads, table) => {
                let new = still_there(change)?;
                let read = reads.iter().filter(|reads| reads.table == *table);
                for column in read.flat_map(|reads| &reads.columns) {
                    let Some(index) = new.index_of(&column.name) else {
                        let column = column.name.to_string();
                        return Err(ViewError::ColumnDropped { table: name(), column });
                    };
                    let (was, now) = (column.ty, new.columns[index].ty);
                    if was != now {
                        let column = column.name.to_string();
                        return Err(ViewError::ColumnRetyped { table: name(), column, was, now });
                    }
                }
            }
            Runner::Reevaluated(runner) if runner.tables.contains(table) => {
                still_there(change)?;
                runner.changed_at = end;
            }
            _ => {}
        }
        Ok(())
    }

    /// Computes what the view does in the moment at `position`.
    pub(crate) fn step(&mut self, position: Offset) -> Result<Step, ViewError> {
        match &mut self.runner {
            Runner::Live { reads, again, view, attempts, .. } if view.needs_reseed().is_some() => {
                let seeding = Seeding::new(Arc::clone(reads), Arc::clone(again), position, *attempts, true);
                self.runner = Runner::Seeding(seeding);
                Ok(Step::Nothing)
            }
            // Seeded from a snapshot that the apply thread has not reached yet.
            Runner::Live { seeded_at, .. } if *seeded_at > position => Ok(Step::Nothing),
            Runner::Live { view, fresh, .. } if *fresh || view.is_dirty() => {
                let delta = view.collect()?;
                if view.needs_reseed().is_some() {
                    return self.step(position);
                }
                self.evaluations += 1;
                Ok(if mem::take(fresh) { Step::Replace(delta) } else { Step::Delta(delta) })
            }
            Runner::Reevaluated(runner)
                if runner.pending.as_ref().is_some_and(|p| p.position <= position) =>
            {
                Ok(runner.pending.take().map_or(Step::Nothing, |evaluated| Step::Rows(evaluated.rows)))
            }
            _ => Ok(Step::Nothing),
        }
    }

    /// What the view says of its content in the moment `version`; `None` for what it said before.
    pub(crate) fn state(
        &mut self,
        version: Version,
        tick: Tick,
        history: &VecDeque<(Version, Offset, Tick)>,
        step: &Step,
    ) -> Option<ViewState> {
        match &self.runner {
            Runner::Live { fresh: false, .. } => self.true_at = Some(version),
            Runner::Reevaluated(runner) => match (runner.newest, step) {
                (Some(_), _) if runner.pending.is_none() && !runner.is_dirty(tick) => {
                    self.true_at = Some(version);
                }
                (Some((position, at)), Step::Rows(_)) => {
                    let held = history.iter().rev().find(|(_, p, t)| *p <= position && *t <= at);
                    self.true_at = held.map(|&(version, ..)| version).max(self.true_at).or(Some(version));
                }
                _ => {}
            },
            Runner::Failed(_) => return None,
            Runner::Seeding(_) | Runner::Live { .. } => {}
        }
        match self.true_at {
            Some(at) if at == version => Some(ViewState::Live),
            Some(version) => Some(ViewState::Behind { version }),
            None => None,
        }
    }
}

impl Published {
    pub(crate) fn install(&mut self, version: Version, step: Step) {
        let unseen = matches!(self.state, ViewState::Seeding { .. });
        match step {
            Step::Delta(delta) => {
                delta.install(version, &mut self.table);
            }
            Step::Replace(delta) => {
                if unseen {
                    self.table.restart(version);
                }
                self.table.replace(version, delta.upsert);
                self.table.set_truncated(delta.truncated);
            }
            Step::Rows(rows) => {
                if unseen {
                    self.table.restart(version);
                }
                self.table.replace(version, rows);
            }
            Step::Nothing => self.table.advance(version),
        }
    }
}

/// What the table looks like, if it is there under its name.
fn still_there(change: &SchemaChange) -> Result<&TableSchema, ViewError> {
    let table = || change.table.clone();
    match &change.new {
        None => Err(ViewError::TableDropped { table: table() }),
        Some(new) if new.name.key() != change.table.key() => {
            Err(ViewError::TableRenamed { table: table(), to: new.name.clone() })
        }
        Some(new) => Ok(new),
    }
}
