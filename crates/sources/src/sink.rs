//! Where decoded batches go.

use futures::future::BoxFuture;
use nowcast_model::Batch;

/// Where decoded batches go; implemented by the server over the table registry and the log.
pub trait Sink: Send + Sync + 'static {
    /// Queues all `batches` as one record: all of them are written, or none.
    ///
    /// Ready when the log has taken the record, or with `durable` when the record is on the disk. Waits while
    /// the log's buffer is full: that is how back-pressure reaches a socket.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing of `batches` was written.
    fn write(&self, batches: Vec<Batch>, durable: bool) -> BoxFuture<'_, Result<(), WriteError>>;

    /// Records a line that was refused, for the system table `rejected`. Never blocks and never fails: the
    /// implementation bounds what it keeps and how fast it keeps it.
    fn reject(&self, rejected: Rejected);
}

/// A line that was not written, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The source's name, such as `ilp-tcp`.
    pub source: String,
    /// The other end's address.
    pub peer: String,
    /// The line, counted from 1 since the connection or the body began.
    pub line: u64,
    /// The byte in the line, counted from 1; 0 if the whole line is meant.
    pub column: u32,
    /// What is wrong, and what to do about it.
    pub cause: String,
    /// The line's beginning, at most [`crate::TEXT_BYTES_MAX`] bytes.
    pub text: String,
}

/// Why batches were not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A batch does not fit its table.
    #[error("table {table:?}{}: {cause}; {hint}", in_column(column.as_deref()))]
    Refused {
        /// The table.
        table: String,
        /// The column, if one is to blame.
        column: Option<String>,
        /// What is wrong.
        cause: String,
        /// What to do about it.
        hint: String,
        /// Index of the batch among those given.
        batch: usize,
        /// Index of the row in that batch, if one row is to blame.
        row: Option<usize>,
    },
    /// The server has more to do than it can queue.
    #[error("the server is busy; try again in {retry_after_s} s")]
    Busy {
        /// Seconds after which a retry makes sense.
        retry_after_s: u64,
    },
    /// There is too little space on the disk.
    #[error(
        "the disk has {free_bytes} bytes free, below disk.free_bytes_min = {free_bytes_min}: nothing was written; make space, and try again"
    )]
    NoSpace {
        /// What is free.
        free_bytes: u64,
        /// What must be.
        free_bytes_min: u64,
    },
    /// The log takes no more writes until a restart.
    #[error("the log is read-only: {0}; look at the disk and at the server's log, then restart nowcast")]
    ReadOnly(
        /// Why.
        String,
    ),
    /// More than one record may hold.
    #[error("the write has {bytes} bytes, at most {bytes_max} are allowed; send it in smaller parts")]
    TooLarge {
        /// What was sent.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
}

fn in_column(column: Option<&str>) -> String {
    column.map(|column| format!(", column {column:?}")).unwrap_or_default()
}
