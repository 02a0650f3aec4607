//! Periodic work: run something at an interval until the process stops.

use std::{fmt::Display, time::Duration};

use opentelemetry::{KeyValue, global};
use tokio::{sync::Notify, time::Instant};

use crate::{Shutdown, random::jitter};

/// What follows a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait for the interval.
    Wait,
    /// More work is left: run again after [`BATCH_DELAY`].
    Again,
    /// Wait for this long instead of the interval.
    After(Duration),
}

impl From<()> for Next {
    fn from((): ()) -> Self {
        Self::Wait
    }
}

/// The pause between two batches of the same work, so that it does not take the database from the calls.
pub const BATCH_DELAY: Duration = Duration::from_millis(100);

/// Runs `work` now, and then at every `interval` until the process stops. An error is logged and the work is tried again
/// at the next interval. Any number of instances may run the same work: the work itself decides by locks.
///
/// Pauses vary by 10 %, so that instances that start together drift apart. Metrics, by `work` (the name) and `outcome`
/// (`ok`, `error`): the histogram `baton.periodic.duration` in seconds.
pub async fn periodic<F, Fut, T, E>(name: &'static str, interval: Duration, shutdown: &Shutdown, work: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    T: Into<Next>,
    E: Display,
{
    periodic_or_notified(name, interval, &Notify::new(), shutdown, work).await;
}

/// [`periodic`], which also runs as soon as `wake` is notified.
pub async fn periodic_or_notified<F, Fut, T, E>(
    name: &'static str,
    interval: Duration,
    wake: &Notify,
    shutdown: &Shutdown,
    mut work: F,
) where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    T: Into<Next>,
    E: Display,
{
    let duration = global::meter("baton")
        .f64_histogram("baton.periodic.duration")
        .with_unit("s")
        .with_description("Duration of one run of periodic work.")
        .build();
    while !shutdown.stop().is_cancelled() {
        let begun = Instant::now();
        let (next, outcome) = match work().await {
            Ok(next) => (next.into(), "ok"),
            Err(error) => {
                tracing::warn!(%error, work = name, "periodic work failed; it is tried again");
                (Next::Wait, "error")
            }
        };
        let attributes = [KeyValue::new("work", name), KeyValue::new("outcome", outcome)];
        duration.record(begun.elapsed().as_secs_f64(), &attributes);
        let pause = match next {
            Next::Wait => interval,
            Next::Again => BATCH_DELAY,
            Next::After(pause) => pause,
        };
        tokio::select! {
            () = shutdown.stop().cancelled() => return,
            () = wake.notified() => {}
            () = tokio::time::sleep(jitter(pause)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_runs_at_once_and_again_after_the_interval_and_after_an_error() {
        let (shutdown, runs) = (Shutdown::new(), AtomicU32::new(0));
        let begun = Instant::now();
        periodic("test", Duration::from_secs(10), &shutdown, async || match runs.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(()),
            1 => Err("broken"),
            _ => {
                shutdown.now();
                Ok(())
            }
        })
        .await;
        assert_eq!(runs.load(Ordering::Relaxed), 3);
        let elapsed = begun.elapsed().as_secs_f64();
        assert!((18.0..=22.1).contains(&elapsed), "two intervals and their jitter: {elapsed}");
    }

    #[tokio::test(start_paused = true)]
    async fn batches_follow_each_other_without_the_interval() {
        let (shutdown, runs) = (Shutdown::new(), AtomicU32::new(0));
        let begun = Instant::now();
        periodic("test", Duration::from_secs(3600), &shutdown, async || {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            if run == 2 {
                shutdown.now();
            }
            Ok::<_, &str>(Next::Again)
        })
        .await;
        assert!(begun.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_notification_wakes_the_work() {
        let (shutdown, wake, runs) = (Shutdown::new(), Notify::new(), AtomicU32::new(0));
        let begun = Instant::now();
        periodic_or_notified("test", Duration::from_secs(3600), &wake, &shutdown, async || {
            match runs.fetch_add(1, Ordering::Relaxed) {
                0 => wake.notify_one(),
                _ => shutdown.now(),
            }
            Ok::<_, &str>(())
        })
        .await;
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
