//! Clauses for time series that SQL does not have: `SAMPLE BY`, `LATEST ON`, `ASOF JOIN`, intervals of time.
//!
//! ```text
//! tokens ─► lift ──► tokens that the SQL parser knows, and clauses by the place of their SELECT
//! AST ────► expand ─► GROUP BY, DISTINCT ON, comparisons; and calls of markers where SQL has no word
//! plan ───► nodes ──► markers become nodes of ours: fill, asof, reverse
//! ```
//!
//! A clause becomes plain SQL wherever SQL can say it: then parts are pruned and live queries stay
//! incremental as for any other query.

mod asof;
mod bucket;
mod calendar;
mod clause;
mod coerce;
mod expand;
mod interval;
mod latest;
mod lift;
mod limit;
mod marker;
mod nodes;
mod sample;
mod sql;
mod time;
mod windows;

pub(crate) use self::{
    clause::Clauses,
    coerce::Times,
    expand::expand,
    interval::INTERVAL,
    lift::lift,
    limit::flip,
    marker::{LAST, LENGTH, function as marker},
    nodes::{Node, Planner, place},
};
