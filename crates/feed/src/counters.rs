//! What the feed counts, for `/metrics`, the status page and tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that rises, here and in the process's metrics.
pub(crate) struct Counter {
    value: AtomicU64,
    metric: metrics::Counter,
}

impl Counter {
    fn new(metric: metrics::Counter) -> Counter {
        Counter { value: AtomicU64::new(0), metric }
    }

    pub(crate) fn add(&self, by: u64) {
        self.value.fetch_add(by, Ordering::Relaxed);
        self.metric.increment(by);
    }

    fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// All counters. Make them after the metrics recorder is installed.
pub(crate) struct Counters {
    viewers: AtomicU64,
    viewers_by: [metrics::Gauge; TRANSPORTS.len()],
    pub(crate) frames_encoded: Counter,
    pub(crate) bytes_encoded: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) messages_sent: Counter,
    pub(crate) rounds: Counter,
    pub(crate) rounds_sent: Counter,
    pub(crate) moments_skipped: Counter,
    pub(crate) snapshots: Counter,
    pub(crate) deltas: Counter,
    pub(crate) resumes_accepted: Counter,
    pub(crate) resumes_refused: Counter,
    pub(crate) stalled: Counter,
}

/// The kinds of viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    Sse,
    /// `/ws`
    Records,
    /// `/dashboard/{id}`
    Dashboard,
    /// `/socket.io/`
    SocketIo,
}

/// Their names, in order.
const TRANSPORTS: [&str; 5] = ["websocket", "sse", "records", "dashboard", "socketio"];

/// What was counted since the start, but for `viewers`, which is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedCounts {
    /// Connections that are open.
    pub viewers: u64,
    /// Snapshots and deltas that were turned into bytes; what is shared counts once.
    pub frames_encoded: u64,
    /// Their bytes.
    pub bytes_encoded: u64,
    /// Bytes handed to sockets.
    pub bytes_sent: u64,
    /// Messages handed to sockets.
    pub messages_sent: u64,
    /// Rounds of the server: moments that viewers were woken for.
    pub rounds: u64,
    /// Rounds that were sent, one a viewer.
    pub rounds_sent: u64,
    /// Rounds that viewers skipped because their sockets were full or they had not acknowledged.
    pub moments_skipped: u64,
    /// Snapshots sent.
    pub snapshots: u64,
    /// Deltas sent.
    pub deltas: u64,
    /// Subscriptions that went on from their cursor.
    pub resumes_accepted: u64,
    /// Subscriptions that asked for it and got a snapshot.
    pub resumes_refused: u64,
    /// Connections closed because their sockets took nothing.
    pub stalled: u64,
}

impl Counters {
    pub(crate) fn new() -> Counters {
        Counters {
            viewers: AtomicU64::new(0),
            viewers_by: TRANSPORTS.map(|name| metrics::gauge!("nowcast_feed_viewers", "transport" => name)),
            frames_encoded: Counter::new(metrics::counter!("nowcast_feed_frames_encoded_total")),
            bytes_encoded: Counter::new(metrics::counter!("nowcast_feed_bytes_encoded_total")),
            bytes_sent: Counter::new(metrics::counter!("nowcast_feed_bytes_sent_total")),
            messages_sent: Counter::new(metrics::counter!("nowcast_feed_messages_sent_total")),
            rounds: Counter::new(metrics::counter!("nowcast_feed_rounds_total")),
            rounds_sent: Counter::new(metrics::counter!("nowcast_feed_rounds_sent_total")),
            moments_skipped: Counter::new(metrics::counter!("nowcast_feed_moments_skipped_total")),
            snapshots: Counter::new(metrics::counter!("nowcast_feed_snapshots_total")),
            deltas: Counter::new(metrics::counter!("nowcast_feed_deltas_total")),
            resumes_accepted: Counter::new(
                metrics::counter!("nowcast_feed_resumes_total", "outcome" => "accepted"),
            ),
            resumes_refused: Counter::new(
                metrics::counter!("nowcast_feed_resumes_total", "outcome" => "refused"),
            ),
            stalled: Counter::new(metrics::counter!("nowcast_feed_stalled_total")),
        }
    }

    pub(crate) fn viewer(&self, transport: Transport, came: bool) {
        let gauge = &self.viewers_by[transport as usize];
        if came {
            self.viewers.fetch_add(1, Ordering::Relaxed);
            gauge.increment(1);
        } else {
            self.viewers.fetch_sub(1, Ordering::Relaxed);
            gauge.decrement(1);
        }
    }

    /// Counts an error. The codes are a closed set but for the resolver's, which is the server's own code, so
    /// the label stays small.
    pub(crate) fn error(&self, code: &str) {
        metrics::counter!("nowcast_feed_errors_total", "code" => code.to_owned()).increment(1);
    }

    pub(crate) fn counts(&self) -> FeedCounts {
        FeedCounts {
            viewers: self.viewers.load(Ordering::Relaxed),
            frames_encoded: self.frames_encoded.get(),
            bytes_encoded: self.bytes_encoded.get(),
            bytes_sent: self.bytes_sent.get(),
            messages_sent: self.messages_sent.get(),
            rounds: self.rounds.get(),
            rounds_sent: self.rounds_sent.get(),
            moments_skipped: self.moments_skipped.get(),
            snapshots: self.snapshots.get(),
            deltas: self.deltas.get(),
            resumes_accepted: self.resumes_accepted.get(),
            resumes_refused: self.resumes_refused.get(),
            stalled: self.stalled.get(),
        }
    }
}
