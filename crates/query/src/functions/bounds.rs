//! How much one value, and one column of one batch, may hold.
//!
//! A function makes its whole column before anybody can count it: `repeat('x', 1000000000)` of 8,192 rows would
//! take the machine's memory, and the query's memory pool would hear of it too late. So what makes long values
//! asks here first, with what it is about to make.

use datafusion::common::Result;

use crate::{
    error::{SqlCode, SqlError},
    failure::external,
};

/// Bytes of one text value that a function makes.
pub(super) const VALUE_BYTES_MAX: usize = 1 << 20;

/// Bytes of one column of one batch that a function makes.
pub(super) const BATCH_BYTES_MAX: usize = 64 << 20;

const _: () = assert!(VALUE_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX < i32::MAX as usize);

/// Refuses a column of `rows` values of up to `bytes_each` bytes.
pub(super) fn check_batch(name: &str, rows: usize, bytes_each: usize) -> Result<()> {
    check_value(name, bytes_each)?;
    check_column(name, rows.saturating_mul(bytes_each))
}

/// Refuses one value of `bytes`.
pub(super) fn check_value(name: &str, bytes: usize) -> Result<()> {
    if bytes <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let message =
        format!("{name}() would make a text of {bytes} bytes, at most {VALUE_BYTES_MAX} are allowed");
    Err(external(SqlError::new(SqlCode::Resources, message).hint("make it shorter"), name))
}

/// Refuses a column of `bytes` in all.
pub(super) fn check_column(name: &str, bytes: usize) -> Result<()> {
    if bytes <= BATCH_BYTES_MAX {
        return Ok(());
    }
    let mib = BATCH_BYTES_MAX >> 20;
    let message =
        format!("{name}() would make {} MiB for one batch of rows, at most {mib} are allowed", bytes >> 20);
    Err(external(SqlError::new(SqlCode::Resources, message).hint("make its texts shorter"), name))
}
