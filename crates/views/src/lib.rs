//! Delta operators and live tables, without I/O, clock, tokio or DataFusion.
//!
//! Views see changes and ticks, nothing else. A [`ViewPlan`] says what a view computes, a [`View`] is a plan
//! with its state, a [`LiveTable`] is what a view publishes, the [`Engine`] drives all views on the apply
//! thread, and [`LiveTables`] is what readers share with it. Expressions are a trait ([`Expr`]) that `query`
//! implements.
//!
//! Not here, on purpose: a clock (time arrives as a [`nowcast_model::Tick`], or as an argument), threads,
//! sockets, SQL.

mod aggregate;
mod cells;
mod engine;
mod error;
mod exact;
mod flow;
mod groups;
mod join;
mod keys;
mod limits;
mod live;
mod picked;
mod plan;
mod rank;
mod rows;
mod runner;
mod select;
mod shelf;
mod source;
mod spread;
mod tables;
mod top;
mod view;
mod window;

#[cfg(any(test, feature = "oracle"))]
pub mod oracle;
#[cfg(test)]
mod tests;

pub use cells::is_supported;
pub use engine::{Again, Engine, EngineStats, Evaluated, Kind, ViewStats};
pub use error::ViewError;
pub use limits::ViewLimits;
pub use live::{Changes, Key, LiveColumn, LiveSchema, LiveTable, Row};
pub use plan::{
    AggFunction, Aggregate, Body, Bound, Direction, Expr, ExprRef, Fraction, Hints, OrderBy, OutputColumn,
    ViewPlan, Window,
};
pub use source::{Branch, Flow, Join, JoinKind, Leaf, Reads, Select, Source};
pub use tables::{LiveTables, Mode, Moment, Published, ViewId, ViewState};
pub use view::View;
