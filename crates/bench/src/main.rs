//! Benchmarks that print ratios measured in one run, on one machine, beside each other.
//!
//! | module | |
//! |---|---|
//! | `tsbs` | the rows: TSBS `cpu-only`, seeded |
//! | `disorder` | the same, some of them late |
//! | `pipeline` | rows decoded, admitted and logged in this process |
//! | `ingest` | rows per server CPU-second, from parsing alone to queryable, and PostgreSQL's `COPY` |
//! | `order` | what late rows and more connections cost |
//! | `append`, `replay` | the log: beside `dd`, and beside a scan that only holds checksums |
//! | `query`, `tsbs_queries` | queries over parts, beside plain DataFusion and DuckDB |
//! | `freshness` | from a row's `write()` to the message that shows it |
//! | `fanout` | what a delivered message and an idle viewer cost, beside a bare loop of `write(2)` |
//! | `server`, `postgres`, `duckdb` | the programs that are measured, each in a directory of its own |
//! | `memory_group` | a bound on what one of them may use |
//! | `cpu` | what they used, by `/proc` |
//!
//! What is not here: assertions. Timings are printed, never tested; a figure that was not measured is not printed.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

mod append;
mod cpu;
mod disorder;
mod duckdb;
mod fanout;
mod freshness;
mod ingest;
mod memory_group;
mod order;
mod pipeline;
mod postgres;
mod query;
mod replay;
mod server;
mod tsbs;
mod tsbs_queries;

/// The server's allocator, so that parsing in this process costs what it costs there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Benchmarks of Nowcast.
#[derive(Debug, Parser)]
#[command(name = "nowcast-bench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Rows per server CPU-second: parsed, logged, queryable, and PostgreSQL's COPY of the same rows
    Ingest(ingest::IngestArgs),
    /// What late rows and more connections cost a durable ingest
    Order(order::OrderArgs),
    /// Append bandwidth of the log, beside dd
    Append(append::AppendArgs),
    /// Replay of the log, beside a scan that only holds its checksums
    Replay(replay::ReplayArgs),
    /// Queries over 10 million rows in parts: beside plain DataFusion, and TSBS's types beside DuckDB
    Query(query::QueryArgs),
    /// Time from a row's write() to the WebSocket message that shows it
    Freshness(freshness::FreshnessArgs),
    /// CPU and memory of viewers of one live query, beside a bare loop of write(2)
    Fanout(fanout::FanoutArgs),
}

/// Where the measured programs come from and keep their files.
#[derive(Debug, Args)]
struct Place {
    /// The server's binary [default: `nowcast` beside this one]
    #[arg(long, value_name = "FILE", env = "NOWCAST_BIN")]
    nowcast: Option<PathBuf>,
    /// Where temporary directories are made; on the disk to be measured, not in memory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Place {
    fn nowcast(&self) -> anyhow::Result<PathBuf> {
        let binary = match &self.nowcast {
            Some(binary) => binary.clone(),
            None => std::env::current_exe()?.with_file_name("nowcast"),
        };
        anyhow::ensure!(
            binary.is_file(),
            "there is no server at {}; build it (xtask/bench.sh does) or name it with --nowcast",
            binary.display()
        );
        Ok(binary.canonicalize()?)
    }

    fn temp_dir(&self) -> anyhow::Result<tempfile::TempDir> {
        let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        Ok(tempfile::Builder::new().prefix("nowcast-bench-").tempdir_in(parent)?)
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Ingest(args) => ingest::run(&args),
        Command::Order(args) => order::run(&args),
        Command::Append(args) => append::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Query(args) => query::run(&args),
        Command::Freshness(args) => freshness::run(&args),
        Command::Fanout(args) => fanout::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("nowcast-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A line of the result.
fn print(line: &str) {
    // A reader that went away has what it wanted.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line about how it goes.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The machine and the build, in a line: figures mean nothing without them.
fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let build = if cfg!(debug_assertions) { "; bench built WITHOUT optimisation" } else { "" };
    format!("{cpus} cores, {model}{build}")
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
