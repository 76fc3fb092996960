//! A viewer over a WebSocket: one task, no queue.
//!
//! The task reads the client and writes batches at the same time, so a client's `unsubscribe` is heard while a
//! large snapshot is on its way. A batch is made only when the one before has left the process; it is fed to
//! the socket message by message and flushed once. Answers to the client's own messages go before the rest of
//! a batch.
//!
//! Close codes: 1001 the server goes down, 4400 too many bad messages, 4408 nothing was asked for, 4409
//! nothing was heard, 4410 the socket took nothing, 4429 messages came too fast. All but 4400 say "reconnect with your cursor".

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures::{
    Sink, SinkExt, StreamExt,
    future::BoxFuture,
    stream::{FuturesUnordered, SplitSink},
};
use tokio::time::{Instant, sleep_until};

use crate::{
    FeedError, Tenant,
    encode::{Encoding, Payload},
    error::code,
    hub::{Hub, Opened, Seat},
    protocol::ClientMessage,
    viewer::{Closing, Viewer},
};

/// How long a close frame may take; one that stalled must take the rest of a message before it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What waits to be written. Bounded: one batch, and as many answers as the viewer lets wait.
#[derive(Default)]
struct Outbox {
    control: VecDeque<Message>,
    data: VecDeque<Payload>,
    /// Since when there is something that the socket has not taken.
    since: Option<Instant>,
}

impl Outbox {
    fn is_idle(&self) -> bool {
        self.since.is_none()
    }

    fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Feeds what waits, then flushes. Can be dropped at any time: a message leaves the outbox only when the
    /// sink took it.
    fn poll_drain<S: Sink<Message> + Unpin>(
        &mut self,
        sink: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), S::Error>> {
        let mut sink = Pin::new(sink);
        while !self.control.is_empty() || !self.data.is_empty() {
            ready!(sink.as_mut().poll_ready(cx))?;
            let next = self.control.pop_front().or_else(|| self.data.pop_front().map(Message::from));
            if let Some(message) = next {
                sink.as_mut().start_send(message)?;
            }
        }
        ready!(sink.as_mut().poll_flush(cx))?;
        self.since = None;
        Poll::Ready(Ok(()))
    }
}

type Opening = FuturesUnordered<BoxFuture<'static, (u64, u64, Result<Opened, FeedError>)>>;

/// Serves one connection until it ends.
pub(crate) async fn serve(
    socket: WebSocket,
    hub: Arc<Hub>,
    seat: Seat,
    tenant: Option<Tenant>,
    encoding: Encoding,
) {
    let (mut sink, mut stream) = socket.split();
    let mut viewer = Viewer::new(Arc::clone(&hub), tenant, Instant::now()).speaking(encoding);
    let outcome = converse(&mut sink, &mut stream, &hub, &mut viewer).await;
    if let Err(Some(closing)) = outcome {
        tracing::debug!(viewer = seat.number, code = closing.code, "{}", closing.reason);
        let replies = std::iter::from_fn(|| viewer.next_reply()).map(Message::from);
        let frame = CloseFrame { code: closing.code, reason: Utf8Bytes::from_static(closing.reason) };
        let last = replies.chain([Message::Close(Some(frame))]).map(Ok);
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, sink.send_all(&mut futures::stream::iter(last))).await;
    }
    viewer.leave(true);
}

/// Runs the connection. `Err(None)` if there is nobody left to tell.
async fn converse(
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut futures::stream::SplitStream<WebSocket>,
    hub: &Arc<Hub>,
    viewer: &mut Viewer,
) -> Result<(), Option<Closing>> {
    let limits = &hub.limits;
    let mut rounds = hub.rounds();
    let mut closing = hub.closing();
    let mut opening = Opening::new();
    let mut outbox = Outbox::default();
    let began = Instant::now();
    let (mut heard_at, mut pinged_at) = (began, began);
    loop {
        let now = Instant::now();
        while let Some(reply) = if outbox.control.len() < 8 { viewer.next_reply() } else { None } {
            outbox.begin(now);
            outbox.control.push_back(reply.into());
        }
        if outbox.is_idle() {
            let round = Arc::clone(&rounds.borrow_and_update());
            if let Some(batch) = viewer.batch(&round, now) {
                outbox.begin(now);
                outbox.data.extend(batch.messages);
            }
            // A batch may have ended subscriptions.
            while let Some(reply) = viewer.next_reply() {
                outbox.begin(now);
                outbox.control.push_back(reply.into());
            }
        }
        if outbox.since.is_some_and(|since| now >= since + limits.stall_timeout) {
            hub.counters.stalled.add(1);
            return Err(Some(Closing { code: 4410, reason: "stalled; reconnect with your cursor" }));
        }
        if !viewer.has_asked() && now >= began + limits.first_message_timeout {
            return Err(Some(Closing { code: 4408, reason: "nothing was asked for; subscribe first" }));
        }
        if now >= heard_at + limits.idle_timeout {
            return Err(Some(Closing { code: 4409, reason: "idle; reconnect with your cursor" }));
        }
        if now >= heard_at.max(pinged_at) + limits.ping_interval {
            pinged_at = now;
            outbox.begin(now);
            outbox.control.push_back(Message::Ping(Bytes::new()));
        }
        let mut wake_at =
            (heard_at + limits.idle_timeout).min(heard_at.max(pinged_at) + limits.ping_interval);
        wake_at = match outbox.since {
            Some(since) => wake_at.min(since + limits.stall_timeout),
            // A viewer that waits for an acknowledgement or an answer is woken by it.
            None => wake_at.min(viewer.wake_at().max(now + Duration::from_millis(1))),
        };
        if !viewer.has_asked() {
            wake_at = wake_at.min(began + limits.first_message_timeout);
        }
        tokio::select! {
            // One that subscribes and unsubscribes in a loop is read no faster than its queries are planned.
            message = stream.next(), if viewer.wants_messages() && opening.len() < limits.subscriptions_max => {
                heard_at = Instant::now();
                match message {
                    None | Some(Ok(Message::Close(_))) => return Err(None),
                    Some(Ok(message)) => hear(viewer, message, heard_at).map_err(Some)?,
                    Some(Err(error)) => return Err(refusal(viewer, limits.message_bytes_max, &error)),
                }
                for open in viewer.opens() {
                    let (id, serial) = (open.id, open.serial);
                    let opened = Arc::clone(hub).open(open.request, open.cursor);
                    opening.push(Box::pin(async move { (id, serial, opened.await) }));
                }
            }
            drained = poll_fn(|cx| outbox.poll_drain(sink, cx)), if !outbox.is_idle() => {
                drained.map_err(|_| None)?;
            }
            Some((id, serial, outcome)) = opening.next(), if !opening.is_empty() => {
                viewer.opened(id, serial, outcome);
            }
            _ = rounds.changed(), if outbox.is_idle() => {}
            _ = closing.wait_for(|closing| *closing) => {
                return Err(Some(Closing { code: 1001, reason: "the server goes down; reconnect with your cursor" }));
            }
            () = sleep_until(wake_at) => {}
        }
    }
}

fn hear(viewer: &mut Viewer, message: Message, now: Instant) -> Result<(), Closing> {
    match message {
        Message::Text(text) if viewer.encoding() == Encoding::Json => viewer.message(&text, now),
        Message::Binary(bytes) if viewer.encoding() == Encoding::Packed => {
            viewer.take(ClientMessage::unpack(&bytes), now)
        }
        Message::Text(_) => {
            let error = FeedError::new(code::NOT_BINARY, "a text message on a MessagePack connection");
            viewer.refuse(None, &error.hint("send binary messages, or offer nowcast.v1.json"))
        }
        Message::Binary(_) => {
            let error = FeedError::new(code::NOT_TEXT, "a binary message on a JSON connection");
            viewer.refuse(None, &error.hint("send text, or offer nowcast.v1.msgpack"))
        }
        // The library answers pings.
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
    }
}

/// What a client is told whose bytes could not be read as messages.
fn refusal(viewer: &mut Viewer, bytes_max: usize, error: &axum::Error) -> Option<Closing> {
    let text = error.to_string();
    if !text.contains("too long") && !text.contains("too big") {
        return None;
    }
    let error = FeedError::new(code::MESSAGE_TOO_LARGE, format!("a message has more than {bytes_max} bytes"));
    let _ = viewer.refuse(None, &error);
    Some(Closing { code: 1009, reason: "message too large" })
}
