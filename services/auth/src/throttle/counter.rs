//! Counters of one instance, for use while Redis is down. The decisions equal those of the scripts.

use std::collections::HashMap;

use super::{COUNTER_TTL, KEY_COUNTER, NETWORK_COUNTER, TRUST_MARK, TRUSTED_COUNTER, TRUSTED_NETWORK_TTL};

/// Maximum entries per generation. There are two generations, so memory is bounded at some tens of megabytes.
const MAX_GENERATION_LEN: usize = 50_000;
/// The first wait. Each further one is twice as long.
const FIRST_WAIT_MS: i64 = 1_000;

/// Limit of a counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// Attempts without a wait.
    pub(super) free: u32,
    /// The longest wait, in milliseconds.
    pub(super) longest: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    count: u32,
    /// When the next attempt is admitted, in milliseconds since 1970.
    next: i64,
    /// When the counter expires, in milliseconds since 1970.
    until: i64,
}

impl Counter {
    fn incremented(self, now: i64, limit: &Limit) -> Self {
        let count = self.count.saturating_add(1);
        let wait = |over: u32| limit.longest.min(FIRST_WAIT_MS << over.min(30));
        let next = count.checked_sub(limit.free).map_or(0, |over| now + wait(over));
        Self { count, next, until: now + COUNTER_TTL.as_millis() as i64 }
    }

    fn refunded(self) -> Self {
        // Not `now`: with clock skew users would wait for the difference.
        Self { count: self.count.saturating_sub(1), next: 0, ..self }
    }
}

/// Counters by key, in two generations. When the young generation is full, it replaces the old one.
#[derive(Default)]
pub(super) struct LocalCounters {
    young: HashMap<String, Counter>,
    old: HashMap<String, Counter>,
}

impl LocalCounters {
    /// Same decision as `admit.lua`.
    pub(super) fn admit(&mut self, keys: &[String; 4], limits: &[Limit; 3], now: i64) -> (bool, i64) {
        let trusted = self.get(&keys[TRUST_MARK], now).is_some();
        let own = if trusted { TRUSTED_COUNTER } else { KEY_COUNTER };
        let counters = [own, NETWORK_COUNTER].map(|at| (at, self.get(&keys[at], now).unwrap_or_default()));
        let wait = counters.iter().map(|(_, counter)| counter.next - now).max().unwrap_or_default().max(0);
        if wait == 0 {
            for (at, counter) in counters {
                self.put(&keys[at], counter.incremented(now, &limits[at - 1]));
            }
        }
        (trusted, wait)
    }

    /// Same effect as `settle.lua`.
    pub(super) fn settle(&mut self, keys: &[String; 4], trusted: bool, succeeded: bool, now: i64) {
        let own = if trusted { TRUSTED_COUNTER } else { KEY_COUNTER };
        if let Some(counter) = self.get(&keys[NETWORK_COUNTER], now) {
            self.put(&keys[NETWORK_COUNTER], counter.refunded());
        }
        if succeeded {
            self.young.remove(&keys[own]);
            self.old.remove(&keys[own]);
            self.trust_network(&keys[TRUST_MARK], now);
        } else if let Some(counter) = self.get(&keys[own], now) {
            self.put(&keys[own], counter.refunded());
        }
    }

    /// Same decision as `email_cap.lua`.
    pub(super) fn allow_email(&mut self, key: &str, now: i64, window: i64, max: u32) -> bool {
        let sent = self.get(key, now).unwrap_or(Counter { until: now + window, ..Counter::default() });
        if sent.count >= max {
            return false;
        }
        self.put(key, Counter { count: sent.count + 1, ..sent });
        true
    }

    /// Marks a network as trusted.
    pub(super) fn trust_network(&mut self, trust_mark: &str, now: i64) {
        let until = now + TRUSTED_NETWORK_TTL.as_millis() as i64;
        self.put(trust_mark, Counter { until, ..Counter::default() });
    }

    fn get(&self, key: &str, now: i64) -> Option<Counter> {
        self.young.get(key).or_else(|| self.old.get(key)).copied().filter(|counter| counter.until > now)
    }

    fn put(&mut self, key: &str, counter: Counter) {
        if self.young.len() >= MAX_GENERATION_LEN && !self.young.contains_key(key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.to_owned(), counter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: [Limit; 3] = [Limit { free: 3, longest: 4_000 }; 3];

    fn keys(n: usize) -> [String; 4] {
        ["known", "own", "key", "net"].map(|kind| format!("{kind}{n}"))
    }

    #[test]
    fn waits_double_up_to_the_maximum_and_end() {
        let mut counters = LocalCounters::default();
        let mut now = 1_000_000;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let (_, wait) = counters.admit(&keys(1), &LIMITS, now);
            if wait > 0 {
                waits.push(wait);
                now += wait;
                assert_eq!(counters.admit(&keys(1), &LIMITS, now).1, 0, "admitted once the wait is over");
            }
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 4_000, 4_000]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut counters = LocalCounters::default();
        for n in 0..3 * MAX_GENERATION_LEN {
            counters.admit(&keys(n), &LIMITS, 0);
        }
        assert!(counters.young.len() + counters.old.len() <= 2 * MAX_GENERATION_LEN);
    }
}
