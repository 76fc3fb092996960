//! Queries over parts: time-bucket aggregates beside plain DataFusion, the types of TSBS beside DuckDB.
//!
//! The rows go through the store as through the server: admitted, applied, flushed to parts whenever rows in memory pass
//! their bound, merged, the last ones flushed too. The same rows, in the same order, go into one plain Parquet file:
//! `ArrowWriter` with zstd and defaults otherwise. Then each query runs in turn on the parts with Nowcast's engine, and on
//! the file with a DataFusion session of default options, or on the parts with DuckDB, all with as many threads; the
//! answers must be equal. Files are in the system's page cache. A ratio is the median of the rounds' ratios; each round
//! of a TSBS type draws other hosts and ranges.

use std::{
    fs::File,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
    util::display::{ArrayFormatter, FormatOptions},
};
use clap::Args;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use nowcast_disk::RealDisk;
use nowcast_model::{Clock, Item, Record, SystemClock};
use nowcast_query::{QueryContext, QueryEngine, QueryOptions};
use nowcast_store::{Part, Snapshot, Store, StoreOptions};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::{
    Place,
    duckdb::{Digest, DuckDb},
    machine, median, note,
    pipeline::{Decoder, admit, in_chunks},
    print, thousands,
    tsbs::{INTERVAL_S, Random, Rows},
    tsbs_queries::{Drawn, KINDS},
};

/// Those that run beside plain DataFusion, each with its name in the table.
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

/// Ten years of hours, and many more.
const GENERATED: [usize; 2] = [87_600, 10_000_000];

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
    /// Only queries whose names hold this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// A directory in which the rows stay, and are found by the next run
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// A Python that has the packages duckdb and pyarrow [default: that of the client tests, else python3]
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(args: &QueryArgs) -> anyhow::Result<()> {
    anyhow::ensure!(args.rows > 0, "there is nothing to measure in 0 rows");
    let temporary;
    let dir = match &args.keep {
        Some(dir) => dir.as_path(),
        None => {
            temporary = args.place.temp_dir()?;
            temporary.path()
        }
    };
    let file = dir.join("plain.parquet");
    let store = if file.exists() {
        Store::open(&dir.join("store"), StoreOptions::default(), Arc::new(RealDisk), Arc::new(SystemClock))?.0
    } else {
        note("writing parts and the plain file");
        std::fs::create_dir_all(dir)?;
        write(args, dir, &file)?
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads.max(1))
        .enable_all()
        .build()?;
    let options = QueryOptions { target_partitions: args.threads, ..QueryOptions::default() };
    let bench = Bench { args, snapshot: store.snapshot(), engine: QueryEngine::new(options)?, runtime };

    let parts = bench.parts();
    print(&format!(
        "{} rows of TSBS cpu-only in {} parts ({} MB) and in one file ({} MB), in the page cache; {} rounds, {} \
         threads; {}",
        thousands(args.rows as u64),
        parts.len(),
        parts.iter().map(|part| part.bytes).sum::<u64>() / 1_000_000,
        file.metadata()?.len() / 1_000_000,
        args.rounds,
        args.threads,
        machine()
    ));
    bench.beside_datafusion(&file)?;
    bench.beside_duckdb()?;
    bench.generated()
}

struct Bench<'a> {
    args: &'a QueryArgs,
    snapshot: Arc<Snapshot>,
    engine: QueryEngine,
    runtime: tokio::runtime::Runtime,
}

/// Seconds that two took for one query.
struct Round {
    ours_s: f64,
    theirs_s: f64,
}

impl Bench<'_> {
    fn parts(&self) -> Vec<&Arc<Part>> {
        self.snapshot.tables.values().flat_map(|table| &table.parts).collect()
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.args.only.as_ref().is_none_or(|only| name.contains(only))
    }

    /// The same rows in one plain file, and the same library: what parts and their checksums cost.
    fn beside_datafusion(&self, file: &Path) -> anyhow::Result<()> {
        let config = SessionConfig::new().with_target_partitions(self.args.threads);
        let plain = SessionContext::new_with_config(config);
        let path = file.to_str().context("the directory's name is no text")?;
        self.runtime.block_on(plain.register_parquet("cpu", path, ParquetReadOptions::default()))?;
        head("DataFusion");
        for (name, sql) in QUERIES.into_iter().filter(|(name, _)| self.is_wanted(name)) {
            let mut rounds = Vec::new();
            // Round 0 warms the page cache.
            for number in 0..=self.args.rounds {
                note(&format!("{name}: round {number} of {}", self.args.rounds));
                let (ours_s, ours) = self.ours(sql)?;
                let began = Instant::now();
                let theirs = self.runtime.block_on(async { plain.sql(sql).await?.collect().await })?;
                let theirs_s = began.elapsed().as_secs_f64();
                let (ours, theirs) = (text(&ours)?, text(&theirs)?);
                anyhow::ensure!(ours == theirs, "{name}: the answers differ\n{ours:?}\n{theirs:?}");
                if number > 0 {
                    rounds.push(Round { ours_s, theirs_s });
                }
            }
            line(name, &rounds);
        }
        Ok(())
    }

    /// The same parts, and another engine.
    fn beside_duckdb(&self) -> anyhow::Result<()> {
        let Some(mut duckdb) = DuckDb::start(self.args.python.as_deref(), self.args.threads)? else {
            print("DuckDB: not measured; name a Python with the packages duckdb and pyarrow by --python.");
            return Ok(());
        };
        let paths = self.parts().into_iter().map(|part| format!("'{}'", part.path.display()));
        let files = format!("FROM read_parquet([{}])", paths.collect::<Vec<_>>().join(", "));
        let span_s = (self.args.rows / self.args.scale.max(1)) as i64 * INTERVAL_S;
        let drawn = Drawn { hosts: self.args.scale, span_s };
        let mut ratios = Vec::new();
        head(&format!("DuckDB {}", duckdb.version));
        for (name, kind) in KINDS.into_iter().filter(|(name, _)| self.is_wanted(name)) {
            let mut random = Random::new(self.args.seed);
            let mut rounds = Vec::new();
            for number in 0..=self.args.rounds {
                note(&format!("{name}: round {number} of {}", self.args.rounds));
                let sql = kind.draw(drawn, &mut random);
                let (ours_s, ours) = self.ours(&sql.nowcast)?;
                let (theirs_s, theirs) = duckdb.run(&sql.duckdb.replace("FROM cpu", &files))?;
                let ours = digest(&ours)?;
                anyhow::ensure!(
                    ours.agrees(&theirs),
                    "{name}: the answers differ\n{ours:?}\n{theirs:?}\n{}",
                    sql.nowcast
                );
                if number > 0 {
                    rounds.push(Round { ours_s, theirs_s });
                }
            }
            ratios.push(line(name, &rounds));
        }
        if !ratios.is_empty() {
            let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
            print(&format!("{:<44}{mean:>9.2}", "geometric mean"));
        }
        Ok(())
    }

    /// Rows from nothing, as they are made for a table, taken batch by batch.
    fn generated(&self) -> anyhow::Result<()> {
        for rows in GENERATED.into_iter().filter(|_| self.is_wanted("generated")) {
            let sql = format!(
                "SELECT rnd_str('truck_1', 'truck_2') AS name, rnd_int(1000, 1500, 0) AS load, rnd_double() AS level, \
                 timestamp_sequence('2022-01-01T00:00:00', 3600000000L) AS ts FROM long_sequence({rows}, 1, 2)"
            );
            let mut took = Vec::new();
            for _ in 0..self.args.rounds.min(3) {
                let context = QueryContext::new(Arc::clone(&self.snapshot), SystemClock.now_us());
                let began = Instant::now();
                let statement = self.engine.parse_one(&sql)?;
                let made = self.runtime.block_on(async {
                    let mut answer = self.engine.query(&context, &statement).await?.stream;
                    let mut made = 0;
                    while let Some(batch) = answer.next().await {
                        made += batch?.num_rows();
                    }
                    anyhow::Ok(made)
                })?;
                anyhow::ensure!(made == rows, "{made} rows were made, not {rows}");
                took.push(began.elapsed().as_secs_f64());
            }
            let rows = thousands(rows as u64);
            print(&format!("{rows} rows of four columns made by long_sequence(): {:.2} s", median(took)));
        }
        Ok(())
    }

    /// Seconds, and the answer.
    fn ours(&self, sql: &str) -> anyhow::Result<(f64, Vec<RecordBatch>)> {
        let context = QueryContext::new(Arc::clone(&self.snapshot), SystemClock.now_us());
        let began = Instant::now();
        let statement = self.engine.parse_one(sql)?;
        let answer = self.runtime.block_on(async {
            anyhow::Ok(self.engine.query(&context, &statement).await?.collect().await?)
        })?;
        Ok((began.elapsed().as_secs_f64(), answer))
    }
}

fn head(other: &str) {
    print("");
    print(&format!("{:<24}{:>20}", "", "ms"));
    print(&format!("{:<24}{:>8}{other:>18}{:>8}", "", "Nowcast", "ratio"));
}

/// Prints a query's line; returns the median of the ratios.
fn line(name: &str, rounds: &[Round]) -> f64 {
    let of = |get: fn(&Round) -> f64| median(rounds.iter().map(get).collect());
    let ratio = of(|round| round.ours_s / round.theirs_s);
    let (ours_ms, theirs_ms) = (of(|round| round.ours_s * 1e3), of(|round| round.theirs_s * 1e3));
    print(&format!("{name:<24}{ours_ms:>8.1}{theirs_ms:>18.1}{ratio:>8.2}"));
    ratio
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

/// An answer in short, for one too large to be compared cell by cell.
fn digest(batches: &[RecordBatch]) -> anyhow::Result<Digest> {
    let mut digest = Digest { rows: 0, sum_of_numbers: 0.0, bytes_of_text: 0 };
    for batch in batches {
        digest.rows += batch.num_rows();
        for column in batch.columns() {
            let ty = column.data_type();
            if ty.is_numeric() {
                let numbers = cast(column, &DataType::Float64)?;
                let numbers = numbers.as_primitive::<Float64Type>();
                digest.sum_of_numbers += arrow::compute::sum(numbers).unwrap_or(0.0);
            } else if matches!(ty, DataType::Utf8 | DataType::Dictionary(..)) {
                let texts = cast(column, &DataType::Utf8)?;
                let bytes = texts.as_string::<i32>().iter().flatten().map(str::len).sum::<usize>();
                digest.bytes_of_text += bytes as u64;
            }
        }
    }
    Ok(digest)
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
