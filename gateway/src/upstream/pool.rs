//! The connection pool of one service: least-loaded balancing, DNS refresh and reconnects.
//!
//! No library fits: tonic's balanced channel treats all connections as equally loaded, and hyper-util's client keeps
//! one HTTP/2 connection per host.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use baton_errors::{Error, Reason};
use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::{HeaderMap, Request, Response, Uri, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::{
    net::lookup_host,
    time::{Instant, Sleep, interval, sleep_until, timeout_at},
};
use tonic::{Status, body::Body};
use tower::Service;

use super::connection::{Connection, Lane, Lease, MAX_STREAMS};

/// Connections for unary calls; as many as the service has addresses if these are more. Several are faster, since one
/// task at each end reads a connection.
const TARGET_CONNECTIONS: usize = 4;
/// Maximum connections of a lane.
const MAX_CONNECTIONS: usize = 64;
/// Maximum duration of a unary call, and of a stream until its head arrives.
const MAX_CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum response of a unary call, in bytes. A page of a hundred tasks with long descriptions has several MiB.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;
/// How often the service's name is resolved, so that new instances get calls and removed ones do not.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);
/// A connection gets no new calls after this, so that calls spread again over the instances behind one address.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(600);
/// Connection attempts that a call waits for before it fails.
const MAX_LEASE_ATTEMPTS: usize = 8;
/// Addresses that one connection attempt tries.
const MAX_ADDRESSES: usize = 3;

/// A service. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Upstream {
    pool: Arc<Pool>,
    lane: Lane,
}

struct Pool {
    service: &'static str,
    authority: http::uri::Authority,
    host: String,
    port: u16,
    unary: Connections,
    streams: Connections,
    /// The last connection attempt failed. Logged when it changes, not for every call.
    is_down: AtomicBool,
    is_maintained: AtomicBool,
}

struct Connections {
    lane: Lane,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Vec<Arc<Connection>>,
    /// The connection attempt in progress, shared by all waiting calls.
    attempt: Option<Attempt>,
    /// Number of addresses when the service's name was last resolved.
    addresses: usize,
}

type Attempt = Shared<BoxFuture<'static, Result<(), Status>>>;

impl Upstream {
    /// The service at `url`, for unary calls.
    pub(crate) fn new(service: &'static str, url: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("the URL of {service}"))?;
        ensure!(uri.scheme_str() == Some("http"), "the URL of {service} must begin with http://");
        let authority = uri.authority().with_context(|| format!("the URL of {service} must have a host"))?.clone();
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let connections = |lane| Connections { lane, state: Mutex::default() };
        let pool = Pool {
            service,
            port: authority.port_u16().unwrap_or(80),
            host,
            authority,
            unary: connections(Lane::Unary),
            streams: connections(Lane::Streams),
            is_down: AtomicBool::new(false),
            is_maintained: AtomicBool::new(false),
        };
        Ok(Self { pool: Arc::new(pool), lane: Lane::Unary })
    }

    /// Returns a handle to this service for RPCs that stream their response.
    pub(crate) fn streams(&self) -> Self {
        Self { pool: Arc::clone(&self.pool), lane: Lane::Streams }
    }

    /// Calls the service. A unary response is read whole.
    ///
    /// # Errors
    /// UNAVAILABLE if the service cannot be reached, DEADLINE_EXCEEDED, and INTERNAL if the response is too large.
    pub(crate) async fn call(self, request: Request<Bytes>) -> Result<Response<Body>, Status> {
        let wanted = grpc_timeout(request.headers());
        let deadline = Instant::now() + wanted.unwrap_or(MAX_CALL_TIMEOUT).min(MAX_CALL_TIMEOUT);
        let late = || Status::from(Error::from(Reason::DeadlineExceeded));
        match self.lane {
            Lane::Unary => timeout_at(deadline, self.unary(request)).await.map_err(|_| late())?,
            Lane::Streams => {
                let deadline_at = wanted.and_then(|wanted| Instant::now().checked_add(wanted));
                timeout_at(deadline, self.stream(request, deadline_at)).await.map_err(|_| late())?
            }
        }
    }

    async fn unary(self, request: Request<Bytes>) -> Result<Response<Body>, Status> {
        let (response, _lease) = self.pool.send(&self.pool.unary, request).await?;
        let (head, body) = response.into_parts();
        let whole = Limited::new(body, MAX_RESPONSE_BYTES).collect().await.map_err(|error| match error.downcast() {
            Ok(error) => unavailable(&error),
            Err(error) if error.is::<LengthLimitError>() => {
                tracing::error!(service = self.pool.service, "a response is larger than {MAX_RESPONSE_BYTES} bytes");
                Error::from(Reason::Internal).into()
            }
            Err(_) => Error::from(Reason::Unavailable).into(),
        })?;
        let trailers = whole.trailers().cloned();
        let data = whole.to_bytes();
        if data.is_empty() && trailers.is_none() {
            return Ok(Response::from_parts(head, Body::empty()));
        }
        Ok(Response::from_parts(head, Body::new(Full::new(data).with_trailers(async { trailers.map(Ok) }))))
    }

    async fn stream(self, request: Request<Bytes>, deadline_at: Option<Instant>) -> Result<Response<Body>, Status> {
        let (response, lease) = self.pool.send(&self.pool.streams, request).await?;
        let deadline = deadline_at.map(|deadline_at| Box::pin(sleep_until(deadline_at)));
        Ok(response.map(|body| Body::new(LeasedBody { body: Some(body), deadline, _lease: lease })))
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("service", &self.pool.service).field("lane", &self.lane).finish()
    }
}

/// Lets tonic's generated clients use the pool.
impl Service<Request<Body>> for Upstream {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let upstream = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            Upstream::call(upstream, Request::from_parts(head, body)).await
        })
    }
}

impl Pool {
    /// Sends a request on the connection with the fewest calls. It is retried if the service did not begin to process
    /// it.
    async fn send(
        self: &Arc<Self>,
        connections: &Connections,
        request: Request<Bytes>,
    ) -> Result<(Response<Incoming>, Lease), Status> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.into_parts().path_and_query.unwrap_or(PathAndQuery::from_static("/"));
        head.uri = Uri::builder()
            .scheme("http")
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(Error::internal)?;
        head.version = http::Version::HTTP_2;
        let mut attempts = 0;
        loop {
            let lease = self.lease(connections).await?;
            let request = Request::from_parts(head.clone(), Full::new(body.clone()));
            match lease.send(request).await {
                Ok(response) => return Ok((response, lease)),
                Err((error, unsent)) => {
                    attempts += 1;
                    if attempts > 2 || !(unsent.is_some() || is_refused(&error)) {
                        return Err(unavailable(&error));
                    }
                }
            }
        }
    }

    async fn lease(self: &Arc<Self>, connections: &Connections) -> Result<Lease, Status> {
        self.maintain();
        // More than one attempt is needed only if other calls take the new connection first, or it closes.
        for _ in 0..MAX_LEASE_ATTEMPTS {
            let attempt = match connections.pick() {
                Pick::Lease { lease, grow } => {
                    if grow {
                        // For later calls.
                        drop(self.connect(connections.lane));
                    }
                    return Ok(lease);
                }
                Pick::Full => return Err(Error::from(Reason::Busy).into()),
                Pick::None => self.connect(connections.lane),
            };
            attempt.await?;
        }
        Err(Error::from(Reason::Unavailable).into())
    }

    /// Starts a connection attempt, or joins the one in progress.
    fn connect(self: &Arc<Self>, lane: Lane) -> Attempt {
        let mut state = self.connections(lane).lock();
        if let Some(attempt) = &state.attempt {
            return attempt.clone();
        }
        let pool = Arc::clone(self);
        // A separate task: the attempt continues when the call that started it is cancelled.
        let task = tokio::spawn(async move {
            let opened = pool.open(lane).await;
            let connections = pool.connections(lane);
            let mut state = connections.lock();
            state.attempt = None;
            opened.map(|connection| state.open.push(Arc::new(connection)))
        });
        let attempt =
            task.map(|done| done.unwrap_or_else(|_| Err(Error::from(Reason::Unavailable).into()))).boxed().shared();
        state.attempt = Some(attempt.clone());
        attempt
    }

    /// Connects to the address with the fewest connections, or else to the next ones.
    async fn open(&self, lane: Lane) -> Result<Connection, Status> {
        let connections = self.connections(lane);
        let mut addresses = self.resolve().await;
        {
            let state = connections.lock();
            addresses.sort_by_key(|address| state.open.iter().filter(|open| open.address == *address).count());
        }
        let mut failure = "the name resolves to no address".to_owned();
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            match Connection::open(address, lane).await {
                Ok(connection) => {
                    if self.is_down.swap(false, Ordering::Relaxed) {
                        tracing::info!(service = self.service, "a service can be reached again");
                    }
                    return Ok(connection);
                }
                Err(error) => failure = error,
            }
        }
        if !self.is_down.swap(true, Ordering::Relaxed) {
            tracing::warn!(service = self.service, error = failure, "a service cannot be reached");
        }
        Err(Error::from(Reason::Unavailable).into())
    }

    /// Resolves the service's name.
    async fn resolve(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> =
            lookup_host((self.host.as_str(), self.port)).await.map(Iterator::collect).unwrap_or_default();
        addresses.sort_unstable();
        addresses.dedup();
        for lane in [Lane::Unary, Lane::Streams] {
            self.connections(lane).lock().addresses = addresses.len();
        }
        addresses
    }

    fn connections(&self, lane: Lane) -> &Connections {
        match lane {
            Lane::Unary => &self.unary,
            Lane::Streams => &self.streams,
        }
    }

    /// Resolves the service's name periodically, as long as the pool exists.
    fn maintain(self: &Arc<Self>) {
        if self.is_maintained.swap(true, Ordering::Relaxed) {
            return;
        }
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = interval(RESOLVE_INTERVAL);
            loop {
                ticks.tick().await;
                let Some(pool) = pool.upgrade() else { return };
                let addresses = pool.resolve().await;
                for lane in [Lane::Unary, Lane::Streams] {
                    if pool.connections(lane).retire(&addresses) {
                        drop(pool.connect(lane));
                    }
                }
            }
        });
    }
}

enum Pick {
    Lease { lease: Lease, grow: bool },
    None,
    Full,
}

impl Connections {
    fn pick(&self) -> Pick {
        let mut state = self.lock();
        state.open.retain(|connection| !connection.is_closed());
        let wanted = TARGET_CONNECTIONS.max(state.addresses).min(MAX_CONNECTIONS);
        let max = if self.lane == Lane::Unary { usize::MAX } else { MAX_STREAMS };
        let free = state.open.iter().filter(|connection| connection.active() < max);
        match free.min_by_key(|connection| connection.active()) {
            Some(connection) => {
                let grow = self.lane == Lane::Unary
                    && state.attempt.is_none()
                    && state.open.len() < wanted
                    && connection.active() > 0;
                Pick::Lease { lease: connection.lease(), grow }
            }
            None if state.open.len() >= MAX_CONNECTIONS => Pick::Full,
            None => Pick::None,
        }
    }

    /// Removes connections that are old or whose address is gone from the pool; their calls finish. Returns whether an
    /// address has no connection although the service is in use.
    fn retire(&self, addresses: &[SocketAddr]) -> bool {
        let mut state = self.lock();
        if state.open.is_empty() {
            return false;
        }
        // A temporary DNS failure must not remove working connections.
        let is_current = |address: &SocketAddr| addresses.is_empty() || addresses.contains(address);
        state.open.retain(|open| {
            !open.is_closed() && open.opened_at.elapsed() < MAX_CONNECTION_AGE && is_current(&open.address)
        });
        state.open.is_empty() || addresses.iter().any(|address| state.open.iter().all(|open| open.address != *address))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // No code under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A streamed body with its lease on the connection. It ends after its first error or its deadline.
struct LeasedBody {
    body: Option<Incoming>,
    deadline: Option<Pin<Box<Sleep>>>,
    _lease: Lease,
}

impl HttpBody for LeasedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if this.deadline.as_mut().is_some_and(|deadline| deadline.poll_unpin(cx).is_ready()) {
            this.body = None;
            return Poll::Ready(Some(Err(Error::from(Reason::DeadlineExceeded).into())));
        }
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            this.body = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| unavailable(&error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

/// Whether the service refused the stream before processing it (RFC 9113, section 8.7).
fn is_refused(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    source.and_then(h2::Error::reason) == Some(h2::Reason::REFUSED_STREAM)
}

/// Maps a broken connection to UNAVAILABLE. Logged at debug, since every call on it fails; `is_down` logs the outage
/// once.
fn unavailable(error: &hyper::Error) -> Status {
    tracing::debug!(error = error as &dyn std::error::Error, "a connection to a service broke");
    Error::from(Reason::Unavailable).into()
}

/// The caller's timeout (gRPC over HTTP2, `Timeout`), if it sets one.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}
