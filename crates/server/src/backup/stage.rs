//! What a backup takes, held fast before anything is read: links to the files that never change, a copy of the
//! segment that is written to.
//!
//! Links take moments, however much data there is; copies and checksums take as long as they take, and the server
//! flushes, merges and drops segments meanwhile. So the links are made first, in the backup itself if it is on the
//! same file system, else in a directory beside the data that goes when the backup is done.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use nowcast_disk::{Disk, RealDisk};
use nowcast_store::StoreInspection;

use super::copy::{copy, create_parent, write};

/// Times that it begins anew when files go while they are linked.
const TRIES: usize = 10;

/// Directories for links are named so, with the process behind it.
const PREFIX: &str = "backing-up-";

/// A file that went before it was held.
#[derive(Debug, thiserror::Error)]
#[error("{} went while it was held for the backup; try again", .0.display())]
struct Gone(PathBuf);

/// Files of one moment, under their names in a data directory.
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    /// Those of the log and the manifest; parts are told by the store's inspection.
    pub(super) files: Vec<PathBuf>,
    /// The log's end.
    pub(super) position: u64,
    /// What is wrong with the log.
    pub(super) damages: Vec<String>,
    /// Whether the directory goes with this.
    is_beside: bool,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.is_beside {
            // The next backup removes what is left of it.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Holds log and store of `data`, for a backup in the empty directory `to`.
pub(super) fn stage(data: &Path, to: &Path) -> anyhow::Result<Stage> {
    let is_beside = fs::metadata(data)?.dev() != fs::metadata(to)?.dev();
    let dir = match is_beside {
        true => beside(data)?,
        false => to.to_owned(),
    };
    let mut stage = Stage { dir, files: Vec::new(), position: 0, damages: Vec::new(), is_beside };
    for left in (0..TRIES).rev() {
        match hold(data, &mut stage) {
            Err(error) if error.is::<Gone>() && left > 0 => remove_all(&stage.dir)?,
            held => {
                held?;
                break;
            }
        }
    }
    Ok(stage)
}

/// A new directory for links on the file system of `data`. Those of backups that were interrupted go.
fn beside(data: &Path) -> anyhow::Result<PathBuf> {
    for name in RealDisk.list_dirs(data)? {
        let process = name.strip_prefix(PREFIX);
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            fs::remove_dir_all(data.join(&name)).with_context(|| format!("cannot remove {name}"))?;
        }
    }
    let dir = data.join(format!("{PREFIX}{}", std::process::id()));
    fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// In this order: the manifest, the parts that it names, the log. [`Gone`] if a file went meanwhile.
fn hold(data: &Path, stage: &mut Stage) -> anyhow::Result<()> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let store =
        StoreInspection::of(Arc::clone(&disk), &data.join("store")).context("cannot read the store")?;
    let relative = |path: &Path| path.strip_prefix(data).map(Path::to_owned);
    let (manifest, text) = store.manifest();
    stage.files = vec![relative(&manifest)?];
    write(text, &stage.dir, stage.files[0].clone())?;
    for part in store.parts() {
        part.files().iter().try_for_each(|file| link(file, &stage.dir.join(relative(file)?)))?;
    }
    let log = data.join("log");
    let mut segments = disk.list(&log)?;
    segments.retain(|name| name.ends_with(".log"));
    segments.sort_unstable();
    let names = segments.iter().map(|name| Path::new("log").join(name));
    stage.files.extend(names.clone());
    let last = segments.len().saturating_sub(1);
    for (index, name) in names.enumerate() {
        let from = data.join(&name);
        match index == last {
            // A start cuts its torn end.
            true => drop(copy(&from, &stage.dir, name).map_err(|error| gone(error, &from))?),
            false => link(&from, &stage.dir.join(name))?,
        }
    }
    let found = nowcast_log::Inspection::of(disk, &stage.dir.join("log"));
    let found = found.context("cannot read the copied log")?.found;
    if store.replay_from() < found.first {
        // Segments went between: a newer manifest does not need them.
        return Err(Gone(log).into());
    }
    anyhow::ensure!(
        store.position() <= found.end,
        "the store has rows up to {}, its log ends at {}: files of the log are missing",
        store.position(),
        found.end
    );
    stage.position = found.end.get();
    stage.damages = found.damages.iter().map(ToString::to_string).collect();
    Ok(())
}

fn gone(error: anyhow::Error, path: &Path) -> anyhow::Error {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    match cause.map(std::io::Error::kind) {
        Some(ErrorKind::NotFound) => Gone(path.to_owned()).into(),
        _ => error,
    }
}

/// Links `from`, which never changes, to `to`; copies it on a file system without links.
fn link(from: &Path, to: &Path) -> anyhow::Result<()> {
    create_parent(to)?;
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Gone(from.to_owned()).into()),
        Err(_) => {
            let name = to.file_name().map(PathBuf::from).unwrap_or_default();
            let dir = to.parent().unwrap_or(Path::new(""));
            copy(from, dir, name).map(drop).map_err(|error| gone(error, from))
        }
    }
}

/// Empties a directory that was empty at the beginning.
pub(super) fn remove_all(dir: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}
