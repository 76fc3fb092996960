//! What waits for the log thread, and the ring through which committed records go to the apply thread.
//!
//! The ring holds the very records that were written, so that apply need not decode them again. It is bounded
//! by bytes, and the log thread never waits for it: a record that does not fit is left out, and so are all
//! behind it (`overflowed`). The reader first empties the ring, then reads the log's files until it has met
//! their end, and only then, under the ring's lock, lets the log thread use the ring again. So each record
//! comes once and in order, by one way or the other.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nowcast_model::{Item, Offset, Producer, Record};

use crate::{Committed, LogError, reader::Cursor};

/// What to call once a record is durable, or is not.
pub(crate) type Done = Box<dyn FnOnce(Result<Committed, LogError>) + Send>;

/// A record that waits to be written.
pub(crate) struct Pending {
    pub(crate) items: Vec<Item>,
    pub(crate) producer: Option<Producer>,
    pub(crate) bytes: usize,
    pub(crate) done: Done,
}

/// What the log thread has to do.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) pending_bytes: usize,
    pub(crate) drop_before: Option<Offset>,
    pub(crate) stop: bool,
    /// The thread is no more: nothing may be queued.
    pub(crate) ended: bool,
}

/// The way to the log thread.
#[derive(Default)]
pub(crate) struct Queue {
    /// Held to push or to take, never while something is written.
    work: Mutex<Work>,
    wake: Condvar,
}

impl Queue {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until there is something to do, and takes it all. `stop` stays set.
    pub(crate) fn take(&self) -> Work {
        let work = self.lock();
        let mut work = self
            .wake
            .wait_while(work, |work| work.pending.is_empty() && work.drop_before.is_none() && !work.stop)
            .unwrap_or_else(PoisonError::into_inner);
        Work {
            pending: std::mem::take(&mut work.pending),
            pending_bytes: std::mem::take(&mut work.pending_bytes),
            drop_before: work.drop_before.take(),
            stop: work.stop,
            ended: false,
        }
    }
}

struct RingState {
    records: VecDeque<(Arc<Record>, usize)>,
    bytes: usize,
    /// Records were left out: they are in the files.
    overflowed: bool,
    overflows: u64,
    /// The first offset that is not committed.
    end: Offset,
    stopped: bool,
    /// Somebody wants the reader to come back without records.
    woken: bool,
}

/// The way from the log thread to the apply thread.
pub(crate) struct Ring {
    bytes_max: usize,
    /// Held to push or to take.
    state: Mutex<RingState>,
    wake: Condvar,
}

impl Ring {
    /// A ring before whose reader lie the files up to `end`.
    pub(crate) fn new(bytes_max: usize, end: Offset) -> Ring {
        let records = VecDeque::new();
        let state = RingState {
            records,
            bytes: 0,
            overflowed: true,
            overflows: 0,
            end,
            stopped: false,
            woken: false,
        };
        Ring { bytes_max, state: Mutex::new(state), wake: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, RingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on what was committed. Never waits for the reader.
    pub(crate) fn push(&self, records: impl Iterator<Item = (Arc<Record>, usize)>) {
        let mut state = self.lock();
        for (record, bytes) in records {
            state.end = record.end();
            // One that is larger than the ring goes through an empty one: it is in memory as it is.
            let fits = state.records.is_empty() || state.bytes.saturating_add(bytes) <= self.bytes_max;
            if !state.overflowed && !fits {
                state.overflowed = true;
                state.overflows += 1;
            }
            if !state.overflowed {
                state.bytes = state.bytes.saturating_add(bytes);
                state.records.push_back((record, bytes));
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_one();
    }

    /// Bytes in the ring, and how often it overflowed.
    pub(crate) fn usage(&self) -> (usize, u64) {
        let state = self.lock();
        (state.bytes, state.overflows)
    }
}

/// Committed records in order, each once: what the apply thread reads. One reader, one thread.
pub struct Tail {
    ring: Arc<Ring>,
    /// Makes a cursor that stands before an offset.
    cursor_at: Box<dyn Fn(Offset) -> Result<Cursor, LogError> + Send>,
    cursor: Option<Cursor>,
    /// The end of what was handed out.
    next: Offset,
}

/// Makes [`Tail::next`] return early.
#[derive(Clone)]
pub struct TailWaker {
    ring: Arc<Ring>,
}

impl TailWaker {
    /// The reader comes back at once, now or the next time it waits.
    pub fn wake(&self) {
        self.ring.lock().woken = true;
        self.ring.wake.notify_one();
    }
}

enum Step {
    Records(Vec<Arc<Record>>),
    ReadFiles(Offset),
    Nothing,
    Ended,
}

impl Tail {
    pub(crate) fn new(
        ring: Arc<Ring>,
        from: Offset,
        cursor_at: Box<dyn Fn(Offset) -> Result<Cursor, LogError> + Send>,
    ) -> Tail {
        Tail { ring, cursor_at, cursor: None, next: from }
    }

    /// What makes [`Tail::next`] return early, for a reader that has other things to do as well.
    pub fn waker(&self) -> TailWaker {
        TailWaker { ring: Arc::clone(&self.ring) }
    }

    /// The next committed records: at least one, or none if `timeout` went by or a [`TailWaker`] woke it. `None` once the log has stopped
    /// and all was read. Begins with the record that holds the offset given to [`Log::start`](crate::Log::start).
    ///
    /// # Errors
    /// What reading the files met, if the ring had overflowed. The next call tries again.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Vec<Arc<Record>>>, LogError> {
        // A timeout that no clock can hold is one of a day: the caller asks again.
        let now = Instant::now();
        let deadline = now.checked_add(timeout).unwrap_or(now + Duration::from_secs(86_400));
        loop {
            match self.step(deadline) {
                Step::Records(records) => return Ok(Some(records)),
                Step::Nothing => return Ok(Some(Vec::new())),
                Step::Ended => return Ok(None),
                Step::ReadFiles(limit) => {
                    if let Some(records) = self.read_files(limit)? {
                        return Ok(Some(records));
                    }
                }
            }
        }
    }

    fn step(&mut self, deadline: Instant) -> Step {
        let mut state = self.ring.lock();
        loop {
            if !state.records.is_empty() {
                state.bytes = 0;
                let records: Vec<_> = state.records.drain(..).map(|(record, _)| record).collect();
                self.next = records.last().map_or(self.next, |record| record.end());
                return Step::Records(records);
            }
            if self.next < state.end {
                return Step::ReadFiles(state.end);
            }
            // All was read, and the log thread waits for the lock if it has more: from here on by the ring.
            state.overflowed = false;
            self.cursor = None;
            if state.stopped {
                return Step::Ended;
            }
            if std::mem::take(&mut state.woken) {
                return Step::Nothing;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Step::Nothing;
            }
            let waited = self.ring.wake.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// One frame's records; `None` if there are none before `limit` any more (offsets that are lost, or that
    /// the log jumped over).
    fn read_files(&mut self, limit: Offset) -> Result<Option<Vec<Arc<Record>>>, LogError> {
        let cursor = match &mut self.cursor {
            Some(cursor) => cursor,
            None => self.cursor.insert((self.cursor_at)(self.next)?),
        };
        match cursor.next_frame(limit) {
            Ok(Some(records)) => {
                self.next = cursor.next();
                Ok(Some(records.into_iter().map(Arc::new).collect()))
            }
            Ok(None) => {
                self.next = limit;
                Ok(None)
            }
            Err(error) => {
                self.cursor = None;
                Err(error)
            }
        }
    }
}
