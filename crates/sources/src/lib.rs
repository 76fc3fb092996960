//! Wire formats into Arrow batches: a file per source, each with a pure decoder.
//!
//! A *decoder* ([`line`], [`json`], [`csv`], [`columnar`]) turns bytes into [`Decoded`] batches and does nothing else: no socket, no
//! clock, no table is known to it. A *run loop* ([`ilp_tcp`]) owns a socket and feeds a decoder. Where batches
//! go is a [`Sink`], which the server implements over the table registry and the log; sources know neither.
//!
//! Nothing here makes row structs. A decoder writes each value into its column's buffer as it reads it, and
//! takes a row back if the row turns out to be bad, so a bad row leaves no trace.

pub mod columnar;
mod columns;
pub mod csv;
mod decoded;
mod error;
pub mod ilp_tcp;
pub mod json;
pub mod line;
mod sink;
mod table;
#[cfg(test)]
mod testing;
mod time;

pub use decoded::Decoded;
pub use error::{LineError, TEXT_BYTES_MAX};
pub use sink::{Rejected, Sink, WriteError};
pub use time::{Precision, PrecisionError, parse_iso};

/// The time column's name in a table that a source makes, as QuestDB calls it.
pub const TIMESTAMP_COLUMN: &str = "timestamp";
