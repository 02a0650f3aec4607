//! Channels to other services.

use std::time::Duration;

use anyhow::Context;
use tonic::transport::{Channel, Endpoint};
use url::Url;

/// A service that does not answer a connection by then counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Idle connections are asked this often whether they live, and given up when they do not answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel to the service at `url` (`http://host:port`). Connects when it is first used, and again
/// whenever the connection is lost, so services may start in any order. Clones share the connection.
///
/// # Errors
/// When the URL is none that gRPC can call.
pub fn channel(url: &Url) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.as_str().to_owned())
        .with_context(|| format!("not the address of a service, such as http://127.0.0.1:50051: {url}"))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_lazy())
}
