//! The HTTP server: HTTP/1.1 and HTTP/2 (prior knowledge, as gRPC uses it) on one port.
//!
//! A connection costs memory and a file descriptor. One that sends nothing, reads nothing or stays idle is closed, and
//! the number of connections per address is limited.

mod io;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use baton_runtime::{
    origin,
    shares::{Share, Shares},
};
use bytes::Bytes;
use hyper::{
    Method, Request,
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    header::UPGRADE,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, interval},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use self::io::ClientIo;
use crate::{client_ip::TrustedProxies, config::Config, request_body::TimedBody};

/// Maximum read buffer of a connection, headers included, in bytes; hyper's default is 400 KiB.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Time until the first request of a connection must have arrived.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the headers of each later request. Over HTTP/1.1 it is also the idle timeout. It is longer than the idle
/// timeout of load balancers, so that none sends a request on a connection that is being closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// Concurrent streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// A connection without a request is closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// How often connections are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Limits of open client connections.
pub(crate) struct ConnectionLimits {
    total: Arc<Semaphore>,
    per_address: Arc<Shares<IpAddr>>,
    trusted_proxies: Arc<TrustedProxies>,
}

impl ConnectionLimits {
    pub(crate) fn new(config: &Config, trusted_proxies: Arc<TrustedProxies>) -> Self {
        Self {
            total: Arc::new(Semaphore::new(config.max_connections)),
            per_address: Shares::new(config.max_connections_per_address),
            trusted_proxies,
        }
    }

    /// Acquires a permit for a connection from this address. Trusted proxies carry many clients, so they have no share.
    fn admit(&self, address: IpAddr) -> Option<(tokio::sync::OwnedSemaphorePermit, Option<Share<IpAddr>>)> {
        let share = if self.trusted_proxies.trusts(address.to_canonical()) {
            None
        } else {
            Some(self.per_address.try_take(&origin::network(address), 1)?)
        };
        Some((Arc::clone(&self.total).try_acquire_owned().ok()?, share))
    }
}

/// Accepts connections until `stop`, then shuts each down gracefully and waits for it.
///
/// axum's own server has no timeouts: a client that sends its headers slowly, or disappears, would keep its connection
/// for ever.
pub(crate) async fn serve(listener: TcpListener, app: Router, limits: ConnectionLimits, stop: CancellationToken) {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_BUFFER_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(MAX_STREAMS)
        // WebSockets over HTTP/2 (RFC 8441).
        .enable_connect_protocol();
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely out of file descriptors: closing connections will free some.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Without a permit the connection is closed at once.
        let Some(permit) = limits.admit(peer.ip()) else { continue };
        tokio::spawn(serve_connection(stream, peer, http.clone(), app.clone(), connections.watcher(), permit));
    }
    drop(listener);
    connections.shutdown().await;
}

/// Activity of a connection.
#[derive(Default)]
struct Activity {
    /// Requests whose response is not finished.
    open: AtomicUsize,
    /// Requests so far.
    started: AtomicU64,
    /// It carries a WebSocket, which has timeouts of its own.
    is_upgraded: AtomicBool,
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    http: auto::Builder<TokioExecutor>,
    app: Router,
    watcher: Watcher,
    permit: impl Send + Unpin + 'static,
) {
    // Otherwise the last frame of a response waits for the acknowledgement of the previous one.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::default());
    let service = service_fn({
        let activity = Arc::clone(&activity);
        move |mut request: Request<Incoming>| {
            activity.started.fetch_add(1, Ordering::Relaxed);
            if request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE) {
                activity.is_upgraded.store(true, Ordering::Relaxed);
            }
            let open = OpenRequest::new(&activity);
            request.extensions_mut().insert(ConnectInfo(peer));
            // Reflection is a bidirectional stream: its client may send at any time.
            let is_reflection = request.uri().path().starts_with("/grpc.reflection.");
            let app = app.clone();
            async move {
                let request =
                    request.map(|body| if is_reflection { Body::new(body) } else { Body::new(TimedBody::new(body)) });
                let response = app.oneshot(request).await.unwrap_or_else(|never| match never {});
                Ok::<_, Infallible>(response.map(|body| TrackedBody { body, _open: open }))
            }
        }
    });
    // The permit belongs to the socket, which outlives the HTTP connection when it becomes a WebSocket.
    let io = TokioIo::new(ClientIo::new(stream, permit));
    let connection = http.serve_connection_with_upgrades(io, service).into_owned();
    let mut connection = pin!(watcher.watch(connection));
    let mut checks = interval(CHECK_INTERVAL);
    let (accepted, mut idle_since, mut last_started) = (Instant::now(), Instant::now(), 0);
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(error, "connection ended");
                }
                return;
            }
            _ = checks.tick() => {
                let started = activity.started.load(Ordering::Relaxed);
                if started != last_started || activity.open.load(Ordering::Relaxed) > 0 {
                    (last_started, idle_since) = (started, Instant::now());
                }
                let is_silent = started == 0 && accepted.elapsed() > FIRST_REQUEST_TIMEOUT;
                let is_idle = idle_since.elapsed() > IDLE_TIMEOUT && !activity.is_upgraded.load(Ordering::Relaxed);
                if is_silent || is_idle {
                    return;
                }
            }
        }
    }
}

/// An unfinished request.
struct OpenRequest(Arc<Activity>);

impl OpenRequest {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response body that keeps its request open until it is dropped.
struct TrackedBody {
    body: Body,
    _open: OpenRequest,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
