//! Attempts that could be guesses: some are free, then each has to wait, longer every time.
//!
//! An attempt is counted for what it is about (an address, a person) and for the network that it comes from. It is
//! counted before its outcome is known, so that a thousand at once are no way around; one that was right gives its
//! count back. Strangers cannot lock a person out: a network that was right before, or from which a link in a mail to
//! them was followed, has a tally of its own, and no wait is longer than a quarter of an hour. Whether the address is
//! somebody's makes no difference.
//!
//! What anybody may ask for about an address of somebody else's (registering it, a mail to it) is counted for the network
//! alone: were it counted for the address, a stranger could keep its owner from asking. How many mails an address gets
//! is limited by [`MailCap`], which refuses nobody: the call is answered as always, and the mail that is left out would
//! only have repeated a link that the address has.
//!
//! Redis keeps the tallies, so that all instances count together: one script, one round trip. Without Redis each
//! instance counts for itself. Keys are HMACs: neither addresses nor networks can be read from them.

mod tally;

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

use tally::{Limit, Tallies};

use crate::store::user::email_key;

/// How long a tally is kept after its last attempt.
const KEPT: Duration = Duration::from_secs(3600);
/// How long a network that was right stays known.
const KNOWN_FOR: Duration = Duration::from_secs(90 * 86_400);
/// The longest that anybody waits.
const LONGEST: Duration = Duration::from_secs(900);
/// Redis that does not answer within this is gone,
const PATIENCE: Duration = Duration::from_secs(2);
/// and is not asked again for this long.
const PAUSE_MILLIS: i64 = 10_000;

/// What is attempted. Each has its own tallies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bucket {
    /// Signing in; the key is the address.
    Login,
    /// Registering; by network only.
    Register,
    /// Asking for a mail, such as a new password or another activation link: by network only where anybody may ask, and
    /// by the user's id where a signed-in person does.
    Mail,
    /// A code of the second factor, or a password that a signed-in person repeats; the key is the user's id.
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

/// Mails that anybody may cause: how many of a kind an address gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MailCap {
    /// The first mail of a registration: each has a link of its own.
    Registration,
    /// The activation link again.
    Activation,
    /// The link that sets a new password.
    PasswordReset,
}

impl MailCap {
    fn name(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Activation => "activation",
            Self::PasswordReset => "password_reset",
        }
    }

    /// How many mails within how long. A link that is mailed works for longer than that, so that whoever gets no
    /// further mail has one that works.
    fn limit(self) -> (u32, Duration) {
        match self {
            Self::Registration => (10, Duration::from_secs(3600)),
            Self::Activation | Self::PasswordReset => (3, Duration::from_secs(900)),
        }
    }
}

/// Attempts for one key that are free.
const FREE_PER_KEY: u32 = 5;
/// The same from a network that was right before: several devices and their programs live there.
const FREE_WHERE_KNOWN: u32 = 20;

/// Counts attempts. Clones share it.
#[derive(Clone)]
pub(crate) struct Throttle(Arc<Inner>);

struct Inner {
    redis: ConnectionManager,
    key: hmac::Key,
    clock: Clock,
    per_address: u32,
    local: Mutex<Tallies>,
    /// Redis is not asked before this, in milliseconds since 1970.
    gone_until: AtomicI64,
}

/// An attempt that was let through. Unless it is said to have been right, it counts.
pub(crate) struct Attempt {
    throttle: Throttle,
    keys: [String; 4],
    known: bool,
}

/// Where an attempt is counted: the mark of a known network, then the three tallies.
const KNOWN: usize = 0;
const BY_KNOWN: usize = 1;
const BY_KEY: usize = 2;
const BY_NETWORK: usize = 3;

impl Throttle {
    /// Counts in Redis. `key` makes the keys unreadable; `per_address` attempts from one network are free.
    pub(crate) fn new(redis: ConnectionManager, key: &Secret, clock: Clock, per_address: u32) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
        let (local, gone_until) = (Mutex::default(), AtomicI64::new(0));
        Self(Arc::new(Inner { redis, key, clock, per_address, local, gone_until }))
    }

    /// Counts an attempt at `what` for `key`, from the network of the current call. To be asked before anything
    /// is looked up.
    ///
    /// # Errors
    /// TOO_MANY_ATTEMPTS, with the time to wait. It was not counted then.
    pub(crate) async fn check(&self, what: Bucket, key: &str) -> Result<Attempt> {
        self.check_from(what, Some(key), Origin::current().network()).await
    }

    /// Counts an attempt at `what` for the network of the current call alone: for what anybody may ask for about
    /// somebody else.
    ///
    /// # Errors
    /// TOO_MANY_ATTEMPTS, with the time to wait.
    pub(crate) async fn check_network(&self, what: Bucket) -> Result<()> {
        self.check_from(what, None, Origin::current().network()).await.map(drop)
    }

    /// Whether the address may be mailed, which counts the mail. Known and unknown addresses are counted alike.
    pub(crate) async fn may_mail(&self, cap: MailCap, email: &str) -> bool {
        static MAIL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("throttle/mail.lua")));
        let key = self.redis_key(&["mail", cap.name(), &email_key(email)]);
        let (most, window) = cap.limit();
        let (now, window) = (self.0.clock.now().timestamp_millis(), window.as_millis() as i64);
        let mut call = MAIL.key(&key);
        call.arg(now).arg(window).arg(most);
        match self.in_redis(call.invoke_async(&mut self.0.redis.clone())).await {
            Some(may) => may,
            None => self.local(|tallies| tallies.mail(&key, now, window, most)),
        }
    }

    /// The caller has proved to be whom `key` stands for in a way that nobody can keep them from, such as a link that
    /// was mailed to them: their network is known for it from now on.
    pub(crate) async fn vouch(&self, what: Bucket, key: &str) {
        self.vouch_for(what, key, Origin::current().network()).await;
    }

    async fn vouch_for(&self, what: Bucket, key: &str, network: Option<IpAddr>) {
        let [known, ..] = self.keys(what, key, network);
        let mut call = redis::cmd("SET");
        call.arg(&known).arg(1).arg("PX").arg(KNOWN_FOR.as_millis() as u64);
        let vouched: Option<()> = self.in_redis(call.query_async(&mut self.0.redis.clone())).await;
        if vouched.is_none() {
            let now = self.0.clock.now().timestamp_millis();
            self.local(|tallies| tallies.vouch(&known, now));
        }
    }

    async fn check_from(&self, what: Bucket, key: Option<&str>, network: Option<IpAddr>) -> Result<Attempt> {
        let keys = self.keys(what, key.unwrap_or_default(), network);
        let limits = self.limits(key.is_some(), network.is_some());
        let now = self.0.clock.now().timestamp_millis();
        let (known, wait) = match self.admit_in_redis(&keys, &limits, now).await {
            Some(answer) => answer,
            None => self.local(|tallies| tallies.admit(&keys, &limits, now)),
        };
        if wait == 0 {
            return Ok(Attempt { throttle: self.clone(), keys, known });
        }
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or_default());
        tracing::info!(what = what.name(), "too many attempts");
        Err(Error::from(Reason::TooManyAttempts).retry_after(wait))
    }

    fn keys(&self, what: Bucket, key: &str, network: Option<IpAddr>) -> [String; 4] {
        let network = network.map(|network| network.to_string()).unwrap_or_default();
        let key = baton_text::email::key(key);
        let of = |kind: &str, parts: [&str; 2]| self.redis_key(&[what.name(), kind, parts[0], parts[1]]);
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
        // The braces keep them on one node of a Redis Cluster, where one script sees all of an attempt's.
        format!("baton:{{throttle}}:{tag}")
    }

    /// Of the tallies, in the order of the keys. All calls without a key, or whose network is not known, would share
    /// one: it has no limit then.
    fn limits(&self, key: bool, network: bool) -> [Limit; 3] {
        let limit =
            |free, counts| Limit { free: if counts { free } else { u32::MAX }, longest: LONGEST.as_millis() as i64 };
        [limit(FREE_WHERE_KNOWN, key), limit(FREE_PER_KEY, key), limit(self.0.per_address, network)]
    }

    /// Whether the network is known, and the milliseconds to wait; `None` without Redis.
    async fn admit_in_redis(&self, keys: &[String; 4], limits: &[Limit; 3], now: i64) -> Option<(bool, i64)> {
        static ADMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("throttle/admit.lua")));
        let mut call = ADMIT.key(&keys[..]);
        call.arg(now).arg(KEPT.as_millis() as u64);
        for limit in limits {
            call.arg(limit.free).arg(limit.longest);
        }
        self.in_redis(call.invoke_async(&mut self.0.redis.clone())).await
    }

    async fn in_redis<T>(&self, call: impl Future<Output = redis::RedisResult<T>>) -> Option<T> {
        let now = self.0.clock.now().timestamp_millis();
        if now < self.0.gone_until.load(Ordering::Relaxed) {
            return None;
        }
        let error = match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(error, "cannot count attempts in Redis; this instance counts for itself");
        self.0.gone_until.store(now + PAUSE_MILLIS, Ordering::Relaxed);
        None
    }

    fn local<T>(&self, work: impl FnOnce(&mut Tallies) -> T) -> T {
        work(&mut self.0.local.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Attempt {
    /// It was right: the tally of its key starts over, and its network is known for this key from now on.
    pub(crate) async fn succeeded(self) {
        self.settle(true).await;
    }

    /// It came to no verdict, for a reason of ours: it counts as if it had not been.
    pub(crate) async fn forgiven(self) {
        self.settle(false).await;
    }

    async fn settle(self, succeeded: bool) {
        static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("throttle/settle.lua")));
        let Self { throttle, keys, known } = self;
        let now = throttle.0.clock.now().timestamp_millis();
        let mut call = SETTLE.key(&keys[..]);
        call.arg(known).arg(succeeded).arg(KNOWN_FOR.as_millis() as u64);
        let settled: Option<()> = throttle.in_redis(call.invoke_async(&mut throttle.0.redis.clone())).await;
        if settled.is_none() {
            throttle.local(|tallies| tallies.settle(&keys, known, succeeded, now));
        }
    }
}

#[cfg(test)]
mod tests;
