//! Feeds that other systems' clients know, served to them unchanged.
//!
//! | route | what it sends |
//! |---|---|
//! | `/ws` | the rows of one query, all of them, every few seconds (`records`) |
//! | `/dashboard/{id}` | the metrics of a dashboard as they change (`boards`) |
//! | `/socket.io/` | the same over Socket.IO (`socketio`) |
//!
//! The metrics of dashboards come from live queries, one `[[feed]]` each, whose rows `metrics` reads (`source`).
//!
//! These protocols have no cursor and no acknowledgement, so here, and only here, a viewer has a queue. It is
//! bounded; one who falls behind it gets the newest values instead of what was missed.

mod boards;
mod metrics;
mod push;
mod records;
mod socketio;
mod source;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRequestParts, Path, Request, State, ws::WebSocketUpgrade},
    http::StatusCode,
    response::Response,
    routing::get,
};
use futures::future::BoxFuture;
use nowcast_views::{LiveSchema, Row};

use self::{boards::Boards, records::RecordsTask};
use crate::{
    FeedError, FeedState,
    counters::Transport,
    error::code,
    http::{Refusal, address, check, set_up},
    hub::Hub,
};

/// Runs a query once. The server implements it.
pub trait Batch: Send + Sync + 'static {
    /// The rows of `sql` now, at most as many as a query may answer, and what they look like; or what is wrong.
    fn run(&self, sql: Arc<str>) -> BoxFuture<'static, Result<(LiveSchema, Vec<Row>), String>>;
}

/// What `/ws` sends.
#[derive(Debug, Clone)]
pub struct RecordsFeed {
    /// The query.
    pub sql: Arc<str>,
    /// How often it is run, while there is a viewer.
    pub refresh: Duration,
}

/// A query whose rows are metrics of dashboards: which of its columns say what.
#[derive(Debug, Clone)]
pub struct MetricsFeed {
    /// The query.
    pub sql: String,
    /// The column that names the dashboard.
    pub dashboard_id: String,
    /// The column that names the metric.
    pub metric_name: String,
    /// The column of the value.
    pub value: String,
    /// The column of the time; without it, the moment at which the row changed.
    pub timestamp: Option<String>,
    /// Columns of what else is told: one of JSON text, or any that become fields.
    pub metadata: Vec<String>,
}

/// What the compatible routes serve.
#[derive(Clone)]
pub struct Compatible {
    /// Runs the query of `/ws`.
    pub batch: Arc<dyn Batch>,
    /// The query of `/ws`.
    pub records: RecordsFeed,
    /// The queries of `/dashboard/{id}` and `/socket.io/`.
    pub metrics: Vec<MetricsFeed>,
}

struct Routes {
    hub: Arc<Hub>,
    records: RecordsTask,
    boards: Arc<Boards>,
}

/// The routes `/ws`, `/dashboard/{id}` and `/socket.io/`. Call it on the runtime that is to serve.
pub fn compatible_router(state: &FeedState, feeds: Compatible) -> Router {
    let hub = Arc::clone(&state.hub);
    let records = RecordsTask::start(&hub, feeds.batch, feeds.records);
    let boards = Boards::new(feeds.metrics.len());
    for (index, feed) in feeds.metrics.into_iter().enumerate() {
        tokio::spawn(source::run(Arc::clone(&hub), Arc::clone(&boards), index, feed));
    }
    let socketio = socketio::router(&hub, &boards);
    let routes = Arc::new(Routes { hub, records, boards });
    Router::new()
        .route("/ws", get(records_socket))
        .route("/dashboard/{id}", get(dashboard_socket))
        .with_state(routes)
        .merge(socketio)
}

async fn upgrade(hub: &Hub, request: Request) -> Result<WebSocketUpgrade, Refusal> {
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|rejection| {
        let error = FeedError::new(code::UNKNOWN_PROTOCOL, rejection.body_text());
        Refusal(rejection.status(), error.hint("open a WebSocket here"))
    })?;
    Ok(set_up(upgrade, &hub.limits))
}

async fn records_socket(State(routes): State<Arc<Routes>>, request: Request) -> Result<Response, Refusal> {
    check(&routes.hub, &request)?;
    let (address, peer) = (address(&request), records::peer(&request));
    let upgrade = upgrade(&routes.hub, request).await?;
    let seat = admit(&routes.hub, Transport::Records, address)?;
    let (hub, stream) = (Arc::clone(&routes.hub), routes.records.watch());
    Ok(upgrade.on_upgrade(async move |socket| {
        let _seat = seat;
        tracing::info!("New WebSocket connection: {peer}");
        push::serve(socket, &hub, stream).await;
        tracing::info!("WebSocket disconnected: {peer}");
    }))
}

async fn dashboard_socket(
    State(routes): State<Arc<Routes>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    check(&routes.hub, &request)?;
    let address = address(&request);
    has_feeds(&routes.boards)?;
    let count = |error: &FeedError| routes.hub.counters.error(&error.code);
    routes.hub.count_dashboard(&id).inspect_err(count)?;
    let upgrade = upgrade(&routes.hub, request).await?;
    let seat = admit(&routes.hub, Transport::Dashboard, address)?;
    let (hub, boards) = (Arc::clone(&routes.hub), Arc::clone(&routes.boards));
    Ok(upgrade.on_upgrade(async move |socket| {
        let _seat = seat;
        let watching = boards.watch(&id);
        let stream = boards::messages(watching, hub.limits.snapshot_timeout);
        push::serve(socket, &hub, stream).await;
    }))
}

fn admit(
    hub: &Arc<Hub>,
    transport: Transport,
    address: Option<std::net::IpAddr>,
) -> Result<crate::hub::Seat, FeedError> {
    hub.admit(transport, address).inspect_err(|error| hub.counters.error(&error.code))
}

/// Without `[[feed]]` no dashboard will ever say anything.
fn has_feeds(boards: &Boards) -> Result<(), Refusal> {
    if !boards.is_empty() {
        return Ok(());
    }
    let error = FeedError::new(code::NO_FEED, "no feed of metrics is set up");
    Err(Refusal(StatusCode::NOT_FOUND, error.hint("add [[feed]] to nowcast.toml; see docs/feeds.md")))
}
