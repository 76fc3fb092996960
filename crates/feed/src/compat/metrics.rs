//! What is counted of dashboards, under the names that their operators know.
//!
//! Dashboards name series, and their names come from rows and addresses. The first [`LABELS_MAX`] have their own,
//! all others share `other`.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::frame::lock;

/// Series of one metric.
const LABELS_MAX: usize = 100;

/// A label longer than this is not worth a series.
const LABEL_BYTES_MAX: usize = 128;

#[derive(Clone)]
struct Meter {
    processed: Counter,
    connections: Gauge,
}

/// See the module's story.
pub(super) struct Meters {
    meters: Mutex<HashMap<Box<str>, Meter>>,
    seconds: Histogram,
}

impl Default for Meters {
    fn default() -> Meters {
        Meters { meters: Mutex::default(), seconds: histogram!("dashboard_processing_seconds") }
    }
}

impl Meters {
    fn of(&self, dashboard: &str) -> Meter {
        let mut meters = lock(&self.meters);
        if let Some(meter) = meters.get(dashboard) {
            return meter.clone();
        }
        let has_room = meters.len() < LABELS_MAX && dashboard.len() <= LABEL_BYTES_MAX;
        let label = if has_room { dashboard } else { "other" };
        let meter = Meter {
            processed: counter!("dashboard_messages_processed_total", "dashboard_id" => label.to_owned()),
            connections: gauge!("dashboard_active_connections", "dashboard_id" => label.to_owned()),
        };
        if has_room {
            meters.insert(label.into(), meter.clone());
        }
        meter
    }

    /// A message was passed on.
    pub(super) fn processed(&self, dashboard: &str, took: Duration) {
        self.of(dashboard).processed.increment(1);
        self.seconds.record(took.as_secs_f64());
    }

    /// A viewer came or went. Which series it counts in may have changed meanwhile only for names past the bound,
    /// which share one for good.
    pub(super) fn viewer(&self, dashboard: &str, came: bool) {
        let connections = self.of(dashboard).connections;
        if came { connections.increment(1) } else { connections.decrement(1) }
    }
}
