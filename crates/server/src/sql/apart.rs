//! Planning, on threads of its own.
//!
//! It cannot be interrupted: a plan that takes for ever must take neither its caller's time beyond the deadline nor a
//! thread that others' rows come through.

use std::{future::Future, sync::Arc};

use nowcast_query::{Description, Interrupt, QueryContext, SqlCode, SqlError, Statement};
use tokio::time::{Instant, timeout_at};

use super::{Session, Sql, too_long};

/// The stack of a thread that handles statements: their trees are walked by recursion, and are up to 1,000 deep. Only
/// what is used of it is memory.
pub const STACK_BYTES: usize = 32 << 20;

/// Ends what plans when nobody waits for it any more, as soon as it can be.
struct EndOnDrop {
    abort: futures::future::AbortHandle,
    interrupt: Option<Interrupt>,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(interrupt) = &self.interrupt {
            interrupt.end();
        }
        self.abort.abort();
    }
}

impl Sql {
    /// Runs what plans until `deadline` at most.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        deadline: Instant,
        interrupt: Interrupt,
        work: impl Future<Output = Result<T, SqlError>> + Send + 'static,
    ) -> Result<T, SqlError> {
        let began = Instant::now();
        let (work, handle) = futures::future::abortable(work);
        let mut ended = EndOnDrop { abort: handle, interrupt: Some(interrupt) };
        let (planning, runtime) = (Arc::clone(&self.planning), self.runtime.clone());
        let planned = async move {
            let slot = planning.acquire_owned().await;
            let thread = runtime.clone();
            let work = move || {
                let _slot = slot;
                thread.block_on(work)
            };
            runtime.spawn_blocking(work).await
        };
        match timeout_at(deadline, planned).await {
            Ok(Ok(Ok(done))) => {
                // The rows are still to be made.
                ended.interrupt = None;
                done
            }
            Ok(Ok(Err(_))) => Err(self::ended()),
            Ok(Err(error)) => Err(SqlError::new(SqlCode::Internal, error.to_string())),
            Err(_) => Err(too_long(deadline.duration_since(began))),
        }
    }

    /// The types of a statement's parameters and of its result, without running it.
    ///
    /// # Errors
    /// As [`nowcast_query::QueryEngine::describe`]; or planning takes longer than a query may.
    pub async fn describe(
        &self,
        session: &Session,
        ctx: &QueryContext,
        statement: &Statement,
    ) -> Result<Description, SqlError> {
        let (engine, ctx, statement) = (Arc::clone(&self.engine), ctx.clone(), statement.clone());
        let interrupt = ctx.interrupt.clone();
        let described = async move { engine.describe(&ctx, &statement) };
        self.apart(Instant::now() + self.timeout(session), interrupt, described).await
    }
}

pub(super) fn ended() -> SqlError {
    SqlError::new(SqlCode::Internal, "the query was ended")
}
