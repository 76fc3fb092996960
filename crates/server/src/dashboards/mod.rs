//! Dashboards: files that people edit while others look at them.
//!
//! ```text
//! thelook.toml ─► parse (spanned) ─► Dashboard ─► Library ─► Entry (JSON for the page)
//!                      └─► Mistake ─────────────────┘    └─► PanelQuery (SQL and range for the views)
//! ```
//!
//! A [`Dashboard`] is checked as a whole, or is a [`Mistake`] that names file, line, column, cause and remedy.
//! The [`Library`] watches a directory; a bad edit keeps the last good dashboard and puts the mistake beside
//! it. The keys are a contract: `docs/dashboards.md` and `docs/dashboards.schema.json` list what [`keys`] does,
//! and a test compares the three.

mod definition;
pub mod keys;
mod library;
mod parse;
mod query;

pub use definition::{At, Chart, Dashboard, Panel, Variable};
pub use library::{Entry, Library, NotFound};
pub use parse::{Mistake, parse};
pub use query::{Moment, PanelQuery, Part, Range};

/// The dashboard that `nowcast demo` writes into its data directory.
pub const THELOOK: &str = include_str!("../../dashboards/thelook.toml");

/// A larger file is refused unread: a dashboard of [`PANELS_MAX`] panels has a tenth of this.
pub const FILE_BYTES_MAX: u64 = 256 << 10;
/// Files of the directory beyond this are not read.
pub const DASHBOARDS_MAX: usize = 200;
/// Panels of one dashboard: each is up to three live views.
pub const PANELS_MAX: usize = 64;
/// Variables of one dashboard.
pub const VARIABLES_MAX: usize = 20;

#[cfg(test)]
mod tests;
