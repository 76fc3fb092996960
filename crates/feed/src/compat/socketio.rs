//! Dashboards over Socket.IO, by WebSocket or polling: a client emits `subscribe` with a dashboard's id, gets
//! `initial-state` (the newest values by metric), then `update` for each change.
//!
//! Each subscription is a task that takes from the dashboard's channel and puts into the socket's buffer, which
//! is bounded. While that is full the task waits, and afterwards sends `initial-state` again in place of what was
//! missed.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    middleware::{self, Next as Handler},
    response::Response,
};
use serde::Serialize;
use serde_json::{Value as Json, json};
use socketioxide::{
    SendError, SocketError, SocketIo,
    extract::{SocketRef, TryData},
};
use tokio::sync::watch;

use super::{
    admit,
    boards::{Boards, Next, Update, Watching},
    has_feeds,
};
use crate::{
    FeedError,
    counters::Transport,
    error::code,
    frame::lock,
    http::{Refusal, check},
    hub::Hub,
};

/// Packets that wait for one client.
const BUFFER_MAX: usize = 64;

/// What a client may send at once: a dashboard's id and the protocol's own words.
const PAYLOAD_BYTES_MAX: u64 = 8 << 10;

/// A transport that opened and joined no namespace by then is closed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a full buffer is tried again.
const FULL_WAIT: Duration = Duration::from_millis(100);

/// An id longer than this names no dashboard.
const ID_BYTES_MAX: usize = 1_024;

/// The route `/socket.io/`.
pub(super) fn router(hub: &Arc<Hub>, boards: &Arc<Boards>) -> Router {
    let limits = &hub.limits;
    let (service, io) = SocketIo::builder()
        .max_buffer_size(BUFFER_MAX)
        .max_payload(PAYLOAD_BYTES_MAX)
        .ws_max_message_size(limits.message_bytes_max)
        .ws_max_frame_size(limits.message_bytes_max)
        .ws_read_buffer_size(limits.read_buffer_bytes)
        .ping_interval(limits.ping_interval)
        .connect_timeout(CONNECT_TIMEOUT)
        .build_svc();
    let joined = (Arc::clone(hub), Arc::clone(boards));
    io.ns("/", move |socket: SocketRef| {
        // Here and not in the future, which is a task of its own: what the client emits as soon as it is connected would
        // find nobody who listens.
        connected(&socket, &joined.0, &joined.1);
        async {}
    });
    let mut closing = hub.closing();
    tokio::spawn(async move {
        let _ = closing.wait_for(|closing| *closing).await;
        io.close().await;
    });
    let guarded = (Arc::clone(hub), Arc::clone(boards));
    Router::new()
        .route_service("/socket.io/", service.clone())
        .route_service("/socket.io", service)
        .layer(middleware::from_fn_with_state(guarded, guard))
}

/// Polling asks often, so only what opens a transport counts as a request.
async fn guard(
    State((hub, boards)): State<(Arc<Hub>, Arc<Boards>)>,
    request: Request<Body>,
    next: Handler,
) -> Result<Response, Refusal> {
    has_feeds(&boards)?;
    let opens = !request.uri().query().unwrap_or("").split('&').any(|pair| pair.starts_with("sid="));
    if opens {
        check(&hub, &request)?;
        hub.has_room().inspect_err(|error| hub.counters.error(&error.code))?;
    }
    Ok(next.run(request).await)
}

fn connected(socket: &SocketRef, hub: &Arc<Hub>, boards: &Arc<Boards>) {
    let info = socket.req_parts().extensions.get::<ConnectInfo<std::net::SocketAddr>>();
    let seat = match admit(hub, Transport::SocketIo, info.map(|info| info.0.ip())) {
        Ok(seat) => seat,
        Err(error) => {
            let _ = socket.emit("error", &told(&error));
            let _ = socket.clone().disconnect();
            return;
        }
    };
    let (gone, is_gone) = watch::channel(false);
    let joined: Arc<Mutex<HashSet<String>>> = Arc::default();
    let subscribed = (Arc::clone(hub), Arc::clone(boards), Arc::clone(&joined));
    socket.on("subscribe", move |socket: SocketRef, TryData::<Json>(id)| {
        let ((hub, boards, joined), is_gone) = (subscribed.clone(), is_gone.clone());
        async move {
            match subscribe(&hub, &joined, id.unwrap_or(Json::Null)) {
                Ok(Some(id)) => {
                    socket.join(format!("dashboard-{id}"));
                    let watching = boards.watch(&id);
                    tokio::spawn(follow(socket, hub, watching, is_gone));
                }
                Ok(None) => {}
                Err(error) => {
                    hub.counters.error(&error.code);
                    let _ = socket.emit("error", &told(&error));
                }
            }
        }
    });
    let seat = Arc::new(Mutex::new(Some(seat)));
    socket.on_disconnect(move || {
        drop(lock(&seat).take());
        gone.send_replace(true);
        async {}
    });
}

/// The dashboard that is asked for; none if it is watched already.
fn subscribe(hub: &Hub, joined: &Mutex<HashSet<String>>, id: Json) -> Result<Option<String>, FeedError> {
    let id = match id {
        Json::String(id) if id.len() <= ID_BYTES_MAX => id,
        Json::Number(id) => id.to_string(),
        _ => {
            let error = FeedError::new(code::BAD_MESSAGE, "subscribe needs a dashboard's id");
            return Err(error.hint("emit(\"subscribe\", \"sales\")"));
        }
    };
    hub.count_dashboard(&id)?;
    let mut joined = lock(joined);
    if joined.contains(&id) {
        return Ok(None);
    }
    let max = hub.limits.subscriptions_max;
    if joined.len() >= max {
        let message = format!("this connection has {max} subscriptions already");
        let error = FeedError::new(code::TOO_MANY_SUBSCRIPTIONS, message);
        return Err(error.hint("open another, or raise feed.subscriptions_max"));
    }
    joined.insert(id.clone());
    Ok(Some(id))
}

fn told(error: &FeedError) -> Json {
    serde_json::to_value(error).unwrap_or_else(|_| json!({ "message": error.message }))
}

/// Passes a dashboard's changes on until the client goes.
async fn follow(
    socket: SocketRef,
    hub: Arc<Hub>,
    mut watching: Watching,
    mut is_gone: watch::Receiver<bool>,
) {
    let pass = async {
        watching.known(hub.limits.snapshot_timeout).await;
        let mut behind = true;
        loop {
            let sent = if behind {
                socket.emit("initial-state", &watching.state())
            } else {
                match watching.next().await {
                    Next::Changed(update) => socket.emit("update", &Event::of(&update)),
                    Next::Behind => Err(SendError::Socket(SocketError::InternalChannelFull)),
                }
            };
            match sent {
                Ok(()) => behind = false,
                Err(SendError::Socket(SocketError::InternalChannelFull)) => {
                    hub.counters.moments_skipped.add(1);
                    behind = true;
                    tokio::time::sleep(FULL_WAIT).await;
                }
                Err(_) => return,
            }
            hub.counters.messages_sent.add(1);
        }
    };
    tokio::select! {
        () = pass => {}
        _ = is_gone.wait_for(|gone| *gone) => {}
    }
}

/// What `update` carries.
#[derive(Serialize)]
struct Event<'a> {
    /// When it was sent: milliseconds since 1970 UTC.
    timestamp: u64,
    metric: &'a str,
    value: &'a Json,
    metadata: &'a Json,
}

impl Event<'_> {
    fn of(update: &Update) -> Event<'_> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Event {
            timestamp: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            metric: &update.metric,
            value: &update.value,
            metadata: &update.metadata,
        }
    }
}
