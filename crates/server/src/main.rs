//! The `nowcast` command.

use std::process::ExitCode;

use clap::Parser;
use nowcast_server::{cli::Cli, run};

/// Arrow allocates large, short-lived buffers on several threads: jemalloc keeps the resident size flat where
/// the system's allocator fragments.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    run::run(Cli::parse())
}
