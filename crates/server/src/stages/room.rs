//! Whether there is room for more rows, in memory and on the disk.
//!
//! Looked at ten times a second. Without room a stream is not read, a request is told to come back, and reads go
//! on. Rows in memory past `memory.hot_bytes_hard_max` become room when they are flushed; space on the disk, when
//! somebody makes some.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use metrics::gauge;
use nowcast_store::Store;
use tokio::sync::watch;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_millis(100);

/// What is lacking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Nothing.
    Enough,
    /// Memory: rows come faster than they are flushed.
    NoMemory,
    /// Space on the disk.
    NoSpace {
        /// What is free.
        free_bytes: u64,
        /// What must be.
        free_bytes_min: u64,
    },
}

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub struct RoomLimits {
    /// Rows in memory.
    pub hot_bytes_max: usize,
    /// Free space on the disk.
    pub free_bytes_min: u64,
}

impl RoomLimits {
    /// Looks now. A file system that does not tell its free space counts as one with enough.
    pub fn look(&self, store: &Store, data: &Path) -> Room {
        if let Ok(disk) = rustix::fs::statvfs(data) {
            let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
            gauge!("nowcast_disk_free_bytes").set(free_bytes as f64);
            if free_bytes < self.free_bytes_min {
                return Room::NoSpace { free_bytes, free_bytes_min: self.free_bytes_min };
            }
        }
        if store.hot_bytes() > self.hot_bytes_max { Room::NoMemory } else { Room::Enough }
    }

    /// Looks again and again, and tells what changes.
    pub async fn watch(self, store: Arc<Store>, data: PathBuf, room: watch::Sender<Room>) {
        loop {
            let now = self.look(&store, &data);
            let before = *room.borrow();
            if std::mem::discriminant(&now) != std::mem::discriminant(&before) {
                match now {
                    Room::NoSpace { free_bytes, free_bytes_min } => {
                        tracing::error!(free_bytes, free_bytes_min, "writes are refused: the disk is full");
                    }
                    Room::NoMemory => tracing::debug!("rows come faster than they are flushed; writers wait"),
                    Room::Enough => tracing::info!("there is room for writes again"),
                }
            }
            room.send_replace(now);
            tokio::time::sleep(INTERVAL).await;
        }
    }
}
