//! Equal shares of a resource: limits the units per key, so that no key can use up the others' units.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Units by key. A key is removed when none of its units is taken.
#[derive(Debug)]
pub struct Shares<K> {
    per_key: u32,
    keys: Mutex<HashMap<K, Arc<Semaphore>>>,
}

/// Units that are taken until this is dropped.
#[derive(Debug)]
pub struct Share<K: Hash + Eq> {
    shares: Arc<Shares<K>>,
    key: K,
    permit: Option<OwnedSemaphorePermit>,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// Limits every key to `per_key` units.
    pub fn new(per_key: u32) -> Arc<Self> {
        Arc::new(Self { per_key, keys: Mutex::default() })
    }

    /// Takes units if they are free.
    pub fn try_take(self: &Arc<Self>, key: &K, units: u32) -> Option<Share<K>> {
        let mut share = self.none(key);
        share.permit = Some(self.semaphore(key).try_acquire_many_owned(units).ok()?);
        Some(share)
    }

    /// Takes a unit, and waits up to `max_wait` for one. Waiters for the same key are served in order.
    pub async fn take(self: &Arc<Self>, key: &K, max_wait: Duration) -> Option<Share<K>> {
        let mut share = self.none(key);
        share.permit = Some(timeout(max_wait, self.semaphore(key).acquire_owned()).await.ok()?.ok()?);
        Some(share)
    }

    /// A share without units. It is created first, so that dropping it removes the key even if nothing could be taken.
    fn none(self: &Arc<Self>, key: &K) -> Share<K> {
        Share { shares: Arc::clone(self), key: key.clone(), permit: None }
    }

    fn semaphore(&self, key: &K) -> Arc<Semaphore> {
        let semaphore = || Arc::new(Semaphore::new(self.per_key as usize));
        Arc::clone(self.lock().entry(key.clone()).or_insert_with(semaphore))
    }
}

impl<K> Shares<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Semaphore>>> {
        // No code panics while it changes the map, so a poisoned map is still consistent.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq> Share<K> {
    /// Adds the units of another share of the same key.
    pub fn merge(&mut self, mut other: Self) {
        match (&mut self.permit, other.permit.take()) {
            (Some(permit), Some(more)) => permit.merge(more),
            (permit @ None, more) => *permit = more,
            (Some(_), None) => {}
        }
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        self.permit = None;
        let mut keys = self.shares.lock();
        // Permits and waiters also hold the semaphore.
        if keys.get(&self.key).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn key_takes_only_its_own_units_and_is_removed_afterwards() {
        let shares = Shares::new(2);
        let first = shares.try_take(&"a", 2).unwrap();
        assert!(shares.try_take(&"a", 1).is_none());
        assert!(shares.take(&"a", Duration::from_millis(5)).await.is_none());
        let other = shares.try_take(&"b", 1).unwrap();
        drop(first);
        assert!(!shares.lock().contains_key("a"));
        let mut merged = shares.try_take(&"a", 1).unwrap();
        merged.merge(shares.try_take(&"a", 1).unwrap());
        assert!(shares.try_take(&"a", 1).is_none());
        drop((other, merged));
        assert!(shares.lock().is_empty());
    }

    #[tokio::test]
    async fn abandoned_wait_removes_the_key() {
        let shares = Shares::new(1);
        let taken = shares.try_take(&1, 1).unwrap();
        let waiting = tokio::spawn({
            let shares = shares.clone();
            async move { shares.take(&1, Duration::from_secs(60)).await.is_some() }
        });
        tokio::task::yield_now().await;
        waiting.abort();
        let _ = waiting.await;
        drop(taken);
        assert!(shares.lock().is_empty());
    }
}
