//! Rows taken out by their numbers: what DELETE and UPDATE do.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use arrow::{
    array::{BooleanArray, RecordBatch, UInt64Array},
    compute::{filter_record_batch, take_record_batch},
};

use crate::{
    Part, StoreError, TableVersion,
    apply::{Sink, delete},
    upsert::seqs,
};

/// Takes out the rows that are there of `gone`: ranges of `_seq`, ascending, apart from each other. All of them are
/// within `times`, if the table has a time column. True if a part went as a whole.
///
/// # Errors
/// If a part cannot be read; `version` is then to be thrown away.
pub(crate) fn delete_rows(
    version: &mut TableVersion,
    gone: &[Range<u64>],
    times: Option<Range<i64>>,
    sink: Sink<'_>,
) -> Result<bool, StoreError> {
    let schema = version.schema.clone();
    let parts_before = version.parts.len();
    let mut parts = Vec::with_capacity(parts_before);
    for part in &version.parts {
        let within = |times: &Range<i64>| {
            part.min_us.is_none_or(|min_us| min_us < times.end)
                && part.max_us.is_none_or(|max_us| max_us >= times.start)
        };
        if !times.as_ref().is_none_or(within) {
            parts.push(part.clone());
            continue;
        }
        let rows = match &times {
            Some(times) => part.read_between(&schema, times.clone())?,
            None => part.read(&schema, &(0..schema.columns.len()).collect::<Vec<_>>())?,
        };
        let mut dead = Vec::new();
        for rows in rows {
            let rows = rows?;
            let is_gone: BooleanArray = seqs(&rows).iter().map(|&seq| Some(holds(gone, seq))).collect();
            let rows = filter_record_batch(&rows, &is_gone)?;
            dead.extend_from_slice(seqs(&rows));
            delete(&schema, rows, sink);
        }
        if dead.is_empty() {
            parts.push(part.clone());
        } else if (dead.len() as u64) < part.rows {
            let mut left = Part::clone(part);
            left.bury(dead);
            parts.push(Arc::new(left));
        }
    }
    let dropped = parts.len() < parts_before;
    version.parts = parts;

    let (mut places, mut taken) = (BTreeMap::new(), Vec::new());
    for (index, batch) in version.hot.iter().enumerate() {
        let rows = rows_of(batch, gone);
        if !rows.is_empty() {
            let picks: UInt64Array = rows.iter().map(|&row| row as u64).collect();
            taken.push(take_record_batch(batch, &picks)?);
            places.insert(index, rows);
        }
    }
    version.hot.remove(&places)?;
    for rows in taken {
        delete(&schema, rows, sink);
    }
    if version.rows() == 0 {
        (version.oldest_us, version.newest_us) = (None, None);
    }
    Ok(dropped)
}

fn holds(ranges: &[Range<u64>], seq: u64) -> bool {
    ranges.get(ranges.partition_point(|range| range.end <= seq)).is_some_and(|range| range.start <= seq)
}

/// The rows of a batch, whose `_seq` ascend, that are in `ranges`.
fn rows_of(batch: &RecordBatch, ranges: &[Range<u64>]) -> Vec<usize> {
    let seqs = seqs(batch);
    let (Some(&first), Some(&last)) = (seqs.first(), seqs.last()) else { return Vec::new() };
    let from = ranges.partition_point(|range| range.end <= first);
    let mut rows = Vec::new();
    for range in ranges[from..].iter().take_while(|range| range.start <= last) {
        rows.extend(seqs.partition_point(|&s| s < range.start)..seqs.partition_point(|&s| s < range.end));
    }
    rows
}
