//! Load driver: calls from many clients, and their latencies.

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

/// Whether to run this line: `BATON_BENCH_ONLY` is a substring of its name.
pub(crate) fn wanted(name: &str) -> bool {
    std::env::var("BATON_BENCH_ONLY").map_or(true, |only| name.contains(&only))
}

/// Latencies of calls.
pub(crate) struct Times {
    sorted: Vec<Duration>,
    seconds: Duration,
}

impl Times {
    /// Calls per second, of all clients together.
    pub(crate) fn rate(&self) -> f64 {
        self.sorted.len() as f64 / self.seconds.as_secs_f64()
    }

    /// The latency at this quantile, in milliseconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        self.sorted[((self.sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0
    }

    /// Table columns: rate, p50, p95, p99.
    pub(crate) fn columns(&self) -> String {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| self.quantile(share));
        format!("{:>9.0} | {p50:>8.2} | {p95:>8.2} | {p99:>8.2}", self.rate())
    }
}

/// Waits until the machine is idle, because events of earlier writes are still processed after the responses and would
/// slow the next line. Gives up after a minute.
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

/// Measures `call` from this many clients in closed loops, with an ascending call number. A failed call aborts the run.
pub(crate) async fn measure<F, Fut>(clients: u64, seconds: u64, call: F) -> Times
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    measure_every(Duration::ZERO, clients, seconds, call).await
}

/// Measures `call` at a fixed rate per client: a call is due `every` interval, and waiting for the previous call counts
/// as latency.
pub(crate) async fn measure_every<F, Fut>(every: Duration, clients: u64, seconds: u64, call: F) -> Times
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let seconds = Duration::from_secs(seconds);
    settle().await;
    let call = Arc::new(call);
    let number = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let callers: Vec<_> = (0..clients)
        .map(|client| {
            let (call, number) = (Arc::clone(&call), Arc::clone(&number));
            tokio::spawn(async move {
                let mut took = Vec::new();
                // The clients start staggered.
                let mut next = started + every.mul_f64(client as f64 / clients as f64);
                while started.elapsed() < WARM_UP + seconds {
                    tokio::time::sleep_until(next.into()).await;
                    let at = if every.is_zero() { Instant::now() } else { next };
                    next += every;
                    call(number.fetch_add(1, Ordering::Relaxed)).await;
                    if started.elapsed() > WARM_UP {
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
