//! Throttling of attempts that could be guesses: a number of attempts are free, then the wait doubles with each.
//!
//! An attempt is counted for its key (an address, a user) and for the network that it comes from. It is counted before
//! its outcome is known, so that a thousand parallel attempts do not get around the limit. A successful attempt refunds
//! its count. Strangers cannot lock a user out: a network that succeeded before, or from which a mailed link was
//! followed, has a counter of its own, and no wait is longer than 15 minutes. Known and unknown addresses are treated
//! alike.
//!
//! Requests that anybody may make about a foreign address (registering it, sending an email to it) are counted for the
//! network only. If they were counted for the address, a stranger could block its owner. [`EmailCap`] limits the emails
//! per address and refuses nobody: the call succeeds as always, and the skipped email would only have repeated a link
//! that the address has.
//!
//! Redis keeps the counters, so that all instances count together, with one script and one round trip per attempt.
//! Without Redis each instance counts for itself. Keys are HMACs: they reveal neither addresses nor networks.

mod counter;

use std::{
    net::IpAddr,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_errors::{Error, Reason, Result};
use baton_runtime::{Clock, Origin, Secret};
use redis::{Script, aio::ConnectionManager};

use counter::{Limit, LocalCounters};

use baton_text::email::key as email_key;

/// How long a counter is kept after its last attempt.
const COUNTER_TTL: Duration = Duration::from_secs(3600);
/// How long a network stays trusted after a success.
const TRUSTED_NETWORK_TTL: Duration = Duration::from_secs(90 * 86_400);
/// The longest wait.
const MAX_WAIT: Duration = Duration::from_secs(900);
/// Timeout of a Redis call.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed Redis call in which Redis is not called again.
const REDIS_RETRY_DELAY_MS: i64 = 10_000;

/// Kind of an attempt. Each has counters of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bucket {
    /// Sign-in. The key is the address.
    Login,
    /// Registration. Counted by network only.
    Register,
    /// Request for an email, such as a password reset or another activation link. Counted by network only where anybody
    /// may ask, and by user id where a signed-in user does.
    Mail,
    /// A code of the second factor, or the password of a signed-in user. The key is the user's id.
    Proof,
}

impl Bucket {
    fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Register => "register",
            Self::Mail => "mail",
            Self::Proof => "proof",
        }
    }
}

/// Emails that anybody may cause, each kind with a limit per address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmailCap {
    /// The first email of a registration. Each has its own link.
    Registration,
    /// The activation link, sent again.
    Activation,
    /// The link that sets a new password.
    PasswordReset,
}

impl EmailCap {
    fn name(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Activation => "activation",
            Self::PasswordReset => "password_reset",
        }
    }

    /// Returns the number of emails and the window. A mailed link is valid for longer than the window, so whoever gets
    /// no further email has a link that works.
    fn limit(self) -> (u32, Duration) {
        match self {
            Self::Registration => (10, Duration::from_secs(3600)),
            Self::Activation | Self::PasswordReset => (3, Duration::from_secs(900)),
        }
    }
}

/// Free attempts per key.
const FREE_ATTEMPTS_PER_KEY: u32 = 5;
/// Free attempts per key from a trusted network, where several devices and programs of the user may be.
const FREE_ATTEMPTS_FROM_TRUSTED_NETWORK: u32 = 20;

/// Counts attempts. Clones share it.
#[derive(Clone)]
pub(crate) struct Throttle(Arc<Inner>);

struct Inner {
    redis: ConnectionManager,
    key: hmac::Key,
    clock: Clock,
    per_address: u32,
    local: Mutex<LocalCounters>,
    /// Redis is not called before this time, in milliseconds since 1970.
    redis_down_until: AtomicI64,
}

/// An admitted attempt. It counts unless it succeeds or is cancelled.
pub(crate) struct Attempt {
    throttle: Throttle,
    keys: [String; 4],
    trusted: bool,
}

/// Redis keys of an attempt: the mark of a trusted network, then the three counters.
const TRUST_MARK: usize = 0;
const TRUSTED_COUNTER: usize = 1;
const KEY_COUNTER: usize = 2;
const NETWORK_COUNTER: usize = 3;

impl Throttle {
    /// Creates a throttle. `key` is the HMAC key of the Redis keys. `per_address` attempts per network are free.
    pub(crate) fn new(redis: ConnectionManager, key: &Secret, clock: Clock, per_address: u32) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
        let (local, redis_down_until) = (Mutex::default(), AtomicI64::new(0));
        Self(Arc::new(Inner { redis, key, clock, per_address, local, redis_down_until }))
    }

    /// Counts an attempt for `key` from the network of the current call. Call it before anything is looked up.
    ///
    /// # Errors
    /// TOO_MANY_ATTEMPTS, with the time to wait. The attempt is not counted then.
    pub(crate) async fn check(&self, bucket: Bucket, key: &str) -> Result<Attempt> {
        self.check_from(bucket, Some(key), Origin::current().network()).await
    }

    /// Counts an attempt for the network of the current call only: for requests that anybody may make about others.
    ///
    /// # Errors
    /// TOO_MANY_ATTEMPTS, with the time to wait.
    pub(crate) async fn check_network(&self, bucket: Bucket) -> Result<()> {
        self.check_from(bucket, None, Origin::current().network()).await.map(drop)
    }

    /// Whether the address may get an email; if so, the email is counted. Known and unknown addresses are counted
    /// alike.
    pub(crate) async fn email_allowed(&self, cap: EmailCap, email: &str) -> bool {
        static MAIL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("throttle/email_cap.lua")));
        let key = self.redis_key(&["mail", cap.name(), &email_key(email)]);
        let (max, window) = cap.limit();
        let (now, window) = (self.0.clock.now().timestamp_millis(), window.as_millis() as i64);
        let mut call = MAIL.key(&key);
        call.arg(now).arg(window).arg(max);
        match self.call_redis(call.invoke_async(&mut self.0.redis.clone())).await {
            Some(may) => may,
            None => self.with_local(|counters| counters.allow_email(&key, now, window, max)),
        }
    }

    /// Trusts the network of the current call for `key`, after a proof that strangers cannot block, such as a followed
    /// email link.
    pub(crate) async fn trust_network(&self, bucket: Bucket, key: &str) {
        self.trust_network_for(bucket, key, Origin::current().network()).await;
    }

    async fn trust_network_for(&self, bucket: Bucket, key: &str, network: Option<IpAddr>) {
        let [trust_mark, ..] = self.keys(bucket, key, network);
        let mut call = redis::cmd("SET");
        call.arg(&trust_mark).arg(1).arg("PX").arg(TRUSTED_NETWORK_TTL.as_millis() as u64);
        let stored: Option<()> = self.call_redis(call.query_async(&mut self.0.redis.clone())).await;
        if stored.is_none() {
            let now = self.0.clock.now().timestamp_millis();
            self.with_local(|counters| counters.trust_network(&trust_mark, now));
        }
    }

    async fn check_from(&self, bucket: Bucket, key: Option<&str>, network: Option<IpAddr>) -> Result<Attempt> {
        let keys = self.keys(bucket, key.unwrap_or_default(), network);
        let limits = self.limits(key.is_some(), network.is_some());
        let now = self.0.clock.now().timestamp_millis();
        let (trusted, wait) = match self.admit_with_redis(&keys, &limits, now).await {
            Some(outcome) => outcome,
            None => self.with_local(|counters| counters.admit(&keys, &limits, now)),
        };
        if wait == 0 {
            return Ok(Attempt { throttle: self.clone(), keys, trusted });
        }
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or_default());
        tracing::info!(bucket = bucket.name(), "too many attempts");
        Err(Error::from(Reason::TooManyAttempts).retry_after(wait))
    }

    fn keys(&self, bucket: Bucket, key: &str, network: Option<IpAddr>) -> [String; 4] {
        let network = network.map(|network| network.to_string()).unwrap_or_default();
        let key = baton_text::email::key(key);
        let of = |kind: &str, parts: [&str; 2]| self.redis_key(&[bucket.name(), kind, parts[0], parts[1]]);
        [of("known", [&key, &network]), of("own", [&key, &network]), of("key", [&key, ""]), of("net", ["", &network])]
    }

    fn redis_key(&self, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.0.key);
        for part in ["throttle"].iter().chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        let tag = URL_SAFE_NO_PAD.encode(tag.as_ref().split_at(16).0);
        // The hash tag keeps all keys on one node of a Redis Cluster, as a script requires.
        format!("baton:{{throttle}}:{tag}")
    }

    /// Returns the limits of the counters, in the order of the keys. Calls without a key, or without a known network,
    /// would share one counter, so it has no limit.
    fn limits(&self, key: bool, network: bool) -> [Limit; 3] {
        let limit =
            |free, counts| Limit { free: if counts { free } else { u32::MAX }, longest: MAX_WAIT.as_millis() as i64 };
        [
            limit(FREE_ATTEMPTS_FROM_TRUSTED_NETWORK, key),
            limit(FREE_ATTEMPTS_PER_KEY, key),
            limit(self.0.per_address, network),
        ]
    }

    /// Returns whether the network is trusted, and the milliseconds to wait; `None` without Redis.
    async fn admit_with_redis(&self, keys: &[String; 4], limits: &[Limit; 3], now: i64) -> Option<(bool, i64)> {
        static ADMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("throttle/admit.lua")));
        let mut call = ADMIT.key(&keys[..]);
        call.arg(now).arg(COUNTER_TTL.as_millis() as u64);
        for limit in limits {
            call.arg(limit.free).arg(limit.longest);
        }
        self.call_redis(call.invoke_async(&mut self.0.redis.clone())).await
    }

    async fn call_redis<T>(&self, call: impl Future<Output = redis::RedisResult<T>>) -> Option<T> {
        let now = self.0.clock.now().timestamp_millis();
        if now < self.0.redis_down_until.load(Ordering::Relaxed) {
            return None;
        }
        let error = match tokio::time::timeout(REDIS_TIMEOUT, call).await {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "timeout".to_owned(),
        };
        tracing::warn!(error, "cannot count attempts in Redis; counting in this instance");
        self.0.redis_down_until.store(now + REDIS_RETRY_DELAY_MS, Ordering::Relaxed);
        None
    }

    fn with_local<T>(&self, work: impl FnOnce(&mut LocalCounters) -> T) -> T {
        work(&mut self.0.local.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Attempt {
    /// Records a success: resets the counter of the key and trusts the network for it.
    pub(crate) async fn record_success(self) {
        self.settle(true).await;
    }

    /// Refunds an attempt that failed for an internal reason.
    pub(crate) async fn cancel(self) {
        self.settle(false).await;
    }

    async fn settle(self, succeeded: bool) {
        static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("throttle/settle.lua")));
        let Self { throttle, keys, trusted } = self;
        let now = throttle.0.clock.now().timestamp_millis();
        let mut call = SETTLE.key(&keys[..]);
        call.arg(trusted).arg(succeeded).arg(TRUSTED_NETWORK_TTL.as_millis() as u64);
        let settled: Option<()> = throttle.call_redis(call.invoke_async(&mut throttle.0.redis.clone())).await;
        if settled.is_none() {
            throttle.with_local(|counters| counters.settle(&keys, trusted, succeeded, now));
        }
    }
}

#[cfg(test)]
mod tests;
