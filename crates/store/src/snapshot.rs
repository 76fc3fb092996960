//! What readers see: the whole catalogue at one position, immutable.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::datatypes::SchemaRef;
use nowcast_model::{Offset, TableName, TableSchema, name_key};

use crate::{Hot, Part, StoreError};

/// All tables at one position. Reading one holds nothing up; parts that it names stay on disk while it lives.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The end of the last record in it: what comes next begins here.
    pub position: Offset,
    /// The tables by [`TableName::key`].
    pub tables: BTreeMap<TableName, Arc<TableVersion>>,
    /// The schemas, `public` always among them.
    pub schemas: BTreeSet<String>,
    /// What session variables are at the beginning of a session; names in lower case.
    pub defaults: BTreeMap<String, String>,
}

impl Snapshot {
    /// The table called `name`, matched without case.
    pub fn table(&self, name: &TableName) -> Option<&Arc<TableVersion>> {
        self.tables.get(name).or_else(|| self.tables.get(&name.key()))
    }

    /// True if there is a schema called `name`, matched without case.
    pub fn has_schema(&self, name: &str) -> bool {
        self.schemas.contains(name) || self.schemas.iter().any(|s| name_key(s) == name_key(name))
    }
}

pub(crate) fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A table at one position: each row is in `hot` or in exactly one of `parts`.
#[derive(Debug, Clone)]
pub struct TableVersion {
    /// What the table looks like.
    pub schema: Arc<TableSchema>,
    /// [`TableSchema::stored`] of `schema`, shared by all of `hot`.
    pub stored: SchemaRef,
    /// Rows not in a part yet, in stored form, ascending by `_seq`.
    pub hot: Hot,
    /// Rows on disk. Parts overlap in time.
    pub parts: Vec<Arc<Part>>,
    /// The earliest time of any row, or an earlier one if rows were dropped since.
    pub oldest_us: Option<i64>,
    /// The latest time of any row, or a later one if rows were dropped since.
    pub newest_us: Option<i64>,
    /// What the log holds below this is in `parts`.
    pub flushed_to: Offset,
    /// What the table looked like at `flushed_to`, but for its name: what is replayed from there was written to that.
    pub(crate) flushed_schema: Arc<TableSchema>,
    /// What the table was called (by its key), and the offset from which on it was not any more; in their order, those
    /// that what lies behind `flushed_to` may have been written under.
    pub(crate) former: Vec<(TableName, Offset)>,
    /// Where replay for this table begins: `flushed_to`, or the beginning of the record that made the table.
    pub(crate) replay_from: Offset,
    /// Names the set of rows up to appends: another one whenever hot rows
    /// go away, so that a flush knows that what it wrote is out of date. Unique in the process.
    pub(crate) generation: u64,
}

impl TableVersion {
    pub(crate) fn new(schema: Arc<TableSchema>, flushed_to: Offset, replay_from: Offset) -> TableVersion {
        TableVersion {
            stored: Arc::new(schema.stored()),
            flushed_schema: schema.clone(),
            former: Vec::new(),
            schema,
            hot: Hot::default(),
            parts: Vec::new(),
            oldest_us: None,
            newest_us: None,
            flushed_to,
            replay_from,
            generation: next_generation(),
        }
    }

    /// Rows in all.
    pub fn rows(&self) -> u64 {
        self.hot.rows() as u64 + self.parts.iter().map(|part| part.rows).sum::<u64>()
    }

    /// Bytes in memory (estimated) and on disk.
    pub fn bytes(&self) -> u64 {
        self.hot.bytes() as u64 + self.parts.iter().map(|part| part.bytes).sum::<u64>()
    }

    /// Widens the known range of times by that of `times`.
    pub(crate) fn note_times(&mut self, min_us: Option<i64>, max_us: Option<i64>) {
        self.oldest_us = self.oldest_us.into_iter().chain(min_us).min();
        self.newest_us = self.newest_us.into_iter().chain(max_us).max();
    }

    /// Every row in stored form: parts first, then hot ones. One batch at a time is in memory.
    pub fn scan(&self) -> impl Iterator<Item = Result<arrow::array::RecordBatch, StoreError>> + '_ {
        let all: Vec<usize> = (0..self.schema.columns.len()).collect();
        let parts = self.parts.iter().flat_map(move |part| match part.read(&self.schema, &all) {
            Ok(rows) => Box::new(rows) as Box<dyn Iterator<Item = _>>,
            Err(error) => Box::new(std::iter::once(Err(error))),
        });
        parts.chain(self.hot.iter().map(|batch| Ok(batch.clone())))
    }
}
