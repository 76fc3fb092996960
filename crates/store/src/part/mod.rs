//! A part: rows of one table in one Parquet file, never changed once written.
//!
//! Sorted by time, then `_seq`. The file has the form of [`TableSchema::stored`] at the time of writing;
//! columns are only ever added to a table, at the end, so a part holds the table's first
//! [`Part::columns`] columns and then `_seq`, and readers fill later columns with NULL. The Arrow schema is
//! embedded: symbols come back as dictionaries.
//!
//! A dropped partition may take away a beginning of a part. The file stays, and [`Part::visible_from_us`]
//! hides the rows before that time; **every reader of the file must apply it** ([`Part::read`] does). The
//! next compaction that takes the part in leaves them out. [`Part::dead`] does the same to single rows that an
//! upsert replaced.
//!
//! A file is made as `NAME.parquet.tmp`, synced, renamed, and its directory synced. It goes once no manifest
//! names it and the last snapshot that reads it is gone; a crash in between leaves an orphan, which
//! [`crate::Store::open`] removes.
//!
//! | module | |
//! |---|---|
//! | `write` | rows into a file |
//! | `sums` | its checksums, on the way in and on the way out |
//! | `open` | the file open, its footer remembered |
//! | `read` | visible rows out of it |

mod open;
mod read;
mod sums;
mod write;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub(crate) use open::Files;
pub use open::OpenPart;
pub use read::PartRows;
pub(crate) use read::place;
pub(crate) use sums::Tail;
pub(crate) use write::{PartWriter, ROW_GROUP_ROWS};

use crate::{Seqs, StoreError};

/// Rows of a table in one Parquet file.
#[derive(Debug, Clone)]
pub struct Part {
    /// Number of the part, unique in the store for ever.
    pub id: u64,
    /// The file.
    pub path: PathBuf,
    /// Visible rows.
    pub rows: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// The earliest visible time, if the table has a time column.
    pub min_us: Option<i64>,
    /// The latest time.
    pub max_us: Option<i64>,
    /// How many of the table's columns the file holds; later ones are NULL.
    pub columns: usize,
    /// Rows before this time went with their partition; readers leave them out.
    pub visible_from_us: Option<i64>,
    /// Rows that later writes replaced; readers leave them out.
    pub dead: Seqs,
    pub(crate) file: Arc<PartFile>,
}

/// The file behind a part and its masked copies.
#[derive(Debug)]
pub(crate) struct PartFile {
    files: Arc<Files>,
    id: u64,
    path: PathBuf,
    /// `None` for a part of a version that had no checksums.
    pub(crate) tail: Option<Tail>,
    doomed: AtomicBool,
}

impl PartFile {
    /// A file that a manifest names, or a new one that goes with its last reader unless it is kept.
    pub(crate) fn new(
        files: &Arc<Files>,
        id: u64,
        path: &Path,
        tail: Option<Tail>,
        is_kept: bool,
    ) -> Arc<PartFile> {
        let (files, path) = (files.clone(), path.to_owned());
        Arc::new(PartFile { files, id, path, tail, doomed: AtomicBool::new(!is_kept) })
    }

    /// A manifest may name the file from now on.
    pub(crate) fn keep(&self) {
        self.doomed.store(false, Ordering::Release);
    }

    /// No manifest names the file any more: the last reader removes it.
    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    fn open(&self, columns: usize) -> Result<OpenPart, StoreError> {
        let open = self.files.open(self.id, &self.path, self.tail)?;
        let width = open.footer.arrow.schema().fields().len();
        if width != columns + 1 {
            let cause = format!("the file has {width} columns, the manifest says {columns} and _seq");
            return Err(StoreError::BadPart { path: self.path.clone(), cause });
        }
        Ok(open)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        self.files.forget(self.id);
        if self.doomed.load(Ordering::Acquire)
            && let Err(error) = self.files.disk.remove(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "part not removed; the next start removes it");
        }
    }
}

/// The file that says which `dead` rows of the part at `path` are dead.
pub(crate) fn dead_path(path: &Path, dead: u64) -> PathBuf {
    path.with_extension(format!("{dead}.dead"))
}

impl Part {
    /// True if the file holds rows that are not visible: every reader must leave them out.
    pub fn is_masked(&self) -> bool {
        self.visible_from_us.is_some() || !self.dead.is_empty()
    }

    /// The file that says which rows are dead.
    pub(crate) fn dead_path(&self) -> PathBuf {
        dead_path(&self.path, self.dead.len())
    }

    /// Takes visible rows away.
    pub(crate) fn bury(&mut self, seqs: Vec<u64>) {
        let before = self.dead.len();
        self.dead.extend(seqs);
        self.rows = self.rows.saturating_sub(self.dead.len() - before);
    }

    /// Opens its file. What is read of it is held against checksums; **rows that are not visible are there**.
    ///
    /// # Errors
    /// If the file cannot be opened, or its footer is damaged or not what the manifest says.
    pub fn open(&self) -> Result<OpenPart, StoreError> {
        self.file.open(self.columns)
    }
}
