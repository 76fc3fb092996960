//! Logs on standard error and the metrics that `/metrics` shows.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Turns on logging at `NOWCAST_LOG` (as `tracing`'s `EnvFilter` reads it), `info` by default.
pub fn start_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_env("NOWCAST_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,datafusion=warn,pgwire=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(colour).with_target(false).try_init()
        }
        LogFormat::Json => builder.json().try_init(),
    };
    // A second server in one process (tests) keeps the first one's logger.
    drop(started);
}

/// Upper bounds of histograms in seconds: those that Prometheus' own clients have.
const SECONDS_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Installs the process's recorder once and hands out what renders it.
///
/// # Errors
/// Another recorder was installed by somebody else.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    use std::sync::OnceLock;
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        PrometheusBuilder::new()
            .set_buckets(&SECONDS_BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|e| e.to_string())
            .inspect(|_| describe())
    });
    handle.clone().map_err(|e| anyhow::anyhow!("cannot start metrics: {e}"))
}

/// The names, kinds and meanings of all metrics: `docs/metrics.md` lists the same, and a test compares.
pub const METRICS: &[(&str, Kind, &str)] = include!("metrics.in");

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; there from the start.
    Counter,
    /// Only rises; a series for each label, from its first use on.
    LabelledCounter,
    /// Rises and falls; there from the start.
    Gauge,
    /// Rises and falls; a series for each label, from its first use on.
    LabelledGauge,
    /// Counts of values in buckets, their count and sum.
    Histogram,
}

fn describe() {
    for (name, kind, help) in METRICS {
        match kind {
            Kind::Counter => {
                metrics::describe_counter!(*name, *help);
                metrics::counter!(*name).absolute(0);
            }
            Kind::LabelledCounter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => {
                metrics::describe_gauge!(*name, *help);
                metrics::gauge!(*name).set(0.0);
            }
            Kind::LabelledGauge => metrics::describe_gauge!(*name, *help),
            Kind::Histogram => metrics::describe_histogram!(*name, *help),
        }
    }
}
