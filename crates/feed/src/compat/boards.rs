//! The dashboards of `[[feed]]`: the newest value of each metric, and a channel of changes for each dashboard.
//!
//! A viewer joins under the same lock under which changes are made, so it misses none: it gets the newest values,
//! then the changes. Channels hold [`QUEUE_MAX`] changes; a viewer who lags further gets the newest values again.
//! A dashboard exists while it has metrics or viewers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::extract::ws::Utf8Bytes;
use futures::{Stream, stream};
use serde_json::{Map, Value as Json, json};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};

use super::metrics::Meters;
use crate::frame::lock;

/// Changes that wait for one viewer.
const QUEUE_MAX: usize = 256;

/// A metric's new value.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) metric: Arc<str>,
    pub(super) value: Json,
    /// Milliseconds since 1970 UTC if the column is a time, else what it holds.
    pub(super) timestamp: Json,
    pub(super) metadata: Json,
    /// The message on `/dashboard/{id}`.
    pub(super) text: Utf8Bytes,
}

impl Update {
    pub(super) fn new(dashboard: &str, metric: &str, value: Json, timestamp: Json, metadata: Json) -> Update {
        let text = json!({
            "dashboard_id": dashboard, "metric_name": metric, "value": value, "timestamp": timestamp,
            "metadata": metadata,
        });
        Update { metric: metric.into(), value, timestamp, metadata, text: text.to_string().into() }
    }
}

struct Board {
    latest: BTreeMap<Arc<str>, Arc<Update>>,
    changes: broadcast::Sender<Arc<Update>>,
    viewers: usize,
}

/// See the module's story.
pub(super) struct Boards {
    /// Held for a look-up and the copying of references; never across an await.
    boards: Mutex<HashMap<Arc<str>, Board>>,
    feeds: usize,
    /// Feeds whose rows are not known yet.
    pending: watch::Sender<usize>,
    viewers: watch::Sender<usize>,
    pub(super) meters: Meters,
}

impl Boards {
    pub(super) fn new(feeds: usize) -> Arc<Boards> {
        Arc::new(Boards {
            boards: Mutex::default(),
            feeds,
            pending: watch::Sender::new(feeds),
            viewers: watch::Sender::new(0),
            meters: Meters::default(),
        })
    }

    /// True if no feed is set up.
    pub(super) fn is_empty(&self) -> bool {
        self.feeds == 0
    }

    /// How many watch, and when that changes.
    pub(super) fn viewers(&self) -> watch::Receiver<usize> {
        self.viewers.subscribe()
    }

    /// A feed's rows became known, or unknown.
    pub(super) fn set_known(&self, known: bool) {
        self.pending.send_modify(|pending| {
            *pending = if known { pending.saturating_sub(1) } else { self.feeds.min(*pending + 1) };
        });
    }

    /// Takes in the new value of a metric.
    pub(super) fn put(&self, dashboard: &str, update: Update) {
        let update = Arc::new(update);
        let mut boards = lock(&self.boards);
        let board = board(&mut boards, dashboard);
        board.latest.insert(Arc::clone(&update.metric), Arc::clone(&update));
        // Nobody may be listening.
        let _ = board.changes.send(update);
    }

    /// Forgets a metric.
    pub(super) fn remove(&self, dashboard: &str, metric: &str) {
        let mut boards = lock(&self.boards);
        let Some(board) = boards.get_mut(dashboard) else { return };
        board.latest.remove(metric);
        if board.latest.is_empty() && board.viewers == 0 {
            boards.remove(dashboard);
        }
    }

    /// Watches a dashboard, which need not have metrics yet.
    pub(super) fn watch(self: &Arc<Boards>, dashboard: &str) -> Watching {
        let mut boards = lock(&self.boards);
        let board = board(&mut boards, dashboard);
        board.viewers += 1;
        let changes = board.changes.subscribe();
        drop(boards);
        self.viewers.send_modify(|viewers| *viewers += 1);
        self.meters.viewer(dashboard, true);
        Watching { boards: Arc::clone(self), dashboard: dashboard.into(), changes }
    }
}

fn board<'a>(boards: &'a mut HashMap<Arc<str>, Board>, dashboard: &str) -> &'a mut Board {
    boards.entry(dashboard.into()).or_insert_with(|| Board {
        latest: BTreeMap::new(),
        changes: broadcast::Sender::new(QUEUE_MAX),
        viewers: 0,
    })
}

/// What a viewer gets next.
pub(super) enum Next {
    Changed(Arc<Update>),
    /// It fell behind; [`Watching::latest`] has what counts.
    Behind,
}

/// A viewer of a dashboard.
pub(super) struct Watching {
    boards: Arc<Boards>,
    dashboard: Box<str>,
    changes: broadcast::Receiver<Arc<Update>>,
}

impl Watching {
    /// Waits until the rows of all feeds are known, but not for ever.
    pub(super) async fn known(&self, longest: Duration) {
        let mut pending = self.boards.pending.subscribe();
        let _ = tokio::time::timeout(longest, pending.wait_for(|pending| *pending == 0)).await;
    }

    /// The newest values; the changes that follow come from [`Watching::next`].
    pub(super) fn latest(&mut self) -> Vec<Arc<Update>> {
        let boards = lock(&self.boards.boards);
        self.changes = self.changes.resubscribe();
        boards.get(&*self.dashboard).map(|board| board.latest.values().cloned().collect()).unwrap_or_default()
    }

    /// The newest values by metric, as one object.
    pub(super) fn state(&mut self) -> Json {
        let fields = self.latest().into_iter().map(|update| {
            let Update { value, timestamp, metadata, .. } = &*update;
            let entry = json!({ "value": value, "timestamp": timestamp, "metadata": metadata });
            (update.metric.to_string(), entry)
        });
        Json::Object(fields.collect::<Map<_, _>>())
    }

    /// Waits for a change.
    pub(super) async fn next(&mut self) -> Next {
        match self.changes.recv().await {
            Ok(update) => Next::Changed(update),
            Err(RecvError::Lagged(_)) => Next::Behind,
            // The board holds the sender for as long as this viewer is counted.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut boards = lock(&self.boards.boards);
        if let Some(board) = boards.get_mut(&*self.dashboard) {
            board.viewers -= 1;
            if board.viewers == 0 && board.latest.is_empty() {
                boards.remove(&*self.dashboard);
            }
        }
        drop(boards);
        self.boards.viewers.send_modify(|viewers| *viewers -= 1);
        self.boards.meters.viewer(&self.dashboard, false);
    }
}

/// The messages of `/dashboard/{id}`: the newest values, then changes.
pub(super) fn messages(watching: Watching, longest: Duration) -> impl Stream<Item = Utf8Bytes> {
    let start = (watching, None::<std::vec::IntoIter<Arc<Update>>>);
    stream::unfold(start, move |(mut watching, mut latest)| async move {
        if latest.is_none() {
            watching.known(longest).await;
            latest = Some(watching.latest().into_iter());
        }
        loop {
            if let Some(update) = latest.as_mut().and_then(Iterator::next) {
                return Some((update.text.clone(), (watching, latest)));
            }
            match watching.next().await {
                Next::Changed(update) => return Some((update.text.clone(), (watching, latest))),
                Next::Behind => latest = Some(watching.latest().into_iter()),
            }
        }
    })
}
