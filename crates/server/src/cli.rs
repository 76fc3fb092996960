//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nowcast_sources::Precision;

use crate::{config::Overrides, records::From};

/// Event streams into live dashboards: one binary that takes data in, stores it, and keeps every screen up
/// to date.
#[derive(Debug, Parser)]
#[command(name = "nowcast", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  nowcast demo                                  a shop's orders, live, at the address it prints
  nowcast serve --data ./data                   a server for your own data
  curl -d 'weather,city=Bern t=21.5' http://127.0.0.1:9000/write
  nowcast sql \"SELECT * FROM weather\"           ask the running server
  nowcast generate thelook --to http://127.0.0.1:9000";

const IMPORT_HELP: &str = "\
The table is made if it is not there; its columns' types are found out from the file's beginning. Rows are sent in
chunks, each one record of the log; the memory is that of a few chunks, whatever the file's size.

Again after a cut: run the same command. Each chunk is sent under an Idempotency-Key of the table, the file's name, the
chunk's number and its rows. Chunks that the server remembers (idempotency.keep_s, a day unless set otherwise) are not
sent again, and nothing is written twice. It must make the same chunks: the same file, --batch-rows and types.

Examples:
  nowcast import weather.csv.gz --table weather --timestamp ts
  nowcast import 2026-*.parquet --table trips --timestamp pickup --partition-by MONTH
  zcat log.gz | nowcast import - --format ndjson --table events --timestamp at --unit ms
  nowcast import weather.csv --table weather --timestamp ts --dry-run";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server with a ready-made stream and its dashboard
    #[command(
        after_help = "Examples:\n  nowcast demo\n  nowcast demo thelook --data /tmp/shop --http 127.0.0.1:9100"
    )]
    Demo(DemoArgs),
    /// Run the server
    #[command(
        after_help = "Examples:\n  nowcast serve\n  nowcast serve --data ./data --http 127.0.0.1:9000 --ilp off\n  NOWCAST_PG_PASSWORD=secret nowcast serve --http 0.0.0.0:9000"
    )]
    Serve(ServeArgs),
    /// Make data and send it to a server
    Generate(GenerateArgs),
    /// Run SQL on the running server and print the answer
    #[command(
        after_help = "Exit codes: 0 all went well, 1 a statement was refused, 2 the flags are wrong, 3 the server cannot be reached.\nOn a terminal without statements: lines with history and completion, \\? for help.\n\nExamples:\n  nowcast sql\n  nowcast sql \"SELECT count() FROM orders\"\n  nowcast sql --format csv \"SELECT * FROM orders LIMIT 10\"\n  echo \"SHOW TABLES\" | nowcast sql -"
    )]
    Sql(SqlArgs),
    /// Write CSV, NDJSON or Parquet files into a table of the running server
    #[command(after_help = IMPORT_HELP)]
    Import(ImportArgs),
    /// Write the rows of a query, or a table, into a CSV, NDJSON or Parquet file
    #[command(
        after_help = "The file appears once it is whole.\n\nExamples:\n  nowcast export weather --to weather.parquet\n  nowcast export \"SELECT * FROM orders WHERE total > 100\" --to - | head"
    )]
    Export(ExportArgs),
    /// Check a config file and dashboards without starting anything
    #[command(after_help = "Examples:\n  nowcast check --config nowcast.toml\n  nowcast check --data ./data")]
    Check(CheckArgs),
    /// Look at the log of a server that does not run
    Log(LogArgs),
    /// Copy the data, dashboards and settings to a new directory, while the server runs or not
    #[command(
        after_help = "Parts and closed log segments are linked where the file system can: such a backup takes little space and\ntime, and must be copied elsewhere to survive the disk.\n\nExamples:\n  nowcast backup --data ./data --to /backups/2026-11-25"
    )]
    Backup(BackupArgs),
    /// Make a data directory from a backup, every file held against its checksum
    #[command(
        after_help = "Examples:\n  nowcast restore --from /backups/2026-11-25 --data ./data\n  nowcast restore --from /backups/2026-11-25 --verify"
    )]
    Restore(RestoreArgs),
    /// Read all data of a server that does not run and name what is damaged; exit code 0 if nothing is
    #[command(after_help = "Nothing is changed.\n\nExamples:\n  nowcast fsck --data ./data")]
    Fsck(FsckArgs),
    /// Ask the running server whether it is well; exit code 0 if so
    #[command(after_help = "Examples:\n  nowcast health\n  nowcast health --to http://127.0.0.1:9100")]
    Health(HealthArgs),
}

/// Where the server listens and keeps its data.
#[derive(Debug, Clone, Args)]
pub struct ListenArgs {
    /// Directory of the data; made if absent
    #[arg(long, value_name = "DIR", env = "NOWCAST_DATA")]
    pub data: Option<PathBuf>,
    /// Address of the page, REST and the live feed; may be given more than once [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDR")]
    pub http: Vec<String>,
    /// Address of line protocol over TCP, or `off` [default: 127.0.0.1:9009]
    #[arg(long, value_name = "ADDR")]
    pub ilp: Option<String>,
    /// Address of the PostgreSQL wire, or `off` [default: 127.0.0.1:8812]
    #[arg(long, value_name = "ADDR")]
    pub pg: Option<String>,
    /// Settings file; without it, `nowcast.toml` of the working directory if there is one
    #[arg(long, value_name = "FILE", env = "NOWCAST_CONFIG")]
    pub config: Option<PathBuf>,
    /// How logs are written to standard error
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "NOWCAST_LOG_FORMAT")]
    pub log_format: LogFormat,
}

impl ListenArgs {
    /// The flags that change settings.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            data: self.data.clone(),
            http: self.http.clone(),
            ilp: self.ilp.clone(),
            pg: self.pg.clone(),
        }
    }
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `nowcast demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Which demo
    #[arg(default_value = "thelook", value_name = "NAME")]
    pub name: DemoName,
    /// Listening and data.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// New visitors a second, on average
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub users_per_second: f64,
    /// Seed of what is generated
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// The demos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoName {
    /// A clothing shop: orders, items, events, stock.
    Thelook,
}

/// `nowcast serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Listening and data.
    #[command(flatten)]
    pub listen: ListenArgs,
}

/// `nowcast generate`
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What to make.
    #[command(subcommand)]
    pub what: Generate,
}

/// What can be generated.
#[derive(Debug, Subcommand)]
pub enum Generate {
    /// theLook eCommerce: users, orders, items, events, stock
    Thelook(crate::generate::cli::ThelookArgs),
}

/// A running server.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The server's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000", env = "NOWCAST_URL")]
    pub to: String,
    /// The server's `http.token`, if it has one
    #[arg(long, value_name = "TOKEN", env = "NOWCAST_HTTP_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// `nowcast import`
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// The files; `-` is standard input. `.gz` and `.zst` are unpacked
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The table, made if it is not there
    #[arg(long, value_name = "TABLE")]
    pub table: String,
    /// The column with the rows' time; a new table without one has no partitions
    #[arg(long, value_name = "COLUMN")]
    pub timestamp: Option<String>,
    /// The unit of times that are numbers
    #[arg(long, value_name = "UNIT", default_value = "us")]
    pub unit: Unit,
    /// How a new table is partitioned: NONE, HOUR, DAY, WEEK, MONTH, YEAR [default: DAY]
    #[arg(long, value_name = "BY")]
    pub partition_by: Option<String>,
    /// What the files are; without it their names tell
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FileFormat>,
    /// CSV: what separates cells, such as `;` or `tab`; found out without it
    #[arg(long, value_name = "CHARACTER")]
    pub delimiter: Option<String>,
    /// CSV: whether the first line names the columns; found out without it
    #[arg(long, value_name = "YES|NO")]
    pub header: Option<Header>,
    /// CSV: leave rows out that do not fit; without it the first one ends the import
    #[arg(long)]
    pub skip_errors: bool,
    /// Rows of one chunk at most; a chunk also ends at 8 MiB
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub batch_rows: usize,
    /// Print the table that would be made, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write what an import before wrote once more
    #[arg(long)]
    pub again: bool,
    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// Cells and lines.
    Csv,
    /// A JSON object a line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
}

/// Whether a file has a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Header {
    /// The first line names the columns.
    Yes,
    /// The first line is a row.
    No,
}

/// The unit of times that are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Unit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl Unit {
    /// The same as sources know it.
    pub fn precision(self) -> Precision {
        match self {
            Unit::S => Precision::Seconds,
            Unit::Ms => Precision::Milliseconds,
            Unit::Us => Precision::Microseconds,
            Unit::Ns => Precision::Nanoseconds,
        }
    }

    /// Its symbol.
    pub fn symbol(self) -> &'static str {
        self.precision().symbol()
    }
}

/// `nowcast export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A SELECT, or a table's name
    #[arg(value_name = "QUERY|TABLE")]
    pub query: String,
    /// The file; its ending tells the format. `-` is standard output
    #[arg(long = "to", value_name = "FILE")]
    pub file: PathBuf,
    /// The format, where the ending does not tell
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FileFormat>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// The server.
    #[command(flatten)]
    pub server: FromArgs,
}

/// A running server, where `--to` is the file.
#[derive(Debug, Clone, Args)]
pub struct FromArgs {
    /// The server's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000", env = "NOWCAST_URL")]
    pub from: String,
    /// The server's `http.token`, if it has one
    #[arg(long, value_name = "TOKEN", env = "NOWCAST_HTTP_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// `nowcast sql`
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// The statements, or `-` to read them from standard input; without any a terminal asks for them
    pub query: Option<String>,
    /// The statements, as psql takes them
    #[arg(short = 'c', long, value_name = "QUERY", conflicts_with = "query")]
    pub command: Option<String>,
    /// A file with the statements
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with_all = ["query", "command"])]
    pub file: Option<PathBuf>,
    /// How answers are printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: SqlFormat,
    /// Tell on standard error how long each statement took
    #[arg(long)]
    pub timing: bool,
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SqlFormat {
    /// Columns lined up.
    Table,
    /// RFC 4180, with a header.
    Csv,
    /// The server's JSON.
    Json,
    /// A JSON object a line.
    Ndjson,
    /// A table for documents.
    Markdown,
}

/// `nowcast check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Settings file; without it, `nowcast.toml` of the working directory if there is one
    #[arg(long, value_name = "FILE", env = "NOWCAST_CONFIG")]
    pub config: Option<PathBuf>,
    /// Data directory whose dashboards are checked
    #[arg(long, value_name = "DIR", env = "NOWCAST_DATA")]
    pub data: Option<PathBuf>,
}

/// `nowcast log`
#[derive(Debug, Args)]
pub struct LogArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LogCommand,
}

/// What can be done with a log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Read all of it and hold every checksum; exit code 0 if nothing is damaged
    #[command(after_help = "Examples:\n  nowcast log verify --data ./data")]
    Verify(LogVerifyArgs),
    /// Print what was written, a JSON line for each row and event
    #[command(after_help = "Examples:\n  nowcast log dump --data ./data --table weather --limit 10")]
    Dump(LogDumpArgs),
}

/// `nowcast log verify`
#[derive(Debug, Args)]
pub struct LogVerifyArgs {
    /// Directory of the data
    #[arg(long, value_name = "DIR", env = "NOWCAST_DATA")]
    pub data: Option<PathBuf>,
}

/// `nowcast log dump`
#[derive(Debug, Args)]
pub struct LogDumpArgs {
    /// Directory of the data
    #[arg(long, value_name = "DIR", env = "NOWCAST_DATA")]
    pub data: Option<PathBuf>,
    /// Only what is about this table
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// The first offset, or a time (2026-01-31T12:00:00Z) [default: the first that is there]
    #[arg(long, value_name = "OFFSET|TIME")]
    pub from: Option<From>,
    /// Lines at most
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// `nowcast backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The new directory
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Directory of the data
    #[arg(long, value_name = "DIR", env = "NOWCAST_DATA")]
    pub data: Option<PathBuf>,
    /// Settings file to copy along; without it, `nowcast.toml` of the working directory if there is one
    #[arg(long, value_name = "FILE", env = "NOWCAST_CONFIG")]
    pub config: Option<PathBuf>,
}

/// `nowcast restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// The data directory to make; absent or empty
    #[arg(long, value_name = "DIR", required_unless_present = "verify")]
    pub data: Option<PathBuf>,
    /// Only hold every file of the backup against its checksum
    #[arg(long, conflicts_with = "data")]
    pub verify: bool,
}

/// `nowcast fsck`
#[derive(Debug, Args)]
pub struct FsckArgs {
    /// Directory of the data
    #[arg(long, value_name = "DIR", env = "NOWCAST_DATA")]
    pub data: Option<PathBuf>,
}

/// `nowcast health`
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The server's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000", env = "NOWCAST_URL")]
    pub to: String,
}
