//! The routes: checks of origin, subprotocol and room, then a transport.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{ConnectInfo, FromRequestParts, Request, State, ws::WebSocketUpgrade},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::{
    FeedError, FeedLimits, FeedState, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK, Tenant,
    counters::Transport,
    encode::Encoding,
    error::code,
    hub::Hub,
    protocol::{Subscribe, Target},
    snapshot, sse, ws,
};

/// The routes `/api/v1/live` (WebSocket), `/api/v1/live/events` (SSE) and `/api/v1/live/snapshot`.
///
/// The limit per address needs `ConnectInfo<SocketAddr>` among the request's extensions; without it only the
/// total counts. A [`Tenant`] among them is passed on to the resolver.
pub fn router(state: FeedState) -> Router {
    Router::new()
        .route("/api/v1/live", get(websocket))
        .route("/api/v1/live/events", get(events))
        .route("/api/v1/live/snapshot", get(snapshot::get))
        .with_state(state)
}

/// The default rule: no `Origin` (not a browser), or one whose host and port are those of `Host`.
pub fn same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), headers.get(header::HOST).map(HeaderValue::to_str))
    else {
        return false;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// A refusal before a connection exists.
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) FeedError);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal(status, error) = self;
        let mut body = json!({ "error": error.message, "code": error.code, "retry": error.retry });
        for (name, value) in [
            ("hint", error.hint.map(Value::from)),
            ("line", error.line.map(Value::from)),
            ("column", error.column.map(Value::from)),
            ("retry_after", error.retry_after.map(Value::from)),
        ] {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        let mut response = (status, Json(body)).into_response();
        if error.retry {
            let seconds = HeaderValue::from(error.retry_after.unwrap_or(1));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<FeedError> for Refusal {
    fn from(error: FeedError) -> Refusal {
        let status = match &*error.code {
            code::TOO_MANY_REQUESTS | code::TOO_MANY_FOR_DASHBOARD => StatusCode::TOO_MANY_REQUESTS,
            _ if error.retry => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Refusal(status, error)
    }
}

/// Refuses pages of other origins, and addresses that ask too often.
pub(crate) fn check(hub: &Hub, request: &Request) -> Result<(), Refusal> {
    check_origin(hub, request.headers())?;
    hub.count_request(address(request)).inspect_err(|error| hub.counters.error(&error.code))?;
    Ok(())
}

fn check_origin(hub: &Hub, headers: &HeaderMap) -> Result<(), Refusal> {
    if (hub.allow_origin)(headers) {
        return Ok(());
    }
    hub.counters.error(code::FORBIDDEN_ORIGIN);
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or("?");
    let error = FeedError::new(code::FORBIDDEN_ORIGIN, format!("the origin {origin} is not allowed"));
    Err(Refusal(StatusCode::FORBIDDEN, error.hint("add it to http.cors_origins")))
}

async fn websocket(State(state): State<FeedState>, request: Request) -> Result<Response, Refusal> {
    let hub = state.hub;
    check(&hub, &request)?;
    let tenant = request.extensions().get::<Tenant>().cloned();
    let address = address(&request);
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            let error = FeedError::new(code::UNKNOWN_PROTOCOL, rejection.body_text());
            let hint = "open a WebSocket here, or use /api/v1/live/events or /api/v1/live/snapshot";
            return Err(Refusal(rejection.status(), error.hint(hint)));
        }
    };
    let upgrade = upgrade.protocols([SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK]);
    if upgrade.selected_protocol().is_none() && upgrade.requested_protocols().next().is_some() {
        hub.counters.error(code::UNKNOWN_PROTOCOL);
        let message = "none of the offered subprotocols is spoken here";
        let error = FeedError::new(code::UNKNOWN_PROTOCOL, message);
        return Err(error.hint(format!("offer {SUBPROTOCOL_JSON} or {SUBPROTOCOL_MSGPACK}")).into());
    }
    let packed = upgrade.selected_protocol().is_some_and(|name| name == SUBPROTOCOL_MSGPACK);
    let encoding = if packed { Encoding::Packed } else { Encoding::Json };
    let seat =
        hub.admit(Transport::WebSocket, address).inspect_err(|error| hub.counters.error(&error.code))?;
    let upgrade = set_up(upgrade, &hub.limits);
    Ok(upgrade.on_upgrade(move |socket| ws::serve(socket, hub, seat, tenant, encoding)))
}

/// A socket within the limits.
pub(crate) fn set_up(upgrade: WebSocketUpgrade, limits: &FeedLimits) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(limits.read_buffer_bytes)
        .write_buffer_size(limits.write_buffer_bytes)
        // One frame on top of what was gathered; the task flushes before it feeds more.
        .max_write_buffer_size(limits.write_buffer_bytes + limits.frame_bytes_max + (64 << 10))
        .max_message_size(limits.message_bytes_max)
        .max_frame_size(limits.message_bytes_max)
}

async fn events(State(state): State<FeedState>, request: Request) -> Result<Response, Refusal> {
    let hub = state.hub;
    check(&hub, &request)?;
    let (targets, params) = targets(request.uri().query().unwrap_or(""))?;
    if targets.is_empty() {
        return Err(nothing_asked().into());
    }
    let tenant = request.extensions().get::<Tenant>().cloned();
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok());
    let resume = last.filter(|id| !id.is_empty()).map(sse::cursor);
    let seat =
        hub.admit(Transport::Sse, address(&request)).inspect_err(|error| hub.counters.error(&error.code))?;
    let subscribes = targets.into_iter().zip(1..).map(|(target, id)| Subscribe {
        id,
        target,
        params: params.clone(),
        snapshot: false,
    });
    let body = sse::start(Arc::clone(&hub), seat, tenant, subscribes.collect(), resume);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx would gather the stream otherwise.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

pub(crate) fn address(request: &Request) -> Option<std::net::IpAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
}

pub(crate) fn nothing_asked() -> FeedError {
    let error = FeedError::new(code::BAD_MESSAGE, "nothing is asked for");
    error.hint("give query=, panel= or dashboard=")
}

/// The targets of a query string, in order, and the parameters that hold for all of them.
pub(crate) fn targets(query: &str) -> Result<(Vec<Target>, Map<String, Value>), FeedError> {
    let mut targets = Vec::new();
    let mut params = Map::new();
    for (name, value) in form_pairs(query) {
        match name.as_str() {
            "query" => targets.push(Target::Query(value)),
            "panel" => targets.push(Target::Panel(value)),
            "dashboard" => targets.push(Target::Dashboard(value)),
            "params" => {
                params = serde_json::from_str(&value).map_err(|error| {
                    let error =
                        FeedError::new(code::BAD_MESSAGE, format!("params is no JSON object: {error}"));
                    error.hint(r#"send an object, as params={"country":"DE"}"#)
                })?;
            }
            _ => {}
        }
    }
    Ok((targets, params))
}

/// The pairs of `application/x-www-form-urlencoded`. Bytes that are no UTF-8 become U+FFFD.
fn form_pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// A piece of a query string.
fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
