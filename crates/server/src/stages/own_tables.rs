//! The tables that the server writes itself: `rejected` and `_metrics`.
//!
//! They are stored like any table, and asked, watched and dropped like one. What sets them apart is that nobody
//! made them: they are left out of SHOW TABLES and of the rows that are counted, and the page lists them apart.
//! How long their rows are kept is a setting, which is brought to a table that exists by an event. A table of such a
//! name that somebody made in another form is theirs: it is left alone, and the server's rows are not kept.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use metrics_exporter_prometheus::PrometheusHandle;
use nowcast_model::{Clock, Event, Item, TableName, TableSchema};
use nowcast_store::Store;

use super::{AppendError, Health, Ingest, metrics_table, rejected};
use crate::config::Raw;

/// True for a table that the server writes itself; not for one of its name that somebody made in another form.
pub fn is_own(schema: &TableSchema) -> bool {
    let own =
        [(rejected::TABLE, rejected::schema as fn(_) -> _), (metrics_table::TABLE, metrics_table::schema)];
    let mut named = own.into_iter().filter(|(table, _)| schema.name.key() == TableName::public(table).key());
    named.any(|(_, own)| has_form(schema, &own(None)))
}

/// True if `there` begins as the server would make it: others may have added columns.
fn has_form(there: &TableSchema, own: &TableSchema) -> bool {
    there.columns.starts_with(&own.columns)
        && there.timestamp == own.timestamp
        && there.partition_by == own.partition_by
}

/// Writes them.
pub(super) struct OwnTables {
    ingest: Arc<Ingest>,
    store: Arc<Store>,
    health: Arc<Health>,
    metrics: PrometheusHandle,
    clock: Arc<dyn Clock>,
    rejected: TableSchema,
    metrics_table: TableSchema,
    /// `None` writes no metrics.
    interval: Option<Duration>,
    written: Instant,
}

/// 0 keeps rows for ever.
fn ttl_s(keep_s: u64) -> Option<u64> {
    (keep_s > 0).then_some(keep_s)
}

impl OwnTables {
    pub(super) fn new(
        raw: &Raw,
        ingest: Arc<Ingest>,
        store: Arc<Store>,
        health: Arc<Health>,
        metrics: PrometheusHandle,
        clock: Arc<dyn Clock>,
    ) -> OwnTables {
        OwnTables {
            ingest,
            store,
            health,
            metrics,
            clock,
            rejected: rejected::schema(ttl_s(raw.rejected.keep_s)),
            metrics_table: metrics_table::schema(ttl_s(raw.metrics.keep_s)),
            interval: (raw.metrics.interval_s > 0).then(|| Duration::from_secs(raw.metrics.interval_s)),
            written: Instant::now(),
        }
    }

    /// Brings the settings to the tables that are there.
    pub(super) async fn begin(&self) {
        let other = |schema: &TableSchema| {
            let there = self.store.registry().table(&schema.name).filter(|there| has_form(there, schema))?;
            let (table, ttl_s) = (there.name.clone(), schema.ttl_s);
            (there.ttl_s != ttl_s).then_some(Item::Event(Event::SetTtl { table, ttl_s }))
        };
        let items: Vec<Item> = [&self.rejected, &self.metrics_table].into_iter().filter_map(other).collect();
        if !items.is_empty()
            && let Err(error) = self.ingest.append_own(items).await
        {
            tracing::warn!(?error, "how long the tables `rejected` and `_metrics` are kept stays as it was");
        }
    }

    /// Writes what is due. Called once a second.
    pub(super) async fn write(&mut self) {
        if let Some(rows) = self.ingest.rejected.take()
            && let Err(error) = self.append(&self.rejected, rows).await
        {
            tracing::warn!(?error, "cannot write the table `rejected`");
        }
        if self.interval.is_some_and(|interval| self.written.elapsed() >= interval) {
            self.written = Instant::now();
            self.health.report(&self.store);
            if let Some(rows) = metrics_table::rows(self.clock.now_us(), &self.metrics.render())
                && let Err(error) = self.append(&self.metrics_table, rows).await
            {
                // Every few seconds on a disk that is full; `/readyz` tells why.
                tracing::debug!(?error, "cannot write the table `_metrics`");
            }
        }
    }

    async fn append(&self, schema: &TableSchema, rows: Item) -> Result<(), AppendError> {
        if self.store.registry().table(&schema.name).is_some_and(|there| !has_form(&there, schema)) {
            tracing::debug!(table = %schema.name, "somebody's table has the name of one of the server's");
            return Ok(());
        }
        // No-op where the table exists.
        let items = vec![Item::Event(Event::CreateTable { schema: schema.clone() }), rows];
        self.ingest.append_own(items).await
    }
}
