//! For tests of the WebSocket alone; not part of any build but theirs.

use axum::{
    Router,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    response::Response,
    routing::get,
};

use crate::{FeedLimits, http::set_up};

/// Autobahn's largest message.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// A route at `/` that sends back every message, over a socket that is set up as a viewer's.
pub fn echo_router() -> Router {
    Router::new().route("/", get(upgrade))
}

async fn upgrade(upgrade: WebSocketUpgrade) -> Response {
    let limits = FeedLimits {
        message_bytes_max: MESSAGE_BYTES_MAX,
        frame_bytes_max: MESSAGE_BYTES_MAX,
        ..FeedLimits::default()
    };
    set_up(upgrade, &limits).on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}
