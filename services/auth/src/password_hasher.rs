//! Argon2id (RFC 9106) on a bounded pool of threads, off the async runtime. A full pool refuses at once.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use anyhow::ensure;
use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::{Output, ParamsString, Salt, SaltString, rand_core::OsRng},
};
use baton_errors::{Error, Reason, Result};
use baton_text::password::opaque;
use tokio::sync::{Semaphore, oneshot};

/// Queued calls per thread. A hash takes some tens of milliseconds, so nobody waits longer than about a second. Further
/// calls get BUSY.
const MAX_QUEUED_PER_THREAD: usize = 16;

/// Minimum parameters as (memory in KiB, passes). OWASP's password storage cheat sheet lists them as equivalent.
const MIN_PARAMETERS: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];

/// Working memory of a hash. Each thread keeps its own: allocating and zeroing it each time would cost a tenth of a
/// hash.
type Memory = Vec<Block>;

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// Hashes and verifies passwords. Clones share the pool.
#[derive(Debug, Clone)]
pub(crate) struct PasswordHasher {
    jobs: mpsc::Sender<Job>,
    permits: Arc<Semaphore>,
    argon2: Argon2<'static>,
    /// Hash that is verified when a user is unknown, so that the call takes as long as for a known one.
    dummy_hash: Arc<str>,
}

/// Result of verifying a password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    /// The password is right.
    Valid,
    /// The password is right, but its hash is outdated. Holds the new hash.
    NeedsRehash(String),
    /// The password is wrong, or there is no hash.
    Invalid,
}

/// Returns Argon2id parameters that meet OWASP's minimum.
///
/// # Errors
/// When they are weaker, or invalid.
pub(crate) fn parameters(memory_kib: u32, passes: u32, lanes: u32) -> anyhow::Result<Params> {
    ensure!(
        MIN_PARAMETERS.iter().any(|&(memory, least)| memory_kib >= memory && passes >= least),
        "BATON_AUTH_HASH_MEMORY_KIB={memory_kib} with BATON_AUTH_HASH_PASSES={passes} is weaker than OWASP's 19456 with 2"
    );
    // The crate computes lanes one after the other, so more lanes help only attackers who compute them in parallel.
    ensure!((1..=4).contains(&lanes), "BATON_AUTH_HASH_LANES must be between 1 and 4");
    Params::new(memory_kib, passes, lanes, None).map_err(|e| anyhow::anyhow!("invalid Argon2id parameters: {e}"))
}

impl PasswordHasher {
    /// Creates a pool of `threads`.
    pub(crate) fn new(threads: usize, parameters: Params) -> anyhow::Result<Self> {
        let threads = threads.max(1);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        let dummy_hash =
            hash(&argon2, "nobody's password", &mut Memory::new()).map_err(|e| anyhow::anyhow!("cannot hash: {e}"))?;
        Ok(Self {
            jobs: start_threads(threads)?,
            permits: Arc::new(Semaphore::new(threads * (1 + MAX_QUEUED_PER_THREAD))),
            argon2,
            dummy_hash: dummy_hash.into(),
        })
    }

    /// Hashes a password that passes `check`, in PHC string format. The password is normalized first (RFC 8265), so
    /// that it verifies from every keyboard and system.
    ///
    /// # Errors
    /// Those of `check`; BUSY when the pool is full.
    pub(crate) async fn hash(
        &self,
        password: String,
        check: impl FnOnce(&str) -> Result<()> + Send + 'static,
    ) -> Result<String> {
        let argon2 = self.argon2.clone();
        self.run(move |memory| {
            check(&password)?;
            hash(&argon2, &opaque(&password), memory)
        })
        .await?
    }

    /// Verifies a password against `hashed`. Without a hash the result is `Invalid`, after the same time.
    ///
    /// # Errors
    /// BUSY when the pool is full.
    pub(crate) async fn verify(&self, password: String, hashed: Option<String>) -> Result<Verification> {
        let known = hashed.is_some();
        let hashed = hashed.unwrap_or_else(|| self.dummy_hash.to_string());
        let argon2 = self.argon2.clone();
        self.run(move |memory| {
            let parsed = PasswordHash::new(&hashed).map_err(internal)?;
            let normal = opaque(&password);
            let right = is_hash_of(&normal, &parsed, memory)?;
            // Hashes from before passwords were normalized. This costs the same whether or not such a hash exists.
            let right_as_typed = normal != password && is_hash_of(&password, &parsed, memory)?;
            if !(right || right_as_typed) || !known {
                return Ok(Verification::Invalid);
            }
            if right && is_current(&argon2, &parsed) {
                return Ok(Verification::Valid);
            }
            hash(&argon2, &normal, memory).map(Verification::NeedsRehash)
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Result<T> {
        // The job holds the permit, not the call: a cancelled call does not free a busy core.
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| Error::from(Reason::Busy))?;
        let (sender, receiver) = oneshot::channel();
        let work = move |memory: &mut Memory| {
            // The caller may have been cancelled.
            let _ = sender.send(work(memory));
            drop(permit);
        };
        self.jobs.send(Box::new(work)).map_err(|_| Error::internal("the hashing threads have ended"))?;
        receiver.await.map_err(Error::internal)
    }
}

/// Starts the hashing threads, which end with the last [`PasswordHasher`]. They have a low priority, so that a flood of
/// sign-ins slows only sign-ins.
fn start_threads(threads: usize) -> anyhow::Result<mpsc::Sender<Job>> {
    let (sender, receiver) = mpsc::channel::<Job>();
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..threads {
        let receiver = Arc::clone(&receiver);
        thread::Builder::new().name("hasher".to_owned()).spawn(move || {
            // On Linux, priority is per thread. Elsewhere this would slow the whole process.
            #[cfg(target_os = "linux")]
            if let Err(error) = rustix::process::nice(10) {
                tracing::warn!(%error, "cannot lower the priority of a hashing thread");
            }
            let mut memory = Memory::new();
            loop {
                let Ok(Ok(work)) = receiver.lock().map(|receiver| receiver.recv()) else { return };
                // A job that panics drops its sender, which fails its caller.
                let _ = catch_unwind(AssertUnwindSafe(|| work(&mut memory)));
            }
        })?;
    }
    Ok(sender)
}

/// Returns a new hash of the password, in PHC string format.
fn hash(argon2: &Argon2<'_>, password: &str, memory: &mut Memory) -> Result<String> {
    let salt = SaltString::generate(&mut OsRng);
    let length = argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params()).map_err(internal)?,
        salt: Some(salt.as_salt()),
        hash: Some(compute(argon2, password, salt.as_salt(), length, memory)?),
    };
    Ok(hash.to_string())
}

/// Whether `hash` belongs to this password, under the parameters that it names.
fn is_hash_of(password: &str, hash: &PasswordHash<'_>, memory: &mut Memory) -> Result<bool> {
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return Ok(false) };
    let algorithm = Algorithm::try_from(hash.algorithm).map_err(internal)?;
    let version = hash.version.map_or(Ok(Version::V0x13), Version::try_from).map_err(internal)?;
    let argon2 = Argon2::new(algorithm, version, Params::try_from(hash).map_err(internal)?);
    // Outputs compare in constant time.
    Ok(compute(&argon2, password, salt, expected.len(), memory)? == expected)
}

fn compute(argon2: &Argon2<'_>, password: &str, salt: Salt<'_>, length: usize, memory: &mut Memory) -> Result<Output> {
    memory.resize(argon2.params().block_count(), Block::default());
    let mut bytes = [0; 64];
    let salt = salt.decode_b64(&mut bytes).map_err(internal)?;
    let fill = |out: &mut [u8]| {
        argon2.hash_password_into_with_memory(password.as_bytes(), salt, out, &mut memory[..]).map_err(Into::into)
    };
    Output::init_with(length, fill).map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::internal(error.to_string())
}

/// Whether a hash was made with these parameters.
fn is_current(argon2: &Argon2<'_>, hash: &PasswordHash<'_>) -> bool {
    let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    hash.algorithm == Algorithm::Argon2id.ident()
        && hash.version == Some(Version::V0x13.into())
        && Params::try_from(hash).is_ok_and(|used| costs(&used) == costs(argon2.params()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(passes: u32) -> PasswordHasher {
        PasswordHasher::new(1, parameters(19_456, passes, 1).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn only_the_hashed_password_verifies() {
        let hasher = hasher(2);
        let hashed = hasher.hash("tidal lantern".into(), |_| Ok(())).await.unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(hasher.verify("tidal lantern".into(), Some(hashed.clone())).await.unwrap(), Verification::Valid);
        assert_eq!(hasher.verify("tidal lanterns".into(), Some(hashed)).await.unwrap(), Verification::Invalid);
        assert_eq!(hasher.verify("nobody's password".into(), None).await.unwrap(), Verification::Invalid);
    }

    #[tokio::test]
    async fn password_verifies_in_every_normal_form() {
        let hasher = hasher(2);
        let (composed, decomposed) = ("tidal l\u{e4}ntern", "tidal\u{a0}la\u{308}ntern");
        let hashed = hasher.hash(decomposed.into(), |_| Ok(())).await.unwrap();
        for typed in [composed, decomposed] {
            assert_eq!(hasher.verify(typed.into(), Some(hashed.clone())).await.unwrap(), Verification::Valid);
        }
        // A hash from before normalization, of the bytes as typed.
        let before = hash(&hasher.argon2, decomposed, &mut Memory::new()).unwrap();
        assert_eq!(hasher.verify(composed.into(), Some(before.clone())).await.unwrap(), Verification::Invalid);
        let verification = hasher.verify(decomposed.into(), Some(before)).await.unwrap();
        let Verification::NeedsRehash(renewed) = verification else { panic!("{verification:?}") };
        assert_eq!(hasher.verify(composed.into(), Some(renewed)).await.unwrap(), Verification::Valid);
    }

    #[tokio::test]
    async fn outdated_hash_is_renewed_with_current_parameters() {
        let (before, after) = (hasher(2), hasher(3));
        let hashed = before.hash("tidal lantern".into(), |_| Ok(())).await.unwrap();
        assert_eq!(after.verify("wrong".into(), Some(hashed.clone())).await.unwrap(), Verification::Invalid);
        let verification = after.verify("tidal lantern".into(), Some(hashed)).await.unwrap();
        let Verification::NeedsRehash(renewed) = verification else { panic!("{verification:?}") };
        assert!(renewed.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"));
        assert_eq!(after.verify("tidal lantern".into(), Some(renewed)).await.unwrap(), Verification::Valid);
        assert!(after.dummy_hash.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"), "the dummy hash costs the same");
    }

    // The format is compatible with other implementations, both ways.
    #[tokio::test]
    async fn hashes_are_compatible_with_the_standard_implementation() {
        use argon2::{PasswordHasher as _, PasswordVerifier as _};
        let hasher = hasher(2);
        let salt = SaltString::generate(&mut OsRng);
        let theirs = Argon2::default().hash_password(b"tidal lantern", &salt).unwrap().to_string();
        assert_eq!(hasher.verify("tidal lantern".into(), Some(theirs.clone())).await.unwrap(), Verification::Valid);
        assert_eq!(hasher.verify("tidal lanterN".into(), Some(theirs)).await.unwrap(), Verification::Invalid);
        let ours = hasher.hash("tidal lantern".into(), |_| Ok(())).await.unwrap();
        let parsed = PasswordHash::new(&ours).unwrap();
        Argon2::default().verify_password(b"tidal lantern", &parsed).unwrap();
        Argon2::default().verify_password(b"tidal lanterN", &parsed).unwrap_err();
    }

    #[test]
    fn parameters_below_the_minimum_are_refused() {
        for (memory, passes, lanes) in
            [(19_455, 2, 1), (47_103, 1, 1), (7_167, 100, 1), (8, 1, 1), (19_456, 2, 0), (19_456, 2, 5), (19_456, 0, 1)]
        {
            assert!(parameters(memory, passes, lanes).is_err(), "{memory} {passes} {lanes}");
        }
        for (memory, passes) in MIN_PARAMETERS {
            parameters(memory, passes, 1).unwrap();
        }
    }

    #[tokio::test]
    async fn full_pool_refuses_at_once() {
        let hasher = hasher(2);
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
                Ok(verification) => assert_eq!(verification, Verification::Invalid),
            }
        }
        assert_eq!(busy, 40 - (1 + MAX_QUEUED_PER_THREAD));
    }
}
