//! The first rows of a view, by order and then key: what its live table shows.
//!
//! `inside` are the rows that are shown, at most `shown_max`; `outside` the next ones, ready to move up when a
//! shown one goes. Whether a change concerns the live table takes one comparison with the last row inside, and
//! a row that passes that border is one change, however many rows there are.
//!
//! Groups keep all their rows (their number is bounded by the state's bytes). A view of plain rows keeps
//! `spare_max` outside: beyond, rows are dropped, and `floor` is the first of those that were. A row at or
//! behind the floor is not kept either, since its place among the dropped is not known. If rows go until fewer
//! than `shown_max` are left although rows were dropped, the set is *starved* and must be filled anew.

use std::{cmp::Ordering, collections::BTreeSet, mem, sync::Arc};

use ahash::AHashMap;

use crate::{Key, LiveSchema, Row, ViewLimits, view::Delta};

/// A row that is ordered as its schema says.
#[derive(Clone)]
struct Ranked {
    row: Row,
    schema: Arc<LiveSchema>,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> Ordering {
        self.schema.compare(&self.row, &other.row)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// See the module's story.
pub(crate) struct Top {
    schema: Arc<LiveSchema>,
    shown_max: usize,
    /// True if `shown_max` is the server's bound, not the query's own limit.
    bounded: bool,
    spare_max: Option<usize>,
    inside: BTreeSet<Ranked>,
    outside: BTreeSet<Ranked>,
    floor: Option<Ranked>,
    /// Rows there are, dropped ones included.
    rows: i64,
    /// What the live table does not know yet: by key the row, or `None` if it is not shown any more.
    touched: AHashMap<Key, Option<Row>>,
}

impl Top {
    /// Without rows. `keep_all` keeps every row that is not shown, for a source that cannot be asked again.
    pub(crate) fn new(schema: Arc<LiveSchema>, limits: &ViewLimits, keep_all: bool) -> Top {
        let rows_max = limits.rows_max;
        let shown_max = schema.limit.map_or(rows_max, |limit| limit.min(rows_max));
        let bounded = schema.limit.is_none_or(|limit| limit > rows_max);
        Top {
            schema,
            shown_max,
            bounded,
            spare_max: (!keep_all).then(|| shown_max.min(10_000).max(limits.spare_rows_min)),
            inside: BTreeSet::new(),
            outside: BTreeSet::new(),
            floor: None,
            rows: 0,
            touched: AHashMap::new(),
        }
    }

    /// Rows that are kept at most; `None` without a bound.
    pub(crate) fn kept_max(&self) -> Option<usize> {
        self.spare_max.map(|spare| self.shown_max + spare)
    }

    /// A row came.
    pub(crate) fn insert(&mut self, row: Row) {
        self.rows += 1;
        let ranked = Ranked { row, schema: Arc::clone(&self.schema) };
        if self.floor.as_ref().is_some_and(|floor| ranked >= *floor) {
            return;
        }
        let full = self.inside.len() >= self.shown_max;
        if full && self.inside.last().is_none_or(|last| ranked > *last) {
            self.outside.replace(ranked);
        } else {
            self.touch(&ranked, true);
            self.inside.replace(ranked);
            if self.inside.len() > self.shown_max
                && let Some(last) = self.inside.pop_last()
            {
                self.touch(&last, false);
                self.outside.insert(last);
            }
        }
        if self.spare_max.is_some_and(|spare_max| self.outside.len() > spare_max) {
            self.floor = self.outside.pop_last();
        }
    }

    /// A row that came before went.
    pub(crate) fn remove(&mut self, row: Row) {
        self.rows -= 1;
        let ranked = Ranked { row, schema: Arc::clone(&self.schema) };
        if self.inside.remove(&ranked) {
            self.touch(&ranked, false);
            if let Some(next) = self.outside.pop_first() {
                self.touch(&next, true);
                self.inside.insert(next);
            }
        } else {
            self.outside.remove(&ranked);
        }
    }

    /// `count` rows came that are not kept, of which `first` is the first; for a caller that has sorted a
    /// batch itself.
    pub(crate) fn drop_from(&mut self, first: Row, count: usize) {
        self.rows += count as i64;
        let floor = Ranked { row: first, schema: Arc::clone(&self.schema) };
        if self.floor.as_ref().is_some_and(|old| *old <= floor) {
            return;
        }
        // Rows behind the new floor cannot be told from those that were dropped.
        let _ = self.outside.split_off(&floor);
        let behind = self.inside.split_off(&floor);
        behind.iter().for_each(|ranked| self.touch(ranked, false));
        self.floor = Some(floor);
    }

    /// True if rows that should be shown may be among those that were dropped.
    pub(crate) fn is_starved(&self) -> bool {
        let kept = (self.inside.len() + self.outside.len()) as i64;
        self.floor.is_some() && self.inside.len() < self.shown_max && self.rows > kept
    }

    /// Forgets all rows, in order to be filled anew.
    pub(crate) fn clear(&mut self) {
        for ranked in mem::take(&mut self.inside) {
            self.touch(&ranked, false);
        }
        self.outside.clear();
        self.floor = None;
        self.rows = 0;
    }

    /// What the live table does not know yet.
    pub(crate) fn take(&mut self) -> Delta {
        if self.rows == (self.inside.len() + self.outside.len()) as i64 {
            // All that was dropped has gone.
            self.floor = None;
        }
        let mut delta =
            Delta { truncated: self.bounded && self.rows > self.inside.len() as i64, ..Delta::default() };
        for (key, row) in self.touched.drain() {
            match row {
                Some(row) => delta.upsert.push(row),
                None => delta.delete.push(key),
            }
        }
        delta
    }

    /// Bytes that `rows` rows take in sets like these.
    pub(crate) fn bytes_of(columns: usize, rows: usize) -> usize {
        rows * (columns * size_of::<nowcast_model::Value>() + 96)
    }

    /// Bytes of state, by estimate. Rows of groups are the groups' own: here they are entries of a set.
    pub(crate) fn bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 48;
        let kept = self.inside.len() + self.outside.len();
        let columns = self.schema.columns.len();
        let kept = if self.spare_max.is_none() { kept * ENTRY_BYTES } else { Top::bytes_of(columns, kept) };
        kept + Top::bytes_of(columns, self.touched.len())
    }

    fn touch(&mut self, ranked: &Ranked, shown: bool) {
        let row = shown.then(|| Arc::clone(&ranked.row));
        self.touched.insert(self.schema.key_of(&ranked.row), row);
    }
}
