//! What the targets share: a disk in memory, and cells that can be compared.

mod cells;
mod disk;

pub use cells::{cell, rows};
pub use disk::MemDisk;
