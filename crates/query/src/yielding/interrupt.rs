//! How a query is told to end in the midst of something.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use datafusion::common::Result;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::{
    error::{SqlCode, SqlError},
    failure::external,
};

/// How long what asks may hold the place of other tasks.
const HELD_MAX: Duration = Duration::from_millis(20);

/// Enough for another thread to wake up and take over what waits.
const HANDOVER: Duration = Duration::from_micros(100);

/// Ends a statement that does not come to a place where its task could be aborted. Clones end together.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    statement: Arc<AtomicBool>,
    /// One query of the statement.
    query: Arc<AtomicBool>,
}

/// Ends a query when it is dropped.
#[derive(Debug)]
pub(crate) struct EndOnDrop(Arc<AtomicBool>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Interrupt {
    /// Ends the statement; at once, wherever it asks.
    pub fn end(&self) {
        self.statement.store(true, Ordering::Relaxed);
    }

    /// For one query of the statement.
    pub(crate) fn query(&self) -> (Interrupt, EndOnDrop) {
        let query = Arc::new(AtomicBool::new(false));
        let interrupt = Interrupt { statement: Arc::clone(&self.statement), query: Arc::clone(&query) };
        (interrupt, EndOnDrop(query))
    }

    /// Asked again and again by what takes long: lets others run, too.
    ///
    /// # Errors
    /// The statement is to end.
    pub(super) fn check(&self) -> Result<()> {
        if self.statement.load(Ordering::Relaxed) || self.query.load(Ordering::Relaxed) {
            let error = SqlError::new(SqlCode::Canceled, "the statement was ended");
            return Err(external(error, "interrupt"));
        }
        give_way();
        Ok(())
    }
}

/// Hands over what waits for this thread, once in [`HELD_MAX`]: the tasks in its queue would wait as long as this one
/// runs. The thread itself goes on, beside the one that takes over.
fn give_way() {
    thread_local! {
        static GAVE_WAY: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    let is_due = match GAVE_WAY.get() {
        None => true,
        Some(last) => now.duration_since(last) >= HELD_MAX,
    };
    if !is_due {
        return;
    }
    if Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread) {
        tokio::task::block_in_place(|| std::thread::sleep(HANDOVER));
    }
    GAVE_WAY.set(Some(Instant::now()));
}
