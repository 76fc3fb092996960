//! One write at a time under one name.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::OwnedMutexGuard;

type Lock = tokio::sync::Mutex<()>;

/// The names under which something is being written.
#[derive(Default)]
pub(super) struct Once {
    /// Held for a look-up; never across `.await`. Bounded by the requests that are under way.
    names: Mutex<HashMap<u64, Weak<Lock>>>,
}

impl Once {
    /// Ready when nobody else has the turn for `name`; it ends when the guard is dropped.
    pub(super) async fn turn(&self, name: u64) -> OwnedMutexGuard<()> {
        let lock = {
            let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            let known = names.get(&name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                names.retain(|_, lock| lock.strong_count() > 0);
                let lock = Arc::new(Lock::new(()));
                names.insert(name, Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}
