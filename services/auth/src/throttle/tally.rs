//! The tallies of one instance, for when Redis is gone: the same decisions as those of the scripts.

use std::collections::HashMap;

use super::{BY_KEY, BY_KNOWN, BY_NETWORK, KEPT, KNOWN, KNOWN_FOR};

/// Entries of a generation; there are two, so memory is bounded at some tens of megabytes.
const ENTRIES: usize = 50_000;
/// The first wait; each one after it is twice as long.
const FIRST_WAIT: i64 = 1_000;

/// What one tally allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// Attempts without a wait between them.
    pub(super) free: u32,
    /// The longest wait, in milliseconds.
    pub(super) longest: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    count: u32,
    /// When the next attempt is heard.
    next: i64,
    /// When all is forgotten.
    until: i64,
}

impl Tally {
    fn counted(self, now: i64, limit: &Limit) -> Self {
        let count = self.count.saturating_add(1);
        let wait = |over: u32| limit.longest.min(FIRST_WAIT << over.min(30));
        let next = count.checked_sub(limit.free).map_or(0, |over| now + wait(over));
        Self { count, next, until: now + KEPT.as_millis() as i64 }
    }

    fn taken_back(self) -> Self {
        // Not `now`: an instance whose clock is behind would keep people waiting for the difference.
        Self { count: self.count.saturating_sub(1), next: 0, ..self }
    }
}

/// By key. When the young ones are many they become the old ones, and the old ones are forgotten.
#[derive(Default)]
pub(super) struct Tallies {
    young: HashMap<String, Tally>,
    old: HashMap<String, Tally>,
}

impl Tallies {
    /// See `admit.lua`.
    pub(super) fn admit(&mut self, keys: &[String; 4], limits: &[Limit; 3], now: i64) -> (bool, i64) {
        let known = self.get(&keys[KNOWN], now).is_some();
        let own = if known { BY_KNOWN } else { BY_KEY };
        let tallies = [own, BY_NETWORK].map(|at| (at, self.get(&keys[at], now).unwrap_or_default()));
        let wait = tallies.iter().map(|(_, tally)| tally.next - now).max().unwrap_or_default().max(0);
        if wait == 0 {
            for (at, tally) in tallies {
                self.put(&keys[at], tally.counted(now, &limits[at - 1]));
            }
        }
        (known, wait)
    }

    /// See `settle.lua`.
    pub(super) fn settle(&mut self, keys: &[String; 4], known: bool, succeeded: bool, now: i64) {
        let own = if known { BY_KNOWN } else { BY_KEY };
        if let Some(tally) = self.get(&keys[BY_NETWORK], now) {
            self.put(&keys[BY_NETWORK], tally.taken_back());
        }
        if succeeded {
            self.young.remove(&keys[own]);
            self.old.remove(&keys[own]);
            self.vouch(&keys[KNOWN], now);
        } else if let Some(tally) = self.get(&keys[own], now) {
            self.put(&keys[own], tally.taken_back());
        }
    }

    /// See `mail.lua`.
    pub(super) fn mail(&mut self, key: &str, now: i64, window: i64, most: u32) -> bool {
        let sent = self.get(key, now).unwrap_or(Tally { until: now + window, ..Tally::default() });
        if sent.count >= most {
            return false;
        }
        self.put(key, Tally { count: sent.count + 1, ..sent });
        true
    }

    /// Makes a network known.
    pub(super) fn vouch(&mut self, known: &str, now: i64) {
        let until = now + KNOWN_FOR.as_millis() as i64;
        self.put(known, Tally { until, ..Tally::default() });
    }

    fn get(&self, key: &str, now: i64) -> Option<Tally> {
        self.young.get(key).or_else(|| self.old.get(key)).copied().filter(|tally| tally.until > now)
    }

    fn put(&mut self, key: &str, tally: Tally) {
        if self.young.len() >= ENTRIES && !self.young.contains_key(key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.to_owned(), tally);
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
    fn waits_grow_to_the_longest_and_end() {
        let mut tallies = Tallies::default();
        let mut now = 1_000_000;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let (_, wait) = tallies.admit(&keys(1), &LIMITS, now);
            if wait > 0 {
                waits.push(wait);
                now += wait;
                assert_eq!(tallies.admit(&keys(1), &LIMITS, now).1, 0, "heard once the wait is over");
            }
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 4_000, 4_000]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut tallies = Tallies::default();
        for n in 0..3 * ENTRIES {
            tallies.admit(&keys(n), &LIMITS, 0);
        }
        assert!(tallies.young.len() + tallies.old.len() <= 2 * ENTRIES);
    }
}
