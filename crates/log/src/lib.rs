//! The append-only log: records, frames, segments, group commit and recovery.
//!
//! One log for all tables, hence one order. [`Log::open`] makes whole what a crash left; [`Log::start`] starts
//! the thread `nowcast-log`, which drains what is queued, writes it as one frame, syncs once, hands the records
//! to the apply thread ([`Tail`]) and acknowledges them all. Nothing is acknowledged before it is durable, and
//! nobody ever waits for a reader.
//!
//! | module | holds |
//! |---|---|
//! | `codec` | a record as bytes |
//! | `frame` | the records of one group commit |
//! | `segment` | a file of frames, and the index of what is committed |
//! | `recovery` | the start: torn tails are cut, damage is named |
//! | `writer` | one write, one sync |
//! | `queue` | the ways to and from the log thread |
//! | `handle` | the log thread and what others see of it |
//! | `reader` | committed records out of the files |
//!
//! What is not here: a lock on the directory (the server has one for all its data), tables (a record is
//! written as it is given), retries (a failed sync is final), and compression.

mod codec;
mod error;
mod frame;
#[cfg(fuzzing)]
pub mod fuzz;
mod handle;
mod queue;
mod reader;
mod recovery;
mod segment;
mod writer;

pub use error::{FormatError, LogError};
pub use handle::{Committed, Durability, Log, LogHandle, LogOptions, LogStatus};
pub use queue::{Tail, TailWaker};
pub use reader::RecordReader;
pub use recovery::{Cut, Damage, Inspection, Recovery};

#[cfg(test)]
mod tests;
