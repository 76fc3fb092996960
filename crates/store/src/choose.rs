//! Which parts are worth merging.
//!
//! Parts that lie within one partition are merged with others of that partition, parts that span several with
//! each other, and what comes out is split by partition (see `split`). A group is merged once it has more than
//! `small_parts_max` parts; within a partition only those of less than `small_part_rows` rows count, so a row
//! is written again about as often as small parts fit into a large one, to the base of their number. A part of
//! which a tenth is dead is written again by itself.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Part, StoreOptions, TableVersion, partition_start_us};

/// Parts of one merge: each is an open file and a few batches in memory.
const FAN_IN_MAX: usize = 32;

/// Rows of one merge, but for its first two parts: what is lost when it is given up, and the space that it takes
/// until it is done.
const ROWS_MAX: u64 = 16_000_000;

/// Of a part's rows, the share that must be dead before it is written again: one in so many.
const DEAD_SHARE: u64 = 10;

/// Dead rows that are not worth writing a part again, whatever their share.
const DEAD_ROWS_MIN: u64 = 1_000;

/// The parts of `version` that should be merged next; empty if none.
pub(crate) fn choose(version: &TableVersion, options: &StoreOptions) -> Vec<Arc<Part>> {
    let is_decayed = |part: &&Arc<Part>| {
        let dead = part.dead.len();
        dead >= DEAD_ROWS_MIN && dead >= (part.rows + dead) / DEAD_SHARE
    };
    if let Some(part) = version.parts.iter().find(is_decayed) {
        return vec![part.clone()];
    }
    // By partition; `None` for those that span several.
    let mut groups: BTreeMap<Option<i64>, Vec<&Arc<Part>>> = BTreeMap::new();
    let by = version.schema.partition_by;
    for part in &version.parts {
        let start = |at_us: Option<i64>| partition_start_us(by, at_us.unwrap_or(0)).unwrap_or(i64::MIN);
        let (first, last) = (start(part.min_us), start(part.max_us));
        let group = (first == last).then_some(first);
        if group.is_none() || part.rows < options.small_part_rows {
            groups.entry(group).or_default().push(part);
        }
    }
    let Some(mut group) =
        groups.into_values().filter(|parts| parts.len() > options.small_parts_max).max_by_key(Vec::len)
    else {
        return Vec::new();
    };
    group.sort_unstable_by_key(|part| (part.rows, part.id));
    let mut rows = 0;
    let fits = |(index, part): &(usize, &Arc<Part>)| {
        rows += part.rows;
        *index < 2 || rows <= ROWS_MAX
    };
    let chosen = group.into_iter().take(FAN_IN_MAX).enumerate().take_while(fits);
    chosen.map(|(_, part)| part.clone()).collect()
}
