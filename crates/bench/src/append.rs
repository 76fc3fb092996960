//! Append bandwidth of the log, beside `dd`.
//!
//! The log's thread gets one record at a time, encoded to nearly a group's size, and the next one once it is durable:
//! a frame, a `write`, an `fdatasync` for each. `dd` writes as many blocks of exactly a frame's bytes, out of a file
//! that holds what the log wrote and is in the page cache, into a new file of the same file system: once with one
//! sync at the end (`conv=fdatasync`) and once with a sync of each block (`oflag=dsync`), which is what the log
//! promises. The three take turns; a ratio is the median of the rounds' ratios.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use nowcast_disk::RealDisk;
use nowcast_log::LogOptions;
use nowcast_model::{Item, SystemClock};
use nowcast_store::{Store, StoreOptions};

use crate::{
    Place, machine, median,
    memory_group::parse_bytes,
    note,
    pipeline::{Decoder, RunningLog, admit},
    print, thousands,
    tsbs::Rows,
};

/// What stands before the frames of a segment (docs/log-format.md).
const SEGMENT_HEADER_BYTES: u64 = 64;

#[derive(Debug, Args)]
pub(crate) struct AppendArgs {
    /// Sizes of a group; 16MiB is where the log closes one under load
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_values = ["16MiB", "1MiB"])]
    group: Vec<u64>,
    /// Bytes that each writes in a round
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_value = "256MiB")]
    total: u64,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    #[command(flatten)]
    place: Place,
}

/// A record, and what it is as a frame.
struct Group {
    items: Vec<Item>,
    frame_bytes: u64,
    count: u64,
}

/// What one round took.
struct Round {
    log: Duration,
    /// Of it: in `fdatasync`.
    log_sync: Duration,
    dd: Duration,
    dd_dsync: Duration,
}

pub(crate) fn run(args: &AppendArgs) -> anyhow::Result<()> {
    print(&format!("{} rounds, {} MiB each; {}", args.rounds, args.total >> 20, machine()));
    print("");
    print("                    MB/s                      of dd's");
    print("group bytes     log    dd  dd dsync      dd  dd dsync   of the log's time in fdatasync");
    for group_bytes in &args.group {
        let group = group(args, *group_bytes)?;
        let prepared = args.place.temp_dir()?;
        let input = prepared.path().join("input");
        let mut rounds = Vec::new();
        for number in 1..=args.rounds {
            note(&format!("groups of {group_bytes} bytes: round {number} of {}", args.rounds));
            // The first round's log is what `dd` copies.
            let (log, log_sync) = append(args, &group, (number == 1).then_some(&input))?;
            let dd = dd(args, &group, &input, "conv=fdatasync")?;
            let dd_dsync = self::dd(args, &group, &input, "oflag=dsync")?;
            rounds.push(Round { log, log_sync, dd, dd_dsync });
        }
        let of = |get: fn(&Round) -> f64| median(rounds.iter().map(get).collect());
        let bytes = (group.frame_bytes * group.count) as f64;
        let speed = |seconds: f64| bytes / seconds / 1e6;
        print(&format!(
            "{:>11}{:>8.0}{:>6.0}{:>10.0}{:>8.2}{:>10.2}{:>30.0} %",
            thousands(group.frame_bytes),
            speed(of(|round| round.log.as_secs_f64())),
            speed(of(|round| round.dd.as_secs_f64())),
            speed(of(|round| round.dd_dsync.as_secs_f64())),
            of(|round| round.dd.as_secs_f64() / round.log.as_secs_f64()),
            of(|round| round.dd_dsync.as_secs_f64() / round.log.as_secs_f64()),
            of(|round| round.log_sync.as_secs_f64() / round.log.as_secs_f64() * 100.0),
        ));
    }
    Ok(())
}

/// A record of TSBS rows whose frame has nearly `group_bytes`.
fn group(args: &AppendArgs, group_bytes: u64) -> anyhow::Result<Group> {
    let dir = args.place.temp_dir()?;
    let (store, _) = Store::open(
        &dir.path().join("store"),
        StoreOptions::default(),
        Arc::new(RealDisk),
        Arc::new(SystemClock),
    )?;
    let items = |rows: usize| -> anyhow::Result<Vec<Item>> {
        let mut lines = Vec::new();
        Rows::new(4_000, 1).lines(rows, &mut lines);
        let mut batches = Vec::new();
        Decoder::new().decode(&lines, |decoded| {
            batches.extend(decoded.batches);
            Ok(())
        })?;
        admit(store.registry(), batches, |items| items)
    };
    // The first record makes the table; the one that is measured is rows alone.
    items(1)?;
    let probe_rows = 20_000;
    let mut log = RunningLog::start(LogOptions::new(dir.path().join("log")))?;
    let mut frame_bytes = |items: &[Item]| -> anyhow::Result<u64> {
        let before = log.handle().status().bytes;
        log.append(items.to_vec(), 0);
        log.settle()?;
        Ok(log.handle().status().bytes - before)
    };
    let row_bytes = frame_bytes(&items(probe_rows)?)? as f64 / probe_rows as f64;
    let rows = (group_bytes as f64 / row_bytes) as usize;
    anyhow::ensure!(rows > 0, "a group of {group_bytes} bytes holds no row");
    let items = items(rows)?;
    let frame_bytes = frame_bytes(&items)?;
    log.handle().stop();
    Ok(Group { items, frame_bytes, count: (args.total / frame_bytes).max(1) })
}

/// Appends the groups; how long it took, and how long of it the disk. Keeps the frames in `keep`.
fn append(args: &AppendArgs, group: &Group, keep: Option<&Path>) -> anyhow::Result<(Duration, Duration)> {
    let dir = args.place.temp_dir()?;
    let options = LogOptions { segment_bytes_max: 64 << 20, ..LogOptions::new(dir.path()) };
    let mut log = RunningLog::start(options)?;
    let began = Instant::now();
    for _ in 0..group.count {
        log.append(group.items.clone(), 0);
        log.settle()?;
    }
    let elapsed = began.elapsed();
    let status = log.handle().status();
    anyhow::ensure!(
        (status.frames, status.bytes) == (group.count, group.count * group.frame_bytes),
        "the log made {} frames of {} bytes in all",
        status.frames,
        status.bytes
    );
    log.handle().stop();
    if let Some(keep) = keep {
        copy_frames(dir.path(), keep, status.bytes)?;
    }
    Ok((elapsed, Duration::from_micros(status.sync_us)))
}

/// The frames of all segments, one behind the other.
fn copy_frames(log: &Path, to: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut out = File::create(to)?;
    let mut left = bytes;
    for segment in segments(log)? {
        let mut file = File::open(segment)?;
        io::copy(&mut (&mut file).take(SEGMENT_HEADER_BYTES), &mut io::sink())?;
        left -= io::copy(&mut file.take(left), &mut out)?;
    }
    anyhow::ensure!(left == 0, "the log's files lack {left} bytes");
    // Not to be written back while `dd` is measured.
    Ok(out.sync_all()?)
}

/// The segments of a log, in order.
pub(crate) fn segments(log: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(log)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    Ok(paths)
}

fn dd(args: &AppendArgs, group: &Group, input: &Path, sync: &str) -> anyhow::Result<Duration> {
    let dir = args.place.temp_dir()?;
    let began = Instant::now();
    let status = Command::new("dd")
        .arg(format!("if={}", input.display()))
        .arg(format!("of={}", dir.path().join("dd").display()))
        .args([format!("bs={}", group.frame_bytes), format!("count={}", group.count)])
        .args([sync, "status=none"])
        .status()
        .context("cannot run dd")?;
    let elapsed = began.elapsed();
    anyhow::ensure!(status.success(), "dd failed: {status}");
    let written = dir.path().join("dd").metadata()?.len();
    anyhow::ensure!(written == group.frame_bytes * group.count, "dd wrote {written} bytes");
    Ok(elapsed)
}
