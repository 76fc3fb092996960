//! From decoded batches to the log: admission, back-pressure, acknowledgement.
//!
//! A write reserves its bytes first ([`Ingest::append`] waits for them, at most `BUSY_AFTER` over HTTP), so
//! that what waits for the disk is bounded by `log.queue_bytes_max` however many clients push. Then the
//! registry conforms it and queues it, under one lock: the order of admission is the order of the log. The
//! reservation ends when the log has answered.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use metrics::counter;
use nowcast_log::{Committed, LogHandle};
use nowcast_model::{Batch, Clock, Event, Item, Offset, Producer, limits::RECORD_BYTES_MAX};
use nowcast_sources::{Rejected, Sink, WriteError};
use nowcast_store::{Refusal, Store};
use tokio::sync::{Mutex, MutexGuard, Semaphore, oneshot, watch};

use super::{once::Once, rejected::Waiting, room::Room};

/// What a write is told whose name was used for another one.
pub const OTHER_WRITE: &str = "the Idempotency-Key was used for another write";

/// A write that finds no room for so long is told to come back.
const BUSY_AFTER: Duration = Duration::from_secs(5);

/// What it is told.
const RETRY_AFTER_S: u64 = 1;

/// Every write counts at least this much against the queue: callbacks and headers are not free.
const WRITE_BYTES_MIN: usize = 1_024;

/// Bytes of one write in memory. Encoded it is hardly ever larger, and then by headers alone.
const WRITE_BYTES_MAX: usize = RECORD_BYTES_MAX / 8 * 7;

/// The queue is counted in KiB, since a semaphore's permits are 32 bits.
const PERMIT_BYTES: usize = 1_024;

/// How long the server's own rows wait for room: other housekeeping waits behind them.
const OWN_WAITS: Duration = Duration::from_secs(1);

/// Takes writes from every source.
pub struct Ingest {
    store: Arc<Store>,
    log: LogHandle,
    clock: Arc<dyn Clock>,
    permits: Arc<Semaphore>,
    permits_max: u32,
    applied: watch::Receiver<Offset>,
    room: watch::Receiver<Room>,
    once: Once,
    /// Held while rows are chosen to be taken away, until their record is queued.
    removals: Mutex<()>,
    /// Refused lines that nobody could be told of.
    pub(super) rejected: Waiting,
}

/// Why a record was not written.
#[derive(Debug)]
pub enum AppendError {
    /// It does not fit the tables.
    Refused(Box<Refusal>),
    /// It never reached the log, or the log refused it.
    Write(WriteError),
    /// Something else was written under its name.
    OtherWrite,
}

impl AppendError {
    /// In the form that sources speak.
    pub fn into_write_error(self) -> WriteError {
        match self {
            AppendError::Write(error) => error,
            AppendError::OtherWrite => WriteError::Refused {
                table: String::new(),
                column: None,
                cause: OTHER_WRITE.to_owned(),
                hint: "use a new key for each write".to_owned(),
                batch: 0,
                row: None,
            },
            AppendError::Refused(refusal) => WriteError::Refused {
                table: refusal.table,
                column: refusal.column,
                cause: refusal.cause,
                hint: refusal.hint,
                batch: refusal.batch,
                row: refusal.row,
            },
        }
    }
}

impl Ingest {
    /// An ingest stage in front of `log`. At most `queue_bytes_max` wait for the disk.
    pub fn new(
        store: Arc<Store>,
        log: LogHandle,
        clock: Arc<dyn Clock>,
        queue_bytes_max: usize,
        applied: watch::Receiver<Offset>,
        room: watch::Receiver<Room>,
    ) -> Ingest {
        // One record must always fit, or it would wait for ever.
        let bytes = queue_bytes_max.max(RECORD_BYTES_MAX);
        let permits_max = u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX >> 4);
        Ingest {
            store,
            log,
            clock,
            permits: Arc::new(Semaphore::new(permits_max as usize)),
            permits_max,
            applied,
            room,
            once: Once::default(),
            removals: Mutex::default(),
            rejected: Waiting::default(),
        }
    }

    /// Queues `items` as one record and returns what becomes ready when the record is durable.
    ///
    /// # Errors
    /// The items do not fit their tables, or there is no room in time (`busy_after`; `None` waits for ever).
    pub async fn append(
        &self,
        items: Vec<Item>,
        busy_after: Option<Duration>,
    ) -> Result<Pending, AppendError> {
        self.append_as(items, None, busy_after).await
    }

    /// Queues rows of the server's own: they count as nobody's, and wait for little.
    pub(super) async fn append_own(&self, items: Vec<Item>) -> Result<(), AppendError> {
        self.queue(items, None, Some(OWN_WAITS)).await.map(|_| ())
    }

    async fn append_as(
        &self,
        items: Vec<Item>,
        producer: Option<Producer>,
        busy_after: Option<Duration>,
    ) -> Result<Pending, AppendError> {
        let rows: u64 = items.iter().filter(|item| matches!(item, Item::Rows(_))).map(Item::len).sum();
        let pending = self.queue(items, producer, busy_after).await?;
        counter!("nowcast_ingest_rows_total").increment(rows);
        Ok(pending)
    }

    /// Ready once no other statement takes rows away, and all that did are applied: rows that are then read stay until
    /// the guard is handed to [`Ingest::append_held`], unless an upsert replaces them.
    pub async fn hold_removals(&self) -> MutexGuard<'_, ()> {
        let held = self.removals.lock().await;
        let end = self.log.end();
        self.visible(Committed { offset: end, end }).await;
        held
    }

    /// As [`Ingest::append_visible`], for the record that rows were held for.
    ///
    /// # Errors
    /// As [`Ingest::append_visible`].
    pub async fn append_held(&self, items: Vec<Item>, held: MutexGuard<'_, ()>) -> Result<(), AppendError> {
        let pending = self.queue_held(items, None, Some(BUSY_AFTER)).await?;
        drop(held);
        let committed = pending.durable().await?;
        self.visible(committed).await;
        Ok(())
    }

    async fn queue(
        &self,
        items: Vec<Item>,
        producer: Option<Producer>,
        busy_after: Option<Duration>,
    ) -> Result<Pending, AppendError> {
        let _held = match items.iter().any(takes_rows) {
            true => Some(self.removals.lock().await),
            false => None,
        };
        self.queue_held(items, producer, busy_after).await
    }

    async fn queue_held(
        &self,
        items: Vec<Item>,
        producer: Option<Producer>,
        busy_after: Option<Duration>,
    ) -> Result<Pending, AppendError> {
        let bytes: usize = items.iter().map(item_bytes).sum::<usize>().max(WRITE_BYTES_MIN);
        // Told before admission: the registry must not learn of tables that the log then refuses.
        if bytes > WRITE_BYTES_MAX {
            return Err(AppendError::Write(WriteError::TooLarge { bytes, bytes_max: WRITE_BYTES_MAX }));
        }
        if !items.iter().all(frees_space) {
            self.room(busy_after).await.map_err(AppendError::Write)?;
        }
        let wanted = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).min(self.permits_max);
        let acquire = Arc::clone(&self.permits).acquire_many_owned(wanted);
        let permit = match busy_after {
            None => acquire.await,
            Some(after) => tokio::time::timeout(after, acquire)
                .await
                .map_err(|_| AppendError::Write(WriteError::Busy { retry_after_s: RETRY_AFTER_S }))?,
        };
        // The semaphore is never closed.
        let permit = permit.map_err(|_| AppendError::Write(WriteError::ReadOnly("shutting down".into())))?;
        let (sender, receiver) = oneshot::channel();
        let log = &self.log;
        self.store
            .registry()
            .admit(items, |items| {
                if items.is_empty() {
                    // A table that exists was to be made: there is nothing to log, and nothing to wait for.
                    let end = log.end();
                    let _ = sender.send(Ok(Committed { offset: end, end }));
                    return;
                }
                let done = Box::new(move |outcome| {
                    drop(permit);
                    // The writer may have gone; the record stands all the same.
                    let _ = sender.send(outcome);
                });
                log.append(items, producer, bytes, done);
            })
            .map_err(|refusal| AppendError::Refused(Box::new(refusal)))?;
        Ok(Pending { receiver })
    }

    /// Appends what a writer may send again under the same name, and waits until queries see it. A repetition is
    /// acknowledged and not applied, whether the first is under way, applied, or was applied before a restart.
    ///
    /// # Errors
    /// As [`Ingest::append_visible`]; [`AppendError::OtherWrite`] if the name was used for another write.
    pub async fn append_once(&self, items: Vec<Item>, producer: Producer) -> Result<(), AppendError> {
        let other = |sequence: u64| match sequence == producer.sequence {
            true => Ok(()),
            false => Err(AppendError::OtherWrite),
        };
        // Until this is dropped nobody else is under way with the same name.
        let _turn = self.once.turn(producer.id).await;
        if let Some(sequence) = self.store.seen(producer.id) {
            return other(sequence);
        }
        let pending = self.append_as(items, Some(producer), Some(BUSY_AFTER)).await?;
        let committed = pending.durable().await?;
        self.visible(committed).await;
        Ok(())
    }

    /// Waits for room in memory and on the disk. A stream waits for ever; a request for memory as long as for
    /// the queue, and not for the disk.
    async fn room(&self, busy_after: Option<Duration>) -> Result<(), WriteError> {
        let mut room = self.room.clone();
        if *room.borrow() == Room::Enough {
            return Ok(());
        }
        let is_over = |room: &Room| match busy_after {
            None => *room == Room::Enough,
            Some(_) => *room != Room::NoMemory,
        };
        let waits = room.wait_for(is_over);
        let seen = match busy_after {
            None => waits.await.map(|room| *room),
            Some(after) => match tokio::time::timeout(after, waits).await {
                Ok(seen) => seen.map(|room| *room),
                Err(_) => return Err(WriteError::Busy { retry_after_s: RETRY_AFTER_S }),
            },
        };
        match seen {
            Ok(Room::NoSpace { free_bytes, free_bytes_min }) => {
                Err(WriteError::NoSpace { free_bytes, free_bytes_min })
            }
            Ok(_) => Ok(()),
            Err(_) => Err(WriteError::ReadOnly("the server is shutting down".into())),
        }
    }

    /// Appends and waits until the record is durable and queries see it.
    ///
    /// # Errors
    /// As [`Ingest::append`], and what the log answers.
    pub async fn append_visible(&self, items: Vec<Item>) -> Result<(), AppendError> {
        let committed = self.append(items, Some(BUSY_AFTER)).await?.durable().await?;
        self.visible(committed).await;
        Ok(())
    }

    /// Ready once queries see the record: whoever was told of a write finds it.
    async fn visible(&self, committed: Committed) {
        let mut applied = self.applied.clone();
        // The sender lives as long as the apply thread; without it the process is ending.
        let _ = applied.wait_for(|position| *position >= committed.end).await;
    }
}

/// A record on its way to the disk.
pub struct Pending {
    receiver: oneshot::Receiver<Result<Committed, nowcast_log::LogError>>,
}

impl Pending {
    /// Ready once the record is on the disk.
    ///
    /// # Errors
    /// The log could not write it; then it takes no more writes, or the record is too large.
    pub async fn durable(self) -> Result<Committed, AppendError> {
        match self.receiver.await {
            Ok(Ok(committed)) => Ok(committed),
            Ok(Err(error)) => Err(AppendError::Write(log_error(&error))),
            Err(_) => Err(AppendError::Write(WriteError::ReadOnly("the server is shutting down".into()))),
        }
    }
}

fn log_error(error: &nowcast_log::LogError) -> WriteError {
    match error {
        nowcast_log::LogError::TooLarge { bytes, max } => {
            WriteError::TooLarge { bytes: *bytes, bytes_max: *max }
        }
        other => WriteError::ReadOnly(other.to_string()),
    }
}

/// True for what makes room, and must not wait for it.
fn frees_space(item: &Item) -> bool {
    use Event::{DeleteRows, DropPartitions, DropRange, DropTable, SetTtl, Truncate};
    matches!(
        item,
        Item::Event(
            DropTable { .. }
                | Truncate { .. }
                | DropPartitions { .. }
                | DropRange { .. }
                | DeleteRows { .. }
                | SetTtl { .. }
        )
    )
}

/// True for what takes rows away, or the table with them.
fn takes_rows(item: &Item) -> bool {
    use Event::{DeleteRows, DropPartitions, DropRange, DropTable, Truncate};
    matches!(
        item,
        Item::Event(
            DropTable { .. } | Truncate { .. } | DropPartitions { .. } | DropRange { .. } | DeleteRows { .. }
        )
    )
}

fn item_bytes(item: &Item) -> usize {
    match item {
        Item::Rows(batch) => batch.bytes(),
        // As JSON.
        Item::Event(Event::DeleteRows { seqs, .. }) => 256 + seqs.len() * 24,
        Item::Event(_) => 256,
    }
}

impl Sink for Ingest {
    fn write(&self, batches: Vec<Batch>, durable: bool) -> BoxFuture<'_, Result<(), WriteError>> {
        Box::pin(async move {
            let items = batches.into_iter().map(Item::Rows).collect();
            // A stream has nobody to tell to come back: it waits, and its socket is not read meanwhile.
            let busy_after = durable.then_some(BUSY_AFTER);
            let pending = self.append(items, busy_after).await.map_err(AppendError::into_write_error)?;
            if durable {
                let committed = pending.durable().await.map_err(AppendError::into_write_error)?;
                self.visible(committed).await;
            }
            Ok(())
        })
    }

    fn reject(&self, rejected: Rejected) {
        counter!("nowcast_ingest_rejected_total").increment(1);
        self.rejected.push(self.clock.now_us(), rejected);
    }
}
