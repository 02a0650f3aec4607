//! Life cycle of a process that runs a service.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use tokio::net::TcpListener;

use crate::{
    Env, Shutdown,
    telemetry::{self, TelemetryConfig},
};

crate::config! {
    /// Shutdown of the process.
    pub struct ProcessConfig {
        /// Seconds between "not ready" and closing the listeners: the time load balancers take to notice.
        pub drain_delay_seconds: u64 = "BATON_DRAIN_DELAY_SECONDS", default "0";
        /// Seconds that accepted requests have to complete after that.
        pub drain_timeout_seconds: u64 = "BATON_DRAIN_TIMEOUT_SECONDS", default "20";
    }
}

/// Binds `address`. The error states the remedy.
///
/// # Errors
/// If the address is in use or not local.
pub async fn bind(address: SocketAddr, variable: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: stop what uses it, or set {variable} to another address"))
}

/// Runs `work` with telemetry until SIGTERM or SIGINT, then drains it.
///
/// # Errors
/// Those of the configuration, of telemetry and of `work`; and if draining takes too long.
pub async fn run<F, Fut>(name: &'static str, env: &Env, work: F) -> anyhow::Result<()>
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let process = ProcessConfig::from_env(env)?;
    let telemetry = telemetry::start(name, &TelemetryConfig::from_env(env)?)?;
    let shutdown = Shutdown::new();
    telemetry.serve_metrics(&shutdown).await?;
    let work = work(shutdown.clone());
    tokio::pin!(work);
    let ended = tokio::select! {
        ended = &mut work => ended,
        signal = Shutdown::signal() => {
            signal?;
            let drain = async {
                tokio::join!(shutdown.begin(Duration::from_secs(process.drain_delay_seconds)), &mut work).1
            };
            let limit = Duration::from_secs(process.drain_delay_seconds + process.drain_timeout_seconds);
            tokio::time::timeout(limit, drain).await.context("draining took too long; open requests were aborted")?
        }
    };
    shutdown.now();
    telemetry.flush().await;
    ended
}
