//! The apply thread: log → store → views → publish, in order.
//!
//! One loop, one owner: it alone writes the store's tables and drives the view engine, so that every change,
//! tick and command has one place in one order. It never waits for a query: what takes long runs on the query
//! runtime and comes back as a command.
//!
//! A round: take what the log has committed (or wake at the next tick, or for a command), apply each record,
//! run the commands, then publish one moment if anything happened.
//!
//! If a record cannot be applied (a disk error while old rows are read for a drop), the store stays at the
//! record before and the thread ends: `/readyz` tells, writes are refused, reads go on. A restart replays.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use metrics::{counter, gauge};
use nowcast_log::{Tail, TailWaker};
use nowcast_model::{Clock, Offset, Tick};
use nowcast_store::{Snapshot, Store};
use nowcast_views::{Engine, EngineStats, Evaluated, Kind, LiveSchema, View, ViewError, ViewId};
use tokio::sync::{mpsc, watch};

/// What other threads ask of this one.
pub enum Command {
    /// A view begins.
    Add {
        /// Its id, never used before.
        id: ViewId,
        /// What its rows look like.
        schema: Arc<LiveSchema>,
        /// How it is kept up to date.
        kind: Kind,
        /// Told once readers find the view.
        added: watch::Sender<bool>,
    },
    /// The outcome of [`Work::Seed`].
    Seeded(ViewId, Result<(Box<View>, Offset), ViewError>),
    /// The outcome of [`Work::Evaluate`].
    Result(ViewId, Result<Evaluated, ViewError>),
    /// A view that is evaluated by other means than SQL changed.
    Invalidate(ViewId),
    /// A view ends.
    Remove(ViewId),
}

/// What this thread asks of the query runtime.
pub enum Work {
    /// Fill a view from the snapshot.
    Seed(ViewId, Arc<Snapshot>, Tick),
    /// Run a view's query on the snapshot.
    Evaluate(ViewId, Arc<Snapshot>, Tick),
}

/// Sends commands, and wakes the thread that waits for the log.
#[derive(Clone)]
pub struct Commands {
    sender: mpsc::Sender<Command>,
    waker: TailWaker,
}

impl Commands {
    /// Queues a command; waits while the queue is full.
    pub async fn send(&self, command: Command) {
        // Without a receiver the process is ending.
        let _ = self.sender.send(command).await;
        self.waker.wake();
    }

    /// Queues a command where nothing may wait. False if the queue is full.
    pub fn try_send(&self, command: Command) -> bool {
        let sent = self.sender.try_send(command).is_ok();
        self.waker.wake();
        sent
    }
}

/// Commands that wait; a page of thirty panels sends thirty at once.
const COMMANDS_MAX: usize = 4_096;

/// How long the thread sleeps at most: a tick is at most this late.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// How long the replay waits for a flush, at a time and in all.
const REPLAY_WAIT: Duration = Duration::from_millis(20);
const REPLAY_WAIT_MAX: Duration = Duration::from_secs(30);

/// What the thread runs on.
pub(super) struct Apply {
    /// The committed records.
    pub tail: Tail,
    /// Where they go.
    pub store: Arc<Store>,
    /// The views.
    pub engine: Engine,
    /// Where ticks come from.
    pub clock: Arc<dyn Clock>,
    /// Told after each record.
    pub applied: watch::Sender<Offset>,
    /// Told of what takes long.
    pub work: mpsc::UnboundedSender<Work>,
    /// The engine's counters as of the last tick.
    pub stats: Arc<Mutex<EngineStats>>,
    /// Where the log ended at the start: what lies before is replayed.
    pub replay_end: Offset,
    /// Rows in memory past which the replay waits for a flush.
    pub replay_hot_bytes_max: usize,
}

/// Makes the command channel for a tail.
pub(super) fn commands(tail: &Tail) -> (Commands, mpsc::Receiver<Command>) {
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    (Commands { sender, waker: tail.waker() }, receiver)
}

impl Apply {
    /// Runs until the log is stopped and drained. Returns why it ended early, if it did.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), String> {
        let started = Instant::now();
        let mut tick = Tick::containing(self.clock.now_us());
        self.engine.tick(tick);
        self.engine.publish(*self.applied.borrow(), tick);
        loop {
            let until_tick_us = tick.us() + Tick::INTERVAL_US - self.clock.now_us();
            let until_tick = Duration::from_micros(u64::try_from(until_tick_us).unwrap_or(0));
            let records = match self.tail.next(until_tick.min(SLEEP_MAX)) {
                Ok(Some(records)) => records,
                Ok(None) => return Ok(()),
                Err(error) => return Err(format!("the log cannot be read: {error}")),
            };
            let mut moved = false;
            for record in &records {
                let end = record.end();
                if record.offset < self.replay_end {
                    self.wait_for_memory();
                }
                let engine = &mut self.engine;
                self.store
                    .apply_each(record, &mut |change| engine.apply(end, &[change]))
                    .map_err(|e| format!("the record at {} cannot be applied: {e}", record.offset))?;
                self.applied.send_replace(end);
                moved = true;
            }
            // A clock that steps back moves no tick backward.
            let now = Tick::containing(self.clock.now_us()).max(tick);
            if now > tick {
                tick = now;
                self.engine.tick(tick);
                self.report();
                moved = true;
            }
            while let Ok(command) = commands.try_recv() {
                moved |= self.command(command, tick);
            }
            if moved {
                self.engine.publish(*self.applied.borrow(), tick);
                counter!("nowcast_views_moments_total").increment(1);
            }
            self.hand_out(tick, i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX));
        }
    }

    /// Waits until rows in memory have become parts. Not for ever: a disk that is full heals later.
    fn wait_for_memory(&self) {
        let began = Instant::now();
        while self.store.hot_bytes() > self.replay_hot_bytes_max && began.elapsed() < REPLAY_WAIT_MAX {
            std::thread::sleep(REPLAY_WAIT);
        }
    }

    /// True if a moment must be published for it.
    fn command(&mut self, command: Command, tick: Tick) -> bool {
        match command {
            Command::Add { id, schema, kind, added } => {
                let incremental = matches!(kind, Kind::Incremental { .. });
                self.engine.add(id, schema, kind);
                added.send_replace(true);
                if incremental {
                    self.send(Work::Seed(id, self.store.snapshot(), tick));
                }
                false
            }
            Command::Seeded(id, Ok((view, position))) => {
                self.engine.seeded(id, *view, position);
                true
            }
            Command::Seeded(id, Err(error)) => {
                self.engine.fail(id, error);
                true
            }
            Command::Result(id, result) => {
                self.engine.result(id, result);
                true
            }
            Command::Invalidate(id) => {
                self.engine.invalidate(id);
                false
            }
            Command::Remove(id) => {
                self.engine.remove(id);
                false
            }
        }
    }

    /// Starts what the engine wants: evaluations that are due, and views that need a newer snapshot.
    fn hand_out(&mut self, tick: Tick, now_us: i64) {
        let (due, reseeds) = (self.engine.due(now_us), self.engine.reseeds());
        if due.is_empty() && reseeds.is_empty() {
            return;
        }
        let snapshot = self.store.snapshot();
        for id in due {
            self.send(Work::Evaluate(id, Arc::clone(&snapshot), tick));
        }
        for id in reseeds {
            self.send(Work::Seed(id, Arc::clone(&snapshot), tick));
        }
    }

    fn send(&self, work: Work) {
        // Bounded by the number of views: each has at most one piece of work out. Without a receiver the
        // process is ending.
        let _ = self.work.send(work);
    }

    fn report(&self) {
        let stats = self.engine.stats();
        counter!("nowcast_views_evaluations_total", "mode" => "incremental")
            .absolute(stats.evaluations_incremental);
        counter!("nowcast_views_evaluations_total", "mode" => "reevaluated")
            .absolute(stats.evaluations_reevaluated);
        gauge!("nowcast_views").set(stats.views.len() as f64);
        let state: usize = stats.views.iter().map(|view| view.state_bytes).sum();
        gauge!("nowcast_views_state_bytes").set(state as f64);
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}
