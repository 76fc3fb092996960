//! SQL: the dialect, plans, snapshots as tables, and live views out of SQL. The only crate below the server
//! that names DataFusion.
//!
//! ```text
//! text ─► parse ─► Statement ─┬─► query ──► rows         (engine, rewrite, catalog, table)
//!                             ├─► write ──► Items         (write: for the registry and the log)
//!                             └─► live ───► ViewPlan      (live: incremental, or re-evaluated with a reason)
//! ```
//!
//! A query reads one immutable snapshot. Nothing here writes, opens a file that is no part of a table, or
//! reads a clock: the present comes with the [`QueryContext`].

mod alive;
mod alter;
mod ast;
mod calls;
mod catalog;
mod context;
mod convert;
mod copy;
mod create;
mod describe;
mod dialect;
mod engine;
mod error;
mod exists;
mod failure;
mod first;
mod functions;
mod grouped;
mod insert;
pub mod json;
mod limited;
mod live;
mod mutate;
mod params;
mod parse;
mod partitions;
mod parts;
mod planned;
mod rewrite;
mod show;
mod stand_in;
mod statement;
mod symbols;
mod table;
mod text;
mod values;
mod weight;
mod write;
mod yielding;

pub use catalog::CATALOG;
pub use context::{QueryContext, SystemTables};
pub use copy::CopyTarget;
pub use engine::{Description, QueryEngine, QueryOptions, QueryResult};
pub use error::{Place, SqlCode, SqlError};
pub use failure::of as sql_error;
pub use insert::Inserting;
pub use live::{LiveMode, LiveQuery, RowKey};
pub use params::{Param, Params};
pub use parse::{Grammar, Piece};
pub use planned::designated;
pub use statement::{
    Copy, CopyFormat, CopyOptions, CopySource, CreateTable, Declare, Delete, Fetch, Insert, NameRef,
    Savepoint, Select, Show, Statement, Update,
};
pub use values::{cells, column_type, rows};
pub use yielding::Interrupt;

#[cfg(test)]
mod tests;
