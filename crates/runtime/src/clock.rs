//! Time and ids, passed in so that tests control them.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::{ContextV7, Timestamp, Uuid};

/// The source of time and of new ids. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Fixed>>);

#[derive(Debug)]
struct Fixed {
    micros: AtomicI64,
    /// Orders ids within a millisecond, as the system's ids are.
    ids: Mutex<ContextV7>,
}

impl Clock {
    /// The system clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stays at `time` until [`Clock::advance`].
    pub fn fixed(time: DateTime<Utc>) -> Self {
        let ids = Mutex::new(ContextV7::new());
        Self(Some(Arc::new(Fixed { micros: AtomicI64::new(time.timestamp_micros()), ids })))
    }

    /// The current time, in whole microseconds, which is the resolution of Postgres.
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match &self.0 {
            Some(fixed) => fixed.micros.load(Ordering::Acquire),
            #[expect(clippy::disallowed_methods, reason = "this is the source of time")]
            None => Utc::now().timestamp_micros(),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// Advances a fixed clock, or turns it back with a negative `by`. Has no effect on the system clock.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(fixed) = &self.0 {
            fixed.micros.fetch_add(by.num_microseconds().unwrap_or_default(), Ordering::AcqRel);
        }
    }

    /// A new UUIDv7 (RFC 9562) with this clock's time, greater than all before it.
    pub fn new_id(&self) -> Uuid {
        let Some(fixed) = &self.0 else { return Uuid::now_v7() };
        let now = self.now();
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        Uuid::new_v7(Timestamp::from_unix(&fixed.ids, seconds, now.timestamp_subsec_nanos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_fixed_clock_are_ordered() {
        let clock = Clock::fixed(Clock::system().now());
        let ids: Vec<_> = (0..1000).map(|_| clock.new_id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        clock.advance(TimeDelta::seconds(1));
        let (seconds, _) = clock.new_id().get_timestamp().unwrap().to_unix();
        assert_eq!(i64::try_from(seconds).unwrap(), clock.now().timestamp());
    }
}
