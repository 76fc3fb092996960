//! What bounds a view; one set for all, from the settings `views.*`.

/// Bounds of a view and of what it publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewLimits {
    /// Rows that a live table shows; more are cut off by order, then key, and told as `truncated`.
    pub rows_max: usize,
    /// Rows that a view of plain rows keeps in reserve behind those that it shows, at least; as many as it shows
    /// otherwise, up to 10,000.
    pub spare_rows_min: usize,
    /// Bytes of state that one incremental view may keep, by estimate; past it the query is run again instead.
    pub state_bytes_max: usize,
    /// Bytes of state that all of them may keep together; past it the largest is run again instead.
    pub state_total_bytes_max: usize,
    /// Bytes of changes that wait for one view while it is seeded; past it seeding starts over.
    pub buffer_bytes_max: usize,
    /// Deleted keys that a live table remembers.
    pub tombstones_max: usize,
    /// Moments for which it remembers them. At the 250 commits a second that a disk syncs, 100,000 moments
    /// are six minutes: a laptop's lid, or a deploy of the page, without a new snapshot.
    pub tombstone_versions_max: u64,
}

impl Default for ViewLimits {
    fn default() -> ViewLimits {
        ViewLimits {
            rows_max: 10_000,
            spare_rows_min: 100,
            state_bytes_max: 256 << 20,
            state_total_bytes_max: 1 << 30,
            buffer_bytes_max: 64 << 20,
            tombstones_max: 20_000,
            tombstone_versions_max: 100_000,
        }
    }
}
