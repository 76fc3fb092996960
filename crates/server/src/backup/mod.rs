//! Backups: copies of a data directory, made while the server runs, and what brings them back.
//!
//! A backup is a data directory with a list of its files:
//!
//! ```text
//! DIR/backup.json            written last: without it the backup was not finished
//!     log/*.log              what the manifest needs, up to what was written when it was copied
//!     store/manifest.json · store/parts/…
//!     dashboards/*.toml · nowcast.toml
//! ```
//!
//! Nothing is asked of the server. Parts and closed segments never change, so they are linked where the file
//! system can, else copied; the segment that is written to is copied as far as it goes, and a start cuts its torn
//! end as it would after a crash. What is there is taken in this order: the manifest is read, the files that it
//! names, the log. A flush or a merge in between may remove a file that an older manifest names: then all begins
//! anew. In the end the log must reach from where the manifest needs it to behind its position.

mod copy;
mod list;
mod restore;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use nowcast_disk::{Disk, RealDisk};
use nowcast_model::{Clock, SystemClock};
use nowcast_store::{Depth, StoreInspection};

pub use restore::{restore, verify};

use copy::{copy, link_or_copy};
use list::{Listed, Listing};

/// Times that a backup begins anew when files go while it is made.
const TRIES: usize = 10;

/// What a backup or a restore did, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are links, and take no space until the original goes.
    pub linked: usize,
    /// The log's offset up to which everything is there.
    pub position: u64,
    /// What is wrong with the data and was copied as it is.
    pub damages: Vec<String>,
}

/// A file that went while it was to be copied.
#[derive(Debug, thiserror::Error)]
#[error("{} went while it was copied", .0.display())]
struct Gone(PathBuf);

/// Copies the data directory `data`, whose server may run, and the settings file to the new directory `to`.
///
/// # Errors
/// `to` holds something already or lies within `data`, `data` is no data directory, or a file cannot be read or
/// written. What was copied until then stays, without its `backup.json`.
pub fn backup(data: &Path, settings: Option<&Path>, to: &Path) -> anyhow::Result<Summary> {
    let data = data.canonicalize().with_context(|| format!("cannot read {}", data.display()))?;
    anyhow::ensure!(
        data.join("log").is_dir() && data.join("store").is_dir(),
        "{} is no data directory: it has no log and no store; name it with --data",
        data.display()
    );
    ensure_empty(to)?;
    RealDisk.create_dir(to).with_context(|| format!("cannot make {}", to.display()))?;
    let to = to.canonicalize()?;
    anyhow::ensure!(
        !to.starts_with(&data),
        "{} lies within the data directory; write the backup elsewhere, best to another disk",
        to.display()
    );
    let mut tries = 0;
    let (mut files, position, mut damages) = loop {
        match data_files(&data, &to) {
            Err(error) if error.is::<Gone>() && tries < TRIES => tries += 1,
            done => break done?,
        }
        remove_all(&to)?;
    };
    files.extend(dashboards(&data, &to)?);
    if let Some(settings) = settings {
        files.push(copy(settings, &to, "nowcast.toml".into())?);
    }
    // The bytes are held against their checksums now, while there is something to do about it.
    let store = StoreInspection::of(Arc::new(RealDisk), &to.join("store"))?.check(Depth::Bytes);
    damages.extend(store.damages.iter().map(ToString::to_string));
    let linked = files.iter().filter(|file| file.is_link).count();
    let listing = Listing::new(SystemClock.now_us(), position, files);
    sync_dirs(&to, &listing)?;
    listing.save(&to)?;
    Ok(Summary { files: listing.files.len(), bytes: listing.bytes(), linked, position, damages })
}

/// Log and store. [`Gone`] if a file went meanwhile.
fn data_files(data: &Path, to: &Path) -> anyhow::Result<(Vec<Listed>, u64, Vec<String>)> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let store =
        StoreInspection::of(Arc::clone(&disk), &data.join("store")).context("cannot read the store")?;
    let relative = |path: &Path| path.strip_prefix(data).map(Path::to_owned);
    let mut files = Vec::new();
    let (manifest, text) = store.manifest();
    files.push(copy::write(text, to, relative(&manifest)?)?);
    for path in store.files() {
        files.push(link_or_copy(&path, to, relative(&path)?)?);
    }
    let log = data.join("log");
    let mut segments: Vec<String> =
        disk.list(&log)?.into_iter().filter(|name| name.ends_with(".log")).collect();
    segments.sort_unstable();
    let last = segments.pop();
    for name in segments {
        files.push(link_or_copy(&log.join(&name), to, Path::new("log").join(&name))?);
    }
    if let Some(name) = last {
        files.push(copy(&log.join(&name), to, Path::new("log").join(&name))?);
    }
    let copied = nowcast_log::Inspection::of(disk, &to.join("log")).context("cannot read the copied log")?;
    let (first, end) = (copied.found.first, copied.found.end);
    if store.replay_from() < first {
        // Segments went between: a newer manifest does not need them.
        return Err(Gone(log).into());
    }
    anyhow::ensure!(
        store.position() <= end,
        "the store has rows up to {}, its log ends at {end}: files of the log are missing",
        store.position()
    );
    Ok((files, end.get(), copied.found.damages.iter().map(ToString::to_string).collect()))
}

fn dashboards(data: &Path, to: &Path) -> anyhow::Result<Vec<Listed>> {
    let dir = data.join("dashboards");
    let mut names = RealDisk.list(&dir)?;
    names.retain(|name| name.ends_with(".toml"));
    names.sort_unstable();
    let copies =
        names.into_iter().map(|name| copy(&dir.join(&name), to, Path::new("dashboards").join(&name)));
    copies.collect()
}

/// An error unless `dir` is absent or empty.
fn ensure_empty(dir: &Path) -> anyhow::Result<()> {
    let is_empty = match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", dir.display())),
    };
    anyhow::ensure!(is_empty, "{} is not empty; name a new directory", dir.display());
    Ok(())
}

/// Empties a directory that was empty at the beginning.
fn remove_all(dir: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
    }
    Ok(())
}

/// Makes the names of all files durable.
fn sync_dirs(root: &Path, listing: &Listing) -> anyhow::Result<()> {
    let dirs = listing.files.iter().filter_map(|file| file.path.parent());
    for dir in dirs.collect::<std::collections::BTreeSet<_>>() {
        RealDisk.sync_dir(&root.join(dir))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
