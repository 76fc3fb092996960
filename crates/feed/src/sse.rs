//! A viewer over server-sent events: one stream for all the subscriptions of a page.
//!
//! Each message is one event's `data`. A `progress` carries the event's `id`, `epoch:version`: what a browser
//! sends back as `Last-Event-ID` when it reconnects, which resumes all. While a subscription still waits for
//! its first rows, no id is given, since a client with that cursor would miss them.
//!
//! The task hands batches over through a slot of one. It takes the slot before it makes a batch, so a socket
//! that is not read skips moments as a WebSocket's does.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};
use nowcast_model::{Epoch, Version};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    Tenant,
    hub::{Hub, Seat},
    protocol::Subscribe,
    viewer::{Batch, Viewer},
};

/// How long a browser waits before it reconnects.
const RETRY: &str = "retry: 1000\n\n";

/// The cursor that `Last-Event-ID` holds: `epoch:version`.
pub(crate) fn cursor(text: &str) -> (Option<Epoch>, Version) {
    let parsed = text
        .split_once(':')
        .and_then(|(epoch, version)| Some((Epoch::parse(epoch)?, Version::new(version.parse().ok()?))));
    match parsed {
        Some((epoch, version)) => (Some(epoch), version),
        None => (None, Version::ZERO),
    }
}

/// Starts a stream; the body ends when the client goes.
pub(crate) fn start(
    hub: Arc<Hub>,
    seat: Seat,
    tenant: Option<Tenant>,
    subscribes: Vec<Subscribe>,
    resume: Option<(Option<Epoch>, Version)>,
) -> Body {
    let (slot, taken) = mpsc::channel::<Bytes>(1);
    let mut viewer = Viewer::new(Arc::clone(&hub), tenant, Instant::now());
    if let Some((epoch, version)) = resume {
        viewer.resume(epoch, version, Instant::now());
    }
    for subscribe in subscribes {
        let id = subscribe.id;
        if let Err(error) = viewer.subscribe(subscribe) {
            let _ = viewer.refuse(Some(id), &error);
        }
    }
    tokio::spawn(async move {
        let _seat = seat;
        run(&hub, &mut viewer, &slot).await;
        viewer.leave(true);
    });
    let taken = stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) });
    Body::from_stream(taken.map(Ok::<Bytes, std::convert::Infallible>))
}

async fn run(hub: &Arc<Hub>, viewer: &mut Viewer, slot: &mpsc::Sender<Bytes>) {
    let mut rounds = hub.rounds();
    let mut closing = hub.closing();
    let mut opening = stream::FuturesUnordered::new();
    for open in viewer.opens() {
        let (id, serial) = (open.id, open.serial);
        let opened = Arc::clone(hub).open(open.request, open.cursor);
        opening.push(async move { (id, serial, opened.await) });
    }
    let mut first = Some(RETRY);
    loop {
        // The slot comes first: what is sent is made when it can be taken.
        let Ok(Ok(permit)) = tokio::time::timeout(hub.limits.stall_timeout, slot.reserve()).await else {
            if !slot.is_closed() {
                hub.counters.stalled.add(1);
            }
            return;
        };
        let now = Instant::now();
        let round = Arc::clone(&rounds.borrow_and_update());
        let batch = viewer.batch(&round, now);
        let mut text = String::from(first.take().unwrap_or_default());
        while let Some(reply) = viewer.next_reply() {
            event(&mut text, None, reply.as_text());
        }
        if let Some(batch) = batch {
            write(&mut text, hub.epoch, &batch);
        }
        if !text.is_empty() {
            permit.send(text.into());
            continue;
        }
        drop(permit);
        let wake_at = viewer.wake_at().max(now + Duration::from_millis(1));
        tokio::select! {
            Some((id, serial, outcome)) = opening.next(), if !opening.is_empty() => {
                viewer.opened(id, serial, outcome);
            }
            _ = rounds.changed() => {}
            () = slot.closed() => return,
            _ = closing.wait_for(|closing| *closing) => return,
            () = sleep_until(wake_at) => {}
        }
    }
}

fn write(text: &mut String, epoch: Epoch, batch: &Batch) {
    let last = batch.messages.len().saturating_sub(1);
    text.reserve(batch.messages.iter().map(|message| message.len() + 8).sum());
    for (index, message) in batch.messages.iter().enumerate() {
        let id = (index == last && batch.resumable).then(|| format!("{epoch}:{}", batch.version));
        event(text, id.as_deref(), message.as_text());
    }
}

/// JSON on one line: the encoder escapes line breaks.
fn event(text: &mut String, id: Option<&str>, message: &str) {
    if let Some(id) = id {
        text.push_str("id: ");
        text.push_str(id);
        text.push('\n');
    }
    text.push_str("data: ");
    text.push_str(message);
    text.push_str("\n\n");
}
