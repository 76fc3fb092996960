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
    path::PathBuf,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use arrow::array::RecordBatch;
use nowcast_disk::write_durably;
use nowcast_model::{Offset, TableName, TableSchema};

use crate::{
    Part, PartRows, Snapshot, Store, StoreError, TableVersion, compact,
    manifest::{Manifest, PartEntry, TableEntry},
    many_valued,
    merge::merge,
    part::{PartFile, PartWriter},
    sorted::write_sorted,
    split::Splitter,
    store::parts_dir,
    upsert::seqs,
};

/// Times that a merge looks for rows taken out of its parts meanwhile, before it is put off.
const SETTLE_TRIES: usize = 5;

/// What the flush thread knows.
pub(crate) struct Flushing {
    next_part: u64,
    /// The position of the last manifest of this process.
    saved: Option<Offset>,
    /// Files that the manifest or the current snapshot names, by part.
    files: BTreeMap<u64, Arc<PartFile>>,
    /// Files of dead rows that the manifest names, by part.
    dead: BTreeMap<u64, PathBuf>,
}

/// Bytes of a table's parts that were written since the start. Their sum by the first is the write
/// amplification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// From hot rows.
    pub flushed_bytes: u64,
    /// From other parts.
    pub merged_bytes: u64,
}

/// What a table gets: parts for its frozen rows, or for some of its parts.
struct Job {
    base: Arc<TableVersion>,
    /// Batches of `base.hot` that the parts hold.
    batches: usize,
    /// Parts of `base` that the new ones replace.
    replaced: Vec<Arc<Part>>,
    parts: Vec<Arc<Part>>,
}

impl Flushing {
    pub(crate) fn new(next_part: u64) -> Flushing {
        Flushing { next_part, saved: None, files: BTreeMap::new(), dead: BTreeMap::new() }
    }

    pub(crate) fn know(&mut self, part: &Part) {
        part.file.keep();
        self.files.insert(part.id, part.file.clone());
        if !part.dead.is_empty() {
            self.dead.insert(part.id, part.dead_path());
        }
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
            let parts = match version.hot.is_empty() {
                true => Vec::new(),
                false => vec![self.write_hot(&mut flushing, version, &batches)?],
            };
            let (base, batches, replaced) = (version.clone(), batches.len(), Vec::new());
            jobs.insert(key.clone(), Job { base, batches, replaced, parts });
        }
        let dropped = self.parts_dropped.swap(false, Ordering::Relaxed);
        if dropped
            || flushing.saved != Some(base.snapshot.position)
            || jobs.values().any(|job| !job.parts.is_empty())
        {
            let committed = self.commit(&mut flushing, &base.snapshot, &jobs);
            if committed.is_err() && dropped {
                self.parts_dropped.store(true, Ordering::Relaxed);
            }
            committed?;
        }
        // Hot rows that are due go first: whoever writes waits for them.
        while !self.needs_flush() && self.compact(&mut flushing)? {}
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

    /// Begins the next part of a table.
    fn begin_part(
        &self,
        flushing: &mut Flushing,
        version: &TableVersion,
        many_valued: &[usize],
    ) -> Result<PartWriter, StoreError> {
        let id = flushing.next_part;
        flushing.next_part += 1;
        let key = version.schema.name.key();
        // A dot is in no name, so this is one directory for one table.
        let dir = parts_dir(&self.dir).join(format!("{}.{}", key.schema, key.table));
        PartWriter::create(&self.files, &dir, id, &version.schema, many_valued)
    }

    /// Takes note of parts that are complete under their names.
    fn finish_parts(
        &self,
        flushing: &mut Flushing,
        key: &TableName,
        parts: &[Arc<Part>],
        is_flush: bool,
    ) -> Result<(), StoreError> {
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        {
            let mut all = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            let written = all.entry(key.clone()).or_default();
            *(if is_flush { &mut written.flushed_bytes } else { &mut written.merged_bytes }) += bytes;
        }
        parts.iter().for_each(|part| flushing.know(part));
        self.point("part renamed")
    }

    fn write_hot(
        &self,
        flushing: &mut Flushing,
        version: &TableVersion,
        batches: &[RecordBatch],
    ) -> Result<Arc<Part>, StoreError> {
        let many_valued = many_valued::of_batches(&version.schema, batches);
        let mut writer = self.begin_part(flushing, version, &many_valued)?;
        write_sorted(&mut writer, &version.schema, &version.stored, batches)?;
        self.point("part written")?;
        let part = Arc::new(writer.finish()?);
        self.finish_parts(flushing, &version.schema.name.key(), std::slice::from_ref(&part), true)?;
        Ok(part)
    }

    /// Steps 3 and 4. True if every job was installed.
    fn commit(
        &self,
        flushing: &mut Flushing,
        base: &Snapshot,
        jobs: &BTreeMap<TableName, Job>,
    ) -> Result<bool, StoreError> {
        let manifest = self.manifest(flushing, base, jobs);
        let dead = self.save_dead(flushing, base, jobs)?;
        manifest.save(&self.files.disk, &self.dir)?;
        flushing.saved = Some(base.position);
        for (id, path) in std::mem::replace(&mut flushing.dead, dead) {
            // If it stays, the next open removes it.
            if flushing.dead.get(&id) != Some(&path) {
                let _ = self.files.disk.remove(&path);
            }
        }
        self.point("manifest switched")?;
        let mut all_installed = true;
        for (key, job) in jobs {
            all_installed &= self.install(key, job, base.position)?;
        }
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
        Ok(all_installed)
    }

    /// Writes which rows of the parts that the manifest will name are dead, unless a file says so already: a
    /// part's dead rows only become more, so their number names them.
    fn save_dead(
        &self,
        flushing: &Flushing,
        base: &Snapshot,
        jobs: &BTreeMap<TableName, Job>,
    ) -> Result<BTreeMap<u64, PathBuf>, StoreError> {
        let mut files = BTreeMap::new();
        for (key, version) in &base.tables {
            let job = jobs.get(key);
            for part in version.parts.iter().filter(|part| !part.dead.is_empty()) {
                if job.is_some_and(|job| job.replaced.iter().any(|old| old.id == part.id)) {
                    continue;
                }
                let path = part.dead_path();
                if flushing.dead.get(&part.id) != Some(&path) {
                    let write = write_durably(&self.files.disk, &path, &part.dead.encode());
                    write.map_err(StoreError::io("write", &path))?;
                    self.point("dead rows written")?;
                }
                files.insert(part.id, path);
            }
        }
        Ok(files)
    }

    /// Exchanges what the job wrote for what it was written from, which has had nothing but appends, and rows
    /// taken out one by one, since. False if more than that happened: the table keeps what it has.
    ///
    /// Rows that were taken out since are dead in the new parts; in which of them, only the files say. They
    /// are asked without the lock, and asked again if more rows have gone meanwhile.
    fn install(&self, key: &TableName, job: &Job, position: Offset) -> Result<bool, StoreError> {
        let (mut parts, mut buried) = (job.parts.clone(), BTreeSet::new());
        for _ in 0..SETTLE_TRIES {
            let publishing = self.publishing();
            let mut next = Snapshot::clone(&self.current.load());
            let Some(version) = next.tables.get_mut(key) else { return Ok(false) };
            let Some(gone) = rows_gone(version, job) else { return Ok(false) };
            let missing: Vec<u64> = gone.into_iter().filter(|seq| !buried.contains(seq)).collect();
            if missing.is_empty() {
                let version = Arc::make_mut(version);
                version.parts.retain(|part| !job.replaced.iter().any(|old| old.id == part.id));
                version.parts.extend(parts);
                if job.batches > 0 {
                    version.hot = version.hot.without_first(job.batches);
                }
                if job.batches == job.base.hot.len() {
                    version.flushed_to = version.flushed_to.max(position);
                    version.replay_from = version.replay_from.max(position);
                    version.flushed_keys.clone_from(&job.base.schema.dedup_keys);
                }
                self.publish(&publishing, next);
                return Ok(true);
            }
            drop(publishing);
            for part in &mut parts {
                let here = part.holds(&job.base.schema, &missing)?;
                if !here.is_empty() {
                    Arc::make_mut(part).bury(here);
                }
            }
            buried.extend(missing);
        }
        tracing::debug!(table = %key, "rows go faster than they are merged; it is tried again later");
        Ok(false)
    }

    fn manifest(&self, flushing: &Flushing, base: &Snapshot, jobs: &BTreeMap<TableName, Job>) -> Manifest {
        let dir = parts_dir(&self.dir);
        let tables = base.tables.iter().map(|(key, version)| {
            let job = jobs.get(key);
            let replaced = |part: &Arc<Part>| job.is_some_and(|j| j.replaced.iter().any(|r| r.id == part.id));
            let kept = version.parts.iter().filter(|part| !replaced(part));
            let parts =
                kept.chain(job.into_iter().flat_map(|j| &j.parts)).map(|part| PartEntry::of(part, &dir));
            // A table without hot rows behind its part is flushed up to here.
            let flushed = job.is_some_and(|j| j.batches == version.hot.len());
            let mut schema = TableSchema::clone(&version.schema);
            if !flushed {
                schema.dedup_keys.clone_from(&version.flushed_keys);
            }
            TableEntry {
                schema,
                flushed_to: if flushed { base.position } else { version.flushed_to },
                replay_from: if flushed { base.position } else { version.replay_from },
                parts: parts.collect(),
            }
        });
        let schemas = base.schemas.iter().cloned().collect();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).before(base.position);
        Manifest::new(base.position, flushing.next_part, self.clock.now_us(), schemas, seen, tables.collect())
    }

    /// One merge for each table that is due for one; true if there may be more to do.
    fn compact(&self, flushing: &mut Flushing) -> Result<bool, StoreError> {
        let base = self.snapshot();
        let mut jobs = BTreeMap::new();
        for (key, version) in &base.tables {
            let replaced = compact::choose(version, &self.options);
            if replaced.is_empty() {
                continue;
            }
            let all: Vec<usize> = (0..version.schema.columns.len()).collect();
            let inputs: Vec<PartRows> =
                replaced.iter().map(|part| part.read(&version.schema, &all)).collect::<Result<_, _>>()?;
            let many_valued = many_valued::of_parts(&replaced)?;
            let mut begin = || self.begin_part(flushing, version, &many_valued);
            let mut splitter = Splitter::new(&version.schema, self.options.own_part_rows_min, &mut begin);
            merge(&version.schema, &version.stored, inputs, &mut |rows| splitter.write(rows))?;
            self.point("part written")?;
            let parts = splitter.finish()?;
            self.finish_parts(flushing, key, &parts, false)?;
            jobs.insert(key.clone(), Job { base: version.clone(), batches: 0, replaced, parts });
        }
        if jobs.is_empty() {
            return Ok(false);
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

/// The rows among those that the job wrote that were taken out one by one since; `None` if more happened to
/// the table.
fn rows_gone(version: &TableVersion, job: &Job) -> Option<Vec<u64>> {
    if version.generation != job.base.generation {
        return None;
    }
    let mut gone = Vec::new();
    for (written, now) in job.base.hot.iter().zip(&version.hot).take(job.batches) {
        if written.num_rows() > now.num_rows() {
            let left = seqs(now);
            gone.extend(seqs(written).iter().copied().filter(|seq| left.binary_search(seq).is_err()));
        }
    }
    for old in &job.replaced {
        // A partition dropped since may have masked or removed a part: then the merged one is out of date.
        let now = version.parts.iter().find(|part| part.id == old.id)?;
        if now.visible_from_us != old.visible_from_us {
            return None;
        }
        if now.dead.len() > old.dead.len() {
            gone.extend(now.dead.iter().filter(|&seq| !old.dead.contains(seq)));
        }
    }
    Some(gone)
}

/// The snapshot that a flush writes, and the tables that it writes hot rows of.
struct Frozen {
    snapshot: Snapshot,
    chosen: Vec<TableName>,
}
