//! Planning, on threads of its own.
//!
//! It cannot be interrupted: a plan that takes for ever must take neither its caller's time beyond the deadline nor a
//! thread that others' rows come through. The optimizer's rules ask whether they are to end, but one of them alone may
//! take seconds with a long statement. So such statements are planned few at a time, each on a thread of its own that
//! runs only where nothing else would: whoever gave up waiting for one leaves nothing behind that others feel.

use std::{future::Future, sync::Arc, time::Duration};

use nowcast_query::{Description, Interrupt, QueryContext, SqlCode, SqlError, Statement};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout_at},
};

use super::{Session, Sql, too_long};

/// The stack of a thread that handles statements: their trees are walked by recursion, and are up to 1,000 deep. Only
/// what is used of it is memory.
pub const STACK_BYTES: usize = 32 << 20;

/// Long statements that are planned at a time.
pub(super) const HEAVY_MAX: usize = 2;

/// Where a statement is planned.
pub(super) enum Lane {
    /// With the others.
    Common,
    /// By itself; nobody else takes its place meanwhile.
    Heavy(OwnedSemaphorePermit),
}

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
    /// Waits for a place to plan `statement` in. Taken before a place to run it in, so that those that wait for it hold up
    /// no others.
    pub(super) async fn lane(
        &self,
        deadline: Instant,
        timeout: Duration,
        statement: &Statement,
    ) -> Result<Lane, SqlError> {
        if !statement.is_heavy() {
            return Ok(Lane::Common);
        }
        let permit = timeout_at(deadline, Arc::clone(&self.heavy).acquire_owned()).await;
        Ok(Lane::Heavy(permit.map_err(|_| too_long(timeout))?.map_err(|_| self::ended())?))
    }

    /// Runs what plans until `deadline` at most.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        deadline: Instant,
        interrupt: Interrupt,
        lane: Lane,
        work: impl Future<Output = Result<T, SqlError>> + Send + 'static,
    ) -> Result<T, SqlError> {
        let began = Instant::now();
        let (work, handle) = futures::future::abortable(work);
        let mut ended = EndOnDrop { abort: handle, interrupt: Some(interrupt) };
        let (planning, runtime) = (Arc::clone(&self.planning), self.runtime.clone());
        let planned = async move {
            let permit = match lane {
                Lane::Heavy(permit) => return alone(&runtime, permit, work).await,
                Lane::Common => planning.acquire_owned().await,
            };
            let thread = runtime.clone();
            let work = move || {
                let _permit = permit;
                thread.block_on(work)
            };
            runtime.spawn_blocking(work).await.map_err(|error| failed(&error.to_string()))
        };
        match timeout_at(deadline, planned).await {
            Ok(Ok(Ok(done))) => {
                // The rows are still to be made.
                ended.interrupt = None;
                done
            }
            Ok(Ok(Err(_))) => Err(self::ended()),
            Ok(Err(error)) => Err(error),
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
        let timeout = self.timeout(session);
        let deadline = Instant::now() + timeout;
        let lane = self.lane(deadline, timeout, &statement).await?;
        let described = async move { engine.describe(&ctx, &statement) };
        self.apart(deadline, interrupt, lane, described).await
    }
}

/// Runs `work` on a thread of its own, at the lowest priority.
async fn alone<T: Send + 'static>(
    runtime: &Handle,
    permit: OwnedSemaphorePermit,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, SqlError> {
    let (sender, done) = oneshot::channel();
    let runtime = runtime.clone();
    let run = move || {
        let _permit = permit;
        // Without the right to it, it runs like the rest.
        let _ = rustix::process::nice(19);
        drop(sender.send(runtime.block_on(work)));
    };
    let thread = std::thread::Builder::new().name("nowcast-plan".into()).stack_size(STACK_BYTES).spawn(run);
    thread.map_err(|error| failed(&error.to_string()))?;
    done.await.map_err(|_| failed("its thread panicked"))
}

fn failed(why: &str) -> SqlError {
    SqlError::new(SqlCode::Internal, format!("the statement was not planned: {why}"))
}

pub(super) fn ended() -> SqlError {
    SqlError::new(SqlCode::Internal, "the query was ended")
}
