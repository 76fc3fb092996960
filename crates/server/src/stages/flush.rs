//! The flush thread: hot rows become parts, and the log lets go of what is in them.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use metrics::counter;
use nowcast_log::LogHandle;
use nowcast_model::Offset;
use nowcast_store::Store;

use super::Health;

/// How often the thread looks whether there is something to do.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long it waits after a failure: the disk may be full, and heal.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Starts the thread; a message on `stop`, or its end, ends it.
pub(super) fn start(
    store: Arc<Store>,
    log: LogHandle,
    health: Arc<Health>,
    stop: Receiver<()>,
) -> std::io::Result<JoinHandle<()>> {
    let run = move || {
        let mut not_before = Instant::now();
        let mut needed = Offset::ZERO;
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(LOOK_INTERVAL) {
            // What is kept for readers alone is not replayed.
            store.note_replay_bytes(log.bytes_from(needed));
            if Instant::now() < not_before || !store.needs_flush() {
                continue;
            }
            let all = store.must_flush_all();
            match store.flush(all) {
                Ok(offset) => {
                    counter!("nowcast_store_flushes_total").increment(1);
                    needed = offset;
                    log.drop_before(offset);
                    health.flush_failed(None);
                    // Nothing more may be had from a flush just now (a table that is all in one part).
                    not_before = Instant::now() + LOOK_INTERVAL;
                }
                Err(error) => {
                    tracing::warn!(%error, "rows cannot be moved to parts; it is tried again");
                    health.flush_failed(Some(error.to_string()));
                    not_before = Instant::now() + RETRY_INTERVAL;
                }
            }
        }
    };
    std::thread::Builder::new().name("nowcast-flush".into()).spawn(run)
}
