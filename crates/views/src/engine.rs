//! Drives all views on the apply thread. Pure: changes, ticks and results come in, moments go out.
//!
//! **For what.** The apply thread hands every record's changes and every tick to the engine and then calls
//! [`Engine::publish`], which makes one moment of all views. Whatever takes long (reading a table's past,
//! running a query) is done elsewhere: the engine says what is wanted ([`Engine::reseeds`], [`Engine::due`])
//! and takes the outcome ([`Engine::seeded`], [`Engine::result`]).
//!
//! **Incremental views** are *seeding* until `seeded` brings a [`View`] that was filled from a snapshot. From
//! `add` on the changes of all their tables are kept with their positions, so that those beyond the snapshot's are then
//! put on top: nothing is missed and nothing counted twice. The snapshot must be taken after `add`. What is
//! kept is bounded; past the bound it is dropped and the view asks for a newer snapshot. A live view may ask to
//! be seeded anew, too ([`View::needs_reseed`]); its rows stay as they were meanwhile, and it says `Behind`.
//!
//! **Re-evaluated views** are *dirty* when a table that they read changed after the snapshot of their last
//! evaluation, or, if they name the clock, when a tick came. A dirty one that is not running becomes due once
//! its last evaluation lies nine times its cost in the past: a tenth of one core at most. A result is shown
//! from the first moment on whose position is not before its own; if the view is dirty by then it says
//! `Behind` with the last version at which its content was true.
//!
//! **A moment.** Changes are computed view by view, then all are put in under one lock. A moment in which
//! nothing changed still has its version: it is the readers' proof that what they see is fresh.
//!
//! **When things go wrong** one view fails, with its error, and lets go of its state; the others go on. A view of
//! changes that outgrows its bound, or is the largest when all together outgrow theirs, lets go of its state,
//! too, and is run again from then on.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
};

use nowcast_model::{Change, Offset, TableName, Tick, Version};

use crate::{
    LiveSchema, LiveTable, LiveTables, Mode, Published, Reads, Row, View, ViewError, ViewId, ViewLimits,
    ViewState,
    runner::{Entry, Runner, Seeding},
};

/// After so many snapshots that were too old on arrival a view gives up.
const SEED_ATTEMPTS_MAX: u32 = 8;

/// Moments that are remembered in order to name the version at which a late result was true.
const HISTORY_MAX: usize = 4_096;

/// A re-evaluated view may use one in this many parts of a core.
const COST_SHARE: i64 = 10;

/// How a view is kept up to date, and what it reads.
#[derive(Debug, Clone)]
pub enum Kind {
    /// From changes; see [`crate::ViewPlan::kind`].
    Incremental {
        /// What it reads.
        reads: Vec<Reads>,
        /// How it is run again, should it grow too large.
        again: Again,
    },
    /// By evaluating the query again.
    Reevaluated {
        /// All tables that it reads, those behind views and subqueries included.
        tables: Vec<TableName>,
        /// True if it names `now()`.
        clock: bool,
    },
}

/// What a view of changes becomes that grew too large: the same query, run again.
#[derive(Debug, Clone)]
pub struct Again {
    /// What its rows look like then.
    pub schema: Arc<LiveSchema>,
    /// True if it names `now()`.
    pub clock: bool,
}

/// What an evaluation yielded.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// Position of the snapshot that was read.
    pub position: Offset,
    /// What `now()` was.
    pub tick: Tick,
    /// The rows in the form of the view's [`LiveSchema`], with distinct keys.
    pub rows: Vec<Row>,
    /// What it cost: microseconds of one core, or of wall time if that is what is known.
    pub cost_us: u64,
}

/// Counters of one view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewStats {
    /// The view.
    pub id: ViewId,
    /// How it is kept up to date.
    pub mode: Mode,
    /// Incremental: moments for which changes were computed. Re-evaluated: results that came.
    pub evaluations: u64,
    /// Re-evaluated: what all evaluations cost.
    pub cost_us: u64,
    /// Bytes of state, by estimate, waiting changes included.
    pub state_bytes: usize,
    /// Why it is run again although it was to be kept up to date by changes.
    pub fell_back: Option<ViewError>,
}

/// Counters of all views since the process began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Moments published.
    pub moments: u64,
    /// Changes computed by incremental views: one for each view and moment in which its input moved.
    pub evaluations_incremental: u64,
    /// Results of re-evaluated views.
    pub evaluations_reevaluated: u64,
    /// The views there are, by id.
    pub views: Vec<ViewStats>,
}

/// Drives all views. See the module's story.
pub struct Engine {
    limits: ViewLimits,
    tables: Arc<LiveTables>,
    entries: BTreeMap<ViewId, Entry>,
    version: Version,
    position: Offset,
    tick: Tick,
    history: VecDeque<(Version, Offset, Tick)>,
    stats: EngineStats,
}

impl Engine {
    /// No views, before the first moment.
    pub fn new(limits: ViewLimits, tables: Arc<LiveTables>) -> Engine {
        Engine {
            limits,
            tables,
            entries: BTreeMap::new(),
            version: Version::ZERO,
            position: Offset::ZERO,
            tick: Tick::default(),
            history: VecDeque::new(),
            stats: EngineStats::default(),
        }
    }

    /// What readers see.
    pub fn tables(&self) -> &Arc<LiveTables> {
        &self.tables
    }

    /// The bounds that views are made with.
    pub fn limits(&self) -> &ViewLimits {
        &self.limits
    }

    /// Position of the last change that was applied, or that a moment named.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Adds a view. An incremental one is to be seeded from a snapshot taken *after* this call (no need to ask
    /// [`Engine::reseeds`] the first time); a re-evaluated one becomes due at once.
    pub fn add(&mut self, id: ViewId, schema: impl Into<Arc<LiveSchema>>, kind: Kind) {
        let (runner, mode) = match kind {
            Kind::Incremental { reads, again } => {
                let keyed = |reads: Reads| Reads { table: reads.table.key(), ..reads };
                let reads = reads.into_iter().map(keyed).collect();
                let seeding = Seeding::new(reads, Arc::new(again), self.position, 0, false);
                (Runner::Seeding(seeding), Mode::Incremental)
            }
            Kind::Reevaluated { tables, clock } => {
                let tables = tables.iter().map(TableName::key).collect();
                (Runner::reevaluated(tables, clock, self.position), Mode::Reevaluated)
            }
        };
        self.entries.insert(id, Entry { runner, true_at: None, fell_back: None, evaluations: 0, cost_us: 0 });
        let table = LiveTable::new(schema.into(), self.version, &self.limits);
        let state = ViewState::Seeding { percent: 0 };
        self.tables.write(|moment| moment.views.insert(id, Published { table, state, mode }));
    }

    /// Says how far the seeding of a view is. Ignored unless it has nothing to show yet.
    pub fn seeding(&mut self, id: ViewId, percent: u8) {
        if self
            .entries
            .get(&id)
            .is_some_and(|e| e.true_at.is_none() && matches!(e.runner, Runner::Seeding(_)))
        {
            self.set_state(id, ViewState::Seeding { percent: percent.min(100) });
        }
    }

    /// Takes a view that was filled from the snapshot at `position`, and puts what changed since on top. It is
    /// shown from the next moment on. If changes between `position` and now were not kept, the view is thrown
    /// away and asks for a newer snapshot. Ignored if the view was removed or is not seeding.
    pub fn seeded(&mut self, id: ViewId, view: View, position: Offset) {
        let Some(Entry { runner: Runner::Seeding(seeding), .. }) = self.entries.get_mut(&id) else { return };
        if position < seeding.from {
            seeding.wanted = true;
            seeding.attempts += 1;
            if seeding.attempts >= SEED_ATTEMPTS_MAX {
                let names: Vec<_> = seeding.reads.iter().map(|reads| reads.table.to_string()).collect();
                let (tables, attempts) = (names.join(", "), seeding.attempts);
                self.fail(id, ViewError::SeedTooSlow { tables, attempts });
            }
            return;
        }
        let mut view = Box::new(view);
        let waiting = mem::take(&mut seeding.changes);
        let mut caught_up = view.tick(self.tick);
        for (_, change) in waiting.iter().filter(|(end, _)| *end > position) {
            caught_up = caught_up.and_then(|()| view.apply(change));
        }
        if let Err(error) = caught_up {
            return self.fail(id, error);
        }
        let (reads, again, attempts) =
            (Arc::clone(&seeding.reads), Arc::clone(&seeding.again), seeding.attempts);
        let runner = Runner::Live { reads, again, view, seeded_at: position, fresh: true, attempts };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.runner = runner;
        }
    }

    /// Views that must be seeded from a new snapshot; each is named once.
    pub fn reseeds(&mut self) -> Vec<ViewId> {
        let mut wanted = Vec::new();
        for (&id, entry) in &mut self.entries {
            if let Runner::Seeding(seeding) = &mut entry.runner
                && mem::take(&mut seeding.wanted)
            {
                wanted.push(id);
            }
        }
        wanted
    }

    /// Takes the outcome of an evaluation that [`Engine::due`] asked for.
    pub fn result(&mut self, id: ViewId, result: Result<Evaluated, ViewError>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Runner::Reevaluated(runner) = &mut entry.runner else { return };
        runner.running = false;
        match result {
            Ok(evaluated) => {
                let cost_us = i64::try_from(evaluated.cost_us).unwrap_or(i64::MAX);
                runner.not_before_us = runner.started_us.saturating_add(cost_us.saturating_mul(COST_SHARE));
                runner.newest = Some((evaluated.position, evaluated.tick));
                entry.evaluations += 1;
                entry.cost_us = entry.cost_us.saturating_add(evaluated.cost_us);
                self.stats.evaluations_reevaluated += 1;
                runner.pending = Some(evaluated);
            }
            Err(error) => self.fail(id, error),
        }
    }

    /// Makes a re-evaluated view due although no table changed: what it reads is not a table.
    pub fn invalidate(&mut self, id: ViewId) {
        if let Some(Entry { runner: Runner::Reevaluated(runner), .. }) = self.entries.get_mut(&id) {
            runner.newest = None;
        }
    }

    /// Ends a view with an error, which its readers see at once; one that grew too large is run again instead.
    pub fn fail(&mut self, id: ViewId, error: ViewError) {
        if error.is_too_large() && self.fall_back(id, &error) {
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let mode = entry.mode();
        entry.runner = Runner::Failed(mode);
        self.set_state(id, ViewState::Failed(error));
    }

    /// Makes a view of changes one that is run again. Its readers keep what they have until the first result,
    /// which they get as a snapshot that names the mode.
    fn fall_back(&mut self, id: ViewId, error: &ViewError) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        let (Runner::Seeding(Seeding { reads, again, .. }) | Runner::Live { reads, again, .. }) =
            &entry.runner
        else {
            return false;
        };
        let tables = reads.iter().map(|reads| reads.table.clone()).collect();
        let (schema, clock) = (Arc::clone(&again.schema), again.clock);
        entry.runner = Runner::reevaluated(tables, clock, self.position);
        entry.fell_back = Some(error.clone());
        entry.true_at = None;
        let table = LiveTable::new(schema, self.version, &self.limits);
        let state = ViewState::Seeding { percent: 0 };
        let published = Published { table, state, mode: Mode::Reevaluated };
        self.tables.write(|moment| moment.views.insert(id, published));
        true
    }

    /// Lets the largest views go until all together are within their bound.
    fn bound(&mut self) {
        let max = self.limits.state_total_bytes_max;
        loop {
            let sizes = self.entries.iter().map(|(&id, entry)| (entry.state_bytes(), id));
            let (bytes, largest) =
                sizes.fold((0, None), |(sum, largest), size| (sum + size.0, largest.max(Some(size))));
            match largest.filter(|(size, _)| bytes > max && *size > 0) {
                Some((_, id)) => self.fail(id, ViewError::TotalOverflow { bytes, max }),
                None => return,
            }
        }
    }

    /// Forgets a view.
    pub fn remove(&mut self, id: ViewId) {
        if self.entries.remove(&id).is_some() {
            self.tables.write(|moment| moment.views.remove(&id));
        }
    }

    /// Takes the changes of one record, whose end is `end`: the position of the world with them in it.
    pub fn apply(&mut self, end: Offset, changes: &[Change]) {
        self.position = self.position.max(end);
        for change in changes {
            let table = change.table().key();
            let mut failed = Vec::new();
            for (&id, entry) in &mut self.entries {
                let applied = match change {
                    Change::Rows(rows) => entry.apply_rows(&table, end, rows, &self.limits),
                    Change::Schema(schema) => entry.apply_schema(&table, end, schema),
                };
                failed.extend(applied.err().map(|error| (id, error)));
            }
            for (id, error) in failed {
                self.fail(id, error);
            }
        }
    }

    /// Moves the clock. Ignored if it would step back.
    pub fn tick(&mut self, tick: Tick) {
        if tick <= self.tick {
            return;
        }
        self.tick = tick;
        let mut failed = Vec::new();
        for (&id, entry) in &mut self.entries {
            if let Runner::Live { view, .. } = &mut entry.runner {
                failed.extend(view.tick(tick).err().map(|error| (id, error)));
            }
        }
        for (id, error) in failed {
            self.fail(id, error);
        }
        self.bound();
    }

    /// Makes a moment: all views as of `position` and `tick`, under the next version.
    pub fn publish(&mut self, position: Offset, tick: Tick) -> Version {
        self.tick(tick);
        self.position = self.position.max(position);
        let version = self.version.next();
        self.version = version;
        self.stats.moments += 1;
        self.history.push_back((version, self.position, self.tick));
        if self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
        let (mut steps, mut failed) = (Vec::with_capacity(self.entries.len()), Vec::new());
        for (&id, entry) in &mut self.entries {
            let evaluations = entry.evaluations;
            let step = entry.step(self.position);
            if matches!(entry.runner, Runner::Live { .. }) {
                self.stats.evaluations_incremental += entry.evaluations - evaluations;
            }
            let step = match step {
                Ok(step) => step,
                Err(error) => {
                    failed.push((id, error));
                    continue;
                }
            };
            let state = entry.state(version, self.tick, &self.history, &step);
            steps.push((id, step, state));
        }
        for (id, error) in failed {
            self.fail(id, error);
        }
        let (position, tick) = (self.position, self.tick);
        self.tables.write(|moment| {
            (moment.version, moment.position, moment.tick) = (version, position, tick);
            for (id, step, state) in steps {
                if let Some(published) = moment.views.get_mut(&id) {
                    published.install(version, step);
                    published.state = state.unwrap_or_else(|| published.state.clone());
                }
            }
        });
        version
    }

    /// Re-evaluated views that are to be evaluated now, by a snapshot taken after this call. They count as
    /// running until [`Engine::result`]. `now_us` is any clock that rises.
    pub fn due(&mut self, now_us: i64) -> Vec<ViewId> {
        let mut due = Vec::new();
        for (&id, entry) in &mut self.entries {
            if let Runner::Reevaluated(runner) = &mut entry.runner
                && !runner.running
                && now_us >= runner.not_before_us
                && runner.is_dirty(self.tick)
            {
                runner.running = true;
                runner.started_us = now_us;
                due.push(id);
            }
        }
        due
    }

    /// Counters.
    pub fn stats(&self) -> EngineStats {
        let views = self.entries.iter().map(|(&id, entry)| ViewStats {
            id,
            mode: entry.mode(),
            evaluations: entry.evaluations,
            cost_us: entry.cost_us,
            state_bytes: entry.state_bytes(),
            fell_back: entry.fell_back.clone(),
        });
        EngineStats { views: views.collect(), ..self.stats.clone() }
    }

    fn set_state(&mut self, id: ViewId, state: ViewState) {
        self.tables.write(|moment| {
            if let Some(published) = moment.views.get_mut(&id) {
                published.state = state;
            }
        });
    }
}
