//! How often something may happen: token buckets by key.
//!
//! A bucket holds [`BURST_S`] seconds' worth and is refilled at its rate, so one that was not used for so long is
//! full and may be forgotten. That is what bounds the buckets: past [`KEYS_MAX`] the full ones go, and if all are
//! in use, all do; a crowd of so many addresses is not one client anyway.

use std::{hash::Hash, sync::Mutex, time::Duration};

use ahash::AHashMap;
use tokio::time::Instant;

use crate::frame::lock;

/// A page that opens asks for all at once, and a restarted server is asked by everyone.
const BURST_S: u32 = 5;

/// Buckets that are kept.
const KEYS_MAX: usize = 16_384;

/// One bucket; full at first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    /// When it was, or will be, full.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes a token of `per_second`, or says after how long there is one. A rate of 0 has no limit.
    pub(crate) fn take(&mut self, per_second: u32, now: Instant) -> Result<(), Duration> {
        let Some(each) = Duration::from_secs(1).checked_div(per_second) else { return Ok(()) };
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + each;
        let wait = full_at.saturating_duration_since(now).saturating_sub(Duration::from_secs(BURST_S.into()));
        if !wait.is_zero() {
            return Err(wait);
        }
        self.full_at = Some(full_at);
        Ok(())
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

/// Buckets by key. See the module's story.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    /// A std Mutex: held for a look-up, or a sweep of the whole once in many.
    buckets: Mutex<AHashMap<K, Bucket>>,
}

impl<K> Default for Buckets<K> {
    fn default() -> Buckets<K> {
        Buckets { buckets: Mutex::default() }
    }
}

impl<K: Hash + Eq> Buckets<K> {
    /// As [`Bucket::take`], of the bucket of `key`.
    pub(crate) fn take(&self, key: K, per_second: u32, now: Instant) -> Result<(), Duration> {
        let mut buckets = lock(&self.buckets);
        if buckets.len() >= KEYS_MAX && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
            if buckets.len() >= KEYS_MAX {
                buckets.clear();
            }
        }
        buckets.entry(key).or_default().take(per_second, now)
    }
}

/// Whole seconds to wait, for people and headers.
pub(crate) fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let (buckets, at) = (Buckets::default(), |ms| start + Duration::from_millis(ms));
        let taken = |ms, key| (0..1_000).take_while(|_| buckets.take(key, 10, at(ms)).is_ok()).count();
        assert_eq!(taken(0, "a"), 50);
        assert_eq!(taken(0, "b"), 50, "each key has its own");
        assert_eq!(buckets.take("a", 10, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(taken(1_000, "a"), 10);
        assert_eq!(taken(60_000, "a"), 50, "a rest is worth a burst, not more");
        assert_eq!(buckets.take("a", 0, at(60_000)), Ok(()), "0 has no limit");
    }

    #[test]
    fn buckets_are_bounded() {
        let now = Instant::now();
        let buckets = Buckets::default();
        for key in 0..3 * KEYS_MAX {
            let _ = buckets.take(key, 1, now);
        }
        assert!(lock(&buckets.buckets).len() <= KEYS_MAX);
        let later = now + Duration::from_secs(10);
        for key in 0..KEYS_MAX {
            let _ = buckets.take(key, 1, later);
        }
        assert!(lock(&buckets.buckets).len() <= KEYS_MAX);
    }
}
