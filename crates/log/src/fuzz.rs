//! A record as bytes, for the targets in `fuzz/`: there only if the compiler is told that it builds for them.

use nowcast_model::Record;

use crate::{FormatError, LogError, codec};

/// Reads the record at the beginning of `bytes`, and tells how many of them it takes.
///
/// # Errors
/// As a reader of the log names them.
pub fn decode_record(bytes: &[u8]) -> Result<(Record, usize), FormatError> {
    codec::decode_record(bytes)
}

/// A record as the log writes it.
///
/// # Errors
/// [`LogError::TooLarge`], [`LogError::Unsupported`], [`LogError::Empty`].
pub fn encode_record(record: &Record) -> Result<Vec<u8>, LogError> {
    let mut bytes = Vec::new();
    codec::Encoder::default().record(record, &mut bytes)?;
    Ok(bytes)
}
