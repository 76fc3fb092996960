//! Hot rows into parts, while apply goes on.
//!
//! 1. **Freeze**, under the publishing lock: the hot rows of the chosen tables stop merging with what comes.
//!    The snapshot `base` of that moment is what is written.
//! 2. **Write** a part per table (tmp, sync, rename, sync of the directory). No lock that anybody else waits for.
//! 3. **Commit** (see `commit`): the manifest names the parts, and a snapshot has them in the place of the rows.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use arrow::array::RecordBatch;
use nowcast_model::{Offset, TableName};

use crate::{
    Part, Snapshot, Store, StoreError, TableVersion,
    commit::{Flushing, Job},
    many_valued,
    sorted::write_sorted,
};

impl Store {
    /// Writes hot rows into parts and switches the manifest. The offset is the one below which the log is not
    /// needed. Any thread but apply's; a second caller waits for the first.
    ///
    /// Unless `all`, only the largest tables are written, those that hold most of the hot bytes; the others
    /// stay hot and keep the log that they need.
    ///
    /// # Errors
    /// If a file cannot be written. The tables are as they were; a later flush tries again.
    pub fn flush(&self, all: bool) -> Result<Offset, StoreError> {
        let mut flushing = self.flushing();
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

    fn write_hot(
        &self,
        flushing: &mut Flushing,
        version: &TableVersion,
        batches: &[RecordBatch],
    ) -> Result<Arc<Part>, StoreError> {
        let many_valued = many_valued::of_batches(&version.schema, batches);
        let mut writer = self.begin_part(version, &many_valued)?;
        write_sorted(&mut writer, &version.schema, &version.stored, batches)?;
        self.point("part written")?;
        let part = Arc::new(writer.finish()?);
        self.know_parts(flushing, &version.schema.name.key(), std::slice::from_ref(&part), true)?;
        Ok(part)
    }
}

/// The snapshot that a flush writes, and the tables that it writes hot rows of.
struct Frozen {
    snapshot: Snapshot,
    chosen: Vec<TableName>,
}
