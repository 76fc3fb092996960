//! Encoded messages, shared.
//!
//! A [`Frame`] is the part of a message that is the same for all who go from one version of a view to another
//! (see `encode`). Viewers mostly show the same pages, so they also give the same ids: a frame keeps the whole
//! text for the first few ids that ask, and those viewers share one allocation.
//!
//! [`FrameCache`] finds frames by (view, from, to); the encoding is always JSON so far, a second one becomes
//! part of the key. It is bounded by bytes and forgets the oldest first. The newest snapshot of each view is
//! found by the view alone, too: a little later it is still good, completed by the delta since.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use ahash::AHashMap;
use axum::extract::ws::Utf8Bytes;
use nowcast_model::Version;
use nowcast_views::{LiveSchema, ViewId};

use crate::{counters::Counters, encode, limits::SNAPSHOT_REUSE};

/// Ids for which a frame keeps the whole text.
const SHARED_IDS_MAX: usize = 4;

/// The shared part of a snapshot or delta.
#[derive(Debug)]
pub(crate) struct Frame {
    snapshot: bool,
    tail: String,
    texts: Mutex<Vec<(u64, Utf8Bytes)>>,
}

impl Frame {
    /// A frame from its tail.
    pub(crate) fn new(snapshot: bool, tail: String) -> Frame {
        Frame { snapshot, tail, texts: Mutex::new(Vec::new()) }
    }

    /// The message for the subscription `id`.
    pub(crate) fn text(&self, id: u64, reason: Option<encode::Reason>) -> Utf8Bytes {
        if reason.is_some() {
            return encode::snapshot(id, reason, &self.tail).into();
        }
        let mut texts = lock(&self.texts);
        if let Some((_, text)) = texts.iter().find(|(shared, _)| *shared == id) {
            return text.clone();
        }
        let text = match self.snapshot {
            true => encode::snapshot(id, None, &self.tail),
            false => encode::delta(id, &self.tail),
        };
        let text = Utf8Bytes::from(text);
        if texts.len() < SHARED_IDS_MAX {
            texts.push((id, text.clone()));
        }
        text
    }

    /// Bytes of the tail.
    pub(crate) fn len(&self) -> usize {
        self.tail.len()
    }
}

/// Which frame: `from` is `None` for a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FrameKey {
    /// The view.
    pub(crate) view: ViewId,
    /// The cursor that it starts from.
    pub(crate) from: Option<Version>,
    /// The cursor that it leads to.
    pub(crate) to: Version,
}

/// A snapshot that was encoded a little while ago.
#[derive(Clone)]
pub(crate) struct Recent {
    /// The moment that it shows.
    pub(crate) version: Version,
    /// What its rows look like.
    pub(crate) schema: Arc<LiveSchema>,
    /// The snapshot.
    pub(crate) frame: Arc<Frame>,
    at: Instant,
}

type Slot = Arc<OnceLock<Arc<Frame>>>;

#[derive(Default)]
struct Inner {
    slots: AHashMap<FrameKey, Slot>,
    /// What is to be forgotten next, with its bytes.
    ages: VecDeque<(FrameKey, usize)>,
    bytes: usize,
    recent: AHashMap<ViewId, Recent>,
}

/// Frames by what they are. See the module's story.
pub(crate) struct FrameCache {
    /// A std Mutex: held for a map's look-up or insert, never while encoding and never across an await.
    inner: Mutex<Inner>,
    bytes_max: usize,
}

impl FrameCache {
    pub(crate) fn new(bytes_max: usize) -> FrameCache {
        FrameCache { inner: Mutex::default(), bytes_max }
    }

    /// The frame for `key`. Of several who ask at once one encodes, and the others wait for it.
    pub(crate) fn get(
        &self,
        key: FrameKey,
        counters: &Counters,
        encode: impl FnOnce() -> String,
    ) -> Arc<Frame> {
        let slot = Arc::clone(lock(&self.inner).slots.entry(key).or_default());
        let mut encoded = None;
        let frame = slot.get_or_init(|| {
            let frame = Arc::new(Frame::new(key.from.is_none(), encode()));
            encoded = Some(frame.len());
            frame
        });
        if let Some(bytes) = encoded {
            counters.frames_encoded.add(1);
            counters.bytes_encoded.add(bytes as u64);
            self.keep(key, bytes);
        }
        Arc::clone(frame)
    }

    /// The newest snapshot of a view, if it is recent.
    pub(crate) fn recent(&self, view: ViewId) -> Option<Recent> {
        let recent = lock(&self.inner).recent.get(&view).cloned();
        recent.filter(|recent| recent.at.elapsed() < SNAPSHOT_REUSE)
    }

    /// Remembers the newest snapshot of a view.
    pub(crate) fn set_recent(
        &self,
        view: ViewId,
        version: Version,
        schema: &Arc<LiveSchema>,
        frame: &Arc<Frame>,
    ) {
        let mut inner = lock(&self.inner);
        if inner.recent.get(&view).is_none_or(|recent| recent.version < version) {
            let (schema, frame) = (Arc::clone(schema), Arc::clone(frame));
            inner.recent.insert(view, Recent { version, schema, frame, at: Instant::now() });
        }
    }

    /// Forgets recent snapshots that are recent no more; they would hold on to views that went.
    pub(crate) fn sweep(&self) {
        lock(&self.inner).recent.retain(|_, recent| recent.at.elapsed() < SNAPSHOT_REUSE);
    }

    /// Bytes of the frames that are kept, texts for single ids not counted.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.inner).bytes
    }

    fn keep(&self, key: FrameKey, bytes: usize) {
        let mut inner = lock(&self.inner);
        // An entry costs something even if the frame is tiny.
        let bytes = bytes + 128;
        inner.ages.push_back((key, bytes));
        inner.bytes += bytes;
        while inner.bytes > self.bytes_max {
            let Some((oldest, bytes)) = inner.ages.pop_front() else { break };
            inner.slots.remove(&oldest);
            inner.bytes -= bytes;
        }
    }
}

/// Locks a mutex whose holder cannot leave it half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
