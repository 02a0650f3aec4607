//! One HTTP/2 connection to a service.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

/// Flow-control window of a stream on [`Lane::Streams`], in bytes.
pub(super) const STREAM_WINDOW: u32 = 32 * 1024;
/// Streams per connection. Their windows together are an eighth of the connection's, so unread streams never block the
/// others. Small frames do not either: h2 closes a connection whose unread frames take more than half its window.
pub(super) const MAX_STREAMS: usize = 64;
/// Flow-control window of a stream on [`Lane::Unary`], in bytes; the gateway reads these responses at once.
const RESPONSE_WINDOW: u32 = 1024 * 1024;
/// Flow-control window of a connection, in bytes.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// A service that accepts no connection within this is unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that disappeared without closing, as behind a firewall that dropped the connection, is detected within the
/// sum.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Cancelled calls whose last frames may still arrive. Beyond that, each such frame causes a reset.
const MAX_RESET_STREAMS: usize = 1024;

/// The kind of calls that a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Calls with one response.
    Unary,
    /// Calls whose response is a stream, read at the caller's speed.
    Streams,
}

/// A connection that calls share.
pub(super) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    /// The address of its peer.
    pub(super) address: SocketAddr,
    /// Unfinished calls.
    active: AtomicUsize,
    pub(super) opened_at: Instant,
}

impl Connection {
    /// Connects. A task drives the connection until it breaks or is dropped.
    pub(super) async fn open(address: SocketAddr, lane: Lane) -> Result<Self, String> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| "timed out".to_owned())?.map_err(|error| error.to_string())?;
        // Otherwise the second packet of a request waits for the acknowledgement of the first one.
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let window = if lane == Lane::Unary { RESPONSE_WINDOW } else { STREAM_WINDOW };
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .max_concurrent_reset_streams(MAX_RESET_STREAMS)
            // This limit protects against hostile servers. Here, cancelled calls would exhaust it and end the calls of
            // others.
            .max_local_error_reset_streams(None)
            .max_header_list_size(64 * 1024);
        let (requests, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection to a service ended");
            }
        });
        Ok(Self { requests, address, active: AtomicUsize::new(0), opened_at: Instant::now() })
    }

    /// Whether the connection broke or the service closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Registers a call on the connection.
    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        self.active.fetch_add(1, Ordering::Relaxed);
        Lease(Arc::clone(self))
    }
}

/// A call on a connection, until it is dropped.
pub(super) struct Lease(Arc<Connection>);

impl Lease {
    /// Sends a request. The error contains the request if no part of it was sent.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<Full<Bytes>>>)> {
        let mut requests = self.0.requests.clone();
        requests.try_send_request(request).await.map_err(|mut error| {
            let message = error.take_message();
            (error.into_error(), message)
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
