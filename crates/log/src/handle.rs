//! The log thread, and the handle by which everyone speaks to it.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle, ThreadId},
    time::Duration,
};

use nowcast_disk::Disk;
use nowcast_model::{Clock, Item, Offset, Producer, Record};

use crate::{
    LogError,
    queue::{Done, Pending, Queue, Ring, Tail},
    reader::{Cursor, RecordReader, offset_at},
    recovery::{Recovery, recover},
    segment::Index,
    writer::{Writer, Written},
};

/// When a record counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once the disk has it (`fdatasync`). Survives a power cut.
    #[default]
    Synced,
    /// Once the operating system has it. Survives the end of the process, not that of the machine.
    Relaxed,
}

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The directory of its files. That no other process uses it is the caller's business.
    pub dir: PathBuf,
    /// A segment is closed before it grows past this; a larger frame has a segment of its own.
    pub segment_bytes_max: u64,
    /// Committed records that the apply thread may be behind before it has to read files; bytes in memory.
    pub ring_bytes_max: usize,
    /// When a record counts as written.
    pub durability: Durability,
    /// A segment is kept for so many microseconds after its last record, needed or not.
    pub keep_us: i64,
    /// Segments are kept while all of them together have at most so many bytes, needed or not.
    pub keep_bytes: u64,
    /// What is needed of a log that was there before: one that is gone or does not hold it is refused, before
    /// anything is changed. Under [`Durability::Relaxed`] its end may be lost.
    pub needed: Option<Range<Offset>>,
}

impl LogOptions {
    /// A segment's default size: few files, and not much is kept because of one record that is needed.
    pub const SEGMENT_BYTES_MAX: u64 = 128 << 20;
    /// The ring's default size: a second at a hundred megabytes a second is read from files instead.
    pub const RING_BYTES_MAX: usize = 64 << 20;

    /// The defaults: synced, and nothing kept that is not needed.
    pub fn new(dir: impl Into<PathBuf>) -> LogOptions {
        LogOptions {
            dir: dir.into(),
            segment_bytes_max: LogOptions::SEGMENT_BYTES_MAX,
            ring_bytes_max: LogOptions::RING_BYTES_MAX,
            durability: Durability::Synced,
            keep_us: 0,
            keep_bytes: 0,
            needed: None,
        }
    }
}

/// How long a full disk is left alone before the next try.
const FULL_RETRY: Duration = Duration::from_millis(100);

/// Where a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The offset of its first row or event.
    pub offset: Offset,
    /// The offset behind its last.
    pub end: Offset,
}

/// How the log does. Counts are since [`Log::start`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogStatus {
    /// Why nothing is taken any more.
    pub read_only: Option<String>,
    /// Why nothing is written just now: the disk is full, and it is tried again.
    pub waiting: Option<String>,
    /// The first offset that can be read.
    pub first: Offset,
    /// The first offset that is not committed.
    pub end: Offset,
    /// Files.
    pub segments: usize,
    /// Bytes in them.
    pub segment_bytes: u64,
    /// Records written.
    pub records: u64,
    /// Rows and events in them.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Frames written: one a group.
    pub frames: u64,
    /// Syncs.
    pub syncs: u64,
    /// Microseconds spent in them.
    pub sync_us: u64,
    /// Records refused, for what they were or because the log is read-only.
    pub refused: u64,
    /// Records that wait to be written.
    pub queued_records: usize,
    /// Their bytes in memory.
    pub queued_bytes: usize,
    /// Bytes in memory of records that are committed and not yet applied.
    pub ring_bytes: usize,
    /// How often the apply thread fell so far behind that it had to read files.
    pub ring_overflows: u64,
}

/// A log that is open and not yet running.
pub struct Log {
    writer: Writer,
}

impl Log {
    /// Opens the log in `options.dir`, or makes one, after making whole what a crash left.
    ///
    /// # Errors
    /// [`LogError::Io`]; [`LogError::Corrupt`] for files of a newer version or of another log, which are left as
    /// they are.
    pub fn open(
        options: LogOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Log, Recovery), LogError> {
        let (resume, recovery) = recover(&disk, &options)?;
        Ok((Log { writer: Writer::new(options, disk, clock, resume)? }, recovery))
    }

    /// The offset that comes next.
    pub fn end(&self) -> Offset {
        self.writer.end()
    }

    /// How far time has come in the log: no record is later, and none that is still to come is earlier.
    /// Microseconds since 1970 UTC; `i64::MIN` for a new log.
    pub fn at_us(&self) -> i64 {
        self.writer.at_us()
    }

    /// The committed records from the one that holds `from` on; if none does, from the next.
    ///
    /// # Errors
    /// [`LogError::Gone`] if `from` was dropped.
    pub fn read_from(&self, from: Offset) -> Result<RecordReader, LogError> {
        let writer = &self.writer;
        read_from(&writer.disk, &writer.index, writer.log_id, from)
    }

    /// Lets the log go on at `offset` if that lies behind its end: no offset before it is given (again).
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn skip_to(&mut self, offset: Offset) -> Result<(), LogError> {
        if offset > self.writer.end() {
            tracing::warn!(end = %self.writer.end(), %offset, "the log ends before what was applied; it goes on there");
            self.writer.jump(offset)?;
        }
        Ok(())
    }

    /// Starts the log thread. `from` is where apply begins: the tail gives all from there on, what is in the
    /// files first. If `from` lies behind the log's end (a crash took what had been applied under
    /// [`Durability::Relaxed`]) the log goes on there, so that no offset is given twice.
    ///
    /// # Errors
    /// [`LogError::Gone`] if `from` was dropped; [`LogError::Io`].
    pub fn start(mut self, from: Offset) -> Result<(LogHandle, Tail), LogError> {
        self.skip_to(from)?;
        let (disk, index, log_id) = (self.writer.disk.clone(), self.writer.index.clone(), self.writer.log_id);
        let cursor_at = {
            let (disk, index) = (disk.clone(), index.clone());
            Box::new(move |from| Cursor::new(disk.clone(), index.clone(), log_id, from))
        };
        cursor_at(from)?;
        let ring = Arc::new(Ring::new(self.writer.options.ring_bytes_max, self.writer.end()));
        let shared =
            Arc::new(Shared { queue: Queue::default(), ring: ring.clone(), report: Mutex::default() });
        let worker = Worker { writer: self.writer, shared: shared.clone() };
        let thread = thread::Builder::new().name("nowcast-log".to_owned()).spawn(move || worker.run());
        let thread = thread.map_err(|error| LogError::Io {
            action: "start",
            path: "the log thread".to_owned(),
            cause: error.to_string(),
        })?;
        let thread_id = thread.thread().id();
        let owner = Owner { shared, thread_id, thread: Mutex::new(Some(thread)), disk, index, log_id };
        Ok((LogHandle { owner: Arc::new(owner) }, Tail::new(ring, from, cursor_at)))
    }
}

fn read_from(
    disk: &Arc<dyn Disk>,
    index: &Arc<Index>,
    log_id: u64,
    from: Offset,
) -> Result<RecordReader, LogError> {
    let limit = index.lock().end;
    let cursor = Cursor::new(disk.clone(), index.clone(), log_id, from)?;
    Ok(RecordReader::new(cursor, limit))
}

/// What handles and the log thread share.
struct Shared {
    queue: Queue,
    ring: Arc<Ring>,
    report: Mutex<Report>,
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the log thread tells after each group.
#[derive(Default)]
struct Report {
    written: Written,
    refused: u64,
    read_only: Option<Arc<str>>,
    waiting: Option<String>,
}

/// Ends the thread when the last handle goes.
struct Owner {
    shared: Arc<Shared>,
    thread_id: ThreadId,
    /// Held until the thread has ended, so that all who stop the log see it stopped.
    thread: Mutex<Option<JoinHandle<()>>>,
    disk: Arc<dyn Disk>,
    index: Arc<Index>,
    log_id: u64,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.queue.lock().stop = true;
        self.shared.queue.wake();
    }
}

/// The way to the running log, for any thread.
#[derive(Clone)]
pub struct LogHandle {
    owner: Arc<Owner>,
}

impl LogHandle {
    /// Queues one record. Never blocks, and bounds nothing: the caller has bounded `bytes`, the record's size
    /// in memory. `done` is called on the log thread, after the record is durable and before anything else is
    /// written, hence must be quick; or with the error. It is called on the caller's thread if the log has
    /// stopped. A record of no rows and no events takes no offset, and is acknowledged with those before it.
    pub fn append(&self, items: Vec<Item>, producer: Option<Producer>, bytes: usize, done: Done) {
        let queue = &self.owner.shared.queue;
        let mut work = queue.lock();
        if work.ended {
            drop(work);
            done(Err(LogError::Stopped));
            return;
        }
        work.pending_bytes = work.pending_bytes.saturating_add(bytes);
        work.pending.push_back(Pending { items, producer, bytes, done });
        drop(work);
        queue.wake();
    }

    /// Allows segments that end at or before `offset` to go: what is in them is in the store.
    pub fn drop_before(&self, offset: Offset) {
        let queue = &self.owner.shared.queue;
        let mut work = queue.lock();
        work.drop_before = work.drop_before.max(Some(offset));
        drop(work);
        queue.wake();
    }

    /// The committed records from the one that holds `from` on, up to what is committed now.
    ///
    /// # Errors
    /// [`LogError::Gone`] if `from` was dropped.
    pub fn read_from(&self, from: Offset) -> Result<RecordReader, LogError> {
        read_from(&self.owner.disk, &self.owner.index, self.owner.log_id, from)
    }

    /// The offset of the first record that was taken in at or after `at_us`, microseconds since 1970 UTC: of the
    /// first that is kept if all were, and of what comes next if none was. Reads a few headers.
    ///
    /// # Errors
    /// [`LogError::Io`], [`LogError::Corrupt`].
    pub fn offset_at(&self, at_us: i64) -> Result<Offset, LogError> {
        offset_at(&self.owner.disk, &self.owner.index, self.owner.log_id, at_us)
    }

    /// The first offset that is not committed.
    pub fn end(&self) -> Offset {
        self.owner.index.lock().end
    }

    /// Bytes of the segments that hold anything at or behind `offset`.
    pub fn bytes_from(&self, offset: Offset) -> u64 {
        let index = self.owner.index.lock();
        index.segments.iter().filter(|segment| segment.end > offset).map(|segment| segment.bytes).sum()
    }

    /// How the log does.
    pub fn status(&self) -> LogStatus {
        let shared = &self.owner.shared;
        let mut status = LogStatus::default();
        {
            let index = self.owner.index.lock();
            (status.first, status.end) = (index.first(), index.end);
            status.segments = index.segments.len();
            status.segment_bytes = index.segments.iter().map(|segment| segment.bytes).sum();
        }
        {
            let report = shared.report();
            let Written { records, rows, bytes, frames, syncs, sync_us } = report.written;
            (status.records, status.rows, status.bytes) = (records, rows, bytes);
            (status.frames, status.syncs, status.sync_us) = (frames, syncs, sync_us);
            status.refused = report.refused;
            status.read_only = report.read_only.as_deref().map(str::to_owned);
            status.waiting.clone_from(&report.waiting);
        }
        {
            let work = shared.queue.lock();
            (status.queued_records, status.queued_bytes) = (work.pending.len(), work.pending_bytes);
        }
        (status.ring_bytes, status.ring_overflows) = shared.ring.usage();
        status
    }

    /// Writes what is queued, makes it durable, and ends the thread. Returns when it has ended; from within
    /// `done` at once.
    pub fn stop(&self) {
        self.owner.shared.queue.lock().stop = true;
        self.owner.shared.queue.wake();
        if thread::current().id() == self.owner.thread_id {
            return;
        }
        let mut thread = self.owner.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log thread panicked");
        }
    }
}

/// The log thread.
struct Worker {
    writer: Writer,
    shared: Arc<Shared>,
}

/// A record of the group at hand.
struct Taken {
    record: Record,
    bytes: usize,
    done: Done,
}

impl Drop for Worker {
    /// However the thread ends: whoever waits is told.
    fn drop(&mut self) {
        let pending = {
            let mut work = self.shared.queue.lock();
            work.ended = true;
            work.pending_bytes = 0;
            std::mem::take(&mut work.pending)
        };
        for pending in pending {
            call(pending.done, Err(LogError::Stopped));
        }
        self.shared.ring.stop();
    }
}

impl Worker {
    fn run(mut self) {
        loop {
            let mut work = self.shared.queue.take();
            while !work.pending.is_empty() {
                self.group(&mut work.pending);
            }
            if let Some(offset) = work.drop_before {
                self.writer.drop_before(offset);
            }
            if work.stop {
                let mut work = self.shared.queue.lock();
                if work.pending.is_empty() {
                    // Under the lock: what comes later is told that it came too late.
                    work.ended = true;
                    break;
                }
            }
        }
        self.writer.close();
        self.report(0);
    }

    /// Writes as many of `pending` as make a group, and tells everyone.
    fn group(&mut self, pending: &mut std::collections::VecDeque<Pending>) {
        self.writer.begin();
        let mut taken = Vec::with_capacity(pending.len());
        let mut refused = Vec::new();
        while !self.writer.is_full()
            && let Some(Pending { items, producer, bytes, done }) = pending.pop_front()
        {
            match self.writer.add(items, producer) {
                Ok(record) => taken.push(Taken { record, bytes, done }),
                Err(error) => refused.push((done, error)),
            }
        }
        match self.commit() {
            Ok(()) => {
                self.report(refused.len() as u64);
                let mut acknowledge = Vec::with_capacity(taken.len());
                let records = taken.into_iter().map(|Taken { record, bytes, done }| {
                    acknowledge.push((done, Committed { offset: record.offset, end: record.end() }));
                    (Arc::new(record), bytes)
                });
                self.shared.ring.push(records.filter(|(record, _)| record.end() > record.offset));
                for (done, committed) in acknowledge {
                    call(done, Ok(committed));
                }
            }
            Err(error) => {
                self.report((taken.len() + refused.len()) as u64);
                for taken in taken {
                    call(taken.done, Err(error.clone()));
                }
            }
        }
        for (done, error) in refused {
            call(done, Err(error));
        }
    }

    /// Commits the group, however long the disk is full; meanwhile segments are dropped as others ask.
    fn commit(&mut self) -> Result<(), LogError> {
        loop {
            let error = match self.writer.commit() {
                Err(error @ LogError::Full { .. }) => error,
                other => return other,
            };
            let (stop, drop_before) = {
                let mut work = self.shared.queue.lock();
                (work.stop, work.drop_before.take())
            };
            if stop {
                return Err(self.writer.give_up(&error));
            }
            if self.shared.report().waiting.replace(error.to_string()).is_none() {
                tracing::error!(%error, "writes wait until there is space");
            }
            match drop_before {
                Some(offset) => self.writer.drop_before(offset),
                None => thread::sleep(FULL_RETRY),
            }
        }
    }

    fn report(&self, refused: u64) {
        let mut report = self.shared.report();
        report.waiting = None;
        report.written = self.writer.written;
        report.refused += refused;
        report.read_only = self.writer.read_only().cloned();
    }
}

/// A callback that panics is its owner's fault and must not end the log.
fn call(done: Done, result: Result<Committed, LogError>) {
    if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
        tracing::error!("a callback panicked when its record was acknowledged");
    }
}
