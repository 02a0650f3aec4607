//! Calls from many clients for a while, and the times that they took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const WARM_UP: Duration = Duration::from_secs(1);

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Whether this line is asked for: `BATON_BENCH_ONLY` is a part of the names of those that are.
pub(crate) fn wanted(name: &str) -> bool {
    std::env::var("BATON_BENCH_ONLY").map_or(true, |only| name.contains(&only))
}

/// What calls took.
pub(crate) struct Times {
    sorted: Vec<Duration>,
    seconds: Duration,
}

impl Times {
    /// Calls per second, of all clients together.
    pub(crate) fn rate(&self) -> f64 {
        self.sorted.len() as f64 / self.seconds.as_secs_f64()
    }

    /// What this share of the calls did not take longer than, in milliseconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        self.sorted[((self.sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0
    }

    /// The middle of a line of a table: rate, p50, p95, p99.
    pub(crate) fn columns(&self) -> String {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| self.quantile(share));
        format!("{:>9.0} | {p50:>8.2} | {p95:>8.2} | {p99:>8.2}", self.rate())
    }
}

/// Waits until the machine rests: the events of what was written before are handled for a while after the
/// answers, and would count against the next line. Gives up after a minute, for machines that never rest.
pub(crate) async fn settle() {
    let idle = || {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks: Vec<u64> =
            stat.lines().next().unwrap_or_default().split(' ').filter_map(|t| t.parse().ok()).collect();
        (ticks.get(3).copied().unwrap_or_default(), ticks.iter().sum::<u64>())
    };
    for _ in 0..60 {
        let before = idle();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = idle();
        if (now.0 - before.0) * 10 >= (now.1 - before.1) * 9 {
            return;
        }
    }
}

/// Calls `call` from so many clients for a while, each as often as it is answered, with a number that grows. A failed
/// call ends the run.
pub(crate) async fn measure<F, Fut>(clients: u64, seconds: u64, call: F) -> Times
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    measure_every(Duration::ZERO, clients, seconds, call).await
}

/// The same with a call from each client `every` so often, whether the one before was answered in time or not: what a
/// call waits for the one before counts as time that it took.
pub(crate) async fn measure_every<F, Fut>(every: Duration, clients: u64, seconds: u64, call: F) -> Times
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let seconds = Duration::from_secs(seconds);
    settle().await;
    let call = Arc::new(call);
    let number = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let callers: Vec<_> = (0..clients)
        .map(|client| {
            let (call, number) = (Arc::clone(&call), Arc::clone(&number));
            tokio::spawn(async move {
                let mut took = Vec::new();
                // The clients take turns.
                let mut next = begun + every.mul_f64(client as f64 / clients as f64);
                while begun.elapsed() < WARM_UP + seconds {
                    tokio::time::sleep_until(next.into()).await;
                    let at = if every.is_zero() { Instant::now() } else { next };
                    next += every;
                    call(number.fetch_add(1, Ordering::Relaxed)).await;
                    if begun.elapsed() > WARM_UP {
                        took.push(at.elapsed());
                    }
                }
                took
            })
        })
        .collect();
    let mut sorted = Vec::new();
    for caller in callers {
        sorted.extend(caller.await.expect("every call is answered"));
    }
    sorted.sort_unstable();
    Times { sorted, seconds }
}
