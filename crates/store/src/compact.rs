//! Small parts into larger ones, while rows are applied and flushed.
//!
//! ```text
//! choose ─► merge (minutes, no lock that a flush waits for) ─► settle ─► commit
//!              └─ given up: the files go
//! ```
//!
//! What happens meanwhile, and what becomes of the merge:
//!
//! | | |
//! |---|---|
//! | rows come, parts are flushed | nothing to it: the commit is made from the snapshot of its own moment |
//! | an upsert replaces rows of the parts | they are dead in the new parts too: *settle* |
//! | TRUNCATE, DROP, a dropped partition | the merge is given up; its files go |
//! | the caller stops | the merge is given up; its files go |
//! | a file cannot be read or written | an error; the other tables are merged all the same |

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, PoisonError},
};

use nowcast_model::TableName;

use crate::{
    Part, Store, StoreError, TableVersion,
    choose::choose,
    commit::{Job, bury, rows_gone},
    many_valued,
    merge::merge,
    split::Splitter,
};

/// Whether a merge goes on: asked before each batch of some thousand rows. It may wait before it answers.
pub type GoOn<'a> = &'a mut dyn FnMut() -> ControlFlow<()>;

impl Store {
    /// One merge for each table that is due for one. True if parts were merged: there may be more to do. Any
    /// thread; a second caller waits for the first. Flushes go on meanwhile.
    ///
    /// # Errors
    /// The first of the tables', if a part cannot be read or written. That table is as it was.
    pub fn compact(&self, go_on: GoOn<'_>) -> Result<bool, StoreError> {
        // A panic in an earlier merge left at worst files that no manifest names.
        let _one_at_a_time = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let base = self.snapshot();
        let (mut merged, mut failed) = (false, None);
        for (key, version) in &base.tables {
            let replaced = choose(version, &self.options);
            if replaced.is_empty() {
                continue;
            }
            match self.compact_table(key, version, replaced, go_on) {
                Ok(Some(is_merged)) => merged |= is_merged,
                Ok(None) => break,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(merged), Err)
    }

    /// `None` if the caller stops; false if the table changed too much meanwhile.
    fn compact_table(
        &self,
        key: &TableName,
        version: &Arc<TableVersion>,
        replaced: Vec<Arc<Part>>,
        go_on: GoOn<'_>,
    ) -> Result<Option<bool>, StoreError> {
        let Some(parts) = self.merge_parts(version, &replaced, go_on)? else { return Ok(None) };
        self.point("parts merged")?;
        let mut job = Job { base: version.clone(), batches: 0, replaced, parts };
        // The most of it before a flush has to wait for it.
        if !settle(&mut job, self.snapshot().tables.get(key))? {
            return Ok(Some(false));
        }
        let mut flushing = self.flushing();
        let base = self.snapshot();
        if !settle(&mut job, base.tables.get(key))? {
            return Ok(Some(false));
        }
        self.know_parts(&mut flushing, key, &job.parts, false)?;
        self.commit(&mut flushing, &base, &BTreeMap::from([(key.clone(), job)])).map(Some)
    }

    /// The rows of the parts in new ones, durable under their names; `None` if the caller stops.
    fn merge_parts(
        &self,
        version: &TableVersion,
        replaced: &[Arc<Part>],
        go_on: GoOn<'_>,
    ) -> Result<Option<Vec<Arc<Part>>>, StoreError> {
        let many_valued = many_valued::of_parts(&version.schema, replaced)?;
        let mut begin = || self.begin_part(version, &many_valued);
        let mut splitter = Splitter::new(&version.schema, self.options.own_part_rows_min, &mut begin);
        let ended = merge(&version.schema, &version.stored, replaced, &mut |rows| {
            if go_on().is_break() {
                return Ok(ControlFlow::Break(()));
            }
            splitter.write(rows).map(ControlFlow::Continue)
        })?;
        if ended.is_break() {
            return Ok(None);
        }
        splitter.finish().map(Some)
    }
}

/// Brings the job up to `now`: rows that were taken out of the replaced parts one by one are dead in the new
/// ones. False if more than that happened to the table.
fn settle(job: &mut Job, now: Option<&Arc<TableVersion>>) -> Result<bool, StoreError> {
    let Some(now) = now else { return Ok(false) };
    let Some(gone) = rows_gone(now, job) else { return Ok(false) };
    bury(&mut job.parts, &now.schema, &gone)?;
    job.replaced = now.parts.iter().filter(|part| job.replaces(part)).cloned().collect();
    job.base = now.clone();
    Ok(true)
}
