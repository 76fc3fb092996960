//! A plain GET for those who poll: one snapshot, with an ETag of its rows.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use nowcast_views::ViewState;
use tokio::time::{Instant, timeout_at};

use crate::{
    FeedError, FeedState, SubscribeRequest, Tenant, encode,
    error::code,
    http::{Refusal, check, nothing_asked, targets},
    hub::{Hub, Opened, since},
    viewer::view_failed,
};

/// What is read of a view under one moment.
enum Peek {
    Seeding(u8),
    Body(String, String),
}

/// `GET /api/v1/live/snapshot?query=…` (or `panel=`, `dashboard=`; `params=`): the message `snapshot` without
/// `id`, with `position`, `now` and `behind` of its moment. Waits while the view is seeded, at most
/// `feed.snapshot_timeout_ms`. With `If-None-Match` of unchanged rows: 304.
pub(crate) async fn get(State(state): State<FeedState>, request: Request) -> Result<Response, Refusal> {
    let hub = state.hub;
    check(&hub, &request)?;
    let (targets, params) = targets(request.uri().query().unwrap_or(""))?;
    let mut targets = targets.into_iter();
    let (Some(target), None) = (targets.next(), targets.next()) else {
        let error = nothing_asked();
        return Err(
            FeedError { message: "give exactly one query, panel or dashboard".into(), ..error }.into()
        );
    };
    let tenant = request.extensions().get::<Tenant>().cloned();
    let asked_for = SubscribeRequest { target, params, tenant };
    let opened = Arc::clone(&hub).open(asked_for, None).await;
    let opened = opened.inspect_err(|error| hub.counters.error(&error.code))?;
    let outcome = wait(&hub, &opened).await;
    opened.linger();
    let (etag, body) = outcome?;
    let asked = request.headers().get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let known =
        asked.is_some_and(|asked| asked.split(',').map(str::trim).any(|tag| tag == etag || tag == "*"));
    let headers = [
        (header::ETAG, HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("W/\"\""))),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    hub.counters.snapshots.add(1);
    hub.counters.bytes_sent.add(body.len() as u64);
    Ok((headers, body).into_response())
}

async fn wait(hub: &Hub, opened: &Opened) -> Result<(String, String), Refusal> {
    let until = Instant::now() + hub.limits.snapshot_timeout;
    loop {
        let percent = match peek(hub, opened)? {
            Peek::Body(etag, body) => return Ok((etag, body)),
            Peek::Seeding(percent) => percent,
        };
        // Rounds are made for viewers only; a look every few milliseconds serves here as well.
        let next = tokio::time::sleep(hub.limits.push_interval.max(std::time::Duration::from_millis(5)));
        if timeout_at(until, next).await.is_err() {
            let error = FeedError::new(code::SEEDING, format!("the query is still being read: {percent} %"));
            return Err(error.hint("ask again").retry().into());
        }
    }
}

fn peek(hub: &Hub, opened: &Opened) -> Result<Peek, FeedError> {
    let read = hub.tables.read(|moment| {
        let view = moment.view(opened.view)?;
        let changes = match view.state() {
            ViewState::Live | ViewState::Behind { .. } => Some(since(view, moment, None)),
            ViewState::Seeding { .. } | ViewState::Failed(_) => None,
        };
        let at = (moment.version(), moment.position().get(), moment.tick().us());
        Some((view.state().clone(), view.mode(), Arc::clone(view.schema()), changes, at))
    });
    let Some((state, mode, schema, changes, (version, position, now_us))) = read else {
        return Err(FeedError::new(code::VIEW_GONE, "the query is not kept up any more").retry());
    };
    let mut changes = match (state, changes) {
        (ViewState::Seeding { percent }, _) => return Ok(Peek::Seeding(percent)),
        (ViewState::Failed(error), _) => return Err(view_failed(&error)),
        (_, Some(changes)) => changes,
        (_, None) => return Ok(Peek::Seeding(0)),
    };
    changes.sort(&schema);
    let tail = encode::json::snapshot_tail(hub.epoch, version, mode, &schema, &changes);
    // The version moves with every commit; what counts for a poller is what follows it: schema and rows.
    let rows = tail.find(r#","schema":"#).map_or(tail.as_str(), |at| &tail[at..]);
    let hash = |seed| ahash::RandomState::with_seeds(seed, 2, 3, 4).hash_one(rows);
    let etag = format!("W/\"{:016x}{:016x}\"", hash(1), hash(2));
    let mut body = String::with_capacity(tail.len() + 64);
    let _ = write!(body, r#"{{"op":"snapshot","position":"{position}","now":{now_us}{tail}"#);
    Ok(Peek::Body(etag, body))
}
