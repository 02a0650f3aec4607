//! Counters with a fixed window of one hour, in Redis or locally.

use std::{
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use baton_runtime::Clock;
use moka::future::Cache;
use redis::{Script, aio::ConnectionManager};

use super::HOUR;

/// Timeout of Redis. It is long, so that a busy machine does not switch to local counting.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);
/// After a failure, Redis is not called for this long.
const REDIS_RETRY_DELAY_MILLIS: i64 = 5_000;
/// Maximum local counters while Redis is down. Beyond that the least recently used are dropped.
const MAX_LOCAL_WINDOWS: u64 = 100_000;

/// Counts allowed requests only; a cost of 0 checks without counting. Returns whether the request is allowed, the
/// count, and the rest of the window in milliseconds.
const TAKE_SCRIPT: &str = r"
local cost, limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local used, left = tonumber(redis.call('GET', KEYS[1]) or '0'), redis.call('PTTL', KEYS[1])
if left < 0 then left = window end
if used + math.max(cost, 1) > limit then return {0, used, left} end
if cost == 0 then return {1, used, left} end
used = redis.call('INCRBY', KEYS[1], cost)
if used == cost or redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], window) end
return {1, used, left}
";

/// The result of counting a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) is_allowed: bool,
    /// Requests counted in this window.
    pub(super) used: u32,
    /// Time until the next window.
    pub(super) reset: Duration,
}

/// The counters of all quotas.
pub(super) struct Windows {
    redis: ConnectionManager,
    clock: Clock,
    /// Redis is not called before this, in milliseconds since 1970.
    redis_down_until: AtomicI64,
    local: Cache<String, Arc<Mutex<Window>>>,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    used: u32,
}

impl Windows {
    pub(super) fn new(redis: ConnectionManager, clock: Clock) -> Self {
        let local = Cache::builder().max_capacity(MAX_LOCAL_WINDOWS).time_to_idle(HOUR).build();
        Self { redis, clock, redis_down_until: AtomicI64::new(0), local }
    }

    /// Counts `cost` if that much of `limit` is left. A cost of 0 is allowed if anything is left.
    pub(super) async fn take(&self, key: &str, cost: u32, limit: u32) -> Count {
        match self.take_in_redis(key, cost, limit).await {
            Some(count) => {
                self.record(key, count, Instant::now()).await;
                count
            }
            None => self.take_locally(key, cost, limit, Instant::now()).await,
        }
    }

    async fn take_in_redis(&self, key: &str, cost: u32, limit: u32) -> Option<Count> {
        static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(TAKE_SCRIPT));
        let now = self.clock.now().timestamp_millis();
        if now < self.redis_down_until.load(Ordering::Relaxed) {
            return None;
        }
        let mut call = SCRIPT.key(key);
        call.arg(cost).arg(limit).arg(HOUR.as_millis() as u64);
        let mut connection = self.redis.clone();
        let result = tokio::time::timeout(REDIS_TIMEOUT, call.invoke_async(&mut connection)).await;
        let error = match result {
            Ok(Ok((is_allowed, used, left))) => {
                return Some(Count { is_allowed, used, reset: Duration::from_millis(left) });
            }
            Ok(Err(error)) => redis::RedisError::to_string(&error),
            Err(_) => "timed out".to_owned(),
        };
        tracing::warn!(error, "cannot count requests in Redis; this gateway counts for itself");
        self.redis_down_until.store(now + REDIS_RETRY_DELAY_MILLIS, Ordering::Relaxed);
        None
    }

    /// Stores the count of Redis, so that this gateway continues from it if Redis fails.
    async fn record(&self, key: &str, count: Count, now: Instant) {
        let window = self.window(key, now).await;
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = now + count.reset;
        // Responses may arrive out of order, by less than a window.
        let is_same_window = window.ends.max(ends) - window.ends.min(ends) < HOUR / 2;
        *window = Window { ends, used: if is_same_window { window.used.max(count.used) } else { count.used } };
    }

    async fn window(&self, key: &str, now: Instant) -> Arc<Mutex<Window>> {
        let fresh = async { Arc::new(Mutex::new(Window { ends: now + HOUR, used: 0 })) };
        self.local.get_with_by_ref(key, fresh).await
    }

    async fn take_locally(&self, key: &str, cost: u32, limit: u32, now: Instant) -> Count {
        let window = self.window(key, now).await;
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.ends <= now {
            *window = Window { ends: now + HOUR, used: 0 };
        }
        let is_allowed = window.used.checked_add(cost.max(1)).is_some_and(|used| used <= limit);
        if is_allowed {
            window.used += cost;
        }
        Count { is_allowed, used: window.used, reset: window.ends - now }
    }
}

#[cfg(test)]
mod tests {
    use baton_runtime::Secret;

    use super::*;

    /// Counters without Redis: nothing listens on port 1.
    fn without_redis() -> Windows {
        let streams = baton_events::Streams::open(&Secret::new("redis://127.0.0.1:1")).unwrap();
        Windows::new(streams.connection(), Clock::system())
    }

    #[tokio::test]
    async fn exactly_the_limit_passes_in_an_hour_without_redis() {
        let (windows, now) = (without_redis(), Instant::now());
        for used in 1..=3 {
            let count = windows.take_locally("a", 1, 3, now).await;
            assert_eq!((count.is_allowed, count.used), (true, used));
        }
        let refused = windows.take_locally("a", 1, 3, now + HOUR / 2).await;
        assert_eq!((refused.is_allowed, refused.used, refused.reset), (false, 3, HOUR / 2));
        assert!(windows.take_locally("b", 1, 3, now).await.is_allowed, "others have their own");
        assert_eq!(windows.take_locally("a", 1, 3, now + HOUR).await.used, 1, "the next hour");
    }

    #[tokio::test]
    async fn a_cost_above_the_rest_is_refused_and_not_counted() {
        let (windows, now) = (without_redis(), Instant::now());
        assert!(windows.take_locally("a", 2, 3, now).await.is_allowed);
        assert!(!windows.take_locally("a", 2, 3, now).await.is_allowed);
        assert!(windows.take_locally("a", 1, 3, now).await.is_allowed);
        assert!(!windows.take_locally("b", u32::MAX, 3, now).await.is_allowed);
    }

    #[tokio::test]
    async fn a_cost_of_zero_checks_without_counting() {
        let (windows, now) = (without_redis(), Instant::now());
        for used in [0, 0] {
            let count = windows.take_locally("a", 0, 1, now).await;
            assert_eq!((count.is_allowed, count.used), (true, used));
        }
        assert!(windows.take_locally("a", 1, 1, now).await.is_allowed);
        assert!(!windows.take_locally("a", 0, 1, now).await.is_allowed);
    }

    #[tokio::test]
    async fn local_counting_continues_from_the_last_count_of_redis() {
        let (windows, now) = (without_redis(), Instant::now());
        let last = Count { is_allowed: true, used: 2, reset: HOUR / 4 };
        windows.record("a", last, now).await;
        windows.record("a", Count { used: 1, ..last }, now).await;
        assert_eq!(windows.take_locally("a", 1, 3, now).await, Count { used: 3, ..last });
        assert!(!windows.take_locally("a", 1, 3, now).await.is_allowed);
        windows.record("a", Count { used: 1, reset: HOUR, ..last }, now + HOUR / 4).await;
        assert_eq!(windows.take_locally("a", 1, 3, now + HOUR / 4).await.used, 2, "of the next hour");
    }

    #[tokio::test]
    async fn a_failed_redis_is_not_called_each_time() {
        let windows = without_redis();
        assert!(windows.take("a", 1, 2).await.is_allowed);
        let begun = Instant::now();
        assert!(windows.take("a", 1, 2).await.is_allowed);
        assert!(!windows.take("a", 1, 2).await.is_allowed);
        assert!(begun.elapsed() < REDIS_TIMEOUT);
    }
}
