//! What can be wrong with bytes, and what can be wrong with the log.

use std::{io, path::Path, sync::Arc};

use nowcast_model::Offset;

/// Bytes that are not what they should be. Each way of being wrong has its own name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// They end too early.
    #[error("needs {need} bytes, got {got}")]
    TooShort {
        /// Bytes that had to be there.
        need: u64,
        /// Bytes that were.
        got: u64,
    },
    /// They do not begin as they should.
    #[error("begins with {found:#018x}, which is not the magic number")]
    WrongMagic {
        /// The first bytes, as a little-endian number.
        found: u64,
    },
    /// The checksum does not fit what it covers.
    #[error("the checksum of what begins at byte {at} does not fit")]
    BadCrc {
        /// Where in the file the covered bytes begin.
        at: u64,
    },
    /// A newer Nowcast wrote it.
    #[error("has format version {found}; this program reads up to {known}: run the newer one")]
    NewerVersion {
        /// The version it has.
        found: u16,
        /// The newest that this program knows.
        known: u16,
    },
    /// It belongs to another log.
    #[error("belongs to log {found:016x}, not to {expected:016x}")]
    OtherLog {
        /// The log it names.
        found: u64,
        /// The log at hand.
        expected: u64,
    },
    /// Its offset is not the next one.
    #[error("begins at offset {found}, expected {expected}")]
    OutOfOrder {
        /// The offset that comes next.
        expected: Offset,
        /// The offset it has.
        found: Offset,
    },
    /// A number that cannot be.
    #[error("the field `{field}` is {value}, which cannot be")]
    BadField {
        /// The field, as `docs/log-format.md` calls it.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// Text that is not UTF-8, or is cut inside a character.
    #[error("text is not UTF-8: {0}")]
    BadText(String),
    /// An Arrow array that its buffers do not make.
    #[error("a column does not fit together: {0}")]
    BadColumn(String),
    /// An event that is not one.
    #[error("an event cannot be read: {0}")]
    BadEvent(String),
}

/// What the log answers when it cannot do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A write or a sync failed earlier: nothing more is taken until the process is started again.
    #[error("the log is read-only: {reason}; mend the disk and start again")]
    ReadOnly {
        /// What failed first.
        reason: Arc<str>,
    },
    /// The log was stopped.
    #[error("the log is stopped")]
    Stopped,
    /// A record without items.
    #[error("the record holds no rows and no events")]
    Empty,
    /// A record that is larger than [`nowcast_model::limits::RECORD_BYTES_MAX`].
    #[error("the record has more than {bytes} bytes encoded, at most {max} are allowed; send it in parts")]
    TooLarge {
        /// Bytes at which the encoding was given up.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A column of a type that the log does not store.
    #[error("column {column:?} is {data_type}, which the log does not store; cast it first")]
    Unsupported {
        /// The column.
        column: String,
        /// Its Arrow type.
        data_type: String,
    },
    /// The disk refused.
    #[error("cannot {action} {path}: {cause}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        cause: String,
    },
    /// The disk is full. Nothing of the group was written; the log thread tries again until there is space.
    #[error("no space for {path}: {cause}")]
    Full {
        /// The file.
        path: String,
        /// What the system said.
        cause: String,
    },
    /// Bytes in a file are not what they should be.
    #[error("{path}, byte {at}: {cause}")]
    Corrupt {
        /// The file.
        path: String,
        /// Where in it.
        at: u64,
        /// What is wrong.
        cause: FormatError,
    },
    /// The log does not hold what is needed of it, or is not there at all. Nothing was changed.
    #[error(
        "the log in {dir} is needed from offset {from} to {to}, and goes from {first} to {end}: files of it are \
         missing; restore them, or the whole data directory from a backup"
    )]
    Short {
        /// The log's directory.
        dir: String,
        /// Needed from here.
        from: Offset,
        /// Needed up to here.
        to: Offset,
        /// The first offset that is there.
        first: Offset,
        /// The first offset behind it.
        end: Offset,
    },
    /// The records asked for were dropped.
    #[error("offset {from} was asked for, but the log begins at {first}")]
    Gone {
        /// Asked for.
        from: Offset,
        /// The first that is there.
        first: Offset,
    },
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path, error: &io::Error) -> LogError {
        LogError::Io { action, path: path.display().to_string(), cause: error.to_string() }
    }

    /// True for a disk or a quota without space.
    pub(crate) fn is_full(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    pub(crate) fn full(path: &Path, error: &io::Error) -> LogError {
        LogError::Full { path: path.display().to_string(), cause: error.to_string() }
    }

    pub(crate) fn corrupt(path: &Path, at: u64, cause: FormatError) -> LogError {
        LogError::Corrupt { path: path.display().to_string(), at, cause }
    }
}
