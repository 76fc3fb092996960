//! The first or the last row of each group, by an order: an argument with the bytes of the order beside it.

use std::collections::BTreeMap;

use ahash::AHashMap;
use nowcast_model::Value;

/// Bytes of an entry besides its order and its text.
const ENTRY_BYTES: usize = size_of::<Value>() + 16 + 24;

/// A row of a group: where it stands in the order, and its argument.
type Placed = (Box<[u8]>, Value);

/// The picked row of a group.
pub(crate) enum Picked {
    /// The cheap path: the one that is picked. Once it goes, the next one is not known.
    Running {
        /// The row.
        row: Option<Placed>,
        /// Rows of the group.
        count: i64,
        /// True if the picked row went.
        lost: bool,
    },
    /// Every row, with its multiplicity.
    Ordered(BTreeMap<Box<[u8]>, AHashMap<Value, i64>>),
}

impl Picked {
    pub(crate) fn new(retracts: bool) -> Picked {
        match retracts {
            true => Picked::Ordered(BTreeMap::new()),
            false => Picked::Running { row: None, count: 0, lost: false },
        }
    }

    /// Adds or takes away a row; answers with the bytes by which the entries grew.
    pub(crate) fn update(&mut self, place: &[u8], value: Value, weight: i64, last: bool) -> isize {
        match self {
            Picked::Running { row, count, lost } => {
                *count += weight;
                if *count <= 0 {
                    (*row, *lost) = (None, false);
                } else if weight > 0 {
                    let wins = |(old, _): &Placed| if last { *place >= **old } else { *place < **old };
                    if row.as_ref().is_none_or(wins) {
                        (*row, *lost) = (Some((place.into(), value)), false);
                    }
                } else if row.as_ref().is_some_and(|(old, _)| **old == *place) {
                    *lost = true;
                }
                0
            }
            Picked::Ordered(rows) => {
                let bytes = (ENTRY_BYTES + place.len()) as isize;
                let grown = if rows.contains_key(place) { 0 } else { bytes };
                let values = rows.entry(place.into()).or_default();
                let count = values.entry(value.clone()).or_default();
                *count += weight;
                if *count == 0 {
                    values.remove(&value);
                }
                if values.is_empty() {
                    rows.remove(place);
                    return grown - bytes;
                }
                grown
            }
        }
    }

    /// The argument of the picked row.
    pub(crate) fn value(&self, last: bool) -> Option<&Value> {
        match self {
            Picked::Running { row, .. } => row.as_ref().map(|(_, value)| value),
            Picked::Ordered(rows) => {
                let end = if last { rows.last_key_value() } else { rows.first_key_value() };
                // Of rows that are equal in the order any may be picked: always the same one.
                end.and_then(|(_, values)| values.keys().max())
            }
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Picked::Running { lost: true, .. })
    }

    /// Bytes of the entries.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Picked::Running { row, .. } => row.as_ref().map_or(0, |(place, _)| place.len() + 16),
            Picked::Ordered(rows) => rows.keys().map(|place| ENTRY_BYTES + place.len()).sum(),
        }
    }
}
