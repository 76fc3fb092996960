//! What was written becomes the store's: the manifest names it, and readers see it.
//!
//! 1. **Manifest**: a snapshot `base` with the new parts, replaced atomically. After a flush the log below
//!    `base.position` is not needed for its tables.
//! 2. **Install**, under the publishing lock: a table's frozen rows, or the parts that were merged, are exchanged
//!    for the new parts in one snapshot, so a reader sees each row once. A table whose hot rows went away since
//!    `base` (TRUNCATE, a dropped partition, a new table of that name: another `generation`) keeps what it has;
//!    the manifest is right all the same, because the log behind it is replayed over it, and the next flush
//!    writes the table anew.
//!
//! One commit at a time: whoever commits holds [`Flushing`]. A crash before 1 leaves files that no manifest
//! names: the next open removes them. A crash after 1 loses nothing but memory. Files that neither the manifest
//! nor the current snapshot names any more are removed when the last reader lets go.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
};

use nowcast_disk::write_durably;
use nowcast_model::{Offset, TableName, TableSchema};

use crate::{
    Part, Snapshot, Store, StoreError, TableVersion,
    manifest::{Manifest, PartEntry, TableEntry},
    part::{PartFile, PartWriter},
    store::parts_dir,
    upsert::seqs,
};

/// Times that a merge looks for rows taken out of its parts meanwhile, before it is put off.
const SETTLE_TRIES: usize = 5;

/// What whoever commits knows.
#[derive(Default)]
pub(crate) struct Flushing {
    /// The position of the last manifest of this process.
    pub(crate) saved: Option<Offset>,
    /// Files that the manifest or the current snapshot names, by part.
    files: BTreeMap<u64, Arc<PartFile>>,
    /// Files of dead rows that the manifest names, by part.
    dead: BTreeMap<u64, PathBuf>,
    /// Files of dead rows that were written for a manifest that was not.
    dead_unnamed: BTreeSet<PathBuf>,
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
pub(crate) struct Job {
    pub(crate) base: Arc<TableVersion>,
    /// Batches of `base.hot` that the parts hold.
    pub(crate) batches: usize,
    /// Parts of `base` that the new ones replace.
    pub(crate) replaced: Vec<Arc<Part>>,
    pub(crate) parts: Vec<Arc<Part>>,
}

impl Job {
    pub(crate) fn replaces(&self, part: &Part) -> bool {
        self.replaced.iter().any(|old| old.id == part.id)
    }
}

impl Flushing {
    /// Takes note of a part that the manifest names.
    pub(crate) fn found(&mut self, part: &Part) {
        self.know(part);
        if !part.dead.is_empty() {
            self.dead.insert(part.id, part.dead_path());
        }
    }

    /// Takes note of a part that a manifest is to name.
    fn know(&mut self, part: &Part) {
        part.file.keep();
        self.files.insert(part.id, part.file.clone());
    }
}

impl Store {
    /// The lock of whoever commits.
    pub(crate) fn flushing(&self) -> MutexGuard<'_, Flushing> {
        // A panic in an earlier flush left at worst files that no manifest names.
        self.flushing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the next part of a table.
    pub(crate) fn begin_part(
        &self,
        version: &TableVersion,
        many_valued: &[usize],
    ) -> Result<PartWriter, StoreError> {
        let id = self.next_part.fetch_add(1, Ordering::Relaxed);
        let key = version.schema.name.key();
        // A dot is in no name, so this is one directory for one table.
        let dir = parts_dir(&self.dir).join(format!("{}.{}", key.schema, key.table));
        PartWriter::create(&self.files, &dir, id, &version.schema, many_valued)
    }

    /// Takes note of parts that are complete under their names: from here on they are kept.
    pub(crate) fn know_parts(
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

    /// See the module. True if every job was installed.
    pub(crate) fn commit(
        &self,
        flushing: &mut Flushing,
        base: &Snapshot,
        jobs: &BTreeMap<TableName, Job>,
    ) -> Result<bool, StoreError> {
        let manifest = self.manifest(base, jobs);
        let dead = self.save_dead(flushing, base, jobs)?;
        manifest.save(&self.files.disk, &self.dir)?;
        flushing.saved = Some(base.position);
        let named: BTreeSet<&PathBuf> = dead.values().collect();
        let old = std::mem::take(&mut flushing.dead).into_values();
        for path in old.chain(std::mem::take(&mut flushing.dead_unnamed)).filter(|path| !named.contains(path))
        {
            // If it stays, the next open removes it.
            let _ = self.files.disk.remove(&path);
        }
        flushing.dead = dead;
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
        flushing: &mut Flushing,
        base: &Snapshot,
        jobs: &BTreeMap<TableName, Job>,
    ) -> Result<BTreeMap<u64, PathBuf>, StoreError> {
        let mut files = BTreeMap::new();
        for (key, version) in &base.tables {
            let parts = parts_after(version, jobs.get(key));
            for part in parts.filter(|part| !part.dead.is_empty()) {
                let path = part.dead_path();
                if flushing.dead.get(&part.id) != Some(&path) {
                    flushing.dead_unnamed.insert(path.clone());
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
                version.parts.retain(|part| !job.replaces(part));
                version.parts.extend(parts);
                if job.batches > 0 {
                    version.hot = version.hot.without_first(job.batches);
                }
                if job.batches == job.base.hot.len() {
                    version.flushed_to = version.flushed_to.max(position);
                    version.replay_from = version.replay_from.max(position);
                    let flushed = TableSchema::clone(&job.base.schema);
                    version.flushed_schema =
                        Arc::new(TableSchema { name: version.schema.name.clone(), ..flushed });
                    version.former.retain(|(_, until)| *until > position);
                }
                self.publish(&publishing, next);
                return Ok(true);
            }
            drop(publishing);
            bury(&mut parts, &job.base.schema, &missing)?;
            buried.extend(missing);
        }
        tracing::debug!(table = %key, "rows go faster than they are merged; it is tried again later");
        Ok(false)
    }

    fn manifest(&self, base: &Snapshot, jobs: &BTreeMap<TableName, Job>) -> Manifest {
        let dir = parts_dir(&self.dir);
        let tables = base.tables.iter().map(|(key, version)| {
            let job = jobs.get(key);
            let parts = parts_after(version, job).map(|part| PartEntry::of(part, &dir));
            // A table without hot rows behind its part is flushed up to here.
            let flushed = job.is_some_and(|j| j.batches == version.hot.len());
            // What is replayed finds the table as it was.
            let schema = if flushed { &version.schema } else { &version.flushed_schema };
            let former = version.former.iter().filter(|_| !flushed);
            TableEntry {
                schema: TableSchema::clone(schema),
                flushed_to: if flushed { base.position } else { version.flushed_to },
                replay_from: if flushed { base.position } else { version.replay_from },
                former: former.cloned().collect(),
                parts: parts.collect(),
            }
        });
        let schemas = base.schemas.iter().cloned().collect();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).before(base.position);
        Manifest::new(
            base.position,
            self.next_part.load(Ordering::Relaxed),
            self.clock.now_us(),
            schemas,
            base.defaults.clone(),
            seen,
            tables.collect(),
        )
    }

    #[cfg(test)]
    pub(crate) fn point(&self, name: &'static str) -> Result<(), StoreError> {
        let hook = || self.hook.lock().unwrap_or_else(PoisonError::into_inner);
        // Not held while it runs: it may flush.
        let Some(mut run) = hook().take() else { return Ok(()) };
        let fails = run(name);
        hook().get_or_insert(run);
        if fails { Err(StoreError::Injected(name)) } else { Ok(()) }
    }

    /// Where tests let a flush fail, or records come in its middle.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests have another body")]
    pub(crate) fn point(&self, _name: &'static str) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The table's parts once the job is done.
fn parts_after<'a>(version: &'a TableVersion, job: Option<&'a Job>) -> impl Iterator<Item = &'a Arc<Part>> {
    let is_replaced = move |part: &&Arc<Part>| job.is_some_and(|job| job.replaces(part));
    let kept = version.parts.iter().filter(move |part| !is_replaced(part));
    kept.chain(job.into_iter().flat_map(|job| &job.parts))
}

/// Marks the rows of `seqs` as dead in the parts that hold them.
pub(crate) fn bury(parts: &mut [Arc<Part>], schema: &TableSchema, seqs: &[u64]) -> Result<(), StoreError> {
    if seqs.is_empty() {
        return Ok(());
    }
    for part in parts {
        let here = part.holds(schema, seqs)?;
        if !here.is_empty() {
            Arc::make_mut(part).bury(here);
        }
    }
    Ok(())
}

/// The rows among those that the job wrote that were taken out one by one since; `None` if more happened to
/// the table.
pub(crate) fn rows_gone(version: &TableVersion, job: &Job) -> Option<Vec<u64>> {
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
