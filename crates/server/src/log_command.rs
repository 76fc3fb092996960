//! `nowcast log`: looks at a log whose server does not run.

use std::{io::Write, sync::Arc};

use anyhow::Context;
use nowcast_disk::RealDisk;
use nowcast_log::Inspection;

use crate::{
    cli::{LogCommand, LogDumpArgs, LogVerifyArgs},
    config::{self, Config, Overrides},
    http::table_name,
    lock::DataLock,
    records::{From, write_lines},
};

/// Bytes printed at once.
const PRINT_BYTES: usize = 1 << 16;

/// Runs the command; an error if something is damaged.
///
/// # Errors
/// The server runs, or the log cannot be read.
pub fn run(command: &LogCommand) -> anyhow::Result<()> {
    match command {
        LogCommand::Verify(args) => verify(args),
        LogCommand::Dump(args) => dump(args),
    }
}

fn open(data: Option<&std::path::PathBuf>) -> anyhow::Result<(Config, DataLock, Inspection)> {
    let overrides = Overrides { data: data.cloned(), ..Overrides::default() };
    let config = config::load(None, std::env::vars(), overrides)?;
    anyhow::ensure!(
        config.data.join("log").is_dir(),
        "there is no log in {}; name the data directory with --data",
        config.data.display()
    );
    let lock = DataLock::take(&config.data)?;
    let log = Inspection::of(Arc::new(RealDisk), &config.data.join("log")).context("cannot read the log")?;
    Ok((config, lock, log))
}

fn verify(args: &LogVerifyArgs) -> anyhow::Result<()> {
    let (config, _lock, log) = open(args.data.as_ref())?;
    let found = &log.found;
    let mut records = 0_u64;
    for record in log.read_from(found.first)? {
        record?;
        records += 1;
    }
    let mut out = format!(
        "{}: {records} records at offsets {} to {}, {} files, {} bytes\n",
        config.data.join("log").display(),
        found.first,
        found.end,
        found.segments,
        found.bytes
    );
    if let Some(cut) = &found.cut {
        out += &format!(
            "{}, byte {}: {} bytes of a write that nobody was told of ({}); the next start cuts them\n",
            cut.path.display(),
            cut.at,
            cut.bytes,
            cut.cause
        );
    }
    for damage in &found.damages {
        out += &format!("{damage}\n");
    }
    print(out.as_bytes());
    anyhow::ensure!(found.damages.is_empty(), "the log is damaged in {} places", found.damages.len());
    Ok(())
}

fn dump(args: &LogDumpArgs) -> anyhow::Result<()> {
    let (_config, _lock, log) = open(args.data.as_ref())?;
    let table = args.table.as_deref().map(table_name);
    let mut next = match args.from {
        None => log.found.first,
        Some(From::Offset(offset)) => offset,
        Some(From::Time(at_us)) => log.offset_at(at_us)?,
    };
    let (mut out, mut left) = (Vec::new(), args.limit.unwrap_or(usize::MAX));
    for record in log.read_from(next)? {
        let record = record?;
        let (lines, reached) = write_lines(&mut out, &record, table.as_ref(), next, left)?;
        (left, next) = (left - lines, reached);
        if out.len() >= PRINT_BYTES {
            if !print(&out) {
                return Ok(());
            }
            out.clear();
        }
        if left == 0 {
            break;
        }
    }
    print(&out);
    Ok(())
}

/// False once the reader went away (`| head`): it has what it wanted.
fn print(bytes: &[u8]) -> bool {
    std::io::stdout().write_all(bytes).is_ok()
}
