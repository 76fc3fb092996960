//! Tests of the feed: vectors that the TypeScript client reads too, viewers whose messages are delivered by
//! hand, and real sockets over loopback.
#![allow(clippy::unwrap_used, clippy::panic)]

mod compat;
mod delivery;
mod model;
mod packed;
mod rig;
mod sockets;
mod streams;
mod vectors;
mod viewers;
