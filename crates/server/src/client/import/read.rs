//! Files in chunks: CSV, NDJSON, Parquet; packed with gzip or zstd.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{Context, bail};
use arrow::{array::RecordBatch, compute::concat_batches};
use nowcast_model::{Column, TableName};
use nowcast_sources::{
    LineError, columnar,
    csv::{CsvOptions, CsvReader, OnError},
    json,
};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{is_stdin, progress::Progress};
use crate::cli::{FileFormat, ImportArgs};

/// Bytes of one chunk before they are encoded, about: a request of the server holds four times as many.
const CHUNK_BYTES: usize = 8 << 20;

/// Read at a time.
const READ_BYTES: usize = 256 << 10;

/// The longest line of NDJSON.
const LINE_BYTES_MAX: usize = 4 << 20;

/// Rows that are sent together.
pub(super) struct Chunk {
    pub(super) rows: RecordBatch,
}

/// A file being read.
pub(super) struct Source {
    kind: Kind,
    ready: VecDeque<RecordBatch>,
    progress: Progress,
    ended: bool,
}

enum Kind {
    Csv(Box<CsvReader>, Box<dyn Read + Send>),
    Lines(Lines),
    Parquet(Box<ParquetRecordBatchReader>, u64),
}

struct Lines {
    input: BufReader<Box<dyn Read + Send>>,
    options: json::JsonOptions,
    batch_rows: usize,
    /// Lines before the chunk.
    before: u64,
}

/// Counts what is read.
struct Counted(Box<dyn Read + Send>, Progress);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.0.read(buffer)?;
        self.1.read(bytes as u64);
        Ok(bytes)
    }
}

impl Source {
    /// Opens the file; what it is its name tells, unless a format is given.
    /// `columns` are the table's, if it is there.
    pub(super) fn open(
        args: &ImportArgs,
        file: &Path,
        columns: Option<Vec<Column>>,
        progress: &Progress,
    ) -> anyhow::Result<Source> {
        let name = file.to_string_lossy().to_lowercase();
        let (name, packing) = match name.rsplit_once('.') {
            Some((name, ending @ ("gz" | "gzip" | "zst" | "zstd"))) => {
                (name.to_owned(), Some(ending.to_owned()))
            }
            _ => (name, None),
        };
        let format = match args.format {
            Some(format) => format,
            None => match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
                "csv" | "tsv" | "txt" => FileFormat::Csv,
                "ndjson" | "jsonl" | "json" => FileFormat::Ndjson,
                "parquet" | "pq" => FileFormat::Parquet,
                _ if is_stdin(file) => {
                    bail!("say what standard input holds: --format csv, or --format ndjson")
                }
                other => bail!(
                    "the ending {other:?} does not tell what the file is; use --format csv, ndjson or parquet"
                ),
            },
        };
        let kind = match format {
            FileFormat::Parquet => {
                if is_stdin(file) || packing.is_some() {
                    bail!("Parquet is read from a file that is not packed: its directory stands at its end");
                }
                Kind::Parquet(Box::new(open_parquet(args, file)?), File::open(file)?.metadata()?.len())
            }
            FileFormat::Csv | FileFormat::Ndjson => {
                let input: Box<dyn Read + Send> =
                    if is_stdin(file) { Box::new(std::io::stdin()) } else { Box::new(File::open(file)?) };
                let input: Box<dyn Read + Send> = Box::new(Counted(input, progress.clone()));
                let input: Box<dyn Read + Send> = match packing.as_deref() {
                    None => input,
                    Some("gz" | "gzip") => Box::new(flate2::read::MultiGzDecoder::new(input)),
                    Some(_) => Box::new(zstd::Decoder::new(input).context("zstd")?),
                };
                if format == FileFormat::Csv {
                    Kind::Csv(Box::new(CsvReader::new(csv_options(args, columns)?)), input)
                } else {
                    Kind::Lines(Lines::new(args, input))
                }
            }
        };
        Ok(Source { kind, ready: VecDeque::new(), progress: progress.clone(), ended: false })
    }

    /// What was found out about the file.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::Csv(reader, _) => match reader.layout() {
                Some(layout) => format!(
                    "CSV, cells separated by {:?}, {}",
                    char::from(layout.delimiter),
                    if layout.header { "the first line names the columns" } else { "without a header" }
                ),
                None => "CSV".to_owned(),
            },
            Kind::Lines(_) => "NDJSON".to_owned(),
            Kind::Parquet(..) => "Parquet".to_owned(),
        }
    }

    /// The next chunk; `None` behind the last.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Chunk>> {
        loop {
            if let Some(rows) = self.ready.pop_front() {
                return Ok(Some(Chunk { rows }));
            }
            if self.ended {
                return Ok(None);
            }
            match &mut self.kind {
                Kind::Csv(reader, input) => {
                    let mut buffer = vec![0; READ_BYTES];
                    let bytes = input.read(&mut buffer).context("the file cannot be read")?;
                    if bytes == 0 {
                        reader.finish().map_err(told)?;
                        self.ended = true;
                    } else {
                        reader.feed(&buffer[..bytes]).map_err(told)?;
                    }
                    self.ready.extend(reader.take());
                    let error =
                        reader.first_error().map(|error| format!("line {}: {}", error.line, error.cause));
                    self.progress.reject(reader.counts().1, error);
                }
                Kind::Lines(lines) => match lines.next()? {
                    Some(batches) => self.ready.extend(batches),
                    None => self.ended = true,
                },
                Kind::Parquet(reader, bytes) => match reader.next() {
                    Some(batch) => {
                        let batch =
                            columnar::conform(&batch.context("the file cannot be read")?).map_err(told)?;
                        cut(batch, &mut self.ready);
                    }
                    None => {
                        self.progress.read(*bytes);
                        self.ended = true;
                    }
                },
            }
        }
    }
}

/// Cuts a batch that is too large for one chunk.
fn cut(batch: RecordBatch, ready: &mut VecDeque<RecordBatch>) {
    let parts = batch.get_array_memory_size().div_ceil(CHUNK_BYTES).max(1);
    let rows = batch.num_rows().div_ceil(parts).max(1);
    let mut at = 0;
    while at < batch.num_rows() {
        let len = rows.min(batch.num_rows() - at);
        ready.push_back(batch.slice(at, len));
        at += len;
    }
}

fn told(error: LineError) -> anyhow::Error {
    let place = if error.line > 0 { format!("line {}: ", error.line) } else { String::new() };
    anyhow::anyhow!("{place}{}\n{}", error.cause, error.hint)
}

fn csv_options(args: &ImportArgs, table: Option<Vec<Column>>) -> anyhow::Result<CsvOptions> {
    let delimiter = match args.delimiter.as_deref() {
        None => None,
        Some("\\t" | "tab") => Some(b'\t'),
        Some(text) => match text.as_bytes() {
            [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() => Some(*byte),
            _ => bail!("the delimiter {text:?} is not one ASCII character"),
        },
    };
    Ok(CsvOptions {
        delimiter,
        header: args.header.map(|header| header == crate::cli::Header::Yes),
        on_error: if args.skip_errors { OnError::SkipRow } else { OnError::Abort },
        timestamp: args.timestamp.clone(),
        precision: args.unit.precision(),
        table,
        batch_rows: args.batch_rows.max(1),
        batch_bytes: CHUNK_BYTES,
        ..CsvOptions::default()
    })
}

fn open_parquet(args: &ImportArgs, file: &Path) -> anyhow::Result<ParquetRecordBatchReader> {
    let opened =
        ParquetRecordBatchReaderBuilder::try_new(File::open(file)?).context("the file is no Parquet")?;
    Ok(opened.with_batch_size(args.batch_rows.clamp(1, 1 << 20)).build()?)
}

impl Lines {
    fn new(args: &ImportArgs, input: Box<dyn Read + Send>) -> Lines {
        let options = json::JsonOptions {
            table: TableName::public("import"),
            timestamp_column: args.timestamp.clone(),
            precision: Some(args.unit.precision()),
            now_us: 0,
        };
        let input = BufReader::with_capacity(READ_BYTES, input);
        Lines { input, options, batch_rows: args.batch_rows.max(1), before: 0 }
    }

    /// The rows of the next lines.
    fn next(&mut self) -> anyhow::Result<Option<Vec<RecordBatch>>> {
        let (mut text, mut lines) = (Vec::new(), 0);
        while lines < self.batch_rows && text.len() < CHUNK_BYTES {
            let limit = LINE_BYTES_MAX as u64 + 1;
            let read = (&mut self.input)
                .take(limit)
                .read_until(b'\n', &mut text)
                .context("the file cannot be read")?;
            if read == 0 {
                break;
            }
            lines += 1;
            if read > LINE_BYTES_MAX {
                bail!(
                    "line {} has more than {LINE_BYTES_MAX} bytes\nsend an object a line",
                    self.before + lines as u64
                );
            }
        }
        if text.is_empty() {
            return Ok(None);
        }
        let decoded = json::decode_all(&text, &self.options).map_err(|mut error| {
            error.line += self.before;
            told(error)
        })?;
        self.before += lines as u64;
        let Some(first) = decoded.batches.first() else { return Ok(Some(Vec::new())) };
        let schema = first.rows.schema();
        let alike = decoded.batches.iter().all(|batch| batch.rows.schema() == schema);
        let batches = decoded.batches.iter().map(|batch| &batch.rows);
        // One chunk is one write, unless its rows have other columns.
        Ok(Some(if alike { vec![concat_batches(&schema, batches)?] } else { batches.cloned().collect() }))
    }
}
