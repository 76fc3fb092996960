//! The run loop of `nowcast generate thelook`: rows to another server, log lines as the original writes them.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nowcast_model::{Batch, Clock, SystemClock, TableName, TableSchema};

use super::{
    Arrivals, Catalogue, ProductsError, Shop,
    cli::{Destination, IfExists, ThelookArgs},
    http::HttpTarget,
    postgres::PostgresTarget,
    schema::{schemas, table},
    shop::first_id,
};

/// The schema of the original.
const POSTGRES_SCHEMA: &str = "ecommerce";
/// `--products` files are read whole.
const PRODUCTS_BYTES_MAX: u64 = 256 << 20;
/// With `--users-per-second`, users of so long are written together.
const ROUND: Duration = Duration::from_millis(200);
/// And at most so many, so that a fast sender makes records of a bounded size.
const ROUND_USERS_MAX: usize = 2_000;

/// Why nothing more can be generated: the fact, then the remedy.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The flags make no sense.
    #[error("{cause}; {hint}")]
    Usage {
        /// What is wrong.
        cause: String,
        /// What to do about it.
        hint: String,
    },
    /// The other server cannot be reached.
    #[error("cannot connect to {to}: {cause}; {hint}")]
    Connect {
        /// Its address, without the password.
        to: String,
        /// What is wrong.
        cause: String,
        /// What to do about it.
        hint: String,
    },
    /// The other server refuses.
    #[error("{to} refused {what}: {cause}")]
    Refused {
        /// Its address.
        to: String,
        /// What it refused.
        what: String,
        /// In its own words.
        cause: String,
    },
    /// `--if-exists fail` and a table exists.
    #[error("the table {table} exists; use --if-exists append to add to it or replace to make it anew")]
    Exists {
        /// The table.
        table: TableName,
    },
    /// The file of `--products` cannot be read.
    #[error("cannot read {path:?}: {cause}; give a CSV file with the columns of the original products.csv")]
    ProductsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file of `--products` is not as it should be.
    #[error("{path:?}, {error}")]
    Products {
        /// The file.
        path: PathBuf,
        /// Where and what.
        error: ProductsError,
    },
}

/// A server that rows are sent to.
enum Target {
    Http(HttpTarget),
    Postgres(PostgresTarget),
}

impl Target {
    async fn exists(&mut self, schema: &TableSchema) -> Result<bool, GenerateError> {
        match self {
            Target::Http(target) => target.exists(schema).await,
            Target::Postgres(target) => target.exists(schema).await,
        }
    }

    /// Makes the table if it does not exist; with `anew`, drops it first.
    async fn make(&mut self, schema: &TableSchema, anew: bool) -> Result<(), GenerateError> {
        match self {
            Target::Http(target) => target.make(schema, anew).await,
            Target::Postgres(target) => target.make(schema, anew).await,
        }
    }

    /// Writes all batches or none.
    async fn write(&mut self, batches: &[Batch]) -> Result<(), GenerateError> {
        match self {
            Target::Http(target) => target.write(batches).await,
            Target::Postgres(target) => target.write(batches).await,
        }
    }
}

/// Generates until `--max-iter`, Ctrl-C or SIGTERM.
///
/// # Errors
/// The flags make no sense, or the other server cannot be reached or refuses. What was written before stays.
pub async fn run(args: ThelookArgs) -> Result<(), GenerateError> {
    log("Generate theLook eCommerce data...");
    log(&args.namespace());
    let destination = Destination::parse(args.to.as_deref(), |name| std::env::var(name).ok())?;
    let catalogue = catalogue(args.products.as_ref())?;
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let (mut target, schema) = match destination {
        Destination::Http(base) => {
            (Target::Http(HttpTarget::new(base, args.token.clone())), TableName::PUBLIC)
        }
        Destination::Postgres(config) => {
            (Target::Postgres(PostgresTarget::connect(*config, POSTGRES_SCHEMA).await?), POSTGRES_SCHEMA)
        }
    };
    let schemas = schemas(schema, None);
    let shop = Shop::in_schema(schema, seed, catalogue);

    let mut stop = std::pin::pin!(stopped());
    tokio::select! {
        () = &mut stop => return Ok(()),
        prepared = prepare(&mut target, &schemas, &shop, args.if_exists) => prepared?,
    }
    let run = Run { target, shop, if_exists: args.if_exists, max_iter: args.max_iter, users: 0 };
    match args.users_per_second {
        Some(rate) => run.at_rate(seed, rate, stop).await,
        None => run.one_by_one(Duration::from_secs_f64(args.wait_for.unwrap_or(1.0)), stop).await,
    }
}

/// Makes the tables, and writes products and distribution centres anew.
async fn prepare(
    target: &mut Target,
    schemas: &[TableSchema],
    shop: &Shop,
    if_exists: IfExists,
) -> Result<(), GenerateError> {
    let dynamic = &schemas[table::USERS..];
    if if_exists == IfExists::Fail {
        for schema in dynamic {
            if target.exists(schema).await? {
                return Err(GenerateError::Exists { table: schema.name.clone() });
            }
        }
    }
    let mut progress = Progress::new();
    for (schema, batch) in schemas.iter().zip(shop.catalogue().batches(schemas)) {
        let rows = batch.rows.num_rows();
        log(&format!("replace records, table - {}, # records - {rows}", schema.name.table));
        target.make(schema, true).await?;
        for begin in (0..rows).step_by(STATIC_ROWS) {
            let length = STATIC_ROWS.min(rows - begin);
            let part = Batch { rows: batch.rows.slice(begin, length), ..batch.clone() };
            target.write(&[part]).await?;
            progress.show(|| format!("{}: {} of {rows} rows", schema.name.table, begin + length));
        }
    }
    progress.end();
    for schema in dynamic {
        target.make(schema, if_exists == IfExists::Replace).await?;
    }
    Ok(())
}

/// Products are written in parts, so that neither a request nor a statement grows past what servers take.
const STATIC_ROWS: usize = 1_000;

struct Run {
    target: Target,
    shop: Shop,
    if_exists: IfExists,
    max_iter: i64,
    users: i64,
}

impl Run {
    fn is_done(&self) -> bool {
        self.max_iter > 0 && self.users >= self.max_iter
    }

    fn end(&self) {
        log(&format!("stop generating records after {} iterations", self.users));
    }

    /// One user, then a wait, as the original does; each table is logged.
    async fn one_by_one(
        mut self,
        wait: Duration,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), GenerateError> {
        loop {
            let batches = self.shop.next(SystemClock.now_us());
            let id = batches.first().map(first_id).unwrap_or_default();
            log(&format!("start to create user events - user id: {id}"));
            for (table, rows) in counts(&batches) {
                if rows > 0 {
                    log(&format!("{} records, table - {table}, # records - {rows}", self.if_exists.word()));
                } else {
                    log(&format!("skip records as no user event, table - {table}, # records - 0"));
                }
            }
            // Written whole even if a signal comes: a half-sent request would leave its fate unknown.
            self.target.write(&batches).await?;
            let stopping = tokio::select! {
                biased;
                () = &mut stop => true,
                () = tokio::time::sleep(wait) => false,
            };
            self.users += 1;
            if stopping || self.is_done() {
                self.end();
                return Ok(());
            }
        }
    }

    /// Users as they come at `rate` a second; a line of progress instead of a log line a table.
    async fn at_rate(
        mut self,
        seed: u64,
        rate: f64,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), GenerateError> {
        let mut arrivals = Arrivals::new(seed, rate, SystemClock.now_us());
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let (mut progress, begun, mut rows) = (Progress::new(), Instant::now(), 0usize);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                _ = rounds.tick() => {}
            }
            let now_us = SystemClock.now_us();
            let mut round = 0;
            while round < ROUND_USERS_MAX
                && !self.is_done()
                && let Some(arrival_us) = arrivals.next_until(now_us)
            {
                self.shop.visit(arrival_us);
                self.users += 1;
                round += 1;
            }
            if round == ROUND_USERS_MAX {
                // The server is slower than the rate: what it did not take is not caught up.
                arrivals.skip_to(now_us);
            }
            let batches = self.shop.take();
            if !batches.is_empty() {
                self.target.write(&batches).await?;
            }
            rows += counts(&batches).map(|(_, rows)| rows).sum::<usize>();
            let per_second = rows as f64 / begun.elapsed().as_secs_f64().max(0.001);
            progress.show(|| format!("{} users, {rows} rows, {per_second:.0} rows/s", self.users));
            if self.is_done() {
                break;
            }
        }
        progress.end();
        self.end();
        Ok(())
    }
}

/// Rows of each of the five tables, those without rows included.
fn counts(batches: &[Batch]) -> impl Iterator<Item = (&'static str, usize)> + '_ {
    ["users", "orders", "order_items", "inventory_items", "events"].into_iter().map(|name| {
        let batch = batches.iter().find(|batch| &*batch.table.table == name);
        (name, batch.map_or(0, |batch| batch.rows.num_rows()))
    })
}

fn catalogue(path: Option<&PathBuf>) -> Result<Catalogue, GenerateError> {
    let Some(path) = path else { return Ok(Catalogue::generate()) };
    let unreadable = |cause: String| GenerateError::ProductsFile { path: path.clone(), cause };
    let bytes = fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.len();
    if bytes > PRODUCTS_BYTES_MAX {
        return Err(unreadable(format!("it has {bytes} bytes, at most {PRODUCTS_BYTES_MAX} are read")));
    }
    let text = fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
    Catalogue::from_csv(&text).map_err(|error| GenerateError::Products { path: path.clone(), error })
}

/// A seed that differs from run to run.
fn fresh_seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    })
}

/// Ready at the first Ctrl-C or SIGTERM.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => if interrupted.is_err() { std::future::pending::<()>().await },
        () = terminated => {}
    }
}

/// A line as Python's `logging` writes it. A closed standard error is no reason to stop.
fn log(message: &str) {
    drop(writeln!(std::io::stderr().lock(), "INFO:root:{message}"));
}

/// A line on standard error that is written over; nothing if that is no terminal.
struct Progress {
    is_terminal: bool,
    shown: Option<Instant>,
}

impl Progress {
    fn new() -> Progress {
        Progress { is_terminal: std::io::stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, text: impl FnOnce() -> String) {
        let is_due = self.shown.is_none_or(|shown| shown.elapsed() >= Duration::from_millis(100));
        if self.is_terminal && is_due {
            self.shown = Some(Instant::now());
            let mut stderr = std::io::stderr().lock();
            drop(write!(stderr, "\r\x1b[K{}", text()).and_then(|()| stderr.flush()));
        }
    }

    /// Takes the line away.
    fn end(&mut self) {
        if self.shown.take().is_some() {
            let mut stderr = std::io::stderr().lock();
            drop(write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush()));
        }
    }
}
