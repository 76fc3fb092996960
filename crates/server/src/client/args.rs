//! The flags of `nowcast import` and `nowcast export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use nowcast_sources::Precision;

use crate::cli::ServerArgs;

/// What stands below the flags of `nowcast import`.
pub(crate) const IMPORT_HELP: &str = "\
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
