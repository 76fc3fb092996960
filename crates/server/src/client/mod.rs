//! The commands that talk to a running server: `sql`, `import`, `export`, `health`.

pub(crate) mod args;
mod export;
mod import;
mod script;
mod shell;
mod show;
mod sql;
mod target;
mod wire;

use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::HealthArgs;

pub use export::export;
pub use import::import;
pub use sql::sql;
pub use target::percent_encode;
pub use wire::Unreachable;

/// Asks `/readyz`.
///
/// # Errors
/// The server cannot be reached or says why it is not ready.
pub fn health(args: &HealthArgs) -> anyhow::Result<String> {
    let base = args.to.trim_end_matches('/');
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
        .build()
        .into();
    let unreachable =
        || format!("cannot reach {base}; is `nowcast serve` running, and does it listen there?");
    let mut response = agent.get(format!("{base}/readyz")).call().with_context(unreachable)?;
    let text = response.body_mut().with_config().limit(1 << 20).read_to_string()?;
    if !response.status().is_success() {
        bail!("{base} is not ready: {}", text.trim());
    }
    Ok(format!("{base} is well: {}\n", text.trim()))
}
