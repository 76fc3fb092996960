//! The task that makes what comes over a channel.

use nowcast_query::{Interrupt, SqlCode, SqlError};
use tokio::{runtime::Handle, task::JoinHandle};

/// Ends its task when it is dropped.
pub(super) struct Task(Option<JoinHandle<()>>, Interrupt);

impl Task {
    /// Runs `work`, whose statement asks `interrupt`.
    pub(super) fn spawn(
        runtime: &Handle,
        interrupt: Interrupt,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Task {
        Task(Some(runtime.spawn(work)), interrupt)
    }

    /// Why its channel ended, if not because all was made: what came before a panic must not be taken for the whole.
    ///
    /// # Errors
    /// It panicked, or was ended.
    pub(super) async fn ended(&mut self) -> Result<(), SqlError> {
        let Some(task) = self.0.take() else { return Ok(()) };
        task.await.map_err(|error| {
            SqlError::new(SqlCode::Internal, format!("the statement was not finished: {error}"))
        })
    }

    pub(super) fn end(&self) {
        self.1.end();
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn a_panic_is_no_end() {
        let mut whole = Task::spawn(&Handle::current(), Interrupt::default(), async {});
        assert_eq!(whole.ended().await, Ok(()));
        assert_eq!(whole.ended().await, Ok(()));
        let mut broken =
            Task::spawn(&Handle::current(), Interrupt::default(), async { panic!("in the middle") });
        let message = broken.ended().await.unwrap_err().message;
        assert!(message.contains("not finished") && message.contains("in the middle"), "{message}");
        let mut ended = Task::spawn(&Handle::current(), Interrupt::default(), std::future::pending());
        ended.end();
        assert!(ended.ended().await.is_err());
    }
}
