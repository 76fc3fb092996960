//! How far an import is, on a terminal.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often the line is drawn.
const REDRAW: Duration = Duration::from_millis(200);

/// Shared by who reads and who sends.
#[derive(Clone)]
pub(super) struct Progress(Arc<Inner>);

struct Inner {
    began: Instant,
    /// Bytes of the file; none if they are not known.
    bytes: Option<u64>,
    read: AtomicU64,
    rows: AtomicU64,
    rejected: AtomicU64,
    /// A line, and when it was drawn; absent off a terminal.
    drawn: Option<Mutex<Instant>>,
    error: Mutex<Option<String>>,
}

impl Progress {
    pub(super) fn new(file: &Path, quiet: bool) -> Progress {
        let began = Instant::now();
        let bytes = std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file).map(|file| file.len());
        let draws = !quiet && std::io::stderr().is_terminal();
        Progress(Arc::new(Inner {
            began,
            bytes,
            read: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            drawn: draws.then(|| Mutex::new(began)),
            error: Mutex::new(None),
        }))
    }

    /// One that shows nothing.
    pub(super) fn quiet() -> Progress {
        Progress::new(Path::new(""), true)
    }

    /// Bytes that were read, before they are unpacked.
    pub(super) fn read(&self, bytes: u64) {
        self.0.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Rows that were left out so far, and the first error.
    pub(super) fn reject(&self, rows: u64, error: Option<String>) {
        self.0.rejected.store(rows, Ordering::Relaxed);
        let mut known = self.0.error.lock().unwrap_or_else(PoisonError::into_inner);
        *known = known.take().or(error);
    }

    pub(super) fn rejected(&self) -> (u64, Option<String>) {
        let error = self.0.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.0.rejected.load(Ordering::Relaxed), error)
    }

    /// More rows are there.
    pub(super) fn rows(&self, rows: u64) {
        let rows = self.0.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        let Some(drawn) = &self.0.drawn else { return };
        let mut drawn = drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.elapsed() >= REDRAW {
            *drawn = Instant::now();
            let line = self.line(rows);
            // A terminal that is gone needs no line.
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }

    fn line(&self, rows: u64) -> String {
        let seconds = self.0.began.elapsed().as_secs_f64().max(0.001);
        let rate = rows as f64 / seconds;
        let Some(bytes) = self.0.bytes.filter(|bytes| *bytes > 0) else {
            return format!("{rows} rows, {rate:.0}/s");
        };
        let share = (self.0.read.load(Ordering::Relaxed) as f64 / bytes as f64).clamp(0.0, 1.0);
        let filled = (share * 30.0) as usize;
        let left = if share > 0.0 { seconds / share - seconds } else { 0.0 };
        format!(
            "[{}{}] {:3.0} %  {rows} rows, {rate:.0}/s, {left:.0} s left",
            "#".repeat(filled),
            "-".repeat(30 - filled),
            share * 100.0
        )
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        if self.0.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
