//! The nowcast binary: configuration, command line, stages, HTTP and PostgreSQL wire.
//!
//! Read [`stages`] for how data flows, [`http`] and [`pg`] for what the outside sees, [`cli`] and [`config`]
//! for what a user can set.

pub mod backup;
pub mod backup_command;
pub mod cli;
pub mod client;
pub mod config;
pub mod dashboards;
pub mod demo;
pub mod encode;
pub mod feeds;
pub mod generate;
pub mod http;
pub mod lock;
pub mod log_command;
mod memory;
pub mod pg;
pub mod records;
pub mod run;
#[cfg(test)]
mod slt;
pub mod sql;
pub mod stages;
pub mod telemetry;
pub mod transaction;
