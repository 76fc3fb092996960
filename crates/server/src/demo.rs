//! `nowcast demo`: a shop whose orders move a dashboard.
//!
//! The first start makes the tables, the catalogue and an hour of history; each start lets the shop go on from
//! now. Rows older than a day go, except users and products.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use nowcast_model::{Clock, Event, Item, TableName};
use nowcast_sources::Sink;

use crate::{
    dashboards::THELOOK,
    generate::{Catalogue, Control, Shop, run_embedded, schemas},
    stages::{AppendError, Server},
};

/// History of a new shop.
const HISTORY_US: i64 = 3_600 * 1_000_000;

/// How long rows are kept, but for users and products.
const TTL_S: u64 = 24 * 3_600;

/// Writes the dashboard into the data directory unless there is one, which may have been edited. True if it
/// was written.
///
/// # Errors
/// The directory cannot be written.
pub fn write_dashboard(data: &Path) -> anyhow::Result<bool> {
    let dir = data.join("dashboards");
    let file = dir.join("thelook.toml");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    if file.exists() {
        return Ok(false);
    }
    std::fs::write(&file, THELOOK).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(true)
}

/// What a prepared shop tells about itself.
#[derive(Debug)]
pub struct Prepared {
    /// The shop, ready to go on.
    pub shop: Shop,
    /// Rows of history that were made; 0 for a shop that existed.
    pub history_rows: u64,
    /// How long that took.
    pub took: Duration,
}

/// Makes the tables and, for a new shop, the catalogue and its history.
///
/// # Errors
/// The rows cannot be written.
pub async fn prepare(
    server: &Server,
    clock: &dyn Clock,
    seed: u64,
    users_per_second: f64,
) -> anyhow::Result<Prepared> {
    let began = Instant::now();
    let tables = schemas(TableName::PUBLIC, Some(TTL_S));
    let events = tables.into_iter().map(|schema| Item::Event(Event::CreateTable { schema })).collect();
    server
        .ingest
        .append_visible(events)
        .await
        .map_err(AppendError::into_write_error)
        .context("cannot make the tables")?;
    let rows_of = |table: &str| {
        let snapshot = server.store.snapshot();
        snapshot.table(&TableName::public(table)).map_or(0, |table| table.rows())
    };
    let catalogue = Catalogue::generate();
    let users = rows_of("users");
    let is_new = users == 0;
    if rows_of("products") == 0 {
        let rows = catalogue.batches(&schemas(TableName::PUBLIC, None));
        server.ingest.write(rows, true).await.context("cannot write the catalogue")?;
    }
    let mut shop = Shop::new(seed, catalogue).after_users(users);
    let mut history_rows = 0;
    if is_new {
        let now_us = clock.now_us();
        let mut history = shop.history(now_us - HISTORY_US, now_us, users_per_second).peekable();
        while let Some(batches) = history.next() {
            history_rows += batches.iter().map(|batch| batch.rows.num_rows() as u64).sum::<u64>();
            if history.peek().is_some() {
                server.ingest.write(batches, false).await.context("cannot write the history")?;
            } else {
                // The last one is waited for: whoever opens the page sees the whole hour.
                let items = batches.into_iter().map(Item::Rows).collect();
                let written = server.ingest.append_visible(items).await;
                written.map_err(AppendError::into_write_error).context("cannot write the history")?;
            }
        }
    }
    Ok(Prepared { shop, history_rows, took: began.elapsed() })
}

/// Lets the shop go on until `control` stops it.
pub fn open_shop(
    server: &Server,
    shop: Shop,
    seed: u64,
    users_per_second: f64,
    clock: Arc<dyn Clock>,
    control: Control,
) -> tokio::task::JoinHandle<()> {
    let sink = Arc::clone(&server.ingest) as Arc<dyn Sink>;
    tokio::spawn(async move {
        if let Err(error) = run_embedded(sink, shop, seed, users_per_second, clock, control).await {
            tracing::error!(%error, "the shop closed");
        }
    })
}
