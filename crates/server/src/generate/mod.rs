//! theLook eCommerce: a made-up clothing shop whose users, orders, items, stock and events come as they would
//! in a real one.
//!
//! ```text
//! Catalogue (fixed) ─┐
//! Arrivals (when) ───┴─► Shop (who, what) ─► Table (columns) ─► Batch ─┬─► Sink            `nowcast demo`
//!                                                                     └─► client::Target  `nowcast generate`
//! ```
//!
//! [`Shop`] knows no clock and no socket: it is told when a user comes and makes the rows. [`run_embedded`]
//! feeds them to the server that it runs in; [`client`] sends them to another server, over HTTP (line protocol)
//! or to PostgreSQL, and logs as the Python generator of the original does.

mod arrivals;
mod catalogue;
pub mod cli;
pub mod client;
mod embedded;
mod facts;
mod http;
mod postgres;
mod rng;
mod rows;
mod schema;
mod shop;

pub use arrivals::Arrivals;
pub use catalogue::{Catalogue, PRODUCTS, ProductsError};
pub use embedded::{Control, run_embedded};
pub use schema::schemas;
pub use shop::Shop;

#[cfg(test)]
mod tests;
