//! Writes that were applied, by who wrote them: so that one that is repeated is not applied again.
//!
//! Part of the store and not of the log, since the log forgets. The manifest keeps what lies before its position;
//! the replay brings the rest. Bounded in number and in age; what is forgotten would be applied again.

use std::collections::{HashMap, VecDeque};

use nowcast_model::{Offset, Producer, Record};
use serde::{Deserialize, Serialize};

/// Bounds of what is remembered.
#[derive(Debug, Clone, Copy)]
pub struct SeenLimits {
    /// Writes.
    pub count_max: usize,
    /// Age in microseconds.
    pub age_us_max: i64,
}

impl Default for SeenLimits {
    fn default() -> SeenLimits {
        // A manifest line of 1.5 MB; a day is longer than anybody retries.
        SeenLimits { count_max: 16_384, age_us_max: 86_400_000_000 }
    }
}

/// A write that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenWrite {
    id: u64,
    sequence: u64,
    at_us: i64,
    /// Behind its record.
    end: Offset,
}

/// The writes, in the order of the log.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    order: VecDeque<SeenWrite>,
    sequences: HashMap<u64, u64>,
}

impl Seen {
    pub(crate) fn load(writes: Vec<SeenWrite>) -> Seen {
        let sequences = writes.iter().map(|write| (write.id, write.sequence)).collect();
        Seen { order: writes.into(), sequences }
    }

    /// Takes note of a record's writer, if it named itself.
    pub(crate) fn note(&mut self, record: &Record, limits: SeenLimits) {
        let Some(Producer { id, sequence }) = record.producer else { return };
        let write = SeenWrite { id, sequence, at_us: record.at_us, end: record.end() };
        // A replay brings what the manifest has told already.
        if self.sequences.insert(id, sequence).is_none() {
            self.order.push_back(write);
        }
        let is_over = |oldest: &SeenWrite, len: usize| {
            len > limits.count_max || oldest.at_us < record.at_us.saturating_sub(limits.age_us_max)
        };
        while let Some(oldest) = self.order.front().filter(|oldest| is_over(oldest, self.order.len())) {
            self.sequences.remove(&oldest.id);
            self.order.pop_front();
        }
    }

    pub(crate) fn sequence(&self, id: u64) -> Option<u64> {
        self.sequences.get(&id).copied()
    }

    /// What lies before `position`.
    pub(crate) fn before(&self, position: Offset) -> Vec<SeenWrite> {
        self.order.iter().filter(|write| write.end <= position).copied().collect()
    }
}
