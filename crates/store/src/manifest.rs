//! The manifest: which parts make up which tables. One text file, replaced as a whole.
//!
//! ```text
//! {"version":1,"at_us":…,"position":812,"next_part":7,"schemas":["public"],"tables":[…]}\n
//! crc32c 0a1b2c3d\n
//! ```
//!
//! The first line is JSON, the second the CRC32C of the first without its line feed. It is written to
//! `manifest.json.tmp`, synced, renamed over `manifest.json`, and the directory is synced: a crash leaves
//! the old one or the new one. `position` is that of the snapshot it was made from; a table that is not in
//! it did not exist there. A table's rows below its `flushed_to` are all in its parts, and what it looks like is what it
//! looked like there: events behind are replayed as rows are.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nowcast_disk::{Disk, read, write_durably};
use nowcast_model::{Offset, TableName, TableSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Part, Seqs, StoreError,
    part::{Files, PartFile, Tail, dead_path},
    seen::SeenWrite,
};

const VERSION: u32 = 1;
const NAME: &str = "manifest.json";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    /// When it was written; for people.
    at_us: i64,
    pub(crate) position: Offset,
    pub(crate) next_part: u64,
    pub(crate) schemas: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) defaults: BTreeMap<String, String>,
    /// Writes that were applied before `position`, by writers that name themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) seen: Vec<SeenWrite>,
    pub(crate) tables: Vec<TableEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TableEntry {
    /// Its name at the manifest's position; for all else what it looked like at `flushed_to`.
    pub(crate) schema: TableSchema,
    pub(crate) flushed_to: Offset,
    pub(crate) replay_from: Offset,
    /// See [`crate::TableVersion`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former: Vec<(TableName, Offset)>,
    pub(crate) parts: Vec<PartEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PartEntry {
    id: u64,
    /// Relative to the directory of parts.
    file: String,
    rows: u64,
    bytes: u64,
    min_us: Option<i64>,
    max_us: Option<i64>,
    columns: usize,
    /// Where the file's tail begins, and its CRC32C: see `part::sums`. Absent for parts of a version that had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail: Option<(u64, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    visible_from_us: Option<i64>,
    /// Dead rows; which, the file beside the part says.
    #[serde(default, skip_serializing_if = "is_zero")]
    dead: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl PartEntry {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn of(part: &Part, parts_dir: &Path) -> PartEntry {
        let file = part.path.strip_prefix(parts_dir).unwrap_or(&part.path);
        PartEntry {
            id: part.id,
            file: file.to_string_lossy().into_owned(),
            rows: part.rows,
            bytes: part.bytes,
            min_us: part.min_us,
            max_us: part.max_us,
            columns: part.columns,
            tail: part.file.tail.map(|tail| (tail.from, tail.crc)),
            visible_from_us: part.visible_from_us,
            dead: part.dead.len(),
        }
    }

    /// Its files.
    pub(crate) fn paths(&self, parts_dir: &Path) -> Vec<PathBuf> {
        let path = parts_dir.join(&self.file);
        let dead = (self.dead > 0).then(|| dead_path(&path, self.dead));
        [path].into_iter().chain(dead).collect()
    }

    /// # Errors
    /// If the file of its dead rows cannot be read.
    pub(crate) fn part(&self, files: &Arc<Files>, parts_dir: &Path) -> Result<Part, StoreError> {
        let path = parts_dir.join(&self.file);
        let tail = self.tail.map(|(from, crc)| Tail { from, crc });
        let mut part = Part {
            id: self.id,
            file: PartFile::new(files, self.id, &path, tail, true),
            path,
            rows: self.rows,
            bytes: self.bytes,
            min_us: self.min_us,
            max_us: self.max_us,
            columns: self.columns,
            visible_from_us: self.visible_from_us,
            dead: Seqs::default(),
        };
        if self.dead > 0 {
            let path = dead_path(&part.path, self.dead);
            let bytes = read(&*files.disk, &path).map_err(StoreError::io("read", &path))?;
            part.dead = Seqs::decode(&bytes).map_err(|cause| {
                let cause = format!("{cause}; restore the file from a backup");
                StoreError::BadPart { path, cause }
            })?;
        }
        Ok(part)
    }
}

impl Manifest {
    pub(crate) fn empty() -> Manifest {
        Manifest {
            version: VERSION,
            at_us: 0,
            position: Offset::ZERO,
            next_part: 1,
            schemas: vec![],
            defaults: BTreeMap::new(),
            seen: vec![],
            tables: vec![],
        }
    }

    pub(crate) fn new(
        position: Offset,
        next_part: u64,
        at_us: i64,
        schemas: Vec<String>,
        defaults: BTreeMap<String, String>,
        seen: Vec<SeenWrite>,
        tables: Vec<TableEntry>,
    ) -> Manifest {
        Manifest { version: VERSION, at_us, position, next_part, schemas, defaults, seen, tables }
    }

    /// Where the manifest of the store in `dir` is.
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join(NAME)
    }

    /// Reads the manifest in `dir`, and its bytes; `None` if there is none.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<(Manifest, Vec<u8>)>, StoreError> {
        let path = Manifest::path(dir);
        match read(disk, &path) {
            Ok(bytes) => Ok(Some((parse(&path, &String::from_utf8_lossy(&bytes))?, bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    /// Reads the manifest in `dir`. A directory without parts gets an empty one: from then on there always is
    /// one, and parts without it are not taken for what a crash left.
    pub(crate) fn load(disk: &Arc<dyn Disk>, dir: &Path, has_parts: bool) -> Result<Manifest, StoreError> {
        match Manifest::read(&**disk, dir)? {
            Some((manifest, _)) => Ok(manifest),
            None if has_parts => Err(StoreError::ManifestMissing { path: Manifest::path(dir) }),
            None => {
                let manifest = Manifest::empty();
                manifest.save(disk, dir)?;
                Ok(manifest)
            }
        }
    }

    /// Replaces the manifest in `dir`. On return it is durable.
    pub(crate) fn save(&self, disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), StoreError> {
        let path = Manifest::path(dir);
        let json = serde_json::to_string(self)
            .map_err(|e| StoreError::ManifestMalformed { path: path.clone(), cause: e.to_string() })?;
        let text = format!("{json}\ncrc32c {:08x}\n", crc32c::crc32c(json.as_bytes()));
        write_durably(disk, &path, text.as_bytes()).map_err(StoreError::io("write", &path))
    }
}

fn parse(path: &Path, text: &str) -> Result<Manifest, StoreError> {
    let path = || -> PathBuf { path.to_owned() };
    let malformed = |cause: String| StoreError::ManifestMalformed { path: path(), cause };
    let Some((json, rest)) = text.split_once('\n') else {
        return Err(malformed("it has no checksum line".into()));
    };
    let found = rest
        .strip_prefix("crc32c ")
        .and_then(|hex| u32::from_str_radix(hex.trim_end(), 16).ok())
        .ok_or_else(|| malformed(format!("its second line is {rest:?}, not crc32c and eight digits")))?;
    let expected = crc32c::crc32c(json.as_bytes());
    if found != expected {
        return Err(StoreError::ManifestChecksum { path: path(), found, expected });
    }
    // The version first: a newer manifest may have a form that does not parse here.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_str(json).map_err(|e| malformed(e.to_string()))?;
    if version > VERSION {
        return Err(StoreError::ManifestNewer { path: path(), found: version, known: VERSION });
    }
    let manifest: Manifest = serde_json::from_str(json).map_err(|e| malformed(e.to_string()))?;
    for table in &manifest.tables {
        table.schema.check().map_err(|e| malformed(e.to_string()))?;
    }
    Ok(manifest)
}
