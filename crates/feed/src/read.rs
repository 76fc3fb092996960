//! Reads what one viewer lacks, for all its subscriptions under one moment, and turns it into messages.
//!
//! Under the lock of the live tables nothing is done but copying references to rows. Sorting and encoding come
//! after, and go through the frame cache, so that of many viewers who lack the same one pays.

use std::sync::Arc;

use nowcast_model::Version;
use nowcast_views::{Changes, LiveSchema, Mode, ViewId, ViewState};

use crate::{
    FeedError,
    encode::{Encoding, Payload, Reason},
    error::code,
    frame::{Frame, FrameKey, Recent},
    hub::{Hub, since},
    viewer::{is_same, view_failed},
};

/// What a subscription asks for.
pub(crate) struct Ask {
    pub(crate) id: u64,
    pub(crate) view: ViewId,
    /// What its client has seen; `None` asks for a snapshot.
    pub(crate) cursor: Option<Version>,
    /// Why a cursor that the client had is not used.
    pub(crate) reason: Option<Reason>,
    /// What its client knows the rows to look like; `None` before the first rows on this connection.
    pub(crate) schema: Option<Arc<LiveSchema>>,
}

/// What a subscription gets.
pub(crate) enum Taken {
    /// It ends.
    Ended(FeedError),
    /// No rows yet.
    Nothing(ViewState),
    /// Messages, possibly none, that bring it to the moment.
    Rows { messages: Vec<Payload>, schema: Arc<LiveSchema>, state: ViewState },
}

/// What a viewer gets, and the moment of it.
pub(crate) struct Read {
    pub(crate) version: Version,
    pub(crate) position: u64,
    pub(crate) now_us: i64,
    pub(crate) views: Vec<(u64, Taken)>,
}

/// Rows as they are copied under the lock.
struct Copied {
    state: ViewState,
    mode: Mode,
    schema: Arc<LiveSchema>,
    /// A snapshot that the changes come on top of.
    recent: Option<Recent>,
    changes: Changes,
    reason: Option<Reason>,
}

enum Seen {
    Gone,
    Nothing(ViewState),
    Rows(Copied),
}

/// Reads what `asks` lack.
pub(crate) fn read(hub: &Hub, encoding: Encoding, asks: Vec<Ask>) -> Read {
    let recents: Vec<Option<Recent>> = asks
        .iter()
        .map(|ask| if ask.cursor.is_none() { hub.frames.recent(ask.view, encoding) } else { None })
        .collect();
    let (version, position, now_us, seen) = hub.tables.read(|moment| {
        let seen: Vec<Seen> = asks
            .iter()
            .zip(recents)
            .map(|(ask, recent)| match moment.view(ask.view) {
                None => Seen::Gone,
                Some(view) => match view.state() {
                    state @ (ViewState::Seeding { .. } | ViewState::Failed(_)) => {
                        Seen::Nothing(state.clone())
                    }
                    state => Seen::Rows(copy(moment, view, state.clone(), ask, recent)),
                },
            })
            .collect();
        (moment.version(), moment.position().get(), moment.tick().us(), seen)
    });
    let views = asks.into_iter().zip(seen).map(|(ask, seen)| {
        let taken = match seen {
            Seen::Gone => {
                let error = FeedError::new(code::VIEW_GONE, "the query is not kept up any more");
                Taken::Ended(error.hint("subscribe again").retry())
            }
            Seen::Nothing(ViewState::Failed(error)) => Taken::Ended(view_failed(&error)),
            Seen::Nothing(state) => Taken::Nothing(state),
            Seen::Rows(copied) => write(hub, encoding, &ask, copied, version),
        };
        (ask.id, taken)
    });
    let views = views.collect();
    Read { version, position, now_us, views }
}

fn copy(
    moment: &nowcast_views::Moment,
    view: &nowcast_views::Published,
    state: ViewState,
    ask: &Ask,
    recent: Option<Recent>,
) -> Copied {
    let (schema, mode) = (Arc::clone(view.schema()), view.mode());
    let mut reason = ask.reason;
    let mut cursor = ask.cursor;
    if ask.schema.as_ref().is_some_and(|known| !is_same(known, &schema)) {
        (cursor, reason) = (None, Some(Reason::Schema));
    }
    if cursor.is_none()
        && let Some(recent) = recent.filter(|recent| is_same(&recent.schema, &schema))
    {
        let changes = since(view, moment, Some(recent.version));
        if !changes.snapshot {
            return Copied { state, mode, schema, recent: Some(recent), changes, reason };
        }
    }
    let changes = since(view, moment, cursor);
    if changes.snapshot && cursor.is_some() {
        reason = Some(Reason::Horizon);
    }
    Copied { state, mode, schema, recent: None, changes, reason }
}

fn write(hub: &Hub, encoding: Encoding, ask: &Ask, copied: Copied, version: Version) -> Taken {
    let Copied { state, mode, schema, recent, mut changes, reason } = copied;
    let mut frames: Vec<Arc<Frame>> = Vec::new();
    let counters = &hub.counters;
    let snapshot = changes.snapshot || recent.is_some();
    if let Some(recent) = recent {
        frames.push(recent.frame);
    }
    if changes.snapshot {
        let key = FrameKey { view: ask.view, from: None, to: version, encoding };
        let frame = hub.frames.get(key, counters, || {
            changes.sort(&schema);
            encoding.snapshot_tail(hub.epoch, version, mode, &schema, &changes)
        });
        hub.frames.set_recent((ask.view, encoding), version, &schema, &frame);
        frames.push(frame);
    } else if !changes.is_empty() || (ask.schema.is_none() && !snapshot) {
        // An accepted resume is answered even if nothing changed: it tells the client that its rows are good.
        let key = FrameKey { view: ask.view, from: changes.from, to: version, encoding };
        frames.push(hub.frames.get(key, counters, || encoding.delta_tail(version, &schema, &changes)));
    }
    let max = hub.limits.frame_bytes_max;
    if let Some(frame) = frames.iter().find(|frame| frame.len() > max) {
        let message = format!("the result takes {} bytes, at most {max} are sent", frame.len());
        let error = FeedError::new(code::RESULT_TOO_LARGE, message);
        let error = error.hint("add a LIMIT, select fewer columns, or raise feed.frame_bytes_max");
        // A delta may be larger than the table: it names everything that went. A new subscribe gets a snapshot.
        return Taken::Ended(if snapshot { error } else { error.retry() });
    }
    if snapshot {
        counters.snapshots.add(1);
        counters.deltas.add(frames.len() as u64 - 1);
    } else {
        counters.deltas.add(frames.len() as u64);
    }
    match (ask.schema.is_some(), snapshot, ask.cursor.is_some() || ask.reason.is_some()) {
        (false, false, _) => counters.resumes_accepted.add(1),
        (false, true, true) => counters.resumes_refused.add(1),
        _ => {}
    }
    let messages = frames.iter().enumerate().map(|(index, frame)| {
        let reason = reason.filter(|_| index == 0 && snapshot);
        frame.message(ask.id, reason)
    });
    Taken::Rows { messages: messages.collect(), schema, state }
}
