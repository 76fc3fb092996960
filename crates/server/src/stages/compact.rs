//! The compaction thread: small parts become larger ones.
//!
//! It gives way to flushes, for which writers wait, but not for ever: rows may come faster than the machine takes
//! them for hours, and queries over ever more parts would be slower and slower. So a merge gets at least one part
//! in [`SHARE`] of the time.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use metrics::counter;
use nowcast_store::Store;
use tokio::sync::watch;

use super::Room;

/// How often the thread looks whether there is something to do.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long it waits after a failure: the disk may be full, and heal; a damaged part does not.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// How often a merge that gives way looks whether it may go on.
const WAIT_INTERVAL: Duration = Duration::from_millis(10);

/// A merge waits for flushes at most this many times as long as it works.
const SHARE: u32 = 4;

/// Starts the thread; a message on `stop`, or its end, ends it.
pub(super) fn start(
    store: Arc<Store>,
    room: watch::Receiver<Room>,
    stop: Receiver<()>,
) -> std::io::Result<JoinHandle<()>> {
    let run = move || {
        let mut interval = LOOK_INTERVAL;
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(interval) {
            let mut stopped = false;
            interval = match compact(&store, &room, &stop, &mut stopped) {
                Ok(()) => LOOK_INTERVAL,
                Err(error) => {
                    counter!("nowcast_store_merge_failures_total").increment(1);
                    tracing::warn!(%error, "parts cannot be merged; it is tried again");
                    RETRY_INTERVAL
                }
            };
            if stopped {
                return;
            }
        }
    };
    std::thread::Builder::new().name("nowcast-compact".into()).spawn(run)
}

/// Merges until nothing is to be merged, the disk has no room, or the thread is `stopped`.
fn compact(
    store: &Store,
    room: &watch::Receiver<Room>,
    stop: &Receiver<()>,
    stopped: &mut bool,
) -> Result<(), nowcast_store::StoreError> {
    let (mut worked, mut waited, mut since) = (Duration::ZERO, Duration::ZERO, Instant::now());
    let mut go_on = || {
        worked += since.elapsed();
        let began = Instant::now();
        loop {
            *stopped |= !matches!(stop.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
            // What a merge writes is space that writers need.
            if *stopped || matches!(*room.borrow(), Room::NoSpace { .. }) {
                return ControlFlow::Break(());
            }
            if !store.needs_flush() || waited + began.elapsed() >= worked * SHARE {
                break;
            }
            std::thread::sleep(WAIT_INTERVAL);
        }
        waited += began.elapsed();
        since = Instant::now();
        ControlFlow::Continue(())
    };
    while store.compact(&mut go_on)? {
        counter!("nowcast_store_merges_total").increment(1);
        if go_on().is_break() {
            break;
        }
    }
    Ok(())
}
