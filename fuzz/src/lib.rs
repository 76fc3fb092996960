//! What the targets share: cells that can be compared.

mod cells;

pub use cells::{cell, rows};
