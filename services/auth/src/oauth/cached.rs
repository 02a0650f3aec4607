//! A document of a provider's that is kept for a while.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use baton_errors::{Reason, Result};
use tokio::sync::Mutex;

/// A failed fetch is not repeated sooner.
const RETRY: Duration = Duration::from_secs(5);
/// How long an old document helps while no new one can be had.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// One document. Of several who need it at once, one fetches it.
pub(super) struct Cached<T>(Mutex<Kept<T>>);

struct Kept<T> {
    document: Option<(Instant, Arc<T>)>,
    failed: Option<Instant>,
}

impl<T> Cached<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Kept { document: None, failed: None }))
    }

    /// The document, fetched anew unless it is younger than `age`.
    pub(super) async fn younger_than(&self, age: Duration, fetch: impl Future<Output = Result<T>>) -> Result<Arc<T>> {
        let mut kept = self.0.lock().await;
        let known = |limit| kept.document.as_ref().filter(|(at, _)| at.elapsed() < limit).map(|(_, d)| d.clone());
        if let Some(document) = known(age) {
            return Ok(document);
        }
        let stale = known(STALE);
        if kept.failed.is_some_and(|at| at.elapsed() < RETRY) {
            return stale.ok_or_else(|| Reason::Unavailable.into());
        }
        match fetch.await {
            Ok(document) => {
                let document = Arc::new(document);
                *kept = Kept { document: Some((Instant::now(), document.clone())), failed: None };
                Ok(document)
            }
            Err(error) => {
                kept.failed = Some(Instant::now());
                tracing::warn!(%error, "cannot read a document of an identity provider");
                stale.ok_or(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_is_fetched_once_and_a_failure_is_not_repeated_at_once() {
        let (cached, fetches) = (Cached::new(), AtomicU32::new(0));
        let fetch = |answer: Result<u32>| async {
            fetches.fetch_add(1, Ordering::Relaxed);
            answer
        };
        let hour = Duration::from_secs(3600);
        for _ in 0..3 {
            assert!(cached.younger_than(hour, fetch(Err(Reason::Unavailable.into()))).await.is_err());
        }
        assert_eq!(fetches.swap(0, Ordering::Relaxed), 1);

        let cached = Cached::new();
        for _ in 0..3 {
            assert_eq!(*cached.younger_than(hour, fetch(Ok(7))).await.unwrap(), 7);
        }
        assert_eq!(fetches.swap(0, Ordering::Relaxed), 1);
        // Who wants it younger has it fetched, and what cannot be had anew is still there.
        assert_eq!(*cached.younger_than(Duration::ZERO, fetch(Ok(8))).await.unwrap(), 8);
        assert_eq!(*cached.younger_than(Duration::ZERO, fetch(Err(Reason::Unavailable.into()))).await.unwrap(), 8);
    }
}
