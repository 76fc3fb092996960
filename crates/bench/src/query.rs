//! Time-bucket aggregates over parts, beside plain DataFusion and DuckDB.
//!
//! The rows go through the store as through the server: admitted, applied, flushed to parts whenever rows in memory pass
//! their bound, merged, the last ones flushed too. The same rows, in the same order, go into one plain Parquet file:
//! `ArrowWriter` with zstd and defaults otherwise. Then each query runs in turn on the parts with Nowcast's engine, on
//! the file with a DataFusion session of default options, and on the file with DuckDB, all with two threads; the
//! answers must be equal. A ratio is the median of the rounds' ratios.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use clap::Args;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use nowcast_disk::RealDisk;
use nowcast_model::{Clock, Item, Record, SystemClock};
use nowcast_query::{QueryContext, QueryEngine, QueryOptions};
use nowcast_store::{Snapshot, Store, StoreOptions};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::{
    Place, machine, median, note,
    pipeline::{Decoder, admit, in_chunks},
    print, thousands,
    tsbs::Rows,
};

/// Each with its name in the table. For DuckDB the file stands in the place of `cpu`.
const QUERIES: [(&str, &str); 2] = [
    (
        "by hour, all rows",
        "SELECT date_trunc('hour', timestamp) AS h, avg(usage_user) AS u, max(usage_system) AS s, count(*) AS n \
         FROM cpu GROUP BY 1 ORDER BY 1",
    ),
    (
        "by minute, one hour",
        "SELECT date_trunc('minute', timestamp) AS m, avg(usage_user) AS u, max(usage_system) AS s, count(*) AS n \
         FROM cpu WHERE timestamp >= TIMESTAMP '2016-01-01 02:00:00' AND timestamp < TIMESTAMP '2016-01-01 03:00:00' \
         GROUP BY 1 ORDER BY 1",
    ),
];

/// Reads a query a line; answers with the seconds that it took, and how many rows it had.
const DUCKDB: &str = "
import sys, time, duckdb
connection = duckdb.connect()
connection.execute('SET threads = ' + sys.argv[1])
print(duckdb.__version__, flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    rows = connection.execute(line).fetchall()
    print(time.perf_counter() - began, len(rows), flush=True)
";

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// Rows of the table
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    rows: usize,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Hosts that the rows come from
    #[arg(long, value_name = "HOSTS", default_value_t = 4_000)]
    scale: usize,
    /// Seed of the rows
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Threads of each query
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// A Python that has the package duckdb [default: that of the client tests, else python3]
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Seconds of one query in one round.
struct Round {
    nowcast: f64,
    plain: f64,
    duckdb: Option<f64>,
}

pub(crate) fn run(args: &QueryArgs) -> anyhow::Result<()> {
    anyhow::ensure!(args.rows > 0, "there is nothing to measure in 0 rows");
    let dir = args.place.temp_dir()?;
    let file = dir.path().join("plain.parquet");
    note("writing parts and the plain file");
    let store = write(args, dir.path(), &file)?;
    let snapshot = store.snapshot();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads.max(1))
        .enable_all()
        .build()?;
    let engine =
        QueryEngine::new(QueryOptions { target_partitions: args.threads, ..QueryOptions::default() })?;
    let plain = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(args.threads));
    let path = file.to_str().context("the directory's name is no text")?;
    runtime.block_on(plain.register_parquet("cpu", path, ParquetReadOptions::default()))?;
    let mut duckdb = DuckDb::start(args)?;

    let parts: Vec<_> = snapshot.tables.values().flat_map(|table| &table.parts).collect();
    print(&format!(
        "{} rows of TSBS cpu-only in {} parts ({} MB) and in one file ({} MB); {} rounds, {} threads; {}",
        thousands(args.rows as u64),
        parts.len(),
        parts.iter().map(|part| part.bytes).sum::<u64>() / 1_000_000,
        file.metadata()?.len() / 1_000_000,
        args.rounds,
        args.threads,
        machine()
    ));
    print("");
    print("                          ms                              Nowcast's time of");
    print("                      Nowcast  DataFusion    DuckDB     DataFusion's  DuckDB's");
    for (name, sql) in QUERIES {
        let mut rounds = Vec::new();
        // Round 0 warms the page cache.
        for number in 0..=args.rounds {
            note(&format!("{name}: round {number} of {}", args.rounds));
            let began = Instant::now();
            let ours = runtime.block_on(ours(&engine, &snapshot, sql))?;
            let nowcast = began.elapsed().as_secs_f64();
            let began = Instant::now();
            let theirs = runtime.block_on(async { plain.sql(sql).await?.collect().await })?;
            let plain = began.elapsed().as_secs_f64();
            let (ours, theirs) = (text(&ours)?, text(&theirs)?);
            anyhow::ensure!(ours == theirs, "{name}: the answers differ\n{ours:?}\n{theirs:?}");
            let from = format!("FROM read_parquet('{path}')");
            let duckdb = match &mut duckdb {
                Some(duckdb) => Some(duckdb.run(&sql.replace("FROM cpu", &from), ours.len())?),
                None => None,
            };
            if number > 0 {
                rounds.push(Round { nowcast, plain, duckdb });
            }
        }
        let of = |get: fn(&Round) -> f64| median(rounds.iter().map(get).collect());
        let of_duckdb = |get: fn(&Round, f64) -> f64| {
            let values: Option<Vec<f64>> =
                rounds.iter().map(|round| Some(get(round, round.duckdb?))).collect();
            values.map(median)
        };
        let told = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        print(&format!(
            "{name:<20}{:>9.1}{:>12.1}{:>10}{:>17.2}{:>10}",
            of(|round| round.nowcast * 1e3),
            of(|round| round.plain * 1e3),
            told(of_duckdb(|_, seconds| seconds * 1e3), 1),
            of(|round| round.nowcast / round.plain),
            told(of_duckdb(|round, seconds| round.nowcast / seconds), 2),
        ));
    }
    print("");
    print(&match &duckdb {
        Some(duckdb) => format!("DuckDB {}.", duckdb.version),
        None => "DuckDB: not measured; name a Python with the package duckdb by --python.".to_owned(),
    });
    Ok(())
}

/// Puts all rows into a store in `dir`, flushed, and into `file`.
fn write(args: &QueryArgs, dir: &Path, file: &Path) -> anyhow::Result<Arc<Store>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (store, _) =
        Store::open(&dir.join("store"), StoreOptions::default(), Arc::new(RealDisk), Arc::clone(&clock))?;
    let mut decoder = Decoder::new();
    let mut plain: Option<ArrowWriter<File>> = None;
    in_chunks(Rows::new(args.scale, args.seed), args.rows, |lines| {
        decoder.decode(lines, |decoded| {
            if decoded.rows() == 0 {
                return Ok(());
            }
            let items = admit(store.registry(), decoded.batches, |items| items)?;
            for item in &items {
                let Item::Rows(batch) = item else { continue };
                let writer = match &mut plain {
                    Some(writer) => writer,
                    None => {
                        let zstd = Compression::ZSTD(ZstdLevel::default());
                        let properties = WriterProperties::builder().set_compression(zstd).build();
                        let writer =
                            ArrowWriter::try_new(File::create(file)?, batch.rows.schema(), Some(properties))?;
                        plain.insert(writer)
                    }
                };
                writer.write(&batch.rows)?;
            }
            let offset = store.snapshot().position;
            store.apply_each(
                &Record { offset, at_us: clock.now_us(), producer: None, items },
                &mut |change| drop(change),
            )?;
            if store.needs_flush() {
                store.flush(false)?;
            }
            Ok(())
        })
    })?;
    store.flush(true)?;
    while store.compact(&mut || ControlFlow::Continue(()))? {}
    plain.context("no rows were written")?.close()?;
    Ok(store)
}

async fn ours(engine: &QueryEngine, snapshot: &Arc<Snapshot>, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
    let context = QueryContext::new(Arc::clone(snapshot), SystemClock.now_us());
    let statement = engine.parse_one(sql)?;
    Ok(engine.query(&context, &statement).await?.collect().await?)
}

/// The rows as text, cells parted by `|`.
fn text(batches: &[RecordBatch]) -> anyhow::Result<Vec<String>> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.push(cells.join("|"));
        }
    }
    Ok(rows)
}

/// A Python process with DuckDB; it ends with this.
struct DuckDb {
    child: Child,
    queries: ChildStdin,
    answers: BufReader<ChildStdout>,
    version: String,
}

impl DuckDb {
    /// `None` if no Python has it.
    fn start(args: &QueryArgs) -> anyhow::Result<Option<DuckDb>> {
        let Some(python) = python(args) else { return Ok(None) };
        let mut child = Command::new(python)
            .args(["-c", DUCKDB, &args.threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let queries = child.stdin.take().context("DuckDB has no input")?;
        let answers = BufReader::new(child.stdout.take().context("DuckDB has no output")?);
        let mut duckdb = DuckDb { child, queries, answers, version: String::new() };
        duckdb.version = duckdb.line()?;
        Ok(Some(duckdb))
    }

    /// Seconds that a query took, which must have `rows` rows.
    fn run(&mut self, sql: &str, rows: usize) -> anyhow::Result<f64> {
        writeln!(self.queries, "{sql}")?;
        let line = self.line()?;
        let (seconds, found) = line.split_once(' ').context("DuckDB did not answer")?;
        anyhow::ensure!(found.parse() == Ok(rows), "DuckDB found {found} rows, not {rows}");
        Ok(seconds.parse()?)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python that can import duckdb.
fn python(args: &QueryArgs) -> Option<PathBuf> {
    let cache = std::env::var_os("NOWCAST_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/nowcast")));
    let of_tests = cache.map(|cache| cache.join("venv/requirements/bin/python"));
    let candidates = match &args.python {
        Some(python) => vec![python.clone()],
        None => of_tests.into_iter().chain([PathBuf::from("python3")]).collect(),
    };
    candidates.into_iter().find(|python| {
        let mut command = Command::new(python);
        let status = command.args(["-c", "import duckdb"]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    })
}
