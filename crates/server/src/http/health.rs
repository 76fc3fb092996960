//! Whether all is well, for people, load balancers and Prometheus.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::App;

/// `/healthz`: the process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// `/readyz`: 200 if reads and writes work, else 503 with the reasons.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let reasons = app.health.reasons();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let position = app.store.snapshot().position;
    let word = if reasons.is_empty() { "ready" } else { "not ready" };
    let mut body = json!({ "status": word, "reasons": reasons, "position": position.to_string() });
    let damaged = app.health.quarantined();
    if !damaged.is_empty() {
        body["damaged"] = json!(damaged);
    }
    (status, Json(body)).into_response()
}

/// `/health`: the same in the words of InfluxDB 2.
pub(super) async fn influx(State(app): State<Arc<App>>) -> Response {
    let reasons = app.health.reasons();
    let pass = reasons.is_empty();
    let status = if pass { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "name": "nowcast",
        "status": if pass { "pass" } else { "fail" },
        "message": if pass { "ready for queries and writes".to_owned() } else { reasons.join("; ") },
        "version": env!("CARGO_PKG_VERSION"),
    });
    (status, Json(body)).into_response()
}

/// `/metrics`, in Prometheus' text form.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    app.health.report(&app.store);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
        .into_response()
}
