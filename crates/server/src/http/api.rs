//! What the page asks for besides the live feed.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use nowcast_store::TableVersion;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, error::ApiError, table_name};
use crate::stages::is_own;

/// `GET /api/v1/dashboards`
pub(super) async fn dashboards(State(app): State<Arc<App>>) -> Json<Value> {
    let list: Vec<Value> = app.dashboards.list().iter().map(|entry| entry.summary()).collect();
    Json(json!({ "dashboards": list }))
}

/// `GET /api/v1/dashboards/{name}`
pub(super) async fn dashboard(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    match app.dashboards.get(&name) {
        Ok(entry) => Ok(Json(entry.to_json()).into_response()),
        Err(missing) => Err(ApiError::new(StatusCode::NOT_FOUND, missing.message).hint(missing.hint)),
    }
}

/// `GET /api/v1/tables`
pub(super) async fn tables(State(app): State<Arc<App>>) -> Json<Value> {
    let snapshot = app.store.snapshot();
    let tables: Vec<Value> = snapshot.tables.values().map(|table| describe(&app, table)).collect();
    Json(json!({ "tables": tables, "now": app.clock.now_us() }))
}

/// `GET /api/v1/tables/{table}`
pub(super) async fn table(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    match app.store.snapshot().table(&table_name(&name)) {
        Some(table) => Ok(Json(describe(&app, table))),
        None => {
            let error = ApiError::new(StatusCode::NOT_FOUND, format!("there is no table {name:?}"));
            Err(error.hint("a table is made by the first row that is written to it"))
        }
    }
}

fn describe(app: &App, table: &TableVersion) -> Value {
    let schema = &table.schema;
    json!({
        "schema": schema.name.schema,
        "name": schema.name.table,
        "columns": schema.columns,
        "timestamp": schema.timestamp_column().map(|column| &column.name),
        "partition_by": schema.partition_by,
        "rows": table.rows(),
        "rows_per_second": app.rates.rows_per_second(&schema.name),
        "bytes": table.bytes(),
        "newest": table.newest_us,
        "system": is_own(schema),
    })
}

/// `GET /api/v1/status`
pub(super) async fn status(State(app): State<Arc<App>>) -> Json<Value> {
    let snapshot = app.store.snapshot();
    let tables = snapshot.tables.values().map(|table| &table.schema).filter(|schema| !is_own(schema));
    let rows_per_second: f64 = tables.map(|schema| app.rates.rows_per_second(&schema.name)).sum();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "rows_per_second": rows_per_second,
        "viewers": app.feed.counts().viewers,
        "position": snapshot.position.to_string(),
        "views": app.live.describe(),
        "ready": app.health.reasons().is_empty(),
        "reasons": app.health.reasons(),
    }))
}

/// `GET /api/v1/demo`: whether the demo's generator runs; 404 where there is none.
pub(super) async fn demo(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let generator = app.generator.as_ref().ok_or_else(no_demo)?;
    Ok(Json(json!({ "paused": generator.is_paused() })))
}

/// The body of [`set_demo`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DemoState {
    paused: bool,
}

/// `POST /api/v1/demo` with `{"paused": true}`.
pub(super) async fn set_demo(
    State(app): State<Arc<App>>,
    Json(state): Json<DemoState>,
) -> Result<Json<Value>, ApiError> {
    let generator = app.generator.as_ref().ok_or_else(no_demo)?;
    if state.paused {
        generator.pause()
    } else {
        generator.resume()
    }
    Ok(Json(json!({ "paused": generator.is_paused() })))
}

fn no_demo() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no demo runs here").hint("start one with `nowcast demo`")
}
