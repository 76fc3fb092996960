//! Ids that are types, so that a log offset is never passed where a version is meant.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in the log. Counts rows and events since the log began: a record at offset `o` with `n` rows and
/// events occupies `o..o + n`, so `offset + index` names one row for ever (its `_seq`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// The first offset of an empty log.
    pub const ZERO: Offset = Offset(0);

    /// An offset from its number.
    pub const fn new(offset: u64) -> Offset {
        Offset(offset)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The offset `rows` further on. Saturates: 2^64 rows are never reached.
    #[must_use]
    pub const fn plus(self, rows: u64) -> Offset {
        Offset(self.0.saturating_add(rows))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the moments (a commit or a tick) that this process published. Compared only within an [`Epoch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(u64);

impl Version {
    /// Before the first moment.
    pub const ZERO: Version = Version(0);

    /// A version from its number.
    pub const fn new(version: u64) -> Version {
        Version(version)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next moment.
    #[must_use]
    pub const fn next(self) -> Version {
        Version(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one run of the process. Shown as 16 hexadecimal digits; clients only compare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// An epoch from 64 random bits.
    pub const fn new(bits: u64) -> Epoch {
        Epoch(bits)
    }

    /// Reads what [`Epoch`] displays; `None` for anything else.
    pub fn parse(text: &str) -> Option<Epoch> {
        if text.len() != 16 || text.starts_with('+') {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Epoch)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The server's clock as views see it: whole seconds, in microseconds since 1970 UTC, never stepping back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(i64);

impl Tick {
    /// The distance between two ticks.
    pub const INTERVAL_US: i64 = 1_000_000;

    /// The tick that holds the moment `now_us`.
    pub const fn containing(now_us: i64) -> Tick {
        Tick(now_us.div_euclid(Tick::INTERVAL_US) * Tick::INTERVAL_US)
    }

    /// Microseconds since 1970 UTC, a multiple of [`Tick::INTERVAL_US`].
    pub const fn us(self) -> i64 {
        self.0
    }
}
