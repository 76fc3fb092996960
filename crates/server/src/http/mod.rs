//! HTTP: routes, bounds, and what handlers share.

mod api;
mod assets;
mod body;
mod cut;
mod error;
mod exec;
mod exp;
mod fields;
mod guard;
mod health;
mod imp;
mod log;
mod serve;
mod stream;
mod write;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::StatusCode,
    middleware,
    routing::{get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use nowcast_feed::FeedState;
use nowcast_log::LogHandle;
use nowcast_model::Clock;
use nowcast_store::Store;
use tower_http::{
    compression::{
        CompressionLayer,
        predicate::{DefaultPredicate, NotForContentType, Predicate},
    },
    timeout::TimeoutLayer,
};

use crate::{
    config::Config,
    dashboards::Library,
    feeds,
    generate::Control,
    sql::Sql,
    stages::{Health, Ingest, LiveService, Rates},
};

pub use error::ApiError;
pub use guard::Guard;
pub use imp::partition_by;
pub use serve::serve;
pub use write::{ARROW_STREAM, table_name};

/// Parquet's media type.
const PARQUET: &str = "application/vnd.apache.parquet";

/// What handlers share.
pub struct App {
    /// The settings.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where rows go.
    pub ingest: Arc<Ingest>,
    /// Where rows are.
    pub store: Arc<Store>,
    /// What was written, in its order.
    pub log: LogHandle,
    /// How statements run.
    pub sql: Arc<Sql>,
    /// Live queries.
    pub live: LiveService,
    /// The feed that they go out by.
    pub feed: FeedState,
    /// The dashboards.
    pub dashboards: Library,
    /// Whether all is well.
    pub health: Arc<Health>,
    /// Rows a second of each table.
    pub rates: Arc<Rates>,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// Stops and starts the demo's generator, where one runs.
    pub generator: Option<Control>,
}

/// The whole of HTTP. The live feed is outside of the request timeout and of compression: its answers do not
/// end.
pub fn router(app: Arc<App>) -> Router {
    let timeout = Duration::from_secs(app.config.raw.http.request_timeout_s.max(1));
    let feed = app.feed.clone();
    let batch = Arc::new(app.live.clone());
    let feeds = feeds::compatible(&app.config.orders, &app.config.raw.feed, batch);
    let compatible = nowcast_feed::compatible_router(&feed, feeds);
    let guard = Arc::new(Guard::new(&app.config.raw.http));
    // Parquet is compressed within.
    let worth = DefaultPredicate::new().and(NotForContentType::const_new(PARQUET));
    let plain = Router::new()
        .route("/write", post(write::lines).get(write::no_qwp))
        .route("/api/v2/write", post(write::lines))
        .route("/api/v1/ingest/{table}", post(write::objects).get(write::written))
        .route("/read/v1", get(write::no_qwp))
        .route("/settings", get(write::settings))
        .route("/ping", get(write::ping).head(write::ping))
        .route("/query", get(write::influx_query).post(write::influx_query))
        .route("/exec", get(exec::get).post(exec::post))
        .route("/exp", get(exp::get).post(exp::post))
        .route("/api/v1/dashboards", get(api::dashboards))
        .route("/api/v1/dashboards/{name}", get(api::dashboard))
        .route("/api/v1/tables", get(api::tables))
        .route("/api/v1/tables/{table}", get(api::table))
        .route("/api/v1/log/{table}", get(log::read))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/demo", get(api::demo).post(api::set_demo))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/health", get(health::influx))
        .route("/metrics", get(health::metrics))
        .route("/api/{*rest}", get(no_route).post(no_route))
        .fallback(assets::serve)
        .with_state(Arc::clone(&app))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, timeout))
        .layer(CompressionLayer::new().compress_when(worth));
    // An upload takes as long as it is large; it is ended when nothing comes.
    let uploads = Router::new().route("/imp", post(imp::post)).with_state(app);
    Router::new()
        .merge(nowcast_feed::router(feed))
        .merge(compatible)
        .merge(uploads)
        .merge(plain)
        .layer(middleware::from_fn_with_state(guard, guard::check))
}

async fn no_route(uri: axum::http::Uri) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("there is no route {}", uri.path())).hint("see docs/http.md")
}
