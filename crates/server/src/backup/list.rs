//! The list of a backup's files: `backup.json`, and a line with its checksum.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use nowcast_disk::{Disk, RealDisk, write_durably};
use serde::{Deserialize, Serialize};

const NAME: &str = "backup.json";
const VERSION: u32 = 1;

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listing {
    version: u32,
    /// The program that wrote it.
    nowcast: String,
    /// When it was finished: microseconds since 1970 UTC.
    at_us: i64,
    /// The log's offset up to which everything is there.
    pub(super) position: u64,
    pub(super) files: Vec<Listed>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    /// Relative to the backup.
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// CRC32C of them.
    pub(super) crc: u32,
    #[serde(skip)]
    pub(super) is_link: bool,
}

impl Listing {
    pub(super) fn new(at_us: i64, position: u64, files: Vec<Listed>) -> Listing {
        let nowcast = env!("CARGO_PKG_VERSION").to_owned();
        Listing { version: VERSION, nowcast, at_us, position, files }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Makes `dir` a whole backup.
    pub(super) fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string(self)?;
        let text = format!("{json}\ncrc32c {:08x}\n", crc32c::crc32c(json.as_bytes()));
        let (disk, path): (Arc<dyn Disk>, _) = (Arc::new(RealDisk), dir.join(NAME));
        write_durably(&disk, &path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads the list in `dir`.
    pub(super) fn load(dir: &Path) -> anyhow::Result<Listing> {
        let path = dir.join(NAME);
        let shown = path.display();
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => anyhow::bail!(
                "{} has no {NAME}: it is no backup, or one that was not finished; name another with --from",
                dir.display()
            ),
            text => text.with_context(|| format!("cannot read {shown}"))?,
        };
        let (json, rest) = text.split_once('\n').unwrap_or((&text, ""));
        anyhow::ensure!(
            rest.trim_end() == format!("crc32c {:08x}", crc32c::crc32c(json.as_bytes())),
            "the checksum of {shown} does not fit: the backup is damaged; use another one"
        );
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } =
            serde_json::from_str(json).with_context(|| format!("cannot read {shown}"))?;
        anyhow::ensure!(
            version <= VERSION,
            "{shown} has version {version}, this program knows up to {VERSION}; use a newer one"
        );
        let listing: Listing = serde_json::from_str(json).with_context(|| format!("cannot read {shown}"))?;
        let is_inside = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        if let Some(file) = listing.files.iter().find(|file| !is_inside(&file.path)) {
            anyhow::bail!("{shown} names {}, which lies outside of the backup", file.path.display());
        }
        Ok(listing)
    }
}
