//! The live feed: protocol, hub, cursor, shared frames, WebSocket, SSE and snapshots.
//!
//! Read in this order: [`protocol`] (the messages), `encode` (rows to JSON) and `frame` (shared by viewers),
//! `hub` (what all viewers share: rounds, limits, counters), `targets` (the guard of a resume), `viewer` (one
//! viewer's state) with `read` (what it lacks), then the transports `ws`, `sse` and `snapshot`, which `http`
//! puts behind routes. `compat` serves the clients of other systems.
//!
//! Not here, on purpose: SQL, dashboards and rights. A [`Resolver`] turns a request into a view; a [`Tenant`]
//! comes with the request. There is no queue for a viewer anywhere: a slow one is simply further back.

mod compat;
mod counters;
#[cfg(feature = "echo")]
mod echo;
mod encode;
mod error;
mod frame;
mod http;
mod hub;
mod limits;
pub mod protocol;
mod rate;
mod read;
mod snapshot;
mod sse;
mod targets;
mod viewer;
mod ws;

use std::{any::Any, fmt, sync::Arc};

use futures::future::BoxFuture;
use nowcast_model::Epoch;
use nowcast_views::{LiveTables, ViewId};
use serde_json::{Map, Value as Json};

pub use compat::{Batch, Compatible, MetricsFeed, RecordsFeed, compatible_router};
pub use counters::FeedCounts;
#[cfg(feature = "echo")]
pub use echo::echo_router;
pub use error::{FeedError, code};
pub use http::{router, same_origin};
pub use hub::AllowOrigin;
pub use limits::FeedLimits;
pub use protocol::{SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK, Target};

/// On whose behalf a request is made. The server's authentication puts it into the request's extensions; it
/// is part of what names a view, so tenants never share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tenant(pub Arc<str>);

impl std::ops::Deref for Tenant {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// What a client wants to watch.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscribeRequest {
    /// A query, a panel or a dashboard.
    pub target: Target,
    /// Parameters by name: a scalar, a list, null for "all", or `{"ago_s": n}`.
    pub params: Map<String, Json>,
    /// On whose behalf; `None` while authentication is off.
    pub tenant: Option<Tenant>,
}

/// Turns requests into views. The server implements it.
pub trait Resolver: Send + Sync + 'static {
    /// Finds or makes the view for `request` and holds it until the lease is dropped. Equal requests get the
    /// same view as long as they mean the same. Called for every subscription, resumed ones included, so this
    /// is also where rights are checked.
    fn open(&self, request: SubscribeRequest) -> BoxFuture<'static, Result<Lease, FeedError>>;
}

/// A hold on a view: while one exists the view is kept up to date.
pub struct Lease {
    view: ViewId,
    _guard: Box<dyn Any + Send + Sync>,
}

impl Lease {
    /// A lease on `view`; dropping `guard` gives it back.
    pub fn new(view: ViewId, guard: impl Any + Send + Sync) -> Lease {
        Lease { view, _guard: Box::new(guard) }
    }

    /// The view.
    pub fn view(&self) -> ViewId {
        self.view
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("view", &self.view).finish_non_exhaustive()
    }
}

/// The feed of one server. Cheap to clone.
#[derive(Clone)]
pub struct FeedState {
    hub: Arc<hub::Hub>,
}

impl FeedState {
    /// A feed of `tables`. Call it on the runtime that is to serve, after the metrics recorder is installed:
    /// it starts the task that makes rounds.
    pub fn new(
        tables: Arc<LiveTables>,
        resolver: Arc<dyn Resolver>,
        epoch: Epoch,
        limits: FeedLimits,
    ) -> FeedState {
        FeedState::with_origin(tables, resolver, epoch, limits, Arc::new(same_origin))
    }

    /// As [`FeedState::new`], with a rule of its own for where browsers' requests may come from. The rule sees
    /// the headers of every request; refused ones get 403.
    pub fn with_origin(
        tables: Arc<LiveTables>,
        resolver: Arc<dyn Resolver>,
        epoch: Epoch,
        limits: FeedLimits,
        allow_origin: AllowOrigin,
    ) -> FeedState {
        let hub = hub::Hub::new(tables, resolver, epoch, limits, allow_origin);
        tokio::spawn(Arc::clone(&hub).run());
        FeedState { hub }
    }

    /// What was counted.
    pub fn counts(&self) -> FeedCounts {
        self.hub.counts()
    }

    /// Which run of the server this is, as clients see it.
    pub fn epoch(&self) -> Epoch {
        self.hub.epoch
    }

    /// Bytes of encoded frames that are kept.
    pub fn cache_bytes(&self) -> usize {
        self.hub.frames.bytes()
    }

    /// Closes all connections with the words "reconnect with your cursor", and lets no new ones in.
    pub fn close(&self) {
        self.hub.close();
    }
}

impl fmt::Debug for FeedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedState").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
