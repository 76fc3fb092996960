//! The data directory, opened: the log made whole, the store as its manifest says, nothing replayed yet.
//!
//! The manifest is looked at first, since it says what is needed of the log: a log that is gone, or does not reach
//! so far, ends the start before anything is changed. The log is made before the store: so a store without a log is
//! one whose log was taken away.

use std::sync::Arc;

use anyhow::Context;
use nowcast_disk::{Disk, RealDisk};
use nowcast_log::{Durability, Log, LogOptions, Recovery};
use nowcast_model::{Clock, Offset};
use nowcast_store::{SeenLimits, Store, StoreInspection, StoreOptions};

use crate::config::Config;

/// Store and log of a data directory.
pub(super) struct Opened {
    pub(super) store: Arc<Store>,
    pub(super) log: Log,
    pub(super) recovery: Recovery,
    /// The log is to be replayed from here…
    pub(super) replay_from: Offset,
    /// … to here.
    pub(super) replay_end: Offset,
}

/// Opens what is in `config.data`, or makes it.
///
/// # Errors
/// Something is damaged, missing or newer; each error says what to do.
pub(super) fn open(config: &Config, hot_bytes_max: usize, clock: &Arc<dyn Clock>) -> anyhow::Result<Opened> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let store_dir = config.data.join("store");
    let mut log_options = log_options(config);
    let known = StoreInspection::find(Arc::clone(&disk), &store_dir).context("cannot open the store")?;
    log_options.needed = known.as_ref().map(|store| store.replay_from()..store.position());
    let (mut log, recovery) =
        Log::open(log_options, Arc::clone(&disk), Arc::clone(clock)).context("cannot open the log")?;
    let store_options = StoreOptions {
        hot_bytes_max,
        seen: seen_limits(config),
        footer_bytes_max: config.raw.memory.footer_bytes_max,
        ..StoreOptions::default()
    };
    let (store, replay_from) =
        Store::open(&store_dir, store_options, disk, Arc::clone(clock)).context("cannot open the store")?;
    let replay_end = log.end();
    log.skip_to(known.map_or(Offset::ZERO, |store| store.position())).context("cannot open the log")?;
    Ok(Opened { store, log, recovery, replay_from, replay_end })
}

fn log_options(config: &Config) -> LogOptions {
    let raw = &config.raw.log;
    let mut options = LogOptions::new(config.data.join("log"));
    options.segment_bytes_max = raw.segment_bytes_max;
    options.ring_bytes_max = raw.ring_bytes_max;
    options.keep_us = i64::try_from(raw.keep_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    if raw.durability == "relaxed" {
        options.durability = Durability::Relaxed;
    }
    options
}

fn seen_limits(config: &Config) -> SeenLimits {
    let raw = &config.raw.idempotency;
    let age_us_max = i64::try_from(raw.keep_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    SeenLimits { count_max: raw.keys_max, age_us_max }
}
