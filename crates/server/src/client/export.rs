//! `nowcast export`: the rows of a query, or a table, into a file.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::target::Target;
use crate::cli::{ExportArgs, FileFormat, ServerArgs};

/// Writes the rows and returns what was done.
///
/// A file appears under its name once it is whole: until then, and if the export fails, it is not there.
///
/// # Errors
/// The server cannot be reached, refuses the query or breaks off; the file cannot be written.
pub fn export(args: &ExportArgs) -> anyhow::Result<String> {
    let to_stdout = args.file == Path::new("-");
    let ending = args.file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let format = match (args.format, ending.as_deref()) {
        (Some(format), _) => format,
        (None, Some("csv")) => FileFormat::Csv,
        (None, Some("ndjson" | "jsonl")) => FileFormat::Ndjson,
        (None, Some("parquet")) => FileFormat::Parquet,
        (None, _) if to_stdout => FileFormat::Csv,
        (None, other) => {
            bail!(
                "the ending {:?} tells no format; use --format csv, ndjson or parquet",
                other.unwrap_or_default()
            )
        }
    };
    let name = match format {
        FileFormat::Csv => "csv",
        FileFormat::Ndjson => "ndjson",
        FileFormat::Parquet => "parquet",
    };
    let server = ServerArgs { to: args.server.from.clone(), token: args.server.token.clone() };
    let target = Target::new(&server);
    let mut response = target.form("/exp", &[("query", &args.query), ("fmt", name)])?;
    let mut body = response.body_mut().as_reader();
    if to_stdout {
        copy(&mut body, &mut std::io::stdout().lock())?;
        return Ok(String::new());
    }
    if args.file.exists() && !args.force {
        bail!("{} is there already; --force writes over it", args.file.display());
    }
    let mut part = args.file.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = (|| {
        let mut file = File::create(&part).with_context(|| format!("cannot write {}", part.display()))?;
        let bytes = copy(&mut body, &mut file)?;
        file.sync_all()?;
        std::fs::rename(&part, &args.file)?;
        anyhow::Ok(bytes)
    })();
    match written {
        Ok(bytes) => Ok(format!("{}: {bytes} bytes\n", args.file.display())),
        Err(error) => {
            // It may not have been made.
            let _ = std::fs::remove_file(&part);
            Err(error)
        }
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> anyhow::Result<u64> {
    let mut buffer = vec![0; 1 << 17];
    let mut bytes = 0;
    loop {
        let read = from.read(&mut buffer).context("the server broke off: its log says why")?;
        if read == 0 {
            to.flush()?;
            return Ok(bytes);
        }
        match to.write_all(&buffer[..read]) {
            // A reader that went away (`| head`) has what it wanted.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(bytes),
            written => written.context("cannot write")?,
        }
        bytes += read as u64;
    }
}
