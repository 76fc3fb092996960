//! The first stages in this process: lines decoded, admitted to tables, logged, as the server's ingest does it.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use anyhow::Context;
use nowcast_disk::RealDisk;
use nowcast_log::{Committed, Log, LogError, LogHandle, LogOptions, Tail};
use nowcast_model::{Batch, Clock, Item, SystemClock};
use nowcast_sources::{
    Decoded, Precision,
    ilp_tcp::IlpOptions,
    line::{LineDecoder, LineOptions},
};
use nowcast_store::{Registry, Store, StoreOptions};

use crate::tsbs::Rows;

/// Rows made at a time: 35 MB of lines.
pub(crate) const CHUNK_ROWS: usize = 100_000;

/// Runs `work` on each chunk of `count` rows as lines.
pub(crate) fn in_chunks(
    mut rows: Rows,
    count: usize,
    mut work: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let mut left = count;
    while left > 0 {
        let chunk = left.min(CHUNK_ROWS);
        lines.clear();
        rows.lines(chunk, &mut lines);
        work(&lines)?;
        left -= chunk;
    }
    Ok(())
}

/// Decodes as a connection does: in pieces of a read, handed on in batches of its size.
pub(crate) struct Decoder {
    decoder: LineDecoder,
    options: IlpOptions,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        let now_us = SystemClock.now_us();
        let decoder = LineDecoder::new(&LineOptions::new(Precision::Nanoseconds, now_us));
        Decoder { decoder, options: IlpOptions::default() }
    }

    pub(crate) fn decode(
        &mut self,
        lines: &[u8],
        mut each: impl FnMut(Decoded) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut bad = None;
        for piece in lines.chunks(self.options.read_bytes) {
            let now_us = self.options.clock.now_us();
            self.decoder.feed(piece, now_us, &mut |error| bad = Some(error))?;
            let is_full = self.decoder.rows() >= self.options.batch_rows_max
                || self.decoder.bytes() >= self.options.batch_bytes_max;
            if is_full {
                each(self.decoder.take())?;
            }
        }
        each(self.decoder.take())?;
        bad.map_or(Ok(()), |error| Err(error).context("a line was refused"))
    }
}

/// Bytes of batches in memory, as the log is told them.
pub(crate) fn bytes_of(batches: &[Batch]) -> usize {
    batches.iter().map(Batch::bytes).sum()
}

/// Admits `batches`; what `enqueue` makes of the record's items.
pub(crate) fn admit<R>(
    registry: &Registry,
    batches: Vec<Batch>,
    enqueue: impl FnOnce(Vec<Item>) -> R,
) -> anyhow::Result<R> {
    let items = batches.into_iter().map(Item::Rows).collect();
    registry.admit(items, enqueue).map_err(|refusal| anyhow::anyhow!("rows were refused: {refusal:?}"))
}

/// A log that runs, and those who wait for it.
pub(crate) struct RunningLog {
    log: LogHandle,
    sender: mpsc::Sender<Result<Committed, LogError>>,
    durable: mpsc::Receiver<Result<Committed, LogError>>,
    waiting: usize,
    /// Nobody reads the tail: what applying costs is measured elsewhere.
    _tail: Tail,
}

impl RunningLog {
    /// Opens the log of `options`, or makes one.
    pub(crate) fn start(options: LogOptions) -> anyhow::Result<RunningLog> {
        let (log, _) = Log::open(options, Arc::new(RealDisk), Arc::new(SystemClock))?;
        let from = log.end();
        let (log, tail) = log.start(from)?;
        let (sender, durable) = mpsc::channel();
        Ok(RunningLog { log, sender, durable, waiting: 0, _tail: tail })
    }

    /// Queues a record.
    pub(crate) fn append(&mut self, items: Vec<Item>, bytes: usize) {
        let done = self.sender.clone();
        self.waiting += 1;
        // The receiver lives as long as this.
        self.log.append(items, None, bytes, Box::new(move |outcome| drop(done.send(outcome))));
    }

    /// Waits until all that was queued is durable.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        while self.waiting > 0 {
            self.durable.recv()??;
            self.waiting -= 1;
        }
        Ok(())
    }

    /// The log.
    pub(crate) fn handle(&self) -> &LogHandle {
        &self.log
    }
}

/// Takes rows into the tables of a store and into a log. Nothing is applied.
pub(crate) struct Logging {
    store: Arc<Store>,
    pub(crate) log: RunningLog,
    decoder: Decoder,
}

impl Logging {
    /// Both in `dir`.
    pub(crate) fn start(dir: &Path) -> anyhow::Result<Logging> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (store, _) = Store::open(&dir.join("store"), StoreOptions::default(), Arc::new(RealDisk), clock)?;
        let log = RunningLog::start(LogOptions::new(dir.join("log")))?;
        Ok(Logging { store, log, decoder: Decoder::new() })
    }

    /// Takes in lines; returns when they are durable.
    pub(crate) fn take(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        let (registry, log) = (self.store.registry(), &mut self.log);
        self.decoder.decode(lines, |decoded| {
            if decoded.rows() == 0 {
                return Ok(());
            }
            let bytes = bytes_of(&decoded.batches);
            admit(registry, decoded.batches, |items| log.append(items, bytes))
        })?;
        self.log.settle()
    }
}
