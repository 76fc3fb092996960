//! The store: applies records, answers with changes, keeps hot batches over Parquet parts.
//!
//! ```text
//! Batch ─► Registry ─► (log) ─► Record ─► Store::apply ─► Change
//!          schemas as of                     │
//!          the last queued record            ├─► hot batches ──flush──► parts + manifest
//!                                            └─► Snapshot (readers)
//! ```
//!
//! Read [`registry`] for what is admitted, [`store`] and `apply` for how a record is applied and recovered, `hot` and
//! [`part`] for where rows live, `flush` for how they move.

#![allow(
    clippy::result_large_err,
    reason = "a refusal is made at most once a request, and carries what its sender needs"
)]

mod alter;
mod apply;
mod choose;
mod coerce;
mod columns;
mod commit;
mod compact;
mod conform;
mod delete;
mod error;
mod flush;
mod hot;
mod inspect;
mod manifest;
mod many_valued;
mod merge;
pub mod part;
mod partition;
pub mod registry;
mod seen;
mod seqs;
mod snapshot;
mod sorted;
mod split;
pub mod store;
mod upsert;

pub use commit::Written;
pub use compact::GoOn;
pub use error::{Refusal, RefusalKind, StoreError};
pub use hot::Hot;
pub use inspect::{Depth, InspectedPart, StoreCheck, StoreInspection};
pub use part::{OpenPart, Part, PartRows};
pub use partition::{partition_range_us, partition_start_us};
pub use registry::{Catalog, Registry};
pub use seen::SeenLimits;
pub use seqs::Seqs;
pub use snapshot::{Snapshot, TableVersion};
pub use store::{Store, StoreOptions};

#[cfg(test)]
mod tests;
