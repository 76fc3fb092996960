//! What all viewers share: the live tables, the rhythm of rounds, the frames, the counters.
//!
//! **Rounds.** A *round* is a moment that viewers are woken for. One task makes them: the first publication
//! after a pause starts a round at once, later ones wait until `push_interval` has passed since the last, so
//! that many commits become one round. A round reads, under one moment, what changed since the round before in
//! every view that someone watches. It encodes nothing: the first viewer who sends a frame encodes it, the
//! others share it.
//!
//! A viewer anywhere between the round before and this one takes the same frames: a delta holds whole rows and
//! keys, so one that begins too early is merely repeated. Hence viewers who came in the middle of a round
//! stand at the head with all others from the next round on. A viewer further back reads the live tables by
//! itself (see `viewer`).
//!
//! **Without viewers** no round is made.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ahash::AHashMap;
use axum::http::HeaderMap;
use nowcast_model::{Epoch, Version};
use nowcast_views::{Changes, LiveSchema, LiveTables, Moment, ViewId, ViewState};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    FeedCounts, FeedError, FeedLimits, Lease, Resolver, SubscribeRequest,
    counters::{Counters, Transport},
    encode::{ENCODINGS, Encoding, Payload},
    error::code,
    frame::{Frame, FrameCache, FrameKey, lock},
    limits::{LINGERING_MAX, RETRY_AFTER_S},
    rate::{Buckets, seconds},
    targets::{Held, Targets},
};

/// One view in a round.
pub(crate) struct RoundView {
    pub(crate) state: ViewState,
    pub(crate) schema: Arc<LiveSchema>,
    /// What changed since the round before; `None` while there is nothing to show.
    changes: Option<Changes>,
    frames: [OnceLock<Arc<Frame>>; ENCODINGS],
}

impl RoundView {
    /// True if viewers of the round before cannot go on with a delta.
    pub(crate) fn is_snapshot(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| changes.snapshot)
    }

    /// True if rows changed.
    pub(crate) fn has_changes(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| !changes.is_empty())
    }

    /// The delta.
    pub(crate) fn frame(
        &self,
        view: ViewId,
        round: &Round,
        encoding: Encoding,
        hub: &Hub,
    ) -> Option<Arc<Frame>> {
        let changes = self.changes.as_ref().filter(|changes| !changes.is_empty())?;
        Some(Arc::clone(self.frames[encoding as usize].get_or_init(|| {
            let key = FrameKey { view, from: Some(round.from), to: round.version, encoding };
            let encode = || encoding.delta_tail(round.version, &self.schema, changes);
            hub.frames.get(key, &hub.counters, encode)
        })))
    }
}

/// A moment that viewers are woken for.
pub(crate) struct Round {
    /// Counts rounds.
    pub(crate) number: u64,
    /// The version of the round before.
    pub(crate) from: Version,
    pub(crate) version: Version,
    pub(crate) position: u64,
    pub(crate) now_us: i64,
    pub(crate) views: AHashMap<ViewId, RoundView>,
    progress: [OnceLock<Payload>; ENCODINGS],
}

impl Round {
    /// The progress of those for whom nothing lags.
    pub(crate) fn progress(&self, encoding: Encoding) -> Payload {
        let progress = || encoding.progress(self.version, self.position, self.now_us, &[]);
        self.progress[encoding as usize].get_or_init(progress).clone()
    }
}

/// Decides whether a request may come from where it says.
pub type AllowOrigin = Arc<dyn Fn(&HeaderMap) -> bool + Send + Sync>;

/// What all viewers share. See the module's story.
pub(crate) struct Hub {
    pub(crate) tables: Arc<LiveTables>,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) epoch: Epoch,
    pub(crate) limits: FeedLimits,
    pub(crate) allow_origin: AllowOrigin,
    pub(crate) frames: FrameCache,
    pub(crate) counters: Counters,
    targets: Targets,
    /// How many subscriptions each view has.
    watched: Mutex<AHashMap<ViewId, usize>>,
    rounds: watch::Sender<Arc<Round>>,
    closing: watch::Sender<bool>,
    published: Notify,
    viewers: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    lingering: AtomicUsize,
    requests: Buckets<IpAddr>,
    dashboards: Buckets<Box<str>>,
    viewer_ids: AtomicU64,
}

impl Hub {
    pub(crate) fn new(
        tables: Arc<LiveTables>,
        resolver: Arc<dyn Resolver>,
        epoch: Epoch,
        limits: FeedLimits,
        allow_origin: AllowOrigin,
    ) -> Arc<Hub> {
        let frames = FrameCache::new(limits.cache_bytes_max);
        let first = tables.read(|moment| read_round(moment, None, &[]));
        let hub = Arc::new(Hub {
            tables: Arc::clone(&tables),
            resolver,
            epoch,
            limits,
            allow_origin,
            frames,
            counters: Counters::new(),
            targets: Targets::default(),
            watched: Mutex::default(),
            rounds: watch::Sender::new(Arc::new(first)),
            closing: watch::Sender::new(false),
            published: Notify::new(),
            viewers: AtomicUsize::new(0),
            addresses: Mutex::default(),
            lingering: AtomicUsize::new(0),
            requests: Buckets::default(),
            dashboards: Buckets::default(),
            viewer_ids: AtomicU64::new(0),
        });
        let wake = Arc::downgrade(&hub);
        tables.on_publish(Box::new(move |_| {
            if let Some(hub) = wake.upgrade() {
                hub.published.notify_one();
            }
        }));
        hub
    }

    /// Makes rounds until the hub closes.
    pub(crate) async fn run(self: Arc<Hub>) {
        let mut closing = self.closing.subscribe();
        let mut last = Instant::now().checked_sub(self.limits.push_interval);
        loop {
            tokio::select! {
                () = self.published.notified() => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
            if let Some(last) = last {
                tokio::time::sleep_until(last + self.limits.push_interval).await;
            }
            last = Some(Instant::now());
            if self.viewers.load(Ordering::Relaxed) > 0 {
                self.round();
            }
        }
    }

    /// Makes a round now.
    pub(crate) fn round(&self) {
        let watched: Vec<ViewId> = lock(&self.watched).keys().copied().collect();
        let before = Arc::clone(&self.rounds.borrow());
        let round = self.tables.read(|moment| read_round(moment, Some(&before), &watched));
        self.counters.rounds.add(1);
        self.frames.sweep();
        self.rounds.send_replace(Arc::new(round));
    }

    /// The newest round, and those that follow.
    pub(crate) fn rounds(&self) -> watch::Receiver<Arc<Round>> {
        self.rounds.subscribe()
    }

    /// Turns true when the server goes down.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    pub(crate) fn counts(&self) -> FeedCounts {
        self.counters.counts()
    }

    /// True if a viewer may come; [`Hub::admit`] decides.
    pub(crate) fn has_room(&self) -> Result<(), FeedError> {
        let max = self.limits.connections_max;
        if self.viewers.load(Ordering::Relaxed) < max {
            return Ok(());
        }
        Err(no_room(max))
    }

    /// Room for one more viewer.
    pub(crate) fn admit(
        self: &Arc<Hub>,
        transport: Transport,
        address: Option<IpAddr>,
    ) -> Result<Seat, FeedError> {
        if *self.closing.borrow() {
            let error = FeedError::new(code::SHUTTING_DOWN, "the server is going down");
            return Err(error.hint("reconnect with your cursor").retry_after(RETRY_AFTER_S));
        }
        let max = self.limits.connections_max;
        if self.viewers.fetch_add(1, Ordering::Relaxed) >= max {
            self.viewers.fetch_sub(1, Ordering::Relaxed);
            return Err(no_room(max));
        }
        if let Some(address) = address {
            let max = self.limits.connections_per_address_max;
            let mut addresses = lock(&self.addresses);
            let count = addresses.entry(address).or_insert(0);
            if *count >= max {
                drop(addresses);
                self.viewers.fetch_sub(1, Ordering::Relaxed);
                let message = format!("{max} viewers are connected from {address} already");
                let error = FeedError::new(code::TOO_MANY_FROM_ADDRESS, message);
                let error = error.hint("close some, or raise feed.connections_per_address_max");
                return Err(error.retry_after(RETRY_AFTER_S));
            }
            *count += 1;
        }
        self.counters.viewer(transport, true);
        let number = self.viewer_ids.fetch_add(1, Ordering::Relaxed);
        Ok(Seat { hub: Arc::clone(self), transport, address, number })
    }

    /// Counts a request from `address`, and refuses what is too much.
    pub(crate) fn count_request(&self, address: Option<IpAddr>) -> Result<(), FeedError> {
        let Some(address) = address else { return Ok(()) };
        let max = self.limits.requests_per_second_max;
        self.requests.take(address, max, Instant::now()).map_err(|wait| {
            let message = format!("more than {max} requests a second come from {address}");
            let error = FeedError::new(code::TOO_MANY_REQUESTS, message);
            error.hint("ask less often, or raise feed.requests_per_second_max").retry_after(seconds(wait))
        })
    }

    /// Counts a request for the dashboard called `name`, and refuses what is too much.
    pub(crate) fn count_dashboard(&self, name: &str) -> Result<(), FeedError> {
        let max = self.limits.dashboard_requests_per_second_max;
        self.dashboards.take(name.into(), max, Instant::now()).map_err(|wait| {
            let message = format!("more than {max} requests a second ask for the dashboard {name:?}");
            let error = FeedError::new(code::TOO_MANY_FOR_DASHBOARD, message);
            let hint = "ask again later, or raise feed.dashboard_requests_per_second_max";
            error.hint(hint).retry_after(seconds(wait))
        })
    }

    /// Opens a subscription's view.
    pub(crate) async fn open(
        self: Arc<Hub>,
        request: SubscribeRequest,
        cursor: Option<Version>,
    ) -> Result<Opened, FeedError> {
        if let Some(name) = request.target.dashboard() {
            self.count_dashboard(name)?;
        }
        let lease = self.resolver.open(request.clone()).await?;
        let now = self.tables.read(Moment::version);
        let (held, resumes) = self.targets.hold(&request, lease.view(), now, cursor);
        *lock(&self.watched).entry(lease.view()).or_insert(0) += 1;
        let view = lease.view();
        Ok(Opened { view, resumes, hub: self, held, lease: Some(lease) })
    }
}

fn no_room(max: usize) -> FeedError {
    let error = FeedError::new(code::TOO_MANY_CONNECTIONS, format!("{max} viewers are connected already"));
    error.hint("try later, or raise feed.connections_max").retry_after(RETRY_AFTER_S)
}

/// Reads a round under one moment.
fn read_round(moment: &Moment, before: Option<&Round>, watched: &[ViewId]) -> Round {
    let from = before.map_or(moment.version(), |round| round.version);
    let views = watched.iter().filter_map(|&id| {
        let view = moment.view(id)?;
        let shows = !matches!(view.state(), ViewState::Seeding { .. });
        let changes = shows.then(|| since(view, moment, Some(from)));
        let (state, schema) = (view.state().clone(), Arc::clone(view.schema()));
        // Rows of a snapshot are read by those who need them.
        let changes = changes.map(|changes| match changes.snapshot {
            true => Changes { upsert: Vec::new(), ..changes },
            false => changes,
        });
        Some((id, RoundView { state, schema, changes, frames: Default::default() }))
    });
    Round {
        number: before.map_or(0, |round| round.number + 1),
        from,
        version: moment.version(),
        position: moment.position().get(),
        now_us: moment.tick().us(),
        views: views.collect(),
        progress: Default::default(),
    }
}

/// What a reader who saw the moment `cursor` lacks of a view. A live table that did not change stands at an
/// older version than the moment, and takes a newer cursor for one from the future.
pub(crate) fn since(view: &nowcast_views::Published, moment: &Moment, cursor: Option<Version>) -> Changes {
    let known = cursor.filter(|&cursor| cursor <= moment.version());
    view.changes_since(known.map(|cursor| cursor.min(view.table().version())))
}

/// A viewer's place; free again when dropped.
pub(crate) struct Seat {
    hub: Arc<Hub>,
    transport: Transport,
    address: Option<IpAddr>,
    /// Names the viewer in logs.
    pub(crate) number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.viewers.fetch_sub(1, Ordering::Relaxed);
        self.hub.counters.viewer(self.transport, false);
        let Some(address) = self.address else { return };
        let mut addresses = lock(&self.hub.addresses);
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }
}

/// A subscription's hold on its view; let go when dropped.
pub(crate) struct Opened {
    pub(crate) view: ViewId,
    /// True if the cursor that the client came with is good for this view.
    pub(crate) resumes: bool,
    hub: Arc<Hub>,
    held: Held,
    lease: Option<Lease>,
}

impl Opened {
    /// Lets the view live on for a while: its viewer may come back. One that is still seeded stops at once.
    pub(crate) fn linger(mut self) {
        let hub = Arc::clone(&self.hub);
        let shows = |moment: &Moment| {
            moment
                .view(self.view)
                .is_some_and(|view| matches!(view.state(), ViewState::Live | ViewState::Behind { .. }))
        };
        let time: Duration = hub.limits.linger;
        if time.is_zero() || !hub.tables.read(shows) || *hub.closing.borrow() {
            return;
        }
        if hub.lingering.fetch_add(1, Ordering::Relaxed) >= LINGERING_MAX {
            hub.lingering.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let lease = self.lease.take();
        let mut closing = hub.closing();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                _ = closing.wait_for(|closing| *closing) => {}
            }
            drop(lease);
            hub.lingering.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.hub.targets.release(&self.held, self.hub.tables.read(Moment::version));
        let mut watched = lock(&self.hub.watched);
        if let Some(count) = watched.get_mut(&self.view) {
            *count -= 1;
            if *count == 0 {
                watched.remove(&self.view);
            }
        }
    }
}
