//! A backup becomes a data directory again.

use std::path::Path;

use anyhow::Context;
use nowcast_disk::{Disk, RealDisk};

use super::{
    Summary,
    copy::{copy, read},
    ensure_empty,
    list::Listing,
    stage::remove_all,
    sync_dirs,
};

/// Holds every file of the backup in `from` against its checksum.
///
/// # Errors
/// There is no finished backup, or a file is missing or damaged: the first is named.
pub fn verify(from: &Path) -> anyhow::Result<Summary> {
    let listing = Listing::load(from)?;
    for file in &listing.files {
        let path = from.join(&file.path);
        anyhow::ensure!(
            path.is_file(),
            "{} is missing: the backup is damaged; use another one",
            path.display()
        );
        let found = read(&path, |_| Ok(()))?;
        anyhow::ensure!(
            found == (file.bytes, file.crc),
            "{} has {} bytes of CRC32C {:08x}, the backup was made with {} of {:08x}: it is damaged; use another one",
            path.display(),
            found.0,
            found.1,
            file.bytes,
            file.crc
        );
    }
    let (files, bytes, position) = (listing.files.len(), listing.bytes(), listing.position);
    Ok(Summary { files, bytes, linked: 0, position, damages: Vec::new() })
}

/// Makes the data directory `data`, which must be absent or empty, from the backup in `from`, after verifying
/// all of it. It has that name once it is whole.
///
/// # Errors
/// As for [`verify`]; `data` holds something, or cannot be written. Then it is as it was.
pub fn restore(from: &Path, data: &Path) -> anyhow::Result<Summary> {
    ensure_empty(data)?;
    let summary = verify(from)?;
    let listing = Listing::load(from)?;
    let mut name = data.file_name().context("name a directory with --data")?.to_owned();
    name.push(".restoring");
    let unfinished = data.with_file_name(name);
    RealDisk.create_dir(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    // What an interrupted restore left.
    remove_all(&unfinished)?;
    let copied = || -> anyhow::Result<()> {
        for file in &listing.files {
            let found = copy(&from.join(&file.path), &unfinished, file.path.clone())?;
            anyhow::ensure!(found == *file, "{} changed while it was copied", file.path.display());
        }
        sync_dirs(&unfinished, &listing)?;
        if data.is_dir() {
            std::fs::remove_dir(data)?;
        }
        RealDisk.rename(&unfinished, data)?;
        let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty());
        Ok(RealDisk.sync_dir(parent.unwrap_or(Path::new(".")))?)
    };
    match copied() {
        Ok(()) => Ok(summary),
        Err(error) => {
            // The error is what matters; what is left has a name that says so.
            let _ = std::fs::remove_dir_all(&unfinished);
            Err(error)
        }
    }
}
