//! Rows in over HTTP: line protocol as QuestDB and InfluxDB take it, JSON, NDJSON; and the handshakes of their
//! clients.
//!
//! A request is one record: all of it is written, or, if one line is bad, nothing.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use nowcast_model::{Item, Producer, TableName};
use nowcast_sources::{Decoded, LineError, Precision, Sink, WriteError, columnar, json, line};
use percent_encoding::percent_decode;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::stages::{AppendError, OTHER_WRITE};

use super::{App, body, error::ApiError};

/// Bodies above this are decoded where they do not hold up other connections.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// `?precision=` and what InfluxDB clients send besides, which has no meaning here: one server is one database.
#[derive(Debug, Deserialize)]
pub(super) struct WriteQuery {
    precision: Option<String>,
}

/// `POST /write` and `POST /api/v2/write`.
pub(super) async fn lines(
    State(app): State<Arc<App>>,
    Query(query): Query<WriteQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let precision = precision(query.precision.as_deref())?.unwrap_or(Precision::Nanoseconds);
    let bytes = body::read(&headers, body, app.config.raw.http.body_bytes_max).await?;
    let options = line::LineOptions::new(precision, app.clock.now_us());
    let decode = || line::decode_all(&bytes, &options);
    let decoded = if bytes.len() > INLINE_BYTES_MAX { tokio::task::block_in_place(decode) } else { decode() };
    let decoded = decoded.map_err(|error| bad_line(&error))?;
    write(&app, decoded, once(&headers, &bytes)?).await
}

/// `?timestamp=COLUMN&precision=…`
#[derive(Debug, Deserialize)]
pub(super) struct IngestQuery {
    timestamp: Option<String>,
    precision: Option<String>,
}

/// The media type of Arrow's IPC streams.
pub const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// `POST /api/v1/ingest/{table}`: a JSON object, an array of objects, or one object a line; or an Arrow stream.
pub(super) async fn objects(
    State(app): State<Arc<App>>,
    Path(table): Path<String>,
    Query(query): Query<IngestQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let precision = precision(query.precision.as_deref())?;
    let bytes = body::read(&headers, body, app.config.raw.http.body_bytes_max).await?;
    let table = table_name(&table);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let decode = || {
        if kind.starts_with(ARROW_STREAM) {
            let options = columnar::ArrowOptions { table, timestamp_column: query.timestamp, precision };
            return columnar::decode_all(&bytes, &options);
        }
        let timestamp_column = query.timestamp;
        let options = json::JsonOptions { table, timestamp_column, precision, now_us: app.clock.now_us() };
        json::decode_all(&bytes, &options)
    };
    let decoded = if bytes.len() > INLINE_BYTES_MAX { tokio::task::block_in_place(decode) } else { decode() };
    let decoded = decoded.map_err(|error| bad_line(&error))?;
    write(&app, decoded, once(&headers, &bytes)?).await
}

/// `GET /api/v1/ingest/{table}` with an `Idempotency-Key`: whether a write under it was applied, as far as keys are
/// remembered.
pub(super) async fn written(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let Some(producer) = once(&headers, &[])? else {
        let error = ApiError::new(StatusCode::BAD_REQUEST, "no Idempotency-Key is asked for");
        return Err(error.hint("send the header of the write; rows are sent by POST"));
    };
    Ok(Json(json!({ "written": app.store.seen(producer.id).is_some() })).into_response())
}

/// `schema.table`, or a table of `public`.
pub fn table_name(text: &str) -> TableName {
    match text.split_once('.') {
        Some((schema, table)) => TableName::new(schema, table),
        None => TableName::public(text),
    }
}

fn precision(text: Option<&str>) -> Result<Option<Precision>, ApiError> {
    text.filter(|text| !text.is_empty()).map(Precision::parse).transpose().map_err(|error| {
        ApiError::line_protocol(
            StatusCode::BAD_REQUEST,
            &error.to_string(),
            0,
            0,
            "use ns, us, ms, s, m or h",
        )
    })
}

/// The longest `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 255;

/// The name of a write that may be sent again: `Idempotency-Key`, and what is written under it.
fn once(headers: &HeaderMap, body: &[u8]) -> Result<Option<Producer>, ApiError> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.as_bytes();
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let message = format!("the Idempotency-Key has {} bytes", key.len());
        let error = ApiError::new(StatusCode::BAD_REQUEST, message);
        return Err(error.hint(format!("send 1 to {KEY_BYTES_MAX} bytes, such as a UUID")));
    }
    Ok(Some(Producer { id: hash(key), sequence: hash(body) }))
}

/// The first 64 bits of SHA-256: the same in every version, since the log and the manifest keep them.
fn hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

async fn write(app: &App, decoded: Decoded, once: Option<Producer>) -> Result<Response, ApiError> {
    if decoded.batches.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let Decoded { batches, lines } = decoded;
    let written = match once {
        None => app.ingest.write(batches, true).await,
        Some(producer) => {
            let items = batches.into_iter().map(Item::Rows).collect();
            match app.ingest.append_once(items, producer).await {
                Err(AppendError::OtherWrite) => {
                    let error = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, OTHER_WRITE);
                    return Err(error.hint("use a new key for each write"));
                }
                written => written.map_err(AppendError::into_write_error),
            }
        }
    };
    written.map_err(|error| refused(&error, &lines))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn bad_line(error: &LineError) -> ApiError {
    let message = format!("{}; nothing was written", error.cause);
    ApiError::line_protocol(StatusCode::BAD_REQUEST, &message, error.line, error.column, &error.hint)
}

fn refused(error: &WriteError, lines: &[Vec<u64>]) -> ApiError {
    match error {
        WriteError::Refused { table, column, cause, hint, batch, row } => {
            let rows = lines.get(*batch);
            let line = rows.and_then(|rows| rows.get(row.unwrap_or(0))).copied().unwrap_or(0);
            let place = column.as_ref().map(|column| format!(", column {column:?}")).unwrap_or_default();
            let message = format!("table {table:?}{place}: {cause}; nothing was written");
            ApiError::line_protocol(StatusCode::BAD_REQUEST, &message, line, 0, hint)
        }
        WriteError::Busy { retry_after_s } => {
            let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
            error.retry_after(*retry_after_s)
        }
        WriteError::NoSpace { .. } => ApiError::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()),
        WriteError::ReadOnly(_) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        WriteError::TooLarge { .. } => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
    }
}

/// `GET /settings`: what the QuestDB clients ask before they choose a protocol version.
pub(super) async fn settings() -> Response {
    Json(json!({
        "config": {
            "release.type": "OSS",
            "release.version": env!("CARGO_PKG_VERSION"),
            "acl.enabled": false,
            "line.proto.support.versions": [1, 2, 3],
            "ilp.proto.transports": ["tcp", "http"],
            "cairo.max.file.name.length": nowcast_model::limits::NAME_BYTES_MAX,
        },
        "preferences.version": 0,
        "preferences": {},
    }))
    .into_response()
}

/// `GET /ping`: how InfluxDB 1 clients see whether anybody is there.
pub(super) async fn ping() -> Response {
    let version = HeaderValue::from_static(concat!("nowcast-", env!("CARGO_PKG_VERSION")));
    let headers = [(header::HeaderName::from_static("x-influxdb-version"), version)];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// `?q=` or the form field `q`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct InfluxQuery {
    q: Option<String>,
}

/// `/query`: InfluxDB 1 clients create their database here; one server is one database, so that is done.
pub(super) async fn influx_query(
    Query(query): Query<InfluxQuery>,
    body: axum::body::Bytes,
) -> Result<Response, ApiError> {
    let form = || form_field(&body, "q");
    let text = query.q.or_else(form).unwrap_or_default();
    let words: Vec<String> = text.split_whitespace().take(2).map(str::to_uppercase).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["CREATE", "DATABASE" | "RETENTION"] | ["SHOW", "DATABASES"] => {
            Ok(Json(json!({ "results": [{ "statement_id": 0 }] })).into_response())
        }
        _ => {
            let error = ApiError::new(
                StatusCode::BAD_REQUEST,
                "InfluxQL is not spoken here, but for CREATE DATABASE",
            );
            Err(error.hint("send SQL to /exec?query=…, or over the PostgreSQL wire"))
        }
    }
}

/// A field of a form body.
pub(super) fn form_field(body: &[u8], name: &str) -> Option<String> {
    body.split(|&byte| byte == b'&').find_map(|pair| {
        let mut parts = pair.splitn(2, |&byte| byte == b'=');
        (parts.next()? == name.as_bytes()).then(|| form_decode(parts.next().unwrap_or_default()))
    })
}

fn form_decode(text: &[u8]) -> String {
    let spaces: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaces).decode_utf8_lossy().into_owned()
}

/// QuestDB's newer protocol, over WebSocket on the same path: refused with what to use.
pub(super) async fn no_qwp() -> ApiError {
    ApiError::new(StatusCode::NOT_IMPLEMENTED, "QuestDB's QWP protocol is not spoken here").hint(
        "use line protocol: `http::addr=HOST:9000;` or `tcp::addr=HOST:9009;` as the client's configuration",
    )
}
