//! `nowcast import`: files into a table of a running server.
//!
//! A file is read chunk by chunk into Arrow batches, on a thread of its own, one chunk ahead of the one that is being
//! sent; so the memory is that of a few chunks, whatever the file's size. A chunk goes to the server as an Arrow
//! stream, and is one record there.
//!
//! **Again after a cut.** Each chunk is sent under an `Idempotency-Key` made of the table, the file's name, the
//! chunk's number and its rows. A repeated import makes the same chunks: those that the server remembers are not
//! sent, and what is sent twice all the same is not written twice.

mod progress;
mod read;

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    sync::mpsc,
};

use anyhow::{Context, bail};
use arrow::{array::RecordBatch, ipc::writer::StreamWriter};
use nowcast_model::{Column, ColumnType, PartitionBy};
use nowcast_sources::columnar;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::target::{Target, percent_encode};
use crate::{cli::ImportArgs, http::ARROW_STREAM};
use progress::Progress;
use read::{Chunk, Source};

/// Chunks that wait to be sent.
const CHUNKS_AHEAD: usize = 1;

/// Imports the files one after the other and returns what was done.
///
/// # Errors
/// A file cannot be read or its rows do not fit; the server cannot be reached or refuses them.
pub fn import(args: &ImportArgs) -> anyhow::Result<String> {
    let target = Target::new(&args.server);
    let mut out = String::new();
    let mut args = args.clone();
    let mut table = None;
    if !args.dry_run {
        table = known_table(&target, &args.table)?;
        // A table that is there has its time column already.
        args.timestamp = args.timestamp.or_else(|| table.as_ref()?.timestamp.clone());
    }
    let (args, columns) = (&args, table.map(|table| table.columns));
    for file in &args.files {
        let shown = shown(file);
        let outcome =
            if args.dry_run { dry_run(args, file) } else { one(args, &target, file, columns.clone()) };
        writeln!(out, "{}", outcome.with_context(|| shown.clone())?)?;
    }
    Ok(out)
}

/// A file's name for people.
fn shown(file: &Path) -> String {
    if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// What the file would become.
fn dry_run(args: &ImportArgs, file: &Path) -> anyhow::Result<String> {
    let mut source = Source::open(args, file, None, &Progress::quiet())?;
    let chunk = source.next()?.context("the file has no rows")?;
    Ok(format!("{}\n-- {}", create_table(args, &source, &chunk.rows)?, source.describe()))
}

fn one(
    args: &ImportArgs,
    target: &Target,
    file: &Path,
    columns: Option<Vec<Column>>,
) -> anyhow::Result<String> {
    let progress = Progress::new(file, args.quiet);
    let (sender, chunks) = mpsc::sync_channel::<anyhow::Result<(Chunk, Option<String>)>>(CHUNKS_AHEAD);
    let (options, path, seen) = (args.clone(), PathBuf::from(file), progress.clone());
    let reader = std::thread::Builder::new().name("nowcast-read".to_owned()).spawn(move || {
        let read = || -> anyhow::Result<()> {
            let mut source = Source::open(&options, &path, columns, &seen)?;
            let mut is_first = true;
            while let Some(chunk) = source.next()? {
                let sql = if is_first { Some(create_table(&options, &source, &chunk.rows)?) } else { None };
                is_first = false;
                // Whoever sends has ended, and says why.
                if sender.send(Ok((chunk, sql))).is_err() {
                    break;
                }
            }
            Ok(())
        };
        if let Err(error) = read() {
            let _ = sender.send(Err(error));
        }
    })?;
    let sent = send(args, target, file, &chunks, &progress);
    progress.end();
    // The reader ends once nobody takes its chunks.
    drop(chunks);
    let _ = reader.join();
    sent
}

fn send(
    args: &ImportArgs,
    target: &Target,
    file: &Path,
    chunks: &mpsc::Receiver<anyhow::Result<(Chunk, Option<String>)>>,
    progress: &Progress,
) -> anyhow::Result<String> {
    let timestamp = args.timestamp.as_deref().map(percent_encode);
    let mut path = format!("/api/v1/ingest/{}", percent_encode(&args.table));
    let (mut written, mut skipped, mut number) = (0, 0, 0_u64);
    let mut is_there = 0;
    // Chunks that are there stand before those that are not.
    let mut ask = !args.again;
    let nonce = if args.again { Some(nonce()?) } else { None };
    for chunk in chunks {
        let (chunk, sql) = chunk.with_context(|| so_far(written))?;
        if let Some(sql) = sql {
            is_there = known_table(target, &args.table)?.map_or(0, |table| table.rows);
            target.form("/exec", &[("query", &sql)]).context("the table cannot be made")?;
            if let Some(timestamp) = &timestamp {
                path = format!("{path}?timestamp={timestamp}&precision={}", args.unit.symbol());
            }
        }
        let rows = chunk.rows.num_rows() as u64;
        let body = encoded(&chunk.rows)?;
        let key = key(args, file, number, nonce.as_deref(), &body);
        number += 1;
        if ask {
            ask = target.json(&path, &[("Idempotency-Key", &key)])?.get("written").and_then(Value::as_bool)
                == Some(true);
            if ask {
                skipped += rows;
                if skipped > is_there {
                    bail!(
                        "the server remembers the first {skipped} rows of this file as written, and the table has {is_there}: it was emptied since\n--again writes them once more"
                    );
                }
                progress.rows(rows);
                continue;
            }
        }
        let sent = target.post_once(&path, ARROW_STREAM, &key, &body);
        sent.with_context(|| {
            format!("rows {} to {}; {}", written + skipped + 1, written + skipped + rows, so_far(written))
        })?;
        written += rows;
        progress.rows(rows);
    }
    let skipped_text = match skipped {
        0 => String::new(),
        rows => format!(", {rows} were there from an import before"),
    };
    let (rejected, error) = progress.rejected();
    let rejected = match error {
        Some(error) if rejected > 0 => format!(", {rejected} left out (the first: {error})"),
        _ => String::new(),
    };
    Ok(format!("{}: {written} rows written to {}{skipped_text}{rejected}", shown(file), args.table))
}

fn so_far(written: u64) -> String {
    format!("{written} rows were written before; run the same command to go on")
}

/// What is needed of a table.
#[derive(Deserialize)]
struct Known {
    columns: Vec<Column>,
    timestamp: Option<String>,
    rows: u64,
}

/// The table, if it is there.
fn known_table(target: &Target, table: &str) -> anyhow::Result<Option<Known>> {
    let tables = target.json("/api/v1/tables", &[])?;
    let (schema, name) = table.split_once('.').unwrap_or(("public", table));
    let is = |entry: &Value, field: &str, name: &str| {
        entry.get(field).and_then(Value::as_str).is_some_and(|text| text.eq_ignore_ascii_case(name))
    };
    let all = tables.get("tables").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = all.into_iter().find(|entry| is(entry, "name", name) && is(entry, "schema", schema));
    Ok(found.map(serde_json::from_value).transpose()?)
}

/// `CREATE TABLE IF NOT EXISTS` for the file's columns.
fn create_table(args: &ImportArgs, source: &Source, rows: &RecordBatch) -> anyhow::Result<String> {
    let schema = rows.schema();
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let time = args.timestamp.as_deref().map(|time| time.to_lowercase());
    let mut columns = Vec::new();
    let mut timestamp = None;
    for field in schema.fields() {
        let mut ty = columnar::column_type(field.data_type()).context("a column has no type")?;
        if time.as_deref() == Some(&field.name().to_lowercase()) {
            ty = ColumnType::Timestamp;
            timestamp = Some(field.name());
        }
        columns.push(format!("{} {ty}", quoted(field.name())));
    }
    let name: Vec<String> = args.table.splitn(2, '.').map(quoted).collect();
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {} ({})", name.join("."), columns.join(", "));
    match (timestamp, &args.timestamp) {
        (Some(column), _) => {
            let by = args
                .partition_by
                .as_deref()
                .map(crate::http::partition_by)
                .transpose()
                .map_err(anyhow::Error::msg)?;
            write!(
                sql,
                " timestamp({}) PARTITION BY {}",
                quoted(column),
                by.unwrap_or(PartitionBy::Day).name()
            )?;
        }
        (None, Some(column)) => {
            let names: Vec<&str> =
                schema.fields().iter().map(|field| field.name().as_str()).take(20).collect();
            bail!(
                "there is no column {column:?}; the columns of {} are {}",
                source.describe(),
                names.join(", ")
            );
        }
        (None, None) if args.partition_by.is_some() => bail!("--partition-by needs --timestamp"),
        (None, None) => {}
    }
    Ok(sql)
}

fn encoded(rows: &RecordBatch) -> anyhow::Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema())?;
    writer.write(rows)?;
    Ok(writer.into_inner()?)
}

/// The name under which a chunk is written.
fn key(args: &ImportArgs, file: &Path, number: u64, nonce: Option<&str>, body: &[u8]) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let mut hash = Sha256::new();
    for part in [args.table.as_bytes(), name.as_bytes(), nonce.unwrap_or_default().as_bytes(), body] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("import-{hex}-{number}")
}

/// A word that no other import has.
fn nonce() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
