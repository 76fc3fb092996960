//! Encoded messages, shared.
//!
//! A [`Frame`] is the part of a message that is the same for all who go from one version of a view to another
//! (see `encode`). Viewers mostly show the same pages, so they also give the same ids: a frame keeps the whole
//! message for the first few ids that ask, and those viewers share one allocation.
//!
//! [`FrameCache`] finds frames by (view, from, to, encoding). It is bounded by bytes and forgets the oldest first.
//! The newest snapshot of each view is found by the view alone, too: a little later it is still good, completed by
//! the delta since.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use ahash::AHashMap;
use nowcast_model::Version;
use nowcast_views::{LiveSchema, ViewId};

use crate::{
    counters::Counters,
    encode::{Encoding, Head, Payload, Reason, Tail},
    limits::SNAPSHOT_REUSE,
};

/// Ids for which a frame keeps the whole message.
const SHARED_IDS_MAX: usize = 4;

/// The shared part of a snapshot or delta.
#[derive(Debug)]
pub(crate) struct Frame {
    snapshot: bool,
    tail: Tail,
    messages: Mutex<Vec<(u64, Payload)>>,
}

impl Frame {
    /// A frame from its tail.
    pub(crate) fn new(snapshot: bool, tail: Tail) -> Frame {
        Frame { snapshot, tail, messages: Mutex::new(Vec::new()) }
    }

    /// The message for the subscription `id`.
    pub(crate) fn message(&self, id: u64, reason: Option<Reason>) -> Payload {
        let head = Head { snapshot: self.snapshot, id, reason };
        if reason.is_some() {
            return self.tail.message(head);
        }
        let mut messages = lock(&self.messages);
        if let Some((_, message)) = messages.iter().find(|(shared, _)| *shared == id) {
            return message.clone();
        }
        let message = self.tail.message(head);
        if messages.len() < SHARED_IDS_MAX {
            messages.push((id, message.clone()));
        }
        message
    }

    /// Bytes of the tail, before compression.
    pub(crate) fn len(&self) -> usize {
        self.tail.len()
    }

    /// Bytes of the tail as they are held.
    pub(crate) fn bytes_held(&self) -> usize {
        self.tail.bytes_held()
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
    /// How it is written.
    pub(crate) encoding: Encoding,
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
    recent: AHashMap<(ViewId, Encoding), Recent>,
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
        encode: impl FnOnce() -> Tail,
    ) -> Arc<Frame> {
        let slot = Arc::clone(lock(&self.inner).slots.entry(key).or_default());
        let mut encoded = None;
        let frame = slot.get_or_init(|| {
            let frame = Arc::new(Frame::new(key.from.is_none(), encode()));
            encoded = Some(frame.bytes_held());
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
    pub(crate) fn recent(&self, view: ViewId, encoding: Encoding) -> Option<Recent> {
        let recent = lock(&self.inner).recent.get(&(view, encoding)).cloned();
        recent.filter(|recent| recent.at.elapsed() < SNAPSHOT_REUSE)
    }

    /// Remembers the newest snapshot of a view.
    pub(crate) fn set_recent(
        &self,
        key: (ViewId, Encoding),
        version: Version,
        schema: &Arc<LiveSchema>,
        frame: &Arc<Frame>,
    ) {
        let mut inner = lock(&self.inner);
        if inner.recent.get(&key).is_none_or(|recent| recent.version < version) {
            let (schema, frame) = (Arc::clone(schema), Arc::clone(frame));
            inner.recent.insert(key, Recent { version, schema, frame, at: Instant::now() });
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
