//! All live tables, shared between the apply thread that publishes and the readers.
//!
//! One lock holds all of them, so that a reader sees one moment: the same version, tick and position in every
//! view. The writer holds it while the changes of a moment, which were computed before, are put in; a reader
//! while it copies references to the rows it lacks. Neither does I/O or evaluates anything under it.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use ahash::AHashMap;
use nowcast_model::{Offset, Tick, Version};

use crate::{Changes, LiveSchema, LiveTable, ViewError};

/// Names a view for as long as the process lives; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId(u64);

impl ViewId {
    /// An id from its number.
    pub const fn new(id: u64) -> ViewId {
        ViewId(id)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a view is kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// From changes, every moment.
    Incremental,
    /// By running the query again; may lag.
    Reevaluated,
}

impl Mode {
    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Incremental => "incremental",
            Mode::Reevaluated => "reevaluated",
        }
    }
}

/// How the content of a live table stands to the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewState {
    /// Nothing to show yet.
    Seeding {
        /// Of the rows that are to be read.
        percent: u8,
    },
    /// The content is that of the moment.
    Live,
    /// The content is older.
    Behind {
        /// The last version at which it was true.
        version: Version,
    },
    /// The view ended; what it showed last is not kept up any more.
    Failed(ViewError),
}

/// One view as readers see it.
#[derive(Debug)]
pub struct Published {
    pub(crate) table: LiveTable,
    pub(crate) state: ViewState,
    pub(crate) mode: Mode,
}

impl Published {
    /// What its rows look like.
    pub fn schema(&self) -> &Arc<LiveSchema> {
        self.table.schema()
    }

    /// How its content stands to the moment. There is nothing worth sending while it is `Seeding`.
    pub fn state(&self) -> &ViewState {
        &self.state
    }

    /// How it is kept up to date.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// True if it has more rows than are shown.
    pub fn truncated(&self) -> bool {
        self.table.truncated()
    }

    /// What a reader at `cursor` lacks; see [`LiveTable::changes_since`].
    pub fn changes_since(&self, cursor: Option<Version>) -> Changes {
        self.table.changes_since(cursor)
    }

    /// The live table itself.
    pub fn table(&self) -> &LiveTable {
        &self.table
    }
}

/// One moment of all views.
#[derive(Debug, Default)]
pub struct Moment {
    pub(crate) version: Version,
    pub(crate) tick: Tick,
    pub(crate) position: Offset,
    pub(crate) views: AHashMap<ViewId, Published>,
}

impl Moment {
    /// Which moment it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What `now()` is in it.
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// The log's position: all rows below it are in it, none from it on.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// A view; `None` if it was never added, or was removed.
    pub fn view(&self, id: ViewId) -> Option<&Published> {
        self.views.get(&id)
    }

    /// All views, in no particular order.
    pub fn views(&self) -> impl Iterator<Item = (ViewId, &Published)> {
        self.views.iter().map(|(&id, view)| (id, view))
    }
}

type Callback = Box<dyn Fn(Version) + Send + Sync>;

/// All live tables. See the module's story.
#[derive(Default)]
pub struct LiveTables {
    moment: RwLock<Moment>,
    callbacks: RwLock<Vec<Callback>>,
}

impl LiveTables {
    /// No views, before the first moment.
    pub fn new() -> Arc<LiveTables> {
        Arc::new(LiveTables::default())
    }

    /// Lets `read` see one moment. The next one waits meanwhile: copy what is needed, and return.
    pub fn read<R>(&self, read: impl FnOnce(&Moment) -> R) -> R {
        read(&self.moment.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Calls `wake` after every moment, and after a view's state changed between moments, with the version.
    /// It runs on the apply thread: wake somebody, and return. It is called until the process ends.
    pub fn on_publish(&self, wake: Callback) {
        self.callbacks.write().unwrap_or_else(PoisonError::into_inner).push(wake);
    }

    /// Changes the moment, then wakes the readers.
    pub(crate) fn write<R>(&self, write: impl FnOnce(&mut Moment) -> R) -> R {
        // A poisoned lock means that a reader panicked, which leaves the moment whole; a writer that panicked
        // took the apply thread with it.
        let mut moment = self.moment.write().unwrap_or_else(PoisonError::into_inner);
        let result = write(&mut moment);
        let version = moment.version;
        drop(moment);
        for wake in self.callbacks.read().unwrap_or_else(PoisonError::into_inner).iter() {
            wake(version);
        }
        result
    }
}

impl fmt::Debug for LiveTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTables").finish_non_exhaustive()
    }
}
