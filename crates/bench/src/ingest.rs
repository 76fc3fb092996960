//! Rows per server CPU-second, the sender excluded.
//!
//! Four measurements over the same rows, each behind the last in what it does to them:
//!
//! 1. *parsed*: the line protocol decoder, from bytes to Arrow batches, in this process, one thread;
//! 2. *logged*: that, admission to the tables, and the log with its `fdatasync`, in this process;
//! 3. *queryable*: the real server, over TCP, until `count()` tells every row;
//! 4. *COPY*: PostgreSQL, from CSV, until the command is complete.
//!
//! Rows are made in chunks, so that memory stays flat at any number of them. In 1 and 2 a chunk is made before the
//! clock of CPU time goes on; in 3 and 4 this process makes and sends, and only the other one is measured.

use std::{
    io::Write,
    net::TcpStream,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use nowcast_log::{Log, LogHandle, LogOptions, RealDisk};
use nowcast_model::{Clock, Item, SystemClock};
use nowcast_sources::{
    Decoded, Precision,
    ilp_tcp::IlpOptions,
    line::{LineDecoder, LineOptions},
};
use nowcast_store::{Store, StoreOptions};

use crate::{Place, cpu, machine, note, postgres, print, server::Server, thousands, tsbs::Rows};

/// Rows made at a time: 35 MB of lines.
pub(crate) const CHUNK_ROWS: usize = 100_000;

/// The long form: so many rows, and so little room for rows in memory that they are flushed again and again.
const LONG_ROWS: usize = 20_000_000;
const LONG_HOT_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, Args)]
pub(crate) struct IngestArgs {
    /// Rows to send
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    rows: usize,
    /// 20 million rows, and 256 MiB of room for rows in memory, so that the server flushes meanwhile
    #[arg(long, conflicts_with = "rows")]
    long: bool,
    /// Hosts that the rows come from: 4000 or 100
    #[arg(long, value_name = "HOSTS", default_value_t = 4_000)]
    scale: usize,
    /// Seed of the rows
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    place: Place,
}

/// What a measurement took.
pub(crate) struct Measured {
    /// CPU seconds of who was measured.
    pub(crate) cpu_s: f64,
    /// Time on the wall: in 1 and 2 without making rows, in 3 and 4 with it, as it goes on meanwhile.
    pub(crate) elapsed: Duration,
    /// Bytes that were taken in.
    pub(crate) bytes: u64,
}

pub(crate) fn run(args: &IngestArgs) -> anyhow::Result<()> {
    let count = if args.long { LONG_ROWS } else { args.rows };
    anyhow::ensure!(count > 0, "there is nothing to measure in 0 rows");
    let binary = args.place.nowcast()?;
    let rows = || Rows::new(args.scale, args.seed);

    note("parsing");
    let parsed = parse(rows(), count)?;
    note("parsing and logging");
    let logged = parse_and_log(args, rows(), count)?;
    note("sending to the server");
    let (queryable, told) = queryable(args, &binary, rows(), count)?;
    note("copying into PostgreSQL");
    let copied = postgres::copy(args.place.temp_dir()?, rows(), count)?;

    let line_bytes = parsed.bytes / count as u64;
    print(&format!(
        "{} rows of TSBS cpu-only, {} hosts, {line_bytes} bytes a line; {}",
        thousands(count as u64),
        thousands(args.scale as u64),
        machine()
    ));
    print("");
    print("                              rows/CPU-s   of parsed   of COPY     CPU s   elapsed s");
    let rate = |measured: &Measured| count as f64 / measured.cpu_s;
    let copy_rate = copied.as_ref().map(|(_, measured)| rate(measured));
    let line = |name: &str, measured: &Measured| {
        let of_copy = copy_rate.map_or("-".to_owned(), |copy| format!("{:.2}", rate(measured) / copy));
        print(&format!(
            "{name:<28}{:>12}{:>12.2}{of_copy:>10}{:>10.2}{:>12.2}",
            thousands(rate(measured) as u64),
            rate(measured) / rate(&parsed),
            measured.cpu_s,
            measured.elapsed.as_secs_f64()
        ));
    };
    line("line protocol, parsed only", &parsed);
    line("parsed, logged durably", &logged);
    line("queryable over TCP", &queryable);
    match &copied {
        Some((version, measured)) => line(&format!("PostgreSQL {version} COPY"), measured),
        None => print("PostgreSQL COPY             not measured: install the package postgresql"),
    }
    print("");
    print(&told);
    Ok(())
}

/// Runs `work` on each chunk of lines. CPU and time of `work` alone.
fn in_chunks(
    mut rows: Rows,
    count: usize,
    mut work: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<Measured> {
    let mut measured = Measured { cpu_s: 0.0, elapsed: Duration::ZERO, bytes: 0 };
    let mut lines = Vec::new();
    let mut left = count;
    while left > 0 {
        let chunk = left.min(CHUNK_ROWS);
        lines.clear();
        rows.lines(chunk, &mut lines);
        let (began, before) = (Instant::now(), cpu::of_own_threads()?);
        work(&lines)?;
        measured.cpu_s += cpu::of_own_threads()? - before;
        measured.elapsed += began.elapsed();
        measured.bytes += lines.len() as u64;
        left -= chunk;
    }
    Ok(measured)
}

/// Decodes as a connection does: in pieces of a read, handed on in batches of its size.
struct Decoder {
    decoder: LineDecoder,
    options: IlpOptions,
}

impl Decoder {
    fn new() -> Decoder {
        let now_us = SystemClock.now_us();
        let decoder = LineDecoder::new(&LineOptions::new(Precision::Nanoseconds, now_us));
        Decoder { decoder, options: IlpOptions::default() }
    }

    fn decode(
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

fn parse(rows: Rows, count: usize) -> anyhow::Result<Measured> {
    let mut decoder = Decoder::new();
    let mut decoded = 0;
    let measured = in_chunks(rows, count, |lines| {
        decoder.decode(lines, |batches| {
            decoded += batches.rows();
            drop(std::hint::black_box(batches));
            Ok(())
        })
    })?;
    anyhow::ensure!(decoded == count, "{decoded} rows were decoded of {count}");
    Ok(measured)
}

fn parse_and_log(args: &IngestArgs, rows: Rows, count: usize) -> anyhow::Result<Measured> {
    let dir = args.place.temp_dir()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (store, _) = Store::open(
        &dir.path().join("store"),
        StoreOptions::default(),
        Arc::new(RealDisk),
        Arc::clone(&clock),
    )?;
    let (log, _) = Log::open(LogOptions::new(dir.path().join("log")), Arc::new(RealDisk), clock)?;
    let from = log.end();
    // Nobody reads the tail: what applying costs is measured with the server.
    let (log, _tail) = log.start(from)?;
    let mut decoder = Decoder::new();
    let (sender, durable) = mpsc::channel();
    let measured = in_chunks(rows, count, |lines| {
        let mut waiting = 0;
        decoder.decode(lines, |decoded| {
            if decoded.rows() > 0 {
                append(&store, &log, decoded, &sender)?;
                waiting += 1;
            }
            Ok(())
        })?;
        for _ in 0..waiting {
            durable.recv()??;
        }
        // As the server does once rows are flushed; keeps the disk from filling up.
        log.drop_before(log.end());
        Ok(())
    })?;
    let logged = log.status().rows;
    log.stop();
    anyhow::ensure!(logged >= count as u64, "{logged} rows were logged of {count}");
    Ok(measured)
}

type Outcome = Result<nowcast_log::Committed, nowcast_log::LogError>;

fn append(
    store: &Store,
    log: &LogHandle,
    decoded: Decoded,
    done: &mpsc::Sender<Outcome>,
) -> anyhow::Result<()> {
    let bytes = decoded.batches.iter().map(nowcast_model::Batch::bytes).sum();
    let items = decoded.batches.into_iter().map(Item::Rows).collect();
    let done = done.clone();
    let enqueue = |items| {
        // The receiver waits for every outcome.
        log.append(items, None, bytes, Box::new(move |outcome| drop(done.send(outcome))));
    };
    store
        .registry()
        .admit(items, enqueue)
        .map_err(|refusal| anyhow::anyhow!("rows were refused: {refusal:?}"))
}

fn queryable(
    args: &IngestArgs,
    binary: &std::path::Path,
    mut rows: Rows,
    count: usize,
) -> anyhow::Result<(Measured, String)> {
    let settings = [("NOWCAST_MEMORY_HOT_BYTES_MAX", LONG_HOT_BYTES_MAX.to_string())];
    let settings = if args.long { &settings[..] } else { &[] };
    let server = Server::start(binary, args.place.temp_dir()?, settings)?;
    let mut socket = TcpStream::connect(&server.ilp).context("cannot connect to the server")?;
    let (began, before) = (Instant::now(), server.cpu()?);
    let mut lines = Vec::new();
    let (mut left, mut bytes) = (count, 0);
    while left > 0 {
        let chunk = left.min(CHUNK_ROWS);
        lines.clear();
        rows.lines(chunk, &mut lines);
        socket.write_all(&lines).context("the server closed the connection")?;
        bytes += lines.len() as u64;
        left -= chunk;
    }
    server.wait_for_rows("cpu", count as u64)?;
    let measured = Measured { cpu_s: server.cpu()? - before, elapsed: began.elapsed(), bytes };
    let told = format!(
        "The server: {} flushes meanwhile, {} parts, {} fdatasyncs, memory at most {} MiB.",
        server.metric("nowcast_store_flushes_total")?,
        server.metric("nowcast_store_parts")?,
        thousands(server.metric("nowcast_log_syncs_total")?),
        thousands(server.memory_peak()? >> 20)
    );
    Ok((measured, told))
}
