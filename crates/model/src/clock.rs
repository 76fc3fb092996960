//! Time as a dependency, so that tests can hold it still.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Where the present comes from.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970 UTC.
    fn now_us(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        let since = |d: std::time::Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => since(after),
            Err(before) => -since(before.duration()),
        }
    }
}

/// A clock that never steps back: while the one behind it is earlier than what was shown, it stands still.
pub struct SteadyClock {
    behind: Arc<dyn Clock>,
    shown_us: AtomicI64,
}

impl SteadyClock {
    /// A clock that shows what `behind` does, and never less than `from_us`.
    pub fn new(behind: Arc<dyn Clock>, from_us: i64) -> SteadyClock {
        SteadyClock { behind, shown_us: AtomicI64::new(from_us) }
    }
}

impl Clock for SteadyClock {
    fn now_us(&self) -> i64 {
        let now_us = self.behind.now_us();
        self.shown_us.fetch_max(now_us, Ordering::SeqCst).max(now_us)
    }
}

/// A clock that stands where it is set.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now_us`.
    pub const fn new(now_us: i64) -> ManualClock {
        ManualClock(AtomicI64::new(now_us))
    }

    /// Shows `now_us` from here on.
    pub fn set_us(&self, now_us: i64) {
        self.0.store(now_us, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
