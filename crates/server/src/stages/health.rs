//! Whether all is well, and if not, why.

use std::sync::{Mutex, PoisonError};

use metrics::{counter, gauge};
use nowcast_log::LogHandle;
use nowcast_store::{Store, Written};
use tokio::sync::watch;

use super::Room;

/// What `/readyz` tells.
pub struct Health {
    log: LogHandle,
    room: watch::Receiver<Room>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    replayed: bool,
    apply_failed: Option<String>,
    flush_failed: Option<String>,
    quarantined: Vec<String>,
}

impl Health {
    /// Not ready until [`Health::replayed`].
    pub fn new(log: LogHandle, room: watch::Receiver<Room>, quarantined: Vec<String>) -> Health {
        Health { log, room, state: Mutex::new(State { quarantined, ..State::default() }) }
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The log was applied to its end as of the start.
    pub fn replayed(&self) {
        self.with(|state| state.replayed = true);
    }

    /// The apply thread ended.
    pub fn apply_failed(&self, reason: String) {
        self.with(|state| state.apply_failed = Some(reason));
    }

    /// A flush failed, or with `None` succeeded again.
    pub fn flush_failed(&self, reason: Option<String>) {
        self.with(|state| state.flush_failed = reason);
    }

    /// Records that were corrupt on disk when the log was opened.
    pub fn quarantined(&self) -> Vec<String> {
        self.with(|state| state.quarantined.clone())
    }

    /// Why reads or writes do not work; empty if they do.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(reason) = self.log.status().read_only {
            reasons.push(format!("writes are refused: {reason}"));
        }
        if let Some(reason) = self.log.status().waiting {
            reasons.push(format!("writes wait: {reason}; make space"));
        }
        if let Room::NoSpace { free_bytes, free_bytes_min } = *self.room.borrow() {
            reasons.push(format!(
                "writes are refused: {free_bytes} bytes are free, below disk.free_bytes_min = {free_bytes_min}; \
                 make space"
            ));
        }
        self.with(|state| {
            if !state.replayed {
                reasons.push("the log is being replayed".to_owned());
            }
            if let Some(reason) = &state.apply_failed {
                reasons.push(format!(
                    "new rows are not shown: {reason}; look at the disk, then restart nowcast"
                ));
            }
            if let Some(reason) = &state.flush_failed {
                reasons.push(format!("rows cannot be moved to parts: {reason}; it is tried again"));
            }
        });
        reasons
    }

    /// Brings what the store and the log count to where `/metrics` finds it.
    pub fn report(&self, store: &Store) {
        let snapshot = store.snapshot();
        gauge!("nowcast_store_tables").set(snapshot.tables.len() as f64);
        let (mut parts, mut hot_bytes, mut part_bytes) = (0, 0, 0);
        for table in snapshot.tables.values() {
            parts += table.parts.len();
            hot_bytes += table.hot.bytes();
            part_bytes += table.parts.iter().map(|part| part.bytes).sum::<u64>();
        }
        gauge!("nowcast_store_parts").set(parts as f64);
        gauge!("nowcast_store_hot_bytes").set(hot_bytes as f64);
        gauge!("nowcast_store_part_bytes").set(part_bytes as f64);
        let written = store.written();
        let sum = |get: fn(&Written) -> u64| written.values().map(get).sum();
        counter!("nowcast_store_flushed_bytes_total").absolute(sum(|w| w.flushed_bytes));
        counter!("nowcast_store_merged_bytes_total").absolute(sum(|w| w.merged_bytes));
        let status = self.log.status();
        counter!("nowcast_log_records_total").absolute(status.records);
        counter!("nowcast_log_bytes_total").absolute(status.bytes);
        counter!("nowcast_log_frames_total").absolute(status.frames);
        counter!("nowcast_log_syncs_total").absolute(status.syncs);
        counter!("nowcast_log_sync_microseconds_total").absolute(status.sync_us);
        counter!("nowcast_log_ring_overflows_total").absolute(status.ring_overflows);
        gauge!("nowcast_log_segments").set(status.segments as f64);
        gauge!("nowcast_log_segment_bytes").set(status.segment_bytes as f64);
        gauge!("nowcast_log_queued_bytes").set(status.queued_bytes as f64);
        gauge!("nowcast_log_read_only").set(if status.read_only.is_some() { 1.0 } else { 0.0 });
    }
}
