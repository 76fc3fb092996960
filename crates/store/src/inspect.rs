//! A store that is looked at and not touched: for backups, and to find what is damaged.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use nowcast_disk::Disk;
use nowcast_model::{Offset, TableSchema};

use crate::{
    Part, StoreError,
    manifest::{Manifest, PartEntry},
    merge::key_of,
    part::Files,
    store::{list_parts, parts_dir},
};

/// What is remembered of footers: each part is looked at once.
const FOOTER_BYTES_MAX: usize = 1 << 20;

/// A store as its manifest describes it.
pub struct StoreInspection {
    dir: PathBuf,
    files: Arc<Files>,
    manifest: Manifest,
    text: Vec<u8>,
}

/// What reading all of a store found.
#[derive(Debug, Default)]
pub struct StoreCheck {
    /// Tables.
    pub tables: usize,
    /// Parts that were read.
    pub parts: usize,
    /// Their visible rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Parts of a version that had no checksums: what their values are cannot be held against anything.
    pub unsummed: usize,
    /// Files that the manifest does not name: a start removes them.
    pub orphans: Vec<PathBuf>,
    /// What is wrong, each with its file.
    pub damages: Vec<StoreError>,
}

/// How much of a part is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its bytes, against their checksums.
    Bytes,
    /// Its rows as well: that all can be read, their number, order and times.
    Rows,
}

impl StoreInspection {
    /// Reads the manifest in `dir`; `None` if nothing of a store is there.
    ///
    /// # Errors
    /// If there are parts without a manifest, or it is damaged or newer.
    pub fn find(disk: Arc<dyn Disk>, dir: &Path) -> Result<Option<StoreInspection>, StoreError> {
        let Some((manifest, text)) = Manifest::read(&*disk, dir)? else {
            return match list_parts(&*disk, &parts_dir(dir))?.values().all(BTreeSet::is_empty) {
                true => Ok(None),
                false => Err(StoreError::ManifestMissing { path: Manifest::path(dir) }),
            };
        };
        let files = Arc::new(Files::new(disk, FOOTER_BYTES_MAX));
        Ok(Some(StoreInspection { dir: dir.to_owned(), files, manifest, text }))
    }

    /// Reads the manifest in `dir`.
    ///
    /// # Errors
    /// If there is none, or it is damaged or newer.
    pub fn of(disk: Arc<dyn Disk>, dir: &Path) -> Result<StoreInspection, StoreError> {
        let missing = || StoreError::ManifestMissing { path: Manifest::path(dir) };
        StoreInspection::find(disk, dir)?.ok_or_else(missing)
    }

    /// The manifest's bytes, as they were read.
    pub fn manifest(&self) -> (PathBuf, &[u8]) {
        (Manifest::path(&self.dir), &self.text)
    }

    /// Up to here the log is in the parts, or was taken in when the manifest was written.
    pub fn position(&self) -> Offset {
        self.manifest.position
    }

    /// From here on the log is needed.
    pub fn replay_from(&self) -> Offset {
        let needed = self.manifest.tables.iter().map(|table| table.replay_from);
        needed.chain([self.manifest.position]).min().unwrap_or(self.manifest.position)
    }

    /// The parts that the manifest names.
    pub fn parts(&self) -> impl Iterator<Item = InspectedPart<'_>> {
        self.manifest.tables.iter().flat_map(move |table| {
            let of = move |entry| InspectedPart { inspection: self, schema: &table.schema, entry };
            table.parts.iter().map(of)
        })
    }

    /// Reads all of it.
    pub fn check(&self, depth: Depth) -> StoreCheck {
        let mut found = StoreCheck { tables: self.manifest.tables.len(), ..StoreCheck::default() };
        let mut named = BTreeSet::new();
        for part in self.parts() {
            match part.check(depth) {
                Ok(good) => {
                    found.parts += 1;
                    found.rows += good.rows;
                    found.bytes += good.bytes;
                    found.unsummed += usize::from(good.file.tail.is_none());
                }
                Err(error) => found.damages.push(error),
            }
            named.extend(part.files());
        }
        match list_parts(&*self.files.disk, &parts_dir(&self.dir)) {
            Ok(files) => {
                let all = files.into_values().flatten();
                found.orphans = all.filter(|file| !named.contains(file)).collect();
            }
            Err(error) => found.damages.push(error),
        }
        found
    }
}

/// A part as the manifest names it.
pub struct InspectedPart<'a> {
    inspection: &'a StoreInspection,
    schema: &'a TableSchema,
    entry: &'a PartEntry,
}

impl InspectedPart<'_> {
    /// Its files: the part, and which of its rows are dead.
    pub fn files(&self) -> Vec<PathBuf> {
        self.entry.paths(&parts_dir(&self.inspection.dir))
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it, with its file.
    pub fn check(&self, depth: Depth) -> Result<Part, StoreError> {
        let part = self.entry.part(&self.inspection.files, &parts_dir(&self.inspection.dir))?;
        check_part(&part, self.schema, depth)?;
        Ok(part)
    }
}

fn check_part(part: &Part, schema: &TableSchema, depth: Depth) -> Result<(), StoreError> {
    let bad = |cause: String| StoreError::BadPart { path: part.path.clone(), cause };
    let open = part.open()?;
    if open.bytes() != part.bytes {
        return Err(bad(format!("it has {} bytes, the manifest says {}", open.bytes(), part.bytes)));
    }
    open.check_all()?;
    if depth == Depth::Bytes {
        return Ok(());
    }
    let all: Vec<usize> = (0..schema.columns.len()).collect();
    let (mut rows, mut last) = (0, None);
    for batch in part.read(schema, &all)? {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let key = key_of(schema, &batch, row);
            if last.is_some_and(|last| last >= key) {
                return Err(bad(format!("its row {rows} is not in order")));
            }
            let within = |min: Option<i64>, max: Option<i64>| {
                min.is_none_or(|min| min <= key.0) && max.is_none_or(|max| key.0 <= max)
            };
            if schema.timestamp.is_some() && !within(part.min_us, part.max_us) {
                return Err(bad(format!("its row {rows} is outside of the times that the manifest says")));
            }
            (rows, last) = (rows + 1, Some(key));
        }
    }
    if rows != part.rows {
        return Err(bad(format!("it shows {rows} rows, the manifest says {}", part.rows)));
    }
    Ok(())
}
