//! The generator inside `nowcast demo`: its rows go into the server's own [`Sink`].
//!
//! Every 100 ms the users who came meanwhile become one record. Nothing is caught up: after a pause, a
//! suspended machine or a busy log, the shop goes on with the present, as the rows' times are their users'
//! arrivals and a burst of old ones would only show a spike that never was.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use nowcast_model::Clock;
use nowcast_sources::{Sink, WriteError};

use super::{Arrivals, Shop};

/// Users of so long become one record: short enough for freshness, long enough that records hold a few rows.
const ROUND: Duration = Duration::from_millis(100);
/// Arrivals older than this are forgotten.
const BEHIND_MAX_US: i64 = 2_000_000;

/// Pauses, resumes and ends a running generator. Clones control the same one.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<State>);

#[derive(Debug, Default)]
struct State {
    paused: AtomicBool,
    stopped: AtomicBool,
    users: AtomicU64,
    rows: AtomicU64,
}

impl Control {
    /// Makes no more users until [`Control::resume`]. A record that is being written is still written.
    pub fn pause(&self) {
        self.0.paused.store(true, Ordering::SeqCst);
    }

    /// Goes on, with those who come from now on.
    pub fn resume(&self) {
        self.0.paused.store(false, Ordering::SeqCst);
    }

    /// True between [`Control::pause`] and [`Control::resume`].
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::SeqCst)
    }

    /// Ends [`run_embedded`] after at most one round.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
    }

    /// Users written since the start.
    pub fn users(&self) -> u64 {
        self.0.users.load(Ordering::Relaxed)
    }

    /// Rows written since the start.
    pub fn rows(&self) -> u64 {
        self.0.rows.load(Ordering::Relaxed)
    }
}

/// Writes what `shop`'s users do as they come, `users_per_second` on average, until [`Control::stop`].
/// Dropping the future is safe too: a record is written whole or not at all.
///
/// # Errors
/// The log became read-only, or a table no longer takes these rows. A busy log is waited for.
pub async fn run_embedded(
    sink: Arc<dyn Sink>,
    mut shop: Shop,
    seed: u64,
    users_per_second: f64,
    clock: Arc<dyn Clock>,
    control: Control,
) -> Result<(), WriteError> {
    let mut arrivals = Arrivals::new(seed, users_per_second, clock.now_us());
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !control.0.stopped.load(Ordering::SeqCst) {
        rounds.tick().await;
        let now_us = clock.now_us();
        if control.is_paused() {
            arrivals.skip_to(now_us);
            continue;
        }
        arrivals.skip_to(now_us - BEHIND_MAX_US);
        let mut users = 0;
        while let Some(arrival_us) = arrivals.next_until(now_us) {
            shop.visit(arrival_us);
            users += 1;
        }
        let batches = shop.take();
        if batches.is_empty() {
            continue;
        }
        let rows: usize = batches.iter().map(|batch| batch.rows.num_rows()).sum();
        loop {
            match sink.write(batches.clone(), false).await {
                Ok(()) => break,
                Err(WriteError::Busy { retry_after_s }) => {
                    tokio::time::sleep(Duration::from_secs(retry_after_s.clamp(1, 10))).await;
                }
                Err(error) => return Err(error),
            }
            if control.0.stopped.load(Ordering::SeqCst) {
                return Ok(());
            }
        }
        control.0.users.fetch_add(users, Ordering::Relaxed);
        control.0.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }
    Ok(())
}
