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
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;

use crate::{
    Place, cpu, machine,
    memory_group::{MemoryGroup, parse_bytes},
    note,
    pipeline::{Decoder, Logging, in_chunks},
    postgres, print,
    server::Server,
    thousands,
    tsbs::Rows,
};

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
    /// Measure the server alone, in a control group with so much memory (`1GiB`) and with the default settings
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory_max: Option<u64>,
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

    if let Some(bytes_max) = args.memory_max {
        return limited(args, &binary, rows(), count, bytes_max);
    }

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
fn measured_in_chunks(
    rows: Rows,
    count: usize,
    mut work: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<Measured> {
    let mut measured = Measured { cpu_s: 0.0, elapsed: Duration::ZERO, bytes: 0 };
    in_chunks(rows, count, |lines| {
        let ((), took) = cpu::timed(|| work(lines))?;
        measured.cpu_s += took.cpu_s;
        measured.elapsed += took.elapsed;
        measured.bytes += lines.len() as u64;
        Ok(())
    })?;
    Ok(measured)
}

fn parse(rows: Rows, count: usize) -> anyhow::Result<Measured> {
    let mut decoder = Decoder::new();
    let mut decoded = 0;
    let measured = measured_in_chunks(rows, count, |lines| {
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
    let mut logging = Logging::start(dir.path())?;
    let measured = measured_in_chunks(rows, count, |lines| {
        logging.take(lines)?;
        // As the server does once rows are flushed; keeps the disk from filling up.
        let log = logging.log.handle();
        log.drop_before(log.end());
        Ok(())
    })?;
    let log = logging.log.handle();
    let logged = log.status().rows;
    log.stop();
    anyhow::ensure!(logged >= count as u64, "{logged} rows were logged of {count}");
    Ok(measured)
}

/// Sends all rows over one connection and waits until they are all there.
fn send(server: &Server, rows: Rows, count: usize) -> anyhow::Result<Measured> {
    let mut socket = TcpStream::connect(&server.ilp).context("cannot connect to the server")?;
    let (began, before) = (Instant::now(), server.cpu()?);
    let mut bytes = 0;
    in_chunks(rows, count, |lines| {
        bytes += lines.len() as u64;
        socket.write_all(lines).context("the server closed the connection")
    })?;
    server.wait_for_rows("cpu", count as u64)?;
    Ok(Measured { cpu_s: server.cpu()? - before, elapsed: began.elapsed(), bytes })
}

/// What the server did meanwhile.
fn told(server: &Server) -> anyhow::Result<String> {
    Ok(format!(
        "The server: {} flushes meanwhile, {} parts, {} fdatasyncs, memory at most {} MiB.",
        server.metric("nowcast_store_flushes_total")?,
        server.metric("nowcast_store_parts")?,
        thousands(server.metric("nowcast_log_syncs_total")?),
        thousands(server.memory_peak()? >> 20)
    ))
}

fn queryable(
    args: &IngestArgs,
    binary: &Path,
    rows: Rows,
    count: usize,
) -> anyhow::Result<(Measured, String)> {
    let settings = [("NOWCAST_MEMORY_HOT_BYTES_MAX", LONG_HOT_BYTES_MAX.to_string())];
    let settings = if args.long { &settings[..] } else { &[] };
    let server = Server::start(binary, args.place.temp_dir()?, settings, None)?;
    Ok((send(&server, rows, count)?, told(&server)?))
}

/// The server alone, which may use `bytes_max` of memory and knows it from its control group only.
fn limited(args: &IngestArgs, binary: &Path, rows: Rows, count: usize, bytes_max: u64) -> anyhow::Result<()> {
    let group = MemoryGroup::make(bytes_max)?;
    note(&format!("sending to the server, in {group}"));
    let server = Server::start(binary, args.place.temp_dir()?, &[], Some(&group))?;
    let sent = send(&server, rows, count);
    let kills = group.kills()?;
    anyhow::ensure!(kills == 0, "the kernel killed the server, which needed more than {bytes_max} bytes");
    let measured = sent?;
    print(&format!(
        "{} rows of TSBS cpu-only, {} hosts, into a server limited to {} MiB by {group}; {}",
        thousands(count as u64),
        thousands(args.scale as u64),
        thousands(bytes_max >> 20),
        machine()
    ));
    print("");
    print(&format!(
        "{} rows/CPU-s, {:.2} CPU s, {:.2} s elapsed, not killed",
        thousands((count as f64 / measured.cpu_s) as u64),
        measured.cpu_s,
        measured.elapsed.as_secs_f64()
    ));
    print(&told(&server)?);
    print(&format!(
        "The group: {} MiB at most, files that the kernel caches included.",
        thousands(group.peak_bytes()? >> 20)
    ));
    Ok(())
}
