//! Cache of a provider's document.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use baton_errors::{Reason, Result};
use tokio::sync::Mutex;

/// Pause after a failed fetch.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Maximum age of a document that is used while fetches fail.
const MAX_STALE_AGE: Duration = Duration::from_secs(24 * 3600);

/// One cached document. Of concurrent callers, one fetches it.
pub(super) struct DocumentCache<T>(Mutex<Entry<T>>);

struct Entry<T> {
    document: Option<(Instant, Arc<T>)>,
    failed: Option<Instant>,
}

impl<T> DocumentCache<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Entry { document: None, failed: None }))
    }

    /// Returns the document, which is fetched unless it is younger than `max_age`.
    ///
    /// # Errors
    /// Those of `fetch`, when there is no usable older document; UNAVAILABLE during the pause after a failure.
    pub(super) async fn get(&self, max_age: Duration, fetch: impl Future<Output = Result<T>>) -> Result<Arc<T>> {
        let mut entry = self.0.lock().await;
        let known = |limit| entry.document.as_ref().filter(|(at, _)| at.elapsed() < limit).map(|(_, d)| d.clone());
        if let Some(document) = known(max_age) {
            return Ok(document);
        }
        let stale = known(MAX_STALE_AGE);
        if entry.failed.is_some_and(|at| at.elapsed() < RETRY_DELAY) {
            return stale.ok_or_else(|| Reason::Unavailable.into());
        }
        match fetch.await {
            Ok(document) => {
                let document = Arc::new(document);
                *entry = Entry { document: Some((Instant::now(), document.clone())), failed: None };
                Ok(document)
            }
            Err(error) => {
                entry.failed = Some(Instant::now());
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
    async fn document_is_fetched_once_and_failed_fetches_pause() {
        let (cached, fetches) = (DocumentCache::new(), AtomicU32::new(0));
        let fetch = |response: Result<u32>| async {
            fetches.fetch_add(1, Ordering::Relaxed);
            response
        };
        let hour = Duration::from_secs(3600);
        for _ in 0..3 {
            assert!(cached.get(hour, fetch(Err(Reason::Unavailable.into()))).await.is_err());
        }
        assert_eq!(fetches.swap(0, Ordering::Relaxed), 1);

        let cached = DocumentCache::new();
        for _ in 0..3 {
            assert_eq!(*cached.get(hour, fetch(Ok(7))).await.unwrap(), 7);
        }
        assert_eq!(fetches.swap(0, Ordering::Relaxed), 1);
        // A lower maximum age fetches the document, and a failed fetch returns the old one.
        assert_eq!(*cached.get(Duration::ZERO, fetch(Ok(8))).await.unwrap(), 8);
        assert_eq!(*cached.get(Duration::ZERO, fetch(Err(Reason::Unavailable.into()))).await.unwrap(), 8);
    }
}
