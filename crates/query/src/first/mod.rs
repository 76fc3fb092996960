//! The first row of each key: what `DISTINCT ON` and `LATEST ON` come to.
//!
//! ```text
//! Distinct On ─► Projection ─ Sort by the keys ─ FirstOf ─ input          rule
//! FirstOf     ─► FirstExec (one stream) ─ FirstExec (each partition)      exec
//! ```
//!
//! DataFusion makes an aggregate of it, with a `first_value` of each column that orders all rows by itself. Here a key
//! is looked up as a number ([`codes`]), a row is compared once ([`ranks`]), and of a batch no more is held than the
//! rows that are still the first of their keys ([`held`]).

mod codes;
mod exec;
mod held;
mod ranks;
mod rule;

pub(crate) use self::rule::{FirstOf, optimizer_rules};
