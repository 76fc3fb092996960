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
//! Nothing is asked of the server. What is to be taken is held first (see `stage`), in the order manifest, parts, log:
//! a flush or a merge in between may remove a file that an older manifest names, then it begins anew. In the end the
//! log reaches from where the manifest needs it to behind its position, and nothing that the server does matters any
//! more. Then every file is read once for its checksum, and copied where it could not be linked.

mod copy;
mod list;
mod restore;
mod stage;

use std::{os::unix::fs::MetadataExt, path::Path, sync::Arc};

use anyhow::Context;
use nowcast_disk::{Disk, RealDisk};
use nowcast_model::{Clock, SystemClock};
use nowcast_store::{Depth, StoreInspection};

pub use restore::{restore, verify};

use copy::{copy, read};
use list::{Listed, Listing};

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
    let stage = stage::stage(&data, &to)?;
    let mut damages = stage.damages.clone();
    let take = |path: &Path| match stage.dir == to {
        true => in_place(&to, path),
        false => copy(&stage.dir.join(path), &to, path.to_owned()),
    };
    let mut files: Vec<Listed> = stage.files.iter().map(|path| take(path)).collect::<Result<_, _>>()?;
    let store = StoreInspection::of(Arc::new(RealDisk), &stage.dir.join("store"))?;
    for part in store.parts() {
        for file in part.files() {
            files.push(take(file.strip_prefix(&stage.dir)?)?);
        }
        // Now, while there is something to do about it, and while the system still has its bytes in memory.
        damages.extend(part.check(Depth::Bytes).err().map(|error| error.to_string()));
    }
    files.extend(dashboards(&data, &to)?);
    if let Some(settings) = settings {
        files.push(copy(settings, &to, "nowcast.toml".into())?);
    }
    let linked = files.iter().filter(|file| file.is_link).count();
    let listing = Listing::new(SystemClock.now_us(), stage.position, files);
    sync_dirs(&to, &listing)?;
    listing.save(&to)?;
    let (files, bytes, position) = (listing.files.len(), listing.bytes(), stage.position);
    Ok(Summary { files, bytes, linked, position, damages })
}

/// A file that is in the backup already.
fn in_place(to: &Path, path: &Path) -> anyhow::Result<Listed> {
    let there = to.join(path);
    let (bytes, crc) = read(&there, |_| Ok(()))?;
    Ok(Listed { path: path.to_owned(), bytes, crc, is_link: std::fs::metadata(there)?.nlink() > 1 })
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
