//! What requests mean, and since when: the guard of a resume.
//!
//! A cursor says what a client has seen of *its rows*, not which rows they were. Between a client's loss and
//! its return a panel may have been edited: the same request then leads to another view, which others may
//! have been watching for long, and a delta of that view on top of the old rows would show nonsense.
//!
//! So the feed remembers for each request the view that it leads to, and the version from which on every
//! cursor that a client can have for it is of that view. While connections still hold an older view of the
//! request, there is no such version, and a resume gets a snapshot.
//!
//! Requests that nobody holds are forgotten in bulk once there are many; then, too, a resume gets a snapshot.

use std::sync::{Arc, Mutex};

use ahash::AHashMap;
use nowcast_model::Version;
use nowcast_views::ViewId;

use crate::{SubscribeRequest, frame::lock};

/// Requests that are remembered although nobody holds them.
const IDLE_MAX: usize = 4_096;

/// A request longer than this is not remembered: its resumes get snapshots.
const KEY_BYTES_MAX: usize = 8 << 10;

/// A request in the form in which it is remembered.
pub(crate) type TargetKey = Arc<str>;

struct Entry {
    view: ViewId,
    /// Counts the views that the request has led to.
    generation: u64,
    /// Cursors from here on are of `view`.
    since: Version,
    /// Connections that hold `view`.
    held: usize,
    /// Connections that hold what the request led to before.
    held_old: usize,
}

/// What requests lead to. See the module's story.
#[derive(Default)]
pub(crate) struct Targets {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    entries: AHashMap<TargetKey, Entry>,
    /// Cursors up to here may be of what was forgotten. Beyond it a request that is not known is a new one.
    forgotten: Version,
}

/// A held request; let go by [`Targets::release`].
#[derive(Debug, Clone)]
pub(crate) struct Held {
    key: Option<TargetKey>,
    generation: u64,
}

impl Targets {
    /// Notes that `request` led to `view` at the version `now`, and says whether a client with `cursor` may go
    /// on from there.
    pub(crate) fn hold(
        &self,
        request: &SubscribeRequest,
        view: ViewId,
        now: Version,
        cursor: Option<Version>,
    ) -> (Held, bool) {
        let Some(key) = key_of(request) else {
            return (Held { key: None, generation: 0 }, false);
        };
        let mut known = lock(&self.known);
        let Known { entries, forgotten } = &mut *known;
        if entries.len() >= IDLE_MAX && !entries.contains_key(&key) {
            entries.retain(|_, entry| entry.held + entry.held_old > 0);
            *forgotten = now;
        }
        let new = Entry { view, generation: 0, since: forgotten.next(), held: 0, held_old: 0 };
        let since = now.next();
        let entry = entries.entry(Arc::clone(&key)).or_insert(new);
        if entry.view != view {
            let (generation, held_old) = (entry.generation + 1, entry.held + entry.held_old);
            *entry = Entry { view, generation, since, held: 0, held_old };
        }
        entry.held += 1;
        let held = Held { key: Some(key), generation: entry.generation };
        let resumes = entry.held_old == 0 && cursor.is_some_and(|cursor| cursor >= entry.since);
        (held, resumes)
    }

    /// Notes that a connection whose cursor is at most `now` let go.
    pub(crate) fn release(&self, held: &Held, now: Version) {
        let Some(key) = &held.key else { return };
        let mut known = lock(&self.known);
        let Some(entry) = known.entries.get_mut(key) else { return };
        if entry.generation == held.generation {
            entry.held = entry.held.saturating_sub(1);
        } else {
            entry.held_old = entry.held_old.saturating_sub(1);
            entry.since = entry.since.max(now.next());
        }
    }
}

/// Two spellings of one request may differ here; that costs a snapshot, nothing else.
fn key_of(request: &SubscribeRequest) -> Option<TargetKey> {
    let (kind, text) = request.target.parts();
    let params = if request.params.is_empty() {
        String::new()
    } else {
        serde_json::to_string(&request.params).unwrap_or_default()
    };
    let tenant = request.tenant.as_deref().unwrap_or("");
    let bytes = tenant.len() + kind.len() + text.len() + params.len();
    // NUL separates: neither SQL nor names nor JSON hold one that matters.
    (bytes <= KEY_BYTES_MAX).then(|| format!("{tenant}\0{kind}\0{text}\0{params}").into())
}
