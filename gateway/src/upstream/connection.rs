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

/// Bytes of one stream that a service may send before the gateway has read them.
pub(super) const STREAM_WINDOW: u32 = 32 * 1024;
/// Streams on one connection. Their windows together are an eighth of the connection's, so no number of unread streams
/// stops the others; nor do small frames: h2 closes a connection whose unread frames cost more than half its window.
pub(super) const MAX_STREAMS: usize = 64;
/// The same for unary responses, which the gateway reads at once.
const RESPONSE_WINDOW: u32 = 1024 * 1024;
/// Bytes of all streams of a connection together.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// A service that accepts no connection in this time is unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that vanished without a word, as behind a firewall that forgot the connection, shows within both together.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Cancelled calls whose last frames may still arrive; of more, each frame would be answered by a reset.
const MAX_RESET_STREAMS: usize = 1024;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Calls with one response.
    Unary,
    /// Calls whose response is a stream, read at the pace of its caller.
    Streams,
}

/// A connection that calls share.
pub(super) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    /// The address that it leads to.
    pub(super) address: SocketAddr,
    /// Calls that are not over.
    active: AtomicUsize,
    pub(super) opened_at: Instant,
}

impl Connection {
    /// Connects, and keeps the connection going until it breaks or nobody holds it.
    pub(super) async fn open(address: SocketAddr, lane: Lane) -> Result<Self, String> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.to_string())?;
        // Otherwise the second packet of a request waits for the acknowledgement of the first.
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
            // A guard against hostile servers. Here, cancelled calls would use it up, and end the calls of others.
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

    /// Whether it broke, or the service closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// A place for one call.
    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        self.active.fetch_add(1, Ordering::Relaxed);
        Lease(Arc::clone(self))
    }
}

/// A call's place on a connection, until it is dropped.
pub(super) struct Lease(Arc<Connection>);

impl Lease {
    /// Sends a request. The request comes back when no part of it was sent.
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
