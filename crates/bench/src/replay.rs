//! What replaying a log costs, beside a scan that only holds its checksums.
//!
//! The log is made as the server makes it, of TSBS rows. Then, again and again and in turn, with its files in the page
//! cache and on one thread:
//!
//! 1. *scan*: each file is read frame by frame, and each body's CRC32C is held against its header's;
//! 2. *open*: `Log::open`, which reads everything once before anything is changed;
//! 3. *read*: `Log::read_from`, which reads everything again and decodes it to records;
//! 4. *apply*: records that were read are applied to an empty store, nothing flushed.
//!
//! A start is 2, 3 and 4. A ratio is the median of the rounds' ratios, by CPU time.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::Path,
    sync::Arc,
};

use clap::Args;
use nowcast_disk::RealDisk;
use nowcast_log::{Log, LogOptions};
use nowcast_model::{Offset, Record, SystemClock};
use nowcast_store::{Store, StoreOptions};

use crate::{
    Place,
    append::segments,
    cpu::{Took, timed},
    machine, median, note,
    pipeline::{Logging, in_chunks},
    print, thousands,
    tsbs::Rows,
};

/// Of segments and frames alike (docs/log-format.md).
const HEADER_BYTES: usize = 64;

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Rows of the log
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    rows: usize,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Hosts that the rows come from
    #[arg(long, value_name = "HOSTS", default_value_t = 4_000)]
    scale: usize,
    /// Seed of the rows
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    place: Place,
}

struct Round {
    scan: Took,
    open: Took,
    read: Took,
    apply: Took,
}

pub(crate) fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    anyhow::ensure!(args.rows > 0, "there is nothing to measure in 0 rows");
    let dir = args.place.temp_dir()?;
    note("making a log");
    let mut logging = Logging::start(dir.path())?;
    in_chunks(Rows::new(args.scale, args.seed), args.rows, |lines| logging.take(lines))?;
    logging.log.handle().stop();
    let log_dir = dir.path().join("log");

    let mut rounds = Vec::new();
    let (mut bytes, mut frames, mut records) = (0, 0, 0);
    for number in 0..=args.rounds {
        note(&format!("round {number} of {}", args.rounds));
        let ((scanned_bytes, scanned_frames), scan) = timed(|| scan(&log_dir))?;
        let (log, open) = timed(|| open(&log_dir))?;
        let (read, took_read) = timed(|| read(&log))?;
        let apply = apply(args, &log)?;
        anyhow::ensure!(read.1 >= args.rows as u64, "{} rows were read of {}", read.1, args.rows);
        (bytes, frames, records) = (scanned_bytes, scanned_frames, read.0);
        // Round 0 warms the page cache and the allocator.
        if number > 0 {
            rounds.push(Round { scan, open, read: took_read, apply });
        }
    }
    print(&format!(
        "{} rows of TSBS cpu-only in a log of {} MB, {} frames, {} records; {} rounds; {}",
        thousands(args.rows as u64),
        bytes / 1_000_000,
        thousands(frames),
        thousands(records),
        args.rounds,
        machine()
    ));
    print("");
    print("                                    CPU s      MB/CPU-s   elapsed s   speed of the scan's");
    let line = |name: &str, get: fn(&Round) -> (f64, f64)| {
        let cpu_s = median(rounds.iter().map(|round| get(round).0).collect());
        let elapsed_s = median(rounds.iter().map(|round| get(round).1).collect());
        let ratio = median(rounds.iter().map(|round| round.scan.cpu_s / get(round).0).collect());
        print(&format!(
            "{name:<32}{cpu_s:>9.3}{:>14.0}{elapsed_s:>12.3}{ratio:>22.2}",
            bytes as f64 / 1e6 / cpu_s
        ));
    };
    line("scan, CRC32C of bodies only", |round| both(&[round.scan]));
    line("open (recovery's scan)", |round| both(&[round.open]));
    line("read (decoded to records)", |round| both(&[round.read]));
    line("open and read", |round| both(&[round.open, round.read]));
    line("apply to a store", |round| both(&[round.apply]));
    line("open, read and apply", |round| both(&[round.open, round.read, round.apply]));
    Ok(())
}

/// CPU and elapsed seconds of all of them.
fn both(took: &[Took]) -> (f64, f64) {
    (took.iter().map(|took| took.cpu_s).sum(), took.iter().map(|took| took.elapsed.as_secs_f64()).sum())
}

/// Holds the checksums of all bodies. Bytes of them, and frames.
fn scan(log: &Path) -> anyhow::Result<(u64, u64)> {
    let (mut bytes, mut frames) = (0, 0);
    let (mut header, mut body) = ([0; HEADER_BYTES], Vec::new());
    for path in segments(log)? {
        let mut file = File::open(&path)?;
        file.read_exact(&mut header)?;
        loop {
            match file.read_exact(&mut header) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                other => other?,
            }
            let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
            body.resize(number(8) as usize, 0);
            file.read_exact(&mut body)?;
            let is_whole = crc32c::crc32c(&body) == number(56);
            anyhow::ensure!(is_whole, "{} is damaged", path.display());
            bytes += body.len() as u64;
            frames += 1;
        }
    }
    Ok((bytes, frames))
}

fn open(dir: &Path) -> anyhow::Result<Log> {
    let (log, recovery) = Log::open(LogOptions::new(dir), Arc::new(RealDisk), Arc::new(SystemClock))?;
    anyhow::ensure!(recovery.cut.is_none() && recovery.damages.is_empty(), "the log is not whole");
    Ok(log)
}

/// Records, and rows and events in them.
fn read(log: &Log) -> anyhow::Result<(u64, u64)> {
    let (mut records, mut rows) = (0, 0);
    for record in log.read_from(Offset::ZERO)? {
        let record = record?;
        records += 1;
        rows += record.len();
        drop(std::hint::black_box(record));
    }
    Ok((records, rows))
}

/// Applies all records to a new store; what applying alone took.
fn apply(args: &ReplayArgs, log: &Log) -> anyhow::Result<Took> {
    let records = log.read_from(Offset::ZERO)?.collect::<Result<Vec<Record>, _>>()?;
    let dir = args.place.temp_dir()?;
    let (store, _) =
        Store::open(dir.path(), StoreOptions::default(), Arc::new(RealDisk), Arc::new(SystemClock))?;
    let ((), took) = timed(|| {
        for record in &records {
            // The changes are handed on to live queries, of which there are none.
            store.apply_each(record, &mut |change| drop(std::hint::black_box(change)))?;
        }
        Ok(())
    })?;
    let snapshot = store.snapshot();
    let rows = snapshot.tables.values().map(|table| table.rows()).sum::<u64>();
    anyhow::ensure!(rows == args.rows as u64, "{rows} rows were applied of {}", args.rows);
    Ok(took)
}
