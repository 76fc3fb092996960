//! What happens by the clock: once a second, once a minute, and when dashboards change.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nowcast_model::{Clock, Item};
use nowcast_store::Store;
use tokio::time::MissedTickBehavior;

use super::{Ingest, LiveService, Rates, own_tables::OwnTables};
use crate::dashboards::Library;

/// How often partitions past their TTL are looked for.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// What it is done with.
pub(super) struct Housekeeping {
    pub ingest: Arc<Ingest>,
    pub store: Arc<Store>,
    pub own_tables: OwnTables,
    pub live: LiveService,
    pub dashboards: Library,
    pub rates: Arc<Rates>,
    /// The machine's clock: what is past its TTL is what it says now.
    pub clock: Arc<dyn Clock>,
}

impl Housekeeping {
    /// Never ends.
    pub(super) async fn run(mut self) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut changed = self.dashboards.subscribe();
        let mut retention = Instant::now();
        self.own_tables.begin().await;
        loop {
            tokio::select! {
                _ = second.tick() => {}
                change = changed.changed() => {
                    if change.is_ok() {
                        self.live.dashboards_changed().await;
                    }
                    continue;
                }
            }
            self.rates.sample(self.clock.now_us(), &self.store.snapshot());
            self.own_tables.write().await;
            self.live.reap().await;
            if retention.elapsed() >= RETENTION_INTERVAL {
                retention = Instant::now();
                self.drop_expired().await;
            }
        }
    }

    async fn drop_expired(&self) {
        let expired = self.store.expired(self.clock.now_us());
        let items: Vec<Item> = expired.into_iter().map(Item::Event).collect();
        if !items.is_empty()
            && let Err(error) = self.ingest.append(items, None).await
        {
            tracing::warn!(?error, "old partitions cannot be dropped");
        }
    }
}
