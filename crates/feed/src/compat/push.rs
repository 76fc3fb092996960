//! A WebSocket that is only written to: what its client says is read and dropped.

use std::pin::pin;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::hub::Hub;

/// Sends what `messages` yields until it, the client or the server ends.
pub(super) async fn serve(mut socket: WebSocket, hub: &Hub, messages: impl Stream<Item = Utf8Bytes>) {
    let mut messages = pin!(messages);
    let mut closing = hub.closing();
    let limits = &hub.limits;
    let (mut heard_at, mut pinged_at) = (Instant::now(), Instant::now());
    let (code, reason) = loop {
        let ping_at = heard_at.max(pinged_at) + limits.ping_interval;
        let idle_at = heard_at + limits.idle_timeout;
        let message = tokio::select! {
            heard = socket.recv() => match heard {
                None | Some(Err(_) | Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {
                    heard_at = Instant::now();
                    continue;
                }
            },
            next = messages.next() => match next {
                Some(text) => Message::Text(text),
                None => break (1001, "the feed ended; connect again"),
            },
            _ = closing.wait_for(|closing| *closing) => break (1001, "the server goes down; connect again"),
            () = sleep_until(ping_at.min(idle_at)) => {
                if Instant::now() >= idle_at {
                    break (4409, "idle; connect again");
                }
                pinged_at = Instant::now();
                Message::Ping(Bytes::new())
            }
        };
        if let Message::Text(text) = &message {
            hub.counters.bytes_sent.add(text.len() as u64);
            hub.counters.messages_sent.add(1);
        }
        match timeout(limits.stall_timeout, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                hub.counters.stalled.add(1);
                break (4410, "stalled; connect again");
            }
        }
    };
    let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
    let _ = timeout(std::time::Duration::from_secs(1), socket.send(Message::Close(Some(frame)))).await;
}
