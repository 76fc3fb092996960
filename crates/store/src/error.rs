//! What can go wrong here: a refusal is the sender's to mend, a [`StoreError`] ours or the disk's.

use std::{fmt, io, path::PathBuf};

use nowcast_model::{Offset, TableName};

/// Why a write was not admitted. Nothing of it was queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of mistake it is; SQL maps it to a SQLSTATE.
    pub kind: RefusalKind,
    /// The table as the sender spelled it, or the schema where no table is concerned.
    pub table: String,
    /// The column as the table spells it.
    pub column: Option<String>,
    /// The fact, lower case.
    pub cause: String,
    /// What to do about it.
    pub hint: String,
    /// Index of the item among those handed to `admit`.
    pub batch: usize,
    /// Row of that batch, where one row is to blame.
    pub row: Option<usize>,
}

/// The kinds of [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// A value or a column has a type that does not fit.
    Type,
    /// A name breaks the rules, or two names are one.
    Name,
    /// The table or schema exists already.
    Exists,
    /// The table or schema does not exist.
    Missing,
    /// More tables or columns than allowed.
    TooMany,
    /// The time column lacks, or holds what it must not.
    Time,
    /// The schema asks for something that is not built.
    Unsupported,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {:?}: {}; {}", self.table, self.cause, self.hint)
    }
}

impl std::error::Error for Refusal {}

/// Why the store could not do what was asked. After an error from `apply` the snapshot is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk said no.
    #[error("{action} {}: {cause}", path.display())]
    Io {
        /// What was tried: "write", "rename", …
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system answered.
        cause: io::Error,
    },
    /// A part is not what the manifest says it is.
    #[error("read part {}: {cause}", path.display())]
    BadPart {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The manifest's checksum line does not fit its text.
    #[error("the manifest {} has checksum {found:08x}, its text gives {expected:08x}", path.display())]
    ManifestChecksum {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: u32,
        /// What its text gives.
        expected: u32,
    },
    /// There are parts, and no manifest that says which of them count.
    #[error("the manifest {} is missing, but there are parts; nothing was changed: restore it from a backup", path.display())]
    ManifestMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The manifest is no manifest.
    #[error("the manifest {} cannot be read: {cause}", path.display())]
    ManifestMalformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A newer version of the program wrote the data.
    #[error("the manifest {} has version {found}, this program knows up to {known}; use a newer one", path.display())]
    ManifestNewer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// A record speaks of a table that no record before it made.
    #[error("the record at {offset} is about the table {table}, which does not exist")]
    UnknownTable {
        /// The table.
        table: TableName,
        /// The item's offset.
        offset: Offset,
    },
    /// A record's rows are not what its table holds; `admit` makes only such that are.
    #[error("the record at {offset} does not fit the table {table}: {cause}")]
    Mismatch {
        /// The table.
        table: TableName,
        /// The item's offset.
        offset: Offset,
        /// How they differ.
        cause: String,
    },
    /// Arrow could not compute something; a defect here, or memory is short.
    #[error("compute: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A test asked for a failure at this point.
    #[error("failed at {0:?}, as a test asked")]
    Injected(&'static str),
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |cause| StoreError::Io { action, path, cause }
    }
}
