//! Graceful shutdown, without losing a request.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The two steps of a graceful shutdown, shared by all parts of a process.
///
/// 1. *draining*: readiness reports failure, so that load balancers send nothing new; everything still works.
/// 2. *stop*: listeners close, accepted requests complete, workers end after their current item.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    stop: CancellationToken,
}

impl Shutdown {
    /// A running process.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when step 1 begins.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Cancelled when step 2 begins.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Performs both steps, `delay` apart: the time that load balancers need to notice.
    pub async fn begin(&self, delay: Duration) {
        self.draining.cancel();
        if !delay.is_zero() {
            tracing::info!(seconds = delay.as_secs(), "draining");
            tokio::time::sleep(delay).await;
        }
        self.stop.cancel();
    }

    /// Performs both steps at once.
    pub fn now(&self) {
        self.draining.cancel();
        self.stop.cancel();
    }

    /// Waits for SIGTERM or SIGINT.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub async fn signal() -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        Ok(())
    }
}
