//! The store: one record in, its changes out, a new snapshot published.
//!
//! **Apply** (one thread): a record's items are applied to a copy of the current [`Snapshot`] that shares
//! all it can, and the copy is published when all of them are in; readers see a record whole or not at all.
//!
//! **Recovery**: the manifest says what is in parts. Each table has `flushed_to`: what the log holds for it
//! below is in its parts (or was dropped); a table that the manifest does not name did not exist at the
//! manifest's position, and one that was renamed stands under the name that it had there (see `alter`). [`Store::open`] answers where the log is to be read from; records that reach below a
//! table's `flushed_to` are applied to the other tables only, so replay changes nothing twice.
//!
//! **Flush** (another thread, see `flush`): moves hot rows into parts while apply goes on. The two meet under
//! one lock, for the time it takes to swap a snapshot. **Compaction** (a third, see `compact`): merges parts while
//! both go on; it meets a flush where one of them commits.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use nowcast_disk::Disk;
use nowcast_model::{Change, Clock, Event, Offset, Record, TableName};

use crate::{
    Registry, Snapshot, StoreError, TableVersion,
    apply::{Applying, KeyIndexes},
    commit::{Flushing, Written},
    manifest::Manifest,
    part::Files,
    partition_start_us,
    registry::Catalog,
    seen::{Seen, SeenLimits},
};

/// Bounds of a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Hot rows in memory past which [`Store::needs_flush`].
    pub hot_bytes_max: usize,
    /// Log to replay past which [`Store::needs_flush`]; bounds the time that a start takes.
    pub replay_bytes_max: u64,
    /// Small parts of a partition past which they are merged; of parts that span partitions, all count.
    pub small_parts_max: usize,
    /// A part of fewer rows is small.
    pub small_part_rows: u64,
    /// Rows of one partition in a merge that make it worth parts of its own.
    pub own_part_rows_min: u64,
    /// Writes of which it is remembered that they were applied.
    pub seen: SeenLimits,
    /// What is kept in memory of the footers of parts.
    pub footer_bytes_max: usize,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            hot_bytes_max: 256 << 20,
            replay_bytes_max: 512 << 20,
            small_parts_max: 8,
            small_part_rows: 4_000_000,
            // A row group: what statistics skip at once.
            own_part_rows_min: 131_072,
            seen: SeenLimits::default(),
            // About a thousand parts of ten columns and a million rows.
            footer_bytes_max: 64 << 20,
        }
    }
}

/// Tables on disk and in memory.
pub struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) files: Arc<Files>,
    pub(crate) options: StoreOptions,
    pub(crate) clock: Arc<dyn Clock>,
    registry: Registry,
    pub(crate) current: ArcSwap<Snapshot>,
    /// Held while a record is applied or a flush installs its parts: whoever publishes.
    publishing: Mutex<Recovered>,
    /// Held while hot rows are flushed, and while a merge is committed.
    pub(crate) flushing: Mutex<Flushing>,
    /// Held while parts are merged.
    pub(crate) compacting: Mutex<()>,
    pub(crate) next_part: AtomicU64,
    /// Which writes were applied. Held to look one up, or to note one.
    pub(crate) seen: Mutex<Seen>,
    /// Held to add up a part, or to copy.
    pub(crate) written: Mutex<BTreeMap<TableName, Written>>,
    /// Used by whoever applies.
    keys: Mutex<KeyIndexes>,
    hot_bytes: AtomicUsize,
    replay_bytes: AtomicU64,
    /// Set when a part may have gone from the snapshot: its file goes with the next manifest.
    pub(crate) parts_dropped: AtomicBool,
    #[cfg(test)]
    pub(crate) hook: Mutex<Option<Hook>>,
}

/// Called at each point of a flush or a merge; true makes it fail there.
#[cfg(test)]
pub(crate) type Hook = Box<dyn FnMut(&'static str) -> bool + Send>;

/// What the manifest held at start.
pub(crate) struct Recovered {
    position: Offset,
    /// By their names at `position`.
    tables: BTreeMap<TableName, RecoveredTable>,
}

/// Since when what a table is called counts.
struct RecoveredTable {
    flushed_to: Offset,
    /// See [`TableVersion`].
    former: Vec<(TableName, Offset)>,
}

impl RecoveredTable {
    fn has_name(&self, key: &TableName, current: &TableName, offset: Offset) -> bool {
        let then = self.former.iter().find(|(_, until)| offset < *until);
        offset >= self.flushed_to && then.map_or(current, |(name, _)| name) == key
    }
}

impl Recovered {
    /// True if the tables stand under the names that an item at `offset` gave them.
    pub(crate) fn has_renamed(&self, offset: Offset) -> bool {
        offset < self.position
    }

    /// The key of the table that an item at `offset` is about, which calls it `name`. `None` if the item is in the table's
    /// parts, or belongs to a table that was dropped later.
    pub(crate) fn table_at(&self, name: &TableName, offset: Offset) -> Option<TableName> {
        let key = name.key();
        if offset >= self.position || self.tables.get(&key).is_some_and(|t| t.has_name(&key, &key, offset)) {
            return Some(key);
        }
        let mut renamed = self.tables.iter().filter(|(_, table)| !table.former.is_empty());
        renamed
            .find(|(current, table)| table.has_name(&key, current, offset))
            .map(|(current, _)| current.clone())
    }
}

impl Store {
    /// Opens or makes the store in `dir` on `disk`, and removes files that no manifest names. The offset is where the
    /// log is to be replayed from, through [`Store::apply`], before anything is admitted.
    ///
    /// # Errors
    /// If the directory cannot be used, the manifest is damaged or newer, or a part that it names is missing.
    pub fn open(
        dir: &Path,
        options: StoreOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Store>, Offset), StoreError> {
        let files = Arc::new(Files::new(disk.clone(), options.footer_bytes_max));
        let parts_dir = parts_dir(dir);
        disk.create_dir(&parts_dir).map_err(StoreError::io("make directory", &parts_dir))?;
        let found = list_parts(&*disk, &parts_dir)?;
        let manifest = Manifest::load(&disk, dir, found.values().any(|files| !files.is_empty()))?;
        let mut flushing = Flushing::default();
        let mut snapshot = Snapshot {
            position: manifest.position,
            tables: BTreeMap::new(),
            defaults: manifest.defaults.clone(),
            schemas: manifest.schemas.iter().cloned().chain([TableName::PUBLIC.to_owned()]).collect(),
        };
        let mut tables = BTreeMap::new();
        for entry in &manifest.tables {
            let schema = Arc::new(entry.schema.clone());
            let key = schema.name.key();
            let mut version = TableVersion::new(schema, entry.flushed_to, entry.replay_from);
            for part in &entry.parts {
                let part = Arc::new(part.part(&files, &parts_dir)?);
                let is_there = part.path.parent().and_then(|dir| found.get(dir));
                if !is_there.is_some_and(|files| files.contains(&part.path)) {
                    let cause = "the file is missing".to_owned();
                    return Err(StoreError::BadPart { path: part.path.clone(), cause });
                }
                version.note_times(part.min_us, part.max_us);
                flushing.found(&part);
                version.parts.push(part);
            }
            snapshot.position = snapshot.position.min(entry.replay_from);
            version.former.clone_from(&entry.former);
            let former = entry.former.clone();
            tables.insert(key.clone(), RecoveredTable { flushed_to: entry.flushed_to, former });
            snapshot.tables.insert(key, Arc::new(version));
        }
        remove_orphans(&*disk, found, &snapshot);
        let replay_from = snapshot.position;
        let store = Store {
            dir: dir.to_owned(),
            files,
            options,
            clock,
            registry: Registry::new(Catalog::of(&snapshot)),
            current: ArcSwap::from_pointee(snapshot),
            publishing: Mutex::new(Recovered { position: manifest.position, tables }),
            flushing: Mutex::new(flushing),
            compacting: Mutex::default(),
            next_part: AtomicU64::new(manifest.next_part),
            seen: Mutex::new(Seen::load(manifest.seen)),
            written: Mutex::default(),
            keys: Mutex::default(),
            hot_bytes: AtomicUsize::new(0),
            replay_bytes: AtomicU64::new(0),
            parts_dropped: AtomicBool::new(false),
            #[cfg(test)]
            hook: Mutex::new(None),
        };
        Ok((Arc::new(store), replay_from))
    }

    /// What is admitted.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The latest snapshot. Any thread, no lock.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Memory of all hot rows, estimated.
    pub fn hot_bytes(&self) -> usize {
        self.hot_bytes.load(Ordering::Relaxed)
    }

    /// The log's owner tells how much of it a start would replay now.
    pub fn note_replay_bytes(&self, bytes: u64) {
        self.replay_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The sequence under which the writer `id` was last applied, if that is remembered.
    pub fn seen(&self, id: u64) -> Option<u64> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).sequence(id)
    }

    /// What was written to parts since the start, by table.
    pub fn written(&self) -> BTreeMap<TableName, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True if memory or the log to replay is past its bound, or files wait to be removed.
    pub fn needs_flush(&self) -> bool {
        self.hot_bytes() > self.options.hot_bytes_max
            || self.must_flush_all()
            || self.parts_dropped.load(Ordering::Relaxed)
    }

    /// True if the log to replay is past its bound: only `flush(true)` shortens it for certain.
    pub fn must_flush_all(&self) -> bool {
        self.replay_bytes.load(Ordering::Relaxed) > self.options.replay_bytes_max
    }

    /// Applies a record. One thread, in the order of the log. What was applied before is skipped.
    ///
    /// # Errors
    /// If the record does not fit the tables, which `admit` prevents, or rows that a drop takes away cannot
    /// be read back. The snapshot stays as it was.
    pub fn apply(&self, record: &Record) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::new();
        self.apply_each(record, &mut |change| changes.push(change))?;
        Ok(changes)
    }

    /// As [`Store::apply`], handing out changes one by one: a TRUNCATE or DROP of a table larger than memory
    /// reads its rows back batch by batch. `sink` runs before the snapshot has the record; after an error
    /// what it was given did not happen.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn apply_each(&self, record: &Record, sink: &mut dyn FnMut(Change)) -> Result<(), StoreError> {
        let publishing = self.publishing();
        let current = self.current.load_full();
        if record.end() <= current.position {
            return Ok(());
        }
        // What a panic left of an index is found out as what has gone.
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Applying {
            snapshot: Snapshot::clone(&current),
            record,
            sink,
            keys: &mut keys,
            schemas_changed: false,
            parts_dropped: false,
        };
        let mut offset = record.offset;
        for item in &record.items {
            next.item(item, offset, &publishing)?;
            offset = offset.plus(item.len());
        }
        let Applying { mut snapshot, schemas_changed, parts_dropped, .. } = next;
        snapshot.position = record.end();
        if schemas_changed {
            self.registry.replayed(&snapshot);
        }
        self.publish(&publishing, snapshot);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).note(record, self.options.seen);
        if parts_dropped {
            self.parts_dropped.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The lock under which snapshots are swapped.
    pub(crate) fn publishing(&self) -> MutexGuard<'_, Recovered> {
        // A panic in between left the published snapshot whole.
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn publish(&self, _held: &MutexGuard<'_, Recovered>, snapshot: Snapshot) {
        let hot = snapshot.tables.values().map(|version| version.hot.bytes()).sum();
        self.hot_bytes.store(hot, Ordering::Relaxed);
        self.current.store(Arc::new(snapshot));
    }

    /// The events that drop what is past its table's TTL at `now_us`; empty if nothing is.
    pub fn expired(&self, now_us: i64) -> Vec<Event> {
        let snapshot = self.snapshot();
        let due = |version: &Arc<TableVersion>| {
            let schema = &version.schema;
            let ttl_us = i64::try_from(schema.ttl_s?).ok()?.checked_mul(1_000_000)?;
            let before_us = now_us.checked_sub(ttl_us)?;
            let cutoff_us = partition_start_us(schema.partition_by, before_us)?;
            (version.oldest_us? < cutoff_us)
                .then(|| Event::DropPartitions { table: schema.name.clone(), before_us })
        };
        snapshot.tables.values().filter_map(due).collect()
    }
}

pub(crate) fn parts_dir(dir: &Path) -> PathBuf {
    dir.join("parts")
}

/// The files in the directory of parts, by the directory of their table.
pub(crate) fn list_parts(
    disk: &dyn Disk,
    parts_dir: &Path,
) -> Result<BTreeMap<PathBuf, BTreeSet<PathBuf>>, StoreError> {
    let mut found = BTreeMap::new();
    for name in disk.list_dirs(parts_dir).map_err(StoreError::io("list", parts_dir))? {
        let dir = parts_dir.join(name);
        let files = disk.list(&dir).map_err(StoreError::io("list", &dir))?;
        let files = files.into_iter().map(|name| dir.join(name)).collect();
        found.insert(dir, files);
    }
    Ok(found)
}

/// Removes what a crash left in the directory of parts. What cannot be removed is left to the next start.
fn remove_orphans(disk: &dyn Disk, found: BTreeMap<PathBuf, BTreeSet<PathBuf>>, snapshot: &Snapshot) {
    let parts = || snapshot.tables.values().flat_map(|version| &version.parts);
    let dead = parts().filter(|part| !part.dead.is_empty()).map(|part| part.dead_path());
    let named: BTreeSet<PathBuf> = parts().map(|part| part.path.clone()).chain(dead).collect();
    for (dir, mut files) in found {
        files.retain(|file| {
            let ours = file.extension().is_some_and(|e| e == "parquet" || e == "dead" || e == "tmp");
            !(ours && !named.contains(file) && disk.remove(file).is_ok())
        });
        if files.is_empty() {
            // Only tidiness: an empty directory of a dropped table is harmless.
            let _ = disk.remove_dir(&dir);
        }
    }
}
