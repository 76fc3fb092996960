//! A record as bytes.
//!
//! Columns are stored as the buffers that Arrow keeps in memory, so that writing is a few copies a column and
//! replaying is a few more plus validation; no row is ever looked at alone, but for text (UTF-8) and symbols
//! (keys within their dictionary).
//!
//! ```text
//! record   bytes u32 · items u32 · offset u64 · at_us i64 · flags u32 (1: has producer) · 0 u32
//!          · producer id u64 · producer sequence u64 · item…
//! item     kind u8 (1 rows, 2 event) · 0 u8 ×3 · bytes u32 · …
//! event    json bytes u32 · 0 u32 · json
//! rows     rows u32 · columns u32 · time column u32 (none: 2^32 - 1) · schema name bytes u16
//!          · table name bytes u16 · schema name and table name · column…
//! column   type u8 · flags u8 (1: has nulls) · name bytes u16 · nulls u32 · name · validity bits? · buffers
//!   BOOLEAN           bits
//!   numbers, times    values
//!   VARCHAR           offsets i32 ×(rows + 1), the first 0 · text
//!   SYMBOL            keys i32 ×rows · distinct u32 · 0 u32 · offsets i32 ×(distinct + 1) · text
//! ```
//!
//! All numbers are little-endian, every part begins at a multiple of 8 bytes from the record's beginning, and
//! `bytes` counts a part whole, its header and padding included. A *bit* buffer has its first row in the
//! lowest bit. Only the visible part of a sliced array is written, and only the used part of a dictionary that
//! is mostly unused. `docs/log-format.md` has the same at length.
//!
//! A reader trusts nothing: each length is held against what is there before it is used, and every array is
//! made by Arrow's checked constructors. Neither a torn nor a hostile file can make it panic.

mod decode;
mod encode;

pub(crate) use decode::decode_record;
pub(crate) use encode::Encoder;

use nowcast_model::ColumnType;

/// Bytes of a record's header: what stands before its first item.
pub(crate) const RECORD_HEADER_BYTES: usize = 48;
/// Bytes of what stands before a rows item's names.
const ROWS_HEADER_BYTES: usize = 24;
const KIND_ROWS: u8 = 1;
const KIND_EVENT: u8 = 2;
const FLAG_PRODUCER: u32 = 1;
const FLAG_NULLS: u8 = 1;
const NO_TIMESTAMP: u32 = u32::MAX;

// Buffers are copied as they are in memory.
const _: () = assert!(cfg!(target_endian = "little"), "the log's format is little-endian, as is its code");

/// The number of a type in a file. Numbers are never given to another type.
fn tag(ty: ColumnType) -> u8 {
    match ty {
        ColumnType::Boolean => 1,
        ColumnType::Byte => 2,
        ColumnType::Short => 3,
        ColumnType::Int => 4,
        ColumnType::Long => 5,
        ColumnType::Float => 6,
        ColumnType::Double => 7,
        ColumnType::Symbol => 8,
        ColumnType::Varchar => 9,
        ColumnType::Timestamp => 10,
        ColumnType::TimestampNs => 11,
        ColumnType::Date => 12,
    }
}

fn from_tag(number: u8) -> Option<ColumnType> {
    ColumnType::ALL.into_iter().find(|&ty| tag(ty) == number)
}

/// `bytes` rounded up to where the next part begins.
fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(8)
}

#[cfg(test)]
pub(crate) mod tests;
