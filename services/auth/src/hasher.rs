//! Argon2id (RFC 9106) off the async threads, in a pool that says no when it is full.

use std::sync::Arc;

use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{SaltString, rand_core::OsRng},
};
use baton_errors::{Error, Reason, Result};
use tokio::sync::Semaphore;

/// Calls that may wait for a thread, per thread. A hash takes some tens of milliseconds, so nobody waits
/// for more than about a second; the rest is told to come again.
const WAITING_PER_THREAD: usize = 16;

/// Hashes and verifies passwords. Clones share the pool.
#[derive(Debug, Clone)]
pub(crate) struct Hasher {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// What an unknown person's password is compared with, so that it takes as long as a known one's.
    decoy: Arc<str>,
}

impl Hasher {
    /// A pool of `threads`.
    pub(crate) fn new(threads: usize) -> anyhow::Result<Self> {
        let threads = threads.max(1);
        let decoy = hash("nobody's password").map_err(|e| anyhow::anyhow!("cannot hash: {e}"))?;
        Ok(Self {
            running: Arc::new(Semaphore::new(threads)),
            admitted: Arc::new(Semaphore::new(threads * (1 + WAITING_PER_THREAD))),
            decoy: decoy.into(),
        })
    }

    /// The hash of a password that passes `check`, in PHC string format.
    pub(crate) async fn hash(
        &self,
        password: String,
        check: impl FnOnce(&str) -> Result<()> + Send + 'static,
    ) -> Result<String> {
        self.run(move || {
            check(&password)?;
            hash(&password).map_err(|e| Error::internal(e.to_string()))
        })
        .await?
    }

    /// Whether the password is the one that was hashed. Without a hash it is not, and that takes as long.
    pub(crate) async fn verify(&self, password: String, hashed: Option<String>) -> Result<bool> {
        let known = hashed.is_some();
        let hashed = hashed.unwrap_or_else(|| self.decoy.to_string());
        self.run(move || {
            let parsed = PasswordHash::new(&hashed).map_err(|e| Error::internal(e.to_string()))?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && known)
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _admitted = self.admitted.try_acquire().map_err(|_| Error::from(Reason::Busy))?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(Error::internal)?;
        let work = tokio::task::spawn_blocking(move || {
            // Held by the work, not by the call: a call that is given up does not free a busy core.
            let _running = running;
            work()
        });
        work.await.map_err(Error::internal)
    }
}

/// Argon2id with the crate's defaults: 19 MiB, two passes, one lane, as OWASP recommends.
fn hash(password: &str) -> std::result::Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default().hash_password(password.as_bytes(), &SaltString::generate(&mut OsRng))?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_that_was_hashed_verifies() {
        let hasher = Hasher::new(1).unwrap();
        let hashed = hasher.hash("tidal lantern".into(), |_| Ok(())).await.unwrap();
        assert!(hashed.starts_with("$argon2id$"));
        assert!(hasher.verify("tidal lantern".into(), Some(hashed.clone())).await.unwrap());
        assert!(!hasher.verify("tidal lanterns".into(), Some(hashed)).await.unwrap());
        assert!(!hasher.verify("nobody's password".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_full_pool_says_so_at_once() {
        let hasher = Hasher::new(1).unwrap();
        let calls = (0..40).map(|_| {
            let hasher = hasher.clone();
            tokio::spawn(async move { hasher.verify("x".into(), None).await })
        });
        let mut busy = 0;
        for call in calls.collect::<Vec<_>>() {
            match call.await.unwrap() {
                Err(error) => {
                    assert_eq!(error.reason(), Reason::Busy);
                    busy += 1;
                }
                Ok(verified) => assert!(!verified),
            }
        }
        assert_eq!(busy, 40 - (1 + WAITING_PER_THREAD));
    }
}
