//! Hot rows into parts, and small parts into larger ones, while apply goes on.
//!
//! 1. **Freeze**, under the publishing lock: the hot rows of the chosen tables stop merging with what comes.
//!    The snapshot `base` of that moment is what is written.
//! 2. **Write** a part per table (tmp, sync, rename, sync of the directory). No lock.
//! 3. **Manifest**: `base` with the new parts, replaced atomically. Now the log below `base.position` is not
//!    needed for these tables.
//! 4. **Install**, under the lock: a table's frozen rows are exchanged for its part in one snapshot, so a
//!    reader sees each row once. A table whose hot rows went away since (TRUNCATE, a dropped partition, a new
//!    table of that name: another `generation`) keeps what it has; the manifest is right all the same,
//!    because the log behind it is replayed over it, and the next flush writes the table anew.
//!
//! A crash before 3 leaves files that no manifest names: the next open removes them. A crash after 3 loses
//! nothing but memory. Files that neither the manifest nor the current snapshot names any more are removed
//! when the last reader lets go.
//!
//! Compaction is the same with parts in the place of hot rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, atomic::Ordering},
};

use arrow::array::RecordBatch;
use nowcast_model::{Offset, TableName};

use crate::{
    Part, Snapshot, Store, StoreError, TableVersion,
    manifest::{Manifest, PartEntry, TableEntry},
    part::{PartFile, PartWriter, sync_dir},
    sorted::write_sorted,
    store::parts_dir,
};

/// What one merge reads into memory at most.
const COMPACT_ROWS_MAX: u64 = 2_000_000;

/// What the flush thread knows.
pub(crate) struct Flushing {
    next_part: u64,
    /// The position of the last manifest of this process.
    saved: Option<Offset>,
    /// Files that the manifest or the current snapshot names, by part.
    files: BTreeMap<u64, Arc<PartFile>>,
}

/// What a table gets: one part for its frozen rows, or for some of its parts.
struct Job {
    base: Arc<TableVersion>,
    /// Batches of `base.hot` that the part holds.
    batches: usize,
    /// Parts of `base` that the part replaces.
    replaced: Vec<Arc<Part>>,
    part: Option<Arc<Part>>,
}

impl Flushing {
    pub(crate) fn new(next_part: u64) -> Flushing {
        Flushing { next_part, saved: None, files: BTreeMap::new() }
    }

    pub(crate) fn know(&mut self, part: &Part) {
        self.files.insert(part.id, part.file.clone());
    }
}

impl Store {
    /// Writes hot rows into parts, switches the manifest, and merges small parts. The offset is the one below
    /// which the log is not needed. Any thread but apply's; a second caller waits for the first.
    ///
    /// Unless `all`, only the largest tables are written, those that hold most of the hot bytes; the others
    /// stay hot and keep the log that they need.
    ///
    /// # Errors
    /// If a file cannot be written. The tables are as they were; a later flush tries again.
    pub fn flush(&self, all: bool) -> Result<Offset, StoreError> {
        // A panic in an earlier flush left at worst files that no manifest names.
        let mut flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let base = self.freeze(all || self.must_flush_all());
        let mut jobs = BTreeMap::new();
        for (key, version) in &base.snapshot.tables {
            let chosen = base.chosen.contains(key);
            if !chosen && !version.hot.is_empty() {
                continue;
            }
            let batches = version.hot.to_vec();
            let part = if batches.is_empty() {
                None
            } else {
                Some(self.write_part(&mut flushing, version, &batches)?)
            };
            let (base, batches, replaced) = (version.clone(), batches.len(), Vec::new());
            jobs.insert(key.clone(), Job { base, batches, replaced, part });
        }
        let dropped = self.parts_dropped.swap(false, Ordering::Relaxed);
        if dropped
            || flushing.saved != Some(base.snapshot.position)
            || jobs.values().any(|job| job.part.is_some())
        {
            let committed = self.commit(&mut flushing, &base.snapshot, &jobs);
            if committed.is_err() && dropped {
                self.parts_dropped.store(true, Ordering::Relaxed);
            }
            committed?;
        }
        self.compact(&mut flushing)?;
        let snapshot = self.snapshot();
        let needed = snapshot.tables.values().map(|version| version.replay_from);
        Ok(needed.chain([base.snapshot.position]).min().unwrap_or(base.snapshot.position))
    }

    fn freeze(&self, all: bool) -> Frozen {
        let publishing = self.publishing();
        let mut snapshot = Snapshot::clone(&self.current.load());
        let mut by_size: Vec<(usize, TableName)> =
            snapshot.tables.iter().map(|(key, version)| (version.hot.bytes(), key.clone())).collect();
        by_size.sort_unstable_by(|a, b| b.cmp(a));
        let total: usize = by_size.iter().map(|(bytes, _)| bytes).sum();
        let mut covered = 0;
        let mut chosen = Vec::new();
        for (bytes, key) in by_size {
            // Three quarters of the bytes are usually one or two tables; tiny tables make tiny parts.
            if bytes == 0 || (!all && covered >= total / 4 * 3) {
                break;
            }
            covered += bytes;
            if let Some(version) = snapshot.tables.get_mut(&key) {
                Arc::make_mut(version).hot.freeze();
            }
            chosen.push(key);
        }
        self.publish(&publishing, snapshot.clone());
        Frozen { snapshot, chosen }
    }

    fn write_part(
        &self,
        flushing: &mut Flushing,
        version: &TableVersion,
        batches: &[RecordBatch],
    ) -> Result<Arc<Part>, StoreError> {
        let id = flushing.next_part;
        flushing.next_part += 1;
        let key = version.schema.name.key();
        // A dot is in no name, so this is one directory for one table.
        let dir = parts_dir(&self.dir).join(format!("{}.{}", key.schema, key.table));
        let mut writer = PartWriter::create(&dir, id, &version.schema)?;
        let tmp = writer.tmp().to_owned();
        let written = write_sorted(&mut writer, &version.schema, &version.stored, batches)
            .and_then(|()| self.point("part written"))
            .and_then(|()| writer.finish());
        let part = match written {
            Ok(part) => Arc::new(part),
            Err(error) => {
                // A full disk must not stay full of halves. If this fails too, the next open tidies up.
                let _ = std::fs::remove_file(&tmp);
                return Err(error);
            }
        };
        flushing.know(&part);
        sync_dir(&parts_dir(&self.dir))?;
        self.point("part renamed")?;
        Ok(part)
    }

    /// Steps 3 and 4.
    fn commit(
        &self,
        flushing: &mut Flushing,
        base: &Snapshot,
        jobs: &BTreeMap<TableName, Job>,
    ) -> Result<(), StoreError> {
        let manifest = self.manifest(flushing, base, jobs);
        manifest.save(&self.dir)?;
        flushing.saved = Some(base.position);
        self.point("manifest switched")?;
        let publishing = self.publishing();
        let mut next = Snapshot::clone(&self.current.load());
        for (key, job) in jobs {
            let Some(version) = next.tables.get_mut(key) else { continue };
            if version.generation == job.base.generation {
                install(Arc::make_mut(version), job, base.position);
            }
        }
        self.publish(&publishing, next);
        drop(publishing);
        let current = self.snapshot();
        let parts = current.tables.values().flat_map(|version| version.parts.iter().map(|part| part.id));
        let named: BTreeSet<u64> = manifest
            .tables
            .iter()
            .flat_map(|table| table.parts.iter().map(PartEntry::id))
            .chain(parts)
            .collect();
        flushing.files.retain(|id, file| {
            let keep = named.contains(id);
            if !keep {
                file.doom();
            }
            keep
        });
        Ok(())
    }

    fn manifest(&self, flushing: &Flushing, base: &Snapshot, jobs: &BTreeMap<TableName, Job>) -> Manifest {
        let dir = parts_dir(&self.dir);
        let tables = base.tables.iter().map(|(key, version)| {
            let job = jobs.get(key);
            let replaced = |part: &Arc<Part>| job.is_some_and(|j| j.replaced.iter().any(|r| r.id == part.id));
            let kept = version.parts.iter().filter(|part| !replaced(part));
            let parts = kept.chain(job.and_then(|j| j.part.as_ref())).map(|part| PartEntry::of(part, &dir));
            // A table without hot rows behind its part is flushed up to here.
            let flushed = job.is_some_and(|j| j.batches == version.hot.len());
            TableEntry {
                schema: nowcast_model::TableSchema::clone(&version.schema),
                flushed_to: if flushed { base.position } else { version.flushed_to },
                replay_from: if flushed { base.position } else { version.replay_from },
                parts: parts.collect(),
            }
        });
        let schemas = base.schemas.iter().cloned().collect();
        Manifest::new(base.position, flushing.next_part, self.clock.now_us(), schemas, tables.collect())
    }

    /// Merges the small parts of each table that has many. Bounded by [`COMPACT_ROWS_MAX`] a merge, smallest
    /// parts first, so that a row is copied a few times in its life.
    fn compact(&self, flushing: &mut Flushing) -> Result<(), StoreError> {
        let base = self.snapshot();
        let mut jobs = BTreeMap::new();
        for (key, version) in &base.tables {
            let mut small: Vec<&Arc<Part>> =
                version.parts.iter().filter(|part| part.rows < self.options.small_part_rows).collect();
            if small.len() <= self.options.small_parts_max {
                continue;
            }
            small.sort_unstable_by_key(|part| (part.rows, part.id));
            let mut rows = 0;
            let fits = |part: &&&Arc<Part>| {
                rows += part.rows;
                rows <= COMPACT_ROWS_MAX
            };
            let replaced: Vec<Arc<Part>> =
                small.iter().take_while(fits).map(|part| Arc::clone(part)).collect();
            if replaced.len() < 2 {
                continue;
            }
            let all: Vec<usize> = (0..version.schema.columns.len()).collect();
            let mut batches = Vec::new();
            for part in &replaced {
                for rows in part.read(&version.schema, &all)? {
                    batches.push(rows?);
                }
            }
            let part =
                if batches.is_empty() { None } else { Some(self.write_part(flushing, version, &batches)?) };
            jobs.insert(key.clone(), Job { base: version.clone(), batches: 0, replaced, part });
        }
        if jobs.is_empty() {
            return Ok(());
        }
        self.commit(flushing, &base, &jobs)
    }

    #[cfg(test)]
    fn point(&self, name: &'static str) -> Result<(), StoreError> {
        let mut hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner);
        if hook.as_mut().is_some_and(|hook| hook(name)) { Err(StoreError::Injected(name)) } else { Ok(()) }
    }

    /// Where tests let a flush fail, or records come in its middle.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests have another body")]
    fn point(&self, _name: &'static str) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Exchanges what the job wrote for what it was written from. `version` has had nothing but appends since.
fn install(version: &mut TableVersion, job: &Job, position: Offset) {
    // A partition dropped since may have masked or removed a part: then the merged one is out of date.
    let unchanged = |old: &Arc<Part>| version.parts.iter().any(|part| Arc::ptr_eq(part, old));
    if !job.replaced.iter().all(unchanged) {
        return;
    }
    version.parts.retain(|part| !job.replaced.iter().any(|old| old.id == part.id));
    version.parts.extend(job.part.clone());
    if job.batches > 0 {
        version.hot = version.hot.without_first(job.batches);
    }
    if job.batches == job.base.hot.len() {
        version.flushed_to = version.flushed_to.max(position);
        version.replay_from = version.replay_from.max(position);
    }
}

/// The snapshot that a flush writes, and the tables that it writes hot rows of.
struct Frozen {
    snapshot: Snapshot,
    chosen: Vec<TableName>,
}
