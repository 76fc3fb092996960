//! What disorder and more connections cost a durable ingest.
//!
//! Four cells: one connection and four, in time order and with one row of ten late (`disorder`). Rows are dealt to the
//! connections by host, as a fleet's agents send them. Each cell has a new server and an empty directory, and little
//! room for rows in memory, so that it flushes and merges meanwhile: disorder costs where rows are sorted. The lines of
//! a cell are made before its clock starts; the clock stops when `count()` over `/exec` tells every row. The cells
//! take turns for some rounds; a ratio is the median of the rounds' ratios.

use std::{
    io::Write,
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;

use crate::{
    Place,
    disorder::{Disorder, LATE_ONE_OF},
    machine, median, note, print,
    server::Server,
    thousands,
    tsbs::Rows,
};

const CONNECTIONS: [usize; 2] = [1, 4];

#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    /// Rows of each cell; their lines, 345 bytes each, are held in memory
    #[arg(long, value_name = "N", default_value_t = 4_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Rounds, each of four cells
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Hosts that the rows come from
    #[arg(long, value_name = "HOSTS", default_value_t = 4_000)]
    scale: usize,
    /// Room for rows in memory, in MiB: past it the server flushes
    #[arg(long, value_name = "MIB", default_value_t = 8)]
    hot_mib_max: u64,
    /// Seed of the rows and of what is late
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    place: Place,
}

/// What one cell took in one round.
struct Cell {
    elapsed: Duration,
    cpu_s: f64,
    flushes: u64,
    parts: u64,
    written_bytes: u64,
}

pub(crate) fn run(args: &OrderArgs) -> anyhow::Result<()> {
    let binary = args.place.nowcast()?;
    let kinds: Vec<(usize, bool)> =
        CONNECTIONS.iter().flat_map(|&connections| [(connections, false), (connections, true)]).collect();
    let mut cells: Vec<Vec<Cell>> = kinds.iter().map(|_| Vec::new()).collect();
    for round in 1..=args.rounds {
        for (cells, &(connections, is_disordered)) in cells.iter_mut().zip(&kinds) {
            note(&format!("round {round} of {}: {}", args.rounds, name(connections, is_disordered)));
            let lines = deal(Rows::new(args.scale, args.seed), args, connections, is_disordered)?;
            cells.push(one(args, &binary, &lines)?);
        }
    }
    print(&format!(
        "{} rows of TSBS cpu-only, {} hosts, {} MiB for rows in memory; medians of {} rounds; {}",
        thousands(args.rows),
        thousands(args.scale as u64),
        args.hot_mib_max,
        args.rounds,
        machine()
    ));
    print("");
    print("                                rows/s   rows/CPU-s   flushes   parts   MiB of parts written");
    for (cells, &(connections, is_disordered)) in cells.iter().zip(&kinds) {
        let of = |get: fn(&Cell) -> f64| median(cells.iter().map(get).collect());
        let rate = |seconds: f64| thousands((args.rows as f64 / seconds) as u64);
        print(&format!(
            "{:<26}{:>12}{:>13}{:>10}{:>8}{:>23}",
            name(connections, is_disordered),
            rate(of(|cell| cell.elapsed.as_secs_f64())),
            rate(of(|cell| cell.cpu_s)),
            of(|cell| cell.flushes as f64),
            of(|cell| cell.parts as f64),
            of(|cell| (cell.written_bytes >> 20) as f64),
        ));
    }
    print("");
    let elapsed = |cell: &Cell| cell.elapsed.as_secs_f64();
    let cpu = |cell: &Cell| cell.cpu_s;
    for (index, connections) in CONNECTIONS.iter().enumerate() {
        let (ordered, disordered) = (&cells[index * 2], &cells[index * 2 + 1]);
        print(&format!(
            "out of order to in order, {:<16} {:.2} of the time, {:.2} of the CPU",
            name_of(*connections),
            ratio(disordered, ordered, elapsed),
            ratio(disordered, ordered, cpu)
        ));
    }
    for (index, order) in ["in order", "out of order"].iter().enumerate() {
        let (one, four) = (&cells[index], &cells[index + 2]);
        print(&format!(
            "4 connections to 1, {order:<22} {:.2} of the time, {:.2} of the CPU",
            ratio(four, one, elapsed),
            ratio(four, one, cpu)
        ));
    }
    Ok(())
}

fn name_of(connections: usize) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

fn name(connections: usize, is_disordered: bool) -> String {
    let order = if is_disordered { "10 % late" } else { "in order" };
    format!("{}, {order}", name_of(connections))
}

/// The median of the rounds' ratios.
fn ratio(cells: &[Cell], to: &[Cell], get: fn(&Cell) -> f64) -> f64 {
    median(cells.iter().zip(to).map(|(cell, to)| get(cell) / get(to)).collect())
}

/// The lines of each connection, in the order in which they are sent.
fn deal(
    mut rows: Rows,
    args: &OrderArgs,
    connections: usize,
    is_disordered: bool,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let count = usize::try_from(args.rows)?;
    let mut lines = vec![Vec::new(); connections];
    if !is_disordered {
        for _ in 0..count {
            let to = rows.next_host() % connections;
            rows.lines(1, &mut lines[to]);
        }
        return Ok(lines);
    }
    let mut send = |(to, line): (usize, Vec<u8>)| lines[to].extend_from_slice(&line);
    let mut disorder = Disorder::new(args.scale, args.seed);
    for _ in 0..count {
        let to = rows.next_host() % connections;
        let mut line = Vec::new();
        rows.lines(1, &mut line);
        disorder.push((to, line), &mut send);
    }
    disorder.finish(&mut send);
    Ok(lines)
}

/// Sends `lines`, a connection each, into a new server.
fn one(args: &OrderArgs, binary: &Path, lines: &[Vec<u8>]) -> anyhow::Result<Cell> {
    let settings = [("NOWCAST_MEMORY_HOT_BYTES_MAX", (args.hot_mib_max << 20).to_string())];
    let server = Server::start(binary, args.place.temp_dir()?, &settings, None)?;
    let mut sockets = Vec::new();
    for lines in lines {
        let socket = TcpStream::connect(&server.ilp).context("cannot connect to the server")?;
        sockets.push((socket, lines));
    }
    let (began, before) = (Instant::now(), server.cpu()?);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let senders: Vec<_> =
            sockets.iter_mut().map(|(socket, lines)| scope.spawn(move || socket.write_all(lines))).collect();
        for sender in senders {
            let sent = sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))?;
            sent.context("the server closed a connection")?;
        }
        Ok(())
    })?;
    server.wait_for_rows("cpu", args.rows)?;
    let (elapsed, cpu_s) = (began.elapsed(), server.cpu()? - before);
    let metric = |name: &str| server.metric(name);
    Ok(Cell {
        elapsed,
        cpu_s,
        flushes: metric("nowcast_store_flushes_total")?,
        parts: metric("nowcast_store_parts")?,
        written_bytes: metric("nowcast_store_flushed_bytes_total")?
            + metric("nowcast_store_merged_bytes_total")?,
    })
}

const _: () = assert!(LATE_ONE_OF == 10, "the tables say 10 %");
