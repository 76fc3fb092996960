//! `DEDUP UPSERT KEYS`: of the rows with one key the last written is the table's, wherever the others are.
//!
//! A key holds the time column, so a key's rows are all at one time: parts whose times the new rows do not
//! touch are not looked at, and of the others only the row groups that hold such a time. Among the hot rows
//! an index from key hash to `_seq` finds the row; it is the apply thread's alone, is made from the hot rows
//! when it is first needed, and may hold rows that are gone: whoever looks one up finds out.
//!
//! | the old row is | it goes |
//! |---|---|
//! | in the same batch | unseen: it never was in the table |
//! | hot | out of its batch, which keeps its place, so that a flush in progress counts right |
//! | in a part | into the part's [`Part::dead`], and out of the file with the next compaction |
//!
//! A row that is equal in all columns to the one it would replace changes nothing: a writer that repeats
//! what it sent costs no space.

use std::{collections::BTreeMap, sync::Arc};

use ahash::{AHashMap, AHashSet, RandomState};
use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::{TimestampMicrosecondType, UInt64Type},
    error::ArrowError,
    row::{RowConverter, Rows, SortField},
};
use hashbrown::HashTable;
use nowcast_model::{TableSchema, Weights};

use crate::{
    Part, StoreError, TableVersion,
    columns::{concat_rows, pick_rows},
};

/// Entries of rows that are gone, past which the index is made anew.
const STALE_MAX: usize = 65_536;

/// Finds hot rows by their key.
pub(crate) struct KeyIndex {
    /// The hot rows that were indexed: see [`TableVersion::generation`].
    generation: u64,
    columns: Vec<usize>,
    keys: RowConverter,
    hasher: RandomState,
    /// Key hash and `_seq`; a hash may stand here several times.
    entries: HashTable<(u64, u64)>,
}

/// What an upsert did: the rows of its change, old ones first, and their weights.
pub(crate) struct Upserted {
    pub(crate) rows: RecordBatch,
    pub(crate) weights: Weights,
}

/// A row that is to go.
#[derive(Clone, Copy)]
enum Old {
    Hot {
        batch: usize,
        row: usize,
    },
    /// `row` counts the visible rows that were found in all parts.
    Cold {
        part: usize,
        row: usize,
    },
}

impl KeyIndex {
    /// An index of the table's hot rows.
    ///
    /// # Errors
    /// If a key's column has a type that cannot be compared, which no column has.
    pub(crate) fn new(version: &TableVersion) -> Result<KeyIndex, ArrowError> {
        let schema = &version.schema;
        let columns = schema.dedup_keys.clone();
        let fields = columns.iter().map(|&c| SortField::new(schema.columns[c].ty.arrow())).collect();
        let mut index = KeyIndex {
            generation: version.generation,
            columns,
            keys: RowConverter::new(fields)?,
            hasher: RandomState::new(),
            entries: HashTable::with_capacity(version.hot.rows()),
        };
        for batch in &version.hot {
            let (_, hashes) = index.keys_of(batch)?;
            index.add(&hashes, batch);
        }
        Ok(index)
    }

    /// True if the index is one of `version`'s rows, and worth keeping.
    pub(crate) fn fits(&self, version: &TableVersion) -> bool {
        self.generation == version.generation
            && self.columns == version.schema.dedup_keys
            && self.entries.len() <= 2 * version.hot.rows() + STALE_MAX
    }

    fn keys_of(&self, rows: &RecordBatch) -> Result<(Rows, Vec<u64>), ArrowError> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|&c| rows.column(c).clone()).collect();
        let keys = self.keys.convert_columns(&columns)?;
        let hashes = keys.iter().map(|key| self.hasher.hash_one(key.as_ref())).collect();
        Ok((keys, hashes))
    }

    fn add(&mut self, hashes: &[u64], rows: &RecordBatch) {
        for (&hash, &seq) in hashes.iter().zip(seqs(rows)) {
            self.entries.insert_unique(hash, (hash, seq), |entry| entry.0);
        }
    }

    /// Puts `rows` (stored form) into the table, and takes out what they replace. `None` if nothing changed.
    ///
    /// # Errors
    /// If a part cannot be read; `version` is then to be thrown away.
    pub(crate) fn upsert(
        &mut self,
        version: &mut TableVersion,
        rows: RecordBatch,
    ) -> Result<Option<Upserted>, StoreError> {
        let (keys, hashes) = self.keys_of(&rows)?;
        let last = last_of_each(&keys);
        let (rows, keys, hashes) = if last.len() == rows.num_rows() {
            (rows, keys, hashes)
        } else {
            let rows = take_record_batch(&rows, &UInt32Array::from(last))?;
            let (keys, hashes) = self.keys_of(&rows)?;
            (rows, keys, hashes)
        };
        let mut found = self.find_hot(version, &keys, &hashes)?;
        let cold = self.find_cold(version, &rows, &keys)?;
        for (part, hits) in &cold {
            found.extend(
                hits.rows_of.iter().enumerate().map(|(row, &new)| (new, Old::Cold { part: *part, row })),
            );
        }
        found.sort_unstable_by_key(|&(new, _)| new);
        let stored = version.stored.clone();
        // The old rows, in the order of the new ones that replace them.
        let mut sources: Vec<&RecordBatch> = version.hot.iter().collect();
        let mut place_of: BTreeMap<usize, usize> = BTreeMap::new();
        for (part, hits) in &cold {
            place_of.insert(*part, sources.len());
            sources.push(&hits.rows);
        }
        let picks: Vec<(usize, usize)> = found
            .iter()
            .map(|&(_, old)| match old {
                Old::Hot { batch, row } => (batch, row),
                Old::Cold { part, row } => (place_of[&part], row),
            })
            .collect();
        let old = if picks.is_empty() {
            RecordBatch::new_empty(stored.clone())
        } else {
            pick_rows(&stored, &sources, &picks)?
        };
        let same = equal_rows(&version.schema, &old, &rows, found.iter().map(|&(new, _)| new))?;
        let (rows, hashes, old, found) = leave_out(rows, hashes, old, found, &same)?;
        if rows.num_rows() == 0 && old.num_rows() == 0 {
            return Ok(None);
        }
        remove(version, &old, &found)?;
        self.add(&hashes, &rows);
        version.hot.push(&stored, rows.clone())?;
        if old.num_rows() == 0 {
            return Ok(Some(Upserted { rows, weights: Weights::Inserted }));
        }
        let mut weights = vec![-1; old.num_rows()];
        weights.resize(old.num_rows() + rows.num_rows(), 1);
        let rows = concat_rows(&stored, &[&old, &rows])?;
        Ok(Some(Upserted { rows, weights: Weights::Mixed(weights) }))
    }

    /// The hot rows whose keys are among `keys`, with the new row that each key is of.
    fn find_hot(
        &mut self,
        version: &TableVersion,
        keys: &Rows,
        hashes: &[u64],
    ) -> Result<Vec<(usize, Old)>, StoreError> {
        let batches: Vec<&RecordBatch> = version.hot.iter().collect();
        let firsts: Vec<(u64, usize)> = batches
            .iter()
            .enumerate()
            .filter_map(|(batch, rows)| Some((*seqs(rows).first()?, batch)))
            .collect();
        let place = |seq: u64| {
            let batch = firsts[firsts.partition_point(|&(first, _)| first <= seq).checked_sub(1)?].1;
            Some((batch, seqs(batches[batch]).binary_search(&seq).ok()?))
        };
        let (mut candidates, mut picks, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (new, &hash) in hashes.iter().enumerate() {
            for &(found, seq) in self.entries.iter_hash(hash) {
                if found != hash {
                    continue;
                }
                match place(seq) {
                    Some((batch, row)) => {
                        candidates.push((new, Old::Hot { batch, row }));
                        picks.push((batch, row));
                    }
                    None => gone.push((hash, seq)),
                }
            }
        }
        for entry in gone {
            if let Ok(entry) = self.entries.find_entry(entry.0, |&other| other == entry) {
                entry.remove();
            }
        }
        if picks.is_empty() {
            return Ok(Vec::new());
        }
        let (old_keys, _) = self.keys_of(&pick_rows(&version.stored, &batches, &picks)?)?;
        let mut at = 0..;
        candidates.retain(|&(new, _)| at.next().is_some_and(|i| old_keys.row(i) == keys.row(new)));
        Ok(candidates)
    }

    /// The rows in parts whose keys are among `keys`, by part.
    fn find_cold(
        &self,
        version: &TableVersion,
        rows: &RecordBatch,
        keys: &Rows,
    ) -> Result<BTreeMap<usize, Hits>, StoreError> {
        let mut hits = BTreeMap::new();
        let Some(times) = version
            .schema
            .timestamp
            .and_then(|time| rows.column(time).as_primitive_opt::<TimestampMicrosecondType>())
        else {
            return Ok(hits);
        };
        let mut times: Vec<i64> = times.values().to_vec();
        times.sort_unstable();
        times.dedup();
        // Made for the first part that holds such a time: most writes touch none.
        let mut by_key: Option<AHashMap<&[u8], usize>> = None;
        for (index, part) in version.parts.iter().enumerate() {
            let (Some(min_us), Some(max_us)) = (part.min_us, part.max_us) else { continue };
            if !any_within(&times, min_us, max_us) {
                continue;
            }
            let by_key = by_key
                .get_or_insert_with(|| keys.iter().enumerate().map(|(i, key)| (key.data(), i)).collect());
            let found = self.find_in(part, version, &times, by_key)?;
            if !found.rows_of.is_empty() {
                hits.insert(index, found);
            }
        }
        Ok(hits)
    }

    fn find_in(
        &self,
        part: &Part,
        version: &TableVersion,
        times: &[i64],
        by_key: &AHashMap<&[u8], usize>,
    ) -> Result<Hits, StoreError> {
        let schema = &version.schema;
        let mut columns: Vec<usize> = self.columns.clone();
        columns.sort_unstable();
        columns.dedup();
        let place = |column: usize| columns.iter().position(|&c| c == column);
        let time = schema.timestamp.and_then(place);
        let wanted: AHashSet<i64> = times.iter().copied().collect();
        let (mut rows_of, mut found) = (Vec::new(), Vec::new());
        for rows in part.read_at_times(schema, &columns, times)? {
            let rows = rows?;
            let Some(at) = time.and_then(|t| rows.column(t).as_primitive_opt::<TimestampMicrosecondType>())
            else {
                continue;
            };
            if !at.values().iter().any(|at_us| wanted.contains(at_us)) {
                continue;
            }
            let key_columns: Vec<ArrayRef> =
                self.columns.iter().filter_map(|&c| place(c)).map(|i| rows.column(i).clone()).collect();
            let keys = self.keys.convert_columns(&key_columns)?;
            for (row, &seq) in seqs(&rows).iter().enumerate() {
                if wanted.contains(&at.value(row))
                    && let Some(&new) = by_key.get(keys.row(row).data())
                {
                    rows_of.push(new);
                    found.push(seq);
                }
            }
        }
        if found.is_empty() {
            return Ok(Hits { rows_of, rows: RecordBatch::new_empty(version.stored.clone()) });
        }
        // In the file's order, as they were found.
        let wanted_seqs: AHashSet<u64> = found.iter().copied().collect();
        let all: Vec<usize> = (0..schema.columns.len()).collect();
        let mut batches = Vec::new();
        for rows in part.read_at_times(schema, &all, times)? {
            let rows = rows?;
            let picks: Vec<u32> = (0_u32..)
                .zip(seqs(&rows))
                .filter_map(|(row, seq)| wanted_seqs.contains(seq).then_some(row))
                .collect();
            if !picks.is_empty() {
                batches.push(take_record_batch(&rows, &UInt32Array::from(picks))?);
            }
        }
        let rows = concat_rows(&version.stored, &batches.iter().collect::<Vec<_>>())?;
        Ok(Hits { rows_of, rows })
    }
}

/// Rows of a part that are to go, and which new row replaces each.
struct Hits {
    rows_of: Vec<usize>,
    rows: RecordBatch,
}

/// `_seq` of each row.
pub(crate) fn seqs(rows: &RecordBatch) -> &[u64] {
    rows.column(rows.num_columns() - 1).as_primitive::<UInt64Type>().values()
}

/// True if one of `times`, ascending, lies within the bounds.
pub(crate) fn any_within(times: &[i64], min_us: i64, max_us: i64) -> bool {
    times.get(times.partition_point(|&at_us| at_us < min_us)).is_some_and(|&at_us| at_us <= max_us)
}

/// The last row of each key, ascending.
fn last_of_each(keys: &Rows) -> Vec<u32> {
    let mut seen: AHashSet<&[u8]> = AHashSet::with_capacity(keys.num_rows());
    // A record has fewer than 2^32 rows.
    let mut last: Vec<u32> =
        (0..keys.num_rows() as u32).rev().filter(|&row| seen.insert(keys.row(row as usize).data())).collect();
    last.reverse();
    last
}

/// For each old row, whether it equals the new one that would replace it, `_seq` aside.
fn equal_rows(
    schema: &TableSchema,
    old: &RecordBatch,
    new: &RecordBatch,
    new_rows: impl Iterator<Item = usize>,
) -> Result<Vec<bool>, StoreError> {
    if old.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let width = schema.columns.len();
    let fields = schema.columns.iter().map(|column| SortField::new(column.ty.arrow())).collect();
    let converter = RowConverter::new(fields)?;
    // Fewer than 2^32 rows.
    let new = take_record_batch(new, &new_rows.map(|row| row as u32).collect::<UInt32Array>())?;
    let old = converter.convert_columns(&old.columns()[..width])?;
    let new = converter.convert_columns(&new.columns()[..width])?;
    Ok(old.iter().zip(new.iter()).map(|(old, new)| old == new).collect())
}

type Left = (RecordBatch, Vec<u64>, RecordBatch, Vec<(usize, Old)>);

/// Without the pairs that are `same`.
fn leave_out(
    rows: RecordBatch,
    hashes: Vec<u64>,
    old: RecordBatch,
    found: Vec<(usize, Old)>,
    same: &[bool],
) -> Result<Left, StoreError> {
    if !same.contains(&true) {
        return Ok((rows, hashes, old, found));
    }
    let mut keep_new = vec![true; rows.num_rows()];
    for ((new, _), _) in found.iter().zip(same).filter(|(_, same)| **same) {
        keep_new[*new] = false;
    }
    let kept: Vec<u32> = (0_u32..).zip(&keep_new).filter_map(|(row, keep)| keep.then_some(row)).collect();
    let hashes = kept.iter().map(|&row| hashes[row as usize]).collect();
    let old_kept: Vec<u32> = (0_u32..).zip(same).filter_map(|(row, same)| (!same).then_some(row)).collect();
    let found = old_kept.iter().map(|&row| found[row as usize]).collect();
    let rows = take_record_batch(&rows, &UInt32Array::from(kept))?;
    Ok((rows, hashes, take_record_batch(&old, &UInt32Array::from(old_kept))?, found))
}

/// Takes the rows of `found`, which are those of `old`, out of the table.
fn remove(version: &mut TableVersion, old: &RecordBatch, found: &[(usize, Old)]) -> Result<(), StoreError> {
    let mut hot: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut cold: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for (&(_, place), &seq) in found.iter().zip(seqs(old)) {
        match place {
            Old::Hot { batch, row } => hot.entry(batch).or_default().push(row),
            Old::Cold { part, .. } => cold.entry(part).or_default().push(seq),
        }
    }
    version.hot.remove(&hot)?;
    for (index, seqs) in cold {
        let part = Arc::make_mut(&mut version.parts[index]);
        part.bury(seqs);
    }
    Ok(())
}
