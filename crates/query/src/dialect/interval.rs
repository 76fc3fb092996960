//! `ts IN '2026-01-01;1d'`.

use super::lift::Lift;
use crate::error::SqlError;

/// Spells the interval behind IN as a call; false if none stands there.
pub(super) fn lift(_: &mut Lift<'_>) -> Result<bool, SqlError> {
    Ok(false)
}
