//! The live table: what a view publishes, and the only thing that readers see of it.
//!
//! **For what.** A reader keeps one number, the version it has seen, and asks for the changes since. The first
//! snapshot is the changes since nothing; a reconnect is the changes since the cursor that the client kept; a
//! reader that was slow gets one merged change, because each row is stored once, with the version at which it
//! last changed.
//!
//! **State.** `entries` maps a key to its row and version; a deleted key stays as a *tombstone* (no row).
//! `journal` lists `(version, key)` in the order of change, so that a reader at the head looks at what changed
//! since and never at the whole table. A key that changes again leaves its old journal line behind, which is
//! recognised as stale because the entry's version differs; once half of the journal may be stale it is swept,
//! so its length stays below twice the entries and the cost of sweeping is constant per change.
//!
//! **How a write goes.** [`LiveTable::advance`] opens a moment; `upsert`, `delete` or `replace` change rows in
//! it. A row that is written as it already stands is no change.
//!
//! **How a read goes.** Walk the journal backwards down to the cursor and take the lines that are not stale.
//!
//! **What bounds it.** Rows by the view (`rows_max`), tombstones by count and age. When a tombstone of version
//! `v` is forgotten the *horizon* rises to `v`: a cursor below it can no longer learn what was deleted and gets
//! everything as a snapshot, said aloud. The horizon begins at the version at which the table first had
//! content, so a cursor from before gets a snapshot, too.

use std::{cmp::Ordering, collections::VecDeque, sync::Arc};

use ahash::AHashMap;
use nowcast_model::{ColumnType, Value, Version};

use crate::{Direction, ViewLimits};

/// A row, in the order of [`LiveSchema::columns`].
pub type Row = Arc<[Value]>;

/// A row's key, in the order of [`LiveSchema::key`].
pub type Key = Arc<[Value]>;

/// A column of a live table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveColumn {
    /// The name as the query gives it.
    pub name: Arc<str>,
    /// The type.
    pub ty: ColumnType,
    /// True for a column that only orders or identifies rows.
    pub hidden: bool,
}

impl LiveColumn {
    /// A visible column.
    pub fn new(name: &str, ty: ColumnType) -> LiveColumn {
        LiveColumn { name: name.into(), ty, hidden: false }
    }

    /// A hidden column.
    pub fn hidden(name: &str, ty: ColumnType) -> LiveColumn {
        LiveColumn { name: name.into(), ty, hidden: true }
    }
}

/// What a live table looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSchema {
    /// The columns, hidden ones included.
    pub columns: Vec<LiveColumn>,
    /// Indices of the columns that identify a row; empty if there is only ever one row.
    pub key: Vec<usize>,
    /// How to order rows; ties go by key, ascending.
    pub order: Vec<(usize, Direction)>,
    /// The query's own limit.
    pub limit: Option<usize>,
}

impl LiveSchema {
    /// The key of `row`.
    pub fn key_of(&self, row: &[Value]) -> Key {
        self.key.iter().map(|&column| row[column].clone()).collect()
    }

    /// Which of two rows comes first: by `order`, then by key. Equal exactly for one key and equal order
    /// columns.
    pub fn compare(&self, a: &[Value], b: &[Value]) -> Ordering {
        for &(column, direction) in &self.order {
            let ordering = compare_nulls_last(&a[column], &b[column]);
            let ordering = if direction == Direction::Desc { ordering.reverse() } else { ordering };
            if ordering != Ordering::Equal {
                return ordering;
            }
        }
        let mut keys = self.key.iter().map(|&column| a[column].cmp(&b[column]));
        keys.find(|&ordering| ordering != Ordering::Equal).unwrap_or(Ordering::Equal)
    }
}

/// [`Value`]'s order, but for NULL, which is greater than all.
fn compare_nulls_last(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        _ => a.cmp(b),
    }
}

/// What a reader needs in order to go from one version to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The cursor that it starts from; `None` in a snapshot.
    pub from: Option<Version>,
    /// The version that the reader has with these changes applied.
    pub to: Version,
    /// True if `upsert` is the whole table, and whatever the reader has must go first.
    pub snapshot: bool,
    /// Rows to put in place of those with the same key, in no particular order ([`Changes::sort`]).
    pub upsert: Vec<Row>,
    /// Keys of rows to drop. One that the reader never had is possible; it is to be ignored.
    pub delete: Vec<Key>,
    /// True if the table has more rows than `rows_max` and shows the first of them.
    pub truncated: bool,
}

impl Changes {
    /// Puts the rows in the schema's order, for those who read them as a list.
    pub fn sort(&mut self, schema: &LiveSchema) {
        self.upsert.sort_by(|a, b| schema.compare(a, b));
    }

    /// True if a reader at `from` has nothing to do but move its cursor.
    pub fn is_empty(&self) -> bool {
        !self.snapshot && self.upsert.is_empty() && self.delete.is_empty()
    }
}

#[derive(Debug)]
struct Entry {
    version: Version,
    /// `None`: a tombstone.
    row: Option<Row>,
}

/// What a view publishes. See the module's story.
#[derive(Debug)]
pub struct LiveTable {
    schema: Arc<LiveSchema>,
    rows_max: usize,
    tombstones_max: usize,
    tombstone_versions_max: u64,
    version: Version,
    horizon: Version,
    entries: AHashMap<Key, Entry>,
    rows: usize,
    journal: VecDeque<(Version, Key)>,
    /// Deletions in order; a line is stale if its key lives again or was deleted later.
    tombstones: VecDeque<(Version, Key)>,
    truncated: bool,
}

impl LiveTable {
    /// An empty table that begins at `version`: every cursor below it gets a snapshot.
    pub fn new(schema: Arc<LiveSchema>, version: Version, limits: &ViewLimits) -> LiveTable {
        LiveTable {
            schema,
            rows_max: limits.rows_max,
            tombstones_max: limits.tombstones_max,
            tombstone_versions_max: limits.tombstone_versions_max,
            version,
            horizon: version,
            entries: AHashMap::new(),
            rows: 0,
            journal: VecDeque::new(),
            tombstones: VecDeque::new(),
            truncated: false,
        }
    }

    /// What the table looks like.
    pub fn schema(&self) -> &Arc<LiveSchema> {
        &self.schema
    }

    /// The moment that it shows.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// True if the view has more rows than are shown.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// The rows, in no particular order.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.entries.values().filter_map(|entry| entry.row.as_ref())
    }

    /// Moves to a later moment, in which rows may change next. Earlier ones are ignored.
    pub fn advance(&mut self, version: Version) {
        self.version = self.version.max(version);
        self.forget();
    }

    /// Starts over as an empty table at `version`; every cursor below it gets a snapshot.
    pub fn restart(&mut self, version: Version) {
        self.entries.clear();
        self.journal.clear();
        self.tombstones.clear();
        self.rows = 0;
        self.version = self.version.max(version);
        self.horizon = self.version;
    }

    /// Says whether the view has more rows than are shown.
    pub fn set_truncated(&mut self, truncated: bool) {
        self.truncated = truncated;
    }

    /// Puts `row` in place of the one with its key. True if that changed anything.
    pub fn upsert(&mut self, row: Row) -> bool {
        let key = self.schema.key_of(&row);
        let version = self.version;
        match self.entries.get_mut(&key) {
            Some(Entry { row: Some(old), .. }) if *old == row => return false,
            Some(entry) => {
                self.rows += usize::from(entry.row.is_none());
                let noted = entry.version == version;
                *entry = Entry { version, row: Some(row) };
                if noted {
                    return true;
                }
            }
            None => {
                self.rows += 1;
                self.entries.insert(key.clone(), Entry { version, row: Some(row) });
            }
        }
        self.note(key);
        true
    }

    /// Drops the row with `key`. True if there was one.
    pub fn delete(&mut self, key: &[Value]) -> bool {
        let version = self.version;
        let Some((key, entry)) = self.entries.get_key_value(key).map(|(key, entry)| (key.clone(), entry))
        else {
            return false;
        };
        if entry.row.is_none() {
            return false;
        }
        let noted = entry.version == version;
        self.entries.insert(key.clone(), Entry { version, row: None });
        self.rows -= 1;
        self.tombstones.push_back((version, key.clone()));
        if !noted {
            self.note(key);
        }
        self.forget();
        true
    }

    /// Makes the table hold exactly `rows` at `version`, touching only what differs. Rows beyond `rows_max`
    /// are cut off by order, then key. Of two rows with one key the later counts. True if anything changed.
    pub fn replace(&mut self, version: Version, mut rows: Vec<Row>) -> bool {
        self.advance(version);
        self.truncated = rows.len() > self.rows_max;
        if self.truncated {
            let schema = Arc::clone(&self.schema);
            rows.sort_by(|a, b| schema.compare(a, b));
            rows.truncate(self.rows_max);
        }
        let keep: ahash::AHashSet<Key> = rows.iter().map(|row| self.schema.key_of(row)).collect();
        let gone: Vec<Key> = self
            .entries
            .iter()
            .filter(|(key, entry)| entry.row.is_some() && !keep.contains(*key))
            .map(|(key, _)| key.clone())
            .collect();
        let mut changed = false;
        for key in gone {
            changed |= self.delete(&key);
        }
        for row in rows {
            changed |= self.upsert(row);
        }
        changed
    }

    /// What a reader at `cursor` lacks; everything for `None`, for a cursor past the horizon of tombstones and
    /// for one from the future. Takes time in proportion to what changed since, or to the table for a
    /// snapshot.
    pub fn changes_since(&self, cursor: Option<Version>) -> Changes {
        let (to, truncated) = (self.version, self.truncated);
        let Some(cursor) = cursor.filter(|&c| c >= self.horizon && c <= self.version) else {
            let upsert = self.rows().cloned().collect();
            return Changes { from: None, to, snapshot: true, upsert, delete: Vec::new(), truncated };
        };
        let (mut upsert, mut delete) = (Vec::new(), Vec::new());
        for (version, key) in self.journal.iter().rev().take_while(|(version, _)| *version > cursor) {
            match self.entries.get(key) {
                Some(entry) if entry.version == *version => match &entry.row {
                    Some(row) => upsert.push(Arc::clone(row)),
                    None => delete.push(key.clone()),
                },
                _ => {}
            }
        }
        Changes { from: Some(cursor), to, snapshot: false, upsert, delete, truncated }
    }

    /// Bytes that it holds, by estimate.
    pub fn bytes(&self) -> usize {
        let cells = self.rows * self.schema.columns.len() * size_of::<Value>();
        cells + self.entries.capacity() * (size_of::<(Key, Entry)>() + 64) + self.journal.capacity() * 32
    }

    fn note(&mut self, key: Key) {
        self.journal.push_back((self.version, key));
        if self.journal.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.journal.retain(|(version, key)| entries.get(key).is_some_and(|e| e.version == *version));
        }
    }

    /// Forgets tombstones that are too many or too old. Takes constant time for each deletion that was.
    fn forget(&mut self) {
        let oldest = self.version.get().saturating_sub(self.tombstone_versions_max);
        while let Some((version, key)) = self.tombstones.front() {
            if self.tombstones.len() <= self.tombstones_max && version.get() >= oldest {
                break;
            }
            if self.entries.get(key).is_some_and(|e| e.row.is_none() && e.version == *version) {
                self.horizon = self.horizon.max(*version);
                self.entries.remove(key);
            }
            self.tombstones.pop_front();
        }
    }
}
