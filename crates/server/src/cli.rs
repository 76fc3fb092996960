//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use crate::client::args::{ExportArgs, FileFormat, FromArgs, Header, ImportArgs, Unit};
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
    #[command(after_help = crate::client::args::IMPORT_HELP)]
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
