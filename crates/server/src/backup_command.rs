//! `nowcast backup`, `restore` and `fsck`.

use std::{fmt::Write, sync::Arc};

use anyhow::Context;
use nowcast_disk::{Disk, RealDisk};
use nowcast_log::Inspection;
use nowcast_store::{Depth, StoreInspection};

use crate::{
    backup::{Summary, backup, restore, verify},
    cli::{BackupArgs, FsckArgs, RestoreArgs},
    config::{self, Overrides},
    dashboards,
    lock::DataLock,
};

/// `nowcast backup`: what was copied, for people.
///
/// # Errors
/// As for [`backup`].
pub fn run_backup(args: &BackupArgs) -> anyhow::Result<String> {
    let file = config::file_or_default(args.config.as_ref());
    let overrides = Overrides { data: args.data.clone(), ..Overrides::default() };
    let config = config::load(file.as_deref(), std::env::vars(), overrides)?;
    let Summary { files, bytes, linked, position, damages } =
        backup(&config.data, file.as_deref(), &args.to)?;
    let mut out = format!(
        "{}: {files} files, {bytes} bytes, {linked} files shared with the data directory; up to offset {position}\n",
        args.to.display()
    );
    for damage in &damages {
        out += &format!("damaged, and copied as it is: {damage}\n");
    }
    Ok(out)
}

/// `nowcast restore`: what was brought back, for people.
///
/// # Errors
/// As for [`restore`] and [`verify`].
pub fn run_restore(args: &RestoreArgs) -> anyhow::Result<String> {
    let (from, data) = (&args.from, args.data.as_ref());
    if args.verify {
        let found = verify(from)?;
        return Ok(format!("{}: {} files, {} bytes: good\n", from.display(), found.files, found.bytes));
    }
    let data = data.context("name the directory to restore to with --data")?;
    let done = restore(from, data)?;
    let mut out = format!("{}: {} files, {} bytes\n", data.display(), done.files, done.bytes);
    let settings = data.join("nowcast.toml");
    let with = if settings.is_file() { format!(" --config {}", settings.display()) } else { String::new() };
    let _ = writeln!(out, "start it: nowcast serve --data {}{with}", data.display());
    Ok(out)
}

/// `nowcast fsck`: what was found, for people, and what is wrong.
///
/// # Errors
/// The server runs, or the directory cannot be read at all.
pub fn run_fsck(args: &FsckArgs) -> anyhow::Result<(String, Vec<String>)> {
    let overrides = Overrides { data: args.data.clone(), ..Overrides::default() };
    let data = config::load(None, std::env::vars(), overrides)?.data;
    anyhow::ensure!(
        data.join("log").is_dir() && data.join("store").is_dir(),
        "{} is no data directory: it has no log and no store; name it with --data",
        data.display()
    );
    let _lock = DataLock::take(&data)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (mut out, mut wrong) = (String::new(), Vec::new());

    let log = Inspection::of(Arc::clone(&disk), &data.join("log")).context("cannot read the log")?;
    let mut records = 0_u64;
    for record in log.read_from(log.found.first)? {
        match record {
            Ok(_) => records += 1,
            Err(error) => wrong.push(error.to_string()),
        }
    }
    let found = &log.found;
    out += &format!(
        "log: {records} records at offsets {} to {}, {} files, {} bytes\n",
        found.first, found.end, found.segments, found.bytes
    );
    if let Some(cut) = &found.cut {
        out += &format!(
            "log: {} bytes at the end are of a write that nobody was told of; the next start cuts them\n",
            cut.bytes
        );
    }
    wrong.extend(found.damages.iter().map(ToString::to_string));

    match StoreInspection::of(disk, &data.join("store")) {
        Err(error) => wrong.push(error.to_string()),
        Ok(store) => {
            let checked = store.check(Depth::Rows);
            out += &format!(
                "store: {} tables, {} parts with {} rows, {} bytes; up to offset {}\n",
                checked.tables,
                checked.parts,
                checked.rows,
                checked.bytes,
                store.position()
            );
            if checked.unsummed > 0 {
                out += &format!(
                    "store: {} parts have no checksums: an earlier version wrote them; the next merge gives them some\n",
                    checked.unsummed
                );
            }
            if !checked.orphans.is_empty() {
                out += &format!(
                    "store: {} files are not in use; the next start removes them\n",
                    checked.orphans.len()
                );
            }
            wrong.extend(checked.damages.iter().map(ToString::to_string));
            if store.position() > found.end || store.replay_from() < found.first {
                wrong.push(format!(
                    "the store needs the log from {} to {}, the log has {} to {}: files of the log are missing",
                    store.replay_from(),
                    store.position(),
                    found.first,
                    found.end
                ));
            }
        }
    }

    let dir = data.join("dashboards");
    if dir.is_dir() {
        let library = dashboards::Library::open(&dir).context("cannot read the dashboards")?.list();
        out += &format!("dashboards: {}\n", library.len());
        wrong.extend(library.iter().filter_map(|entry| entry.mistake.as_ref()).map(ToString::to_string));
    }
    Ok((out, wrong))
}
