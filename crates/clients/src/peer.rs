//! A peer: deadline, retries, circuit breaker, and the reasons that pass through.

use std::{sync::Arc, time::Duration};

use baton_errors::{Error, Reason, Result, reason_of};
use baton_runtime::{client, random::jitter};
use opentelemetry::{KeyValue, global, metrics::Counter};
use recloser::{AsyncRecloser, Recloser};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, body::Body, client::GrpcService, codegen::StdError, transport::Channel};
use url::Url;

/// Deadline of a call, its retries included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts of a call that finds the peer unavailable.
const MAX_ATTEMPTS: u32 = 3;
/// Pause before the second attempt; it doubles before each further one.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// Outcomes that the circuit breaker looks at. It opens when more than half of them are failures.
const BREAKER_WINDOW: usize = 40;
/// Calls that an open breaker admits, after [`BREAKER_DELAY`], to decide whether it closes.
const BREAKER_PROBES: usize = 5;
/// The time for which an open breaker refuses all calls.
const BREAKER_DELAY: Duration = Duration::from_secs(1);

/// The reasons of a peer that are the caller's as well: the caller can act on them. Any other failure of a peer is
/// UNAVAILABLE, or INTERNAL where the peer refuses the request itself.
const PASSED_REASONS: &[Reason] = &[
    Reason::TokenInvalid,
    Reason::SessionClosed,
    Reason::DelegationEnded,
    Reason::DelegationLimit,
    Reason::ProcessingRestricted,
    Reason::SessionRequired,
    Reason::ScopeMissing,
    Reason::NotAMember,
    Reason::AccountNotFound,
    Reason::AccountSuspended,
    Reason::SecondFactorRequired,
    Reason::PermissionMissing,
    Reason::MemberNotFound,
    Reason::NotAboveMember,
];

/// What carries calls: a [`Channel`], or the gateway's pool of connections.
pub trait Transport:
    GrpcService<Body, ResponseBody = Body, Future: Send, Error: Into<StdError>> + Clone + Send + Sync + 'static
{
}

impl<T> Transport for T where
    T: GrpcService<Body, ResponseBody = Body, Future: Send, Error: Into<StdError>> + Clone + Send + Sync + 'static
{
}

/// Another service. Clones share the connection and the circuit breaker.
#[derive(Clone)]
pub struct Peer<T = Channel> {
    name: &'static str,
    transport: T,
    breaker: AsyncRecloser,
    rejected: Arc<Counter<u64>>,
}

impl Peer {
    /// The service `name` at `url`. Connects when it is first called, and again when the connection is lost.
    ///
    /// # Errors
    /// When the URL is not `http://host:port`.
    pub fn connect(name: &'static str, url: &Url) -> anyhow::Result<Self> {
        Ok(Self::new(name, client::channel(url)?))
    }
}

impl<T: Transport> Peer<T> {
    /// The service `name` behind `transport`.
    pub fn new(name: &'static str, transport: T) -> Self {
        let breaker = Recloser::custom()
            .error_rate(0.5)
            .closed_len(BREAKER_WINDOW)
            .half_open_len(BREAKER_PROBES)
            .open_wait(BREAKER_DELAY)
            .build();
        let rejected = global::meter("baton")
            .u64_counter("baton.peer.rejected")
            .with_description("Calls that an open circuit breaker refused, by peer.")
            .build();
        Self { name, transport, breaker: AsyncRecloser::from(breaker), rejected: Arc::new(rejected) }
    }

    /// The name of the service.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Calls an RPC that is safe to repeat: one that changes nothing, or that takes an idempotency key. `request` builds
    /// the request of an attempt, `send` sends it.
    ///
    /// An attempt that finds the peer unavailable is repeated within the deadline of 5 seconds.
    ///
    /// # Errors
    /// Those that pass through (`PASSED_REASONS`); INTERNAL when the peer finds the request malformed or the service's secret wrong; else UNAVAILABLE.
    pub async fn call<M, R>(
        &self,
        request: impl Fn() -> Request<M>,
        send: impl AsyncFn(T, Request<M>) -> Result<Response<R>, Status>,
    ) -> Result<R> {
        let deadline = Instant::now() + TIMEOUT;
        let mut delay = RETRY_DELAY;
        for attempt in 1.. {
            let mut request = request();
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let outcome = self.breaker.call_with(is_failure, send(self.transport.clone(), request)).await;
            let status = match outcome {
                Ok(response) => return Ok(response.into_inner()),
                Err(recloser::Error::Inner(status)) => status,
                Err(recloser::Error::Rejected) => {
                    self.rejected.add(1, &[KeyValue::new("peer", self.name)]);
                    return Err(Reason::Unavailable.into());
                }
            };
            let may_repeat = status.code() == Code::Unavailable && attempt < MAX_ATTEMPTS;
            if !may_repeat || Instant::now() + delay >= deadline {
                return Err(self.error(status));
            }
            tokio::time::sleep(jitter(delay)).await;
            delay *= 2;
        }
        Err(Reason::Unavailable.into())
    }

    /// The error of a call that the peer refused, or did not answer.
    fn error(&self, status: Status) -> Error {
        match reason_of(&status) {
            Some(reason) if PASSED_REASONS.contains(&reason) => reason.into(),
            // The service's own mistake: a malformed request, or a wrong secret.
            Some(Reason::ValidationFailed | Reason::CredentialsInvalid | Reason::ServiceOnly) => {
                Error::internal(status)
            }
            _ => {
                tracing::warn!(peer = self.name, code = ?status.code(), "a call to another service failed");
                Error::from(Reason::Unavailable).with_source(status)
            }
        }
    }
}

/// Whether an outcome counts against the peer: it did not answer. A refusal is an answer.
fn is_failure(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Unknown) && reason_of(status).is_none()
        || matches!(reason_of(status), Some(Reason::Unavailable))
}

impl<T> std::fmt::Debug for Peer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::Ready,
        sync::atomic::{AtomicU32, Ordering},
        task::{Context, Poll},
    };

    use http::Response as HttpResponse;
    use tower::Service;

    use super::*;

    /// A transport that is never used: `send` of the tests decides.
    #[derive(Clone)]
    struct Nowhere;

    impl Service<http::Request<Body>> for Nowhere {
        type Response = HttpResponse<Body>;
        type Error = Infallible;
        type Future = Ready<Result<HttpResponse<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            std::future::ready(Ok(HttpResponse::new(Body::empty())))
        }
    }

    async fn call(peer: &Peer<Nowhere>, outcomes: &[Result<u32, Reason>]) -> (Result<u32>, u32) {
        let attempts = AtomicU32::new(0);
        let outcome = peer
            .call(
                || Request::new(()),
                async |_, _| {
                    let attempt = attempts.fetch_add(1, Ordering::Relaxed) as usize;
                    let outcome = outcomes[attempt.min(outcomes.len() - 1)];
                    outcome.map(Response::new).map_err(|reason| Status::from(Error::from(reason)))
                },
            )
            .await;
        (outcome, attempts.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn an_unavailable_peer_is_called_again() {
        let peer = Peer::new("peer", Nowhere);
        let (outcome, attempts) = call(&peer, &[Err(Reason::Unavailable), Err(Reason::Unavailable), Ok(7)]).await;
        assert_eq!((outcome.unwrap(), attempts), (7, 3));
        let (outcome, attempts) = call(&peer, &[Err(Reason::Unavailable)]).await;
        assert_eq!((outcome.unwrap_err().reason(), attempts), (Reason::Unavailable, MAX_ATTEMPTS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_passes_through_at_once() {
        let peer = Peer::new("peer", Nowhere);
        for reason in PASSED_REASONS {
            let (outcome, attempts) = call(&peer, &[Err(*reason)]).await;
            assert_eq!((outcome.unwrap_err().reason(), attempts), (*reason, 1));
        }
        let (outcome, _) = call(&peer, &[Err(Reason::Internal)]).await;
        assert_eq!(outcome.unwrap_err().reason(), Reason::Unavailable);
        let (outcome, _) = call(&peer, &[Err(Reason::ValidationFailed)]).await;
        assert_eq!(outcome.unwrap_err().reason(), Reason::Internal);
    }

    #[tokio::test]
    async fn a_peer_that_keeps_failing_is_left_alone_and_refusals_do_not_count() {
        let peer = Peer::new("peer", Nowhere);
        for _ in 0..2 * BREAKER_WINDOW {
            let _ = call(&peer, &[Err(Reason::NotAMember)]).await;
        }
        assert_eq!(call(&peer, &[Ok(1)]).await.1, 1, "refusals leave the breaker closed");
        tokio::time::pause();
        for _ in 0..BREAKER_WINDOW {
            let _ = call(&peer, &[Err(Reason::Unavailable)]).await;
        }
        let (outcome, attempts) = call(&peer, &[Ok(1)]).await;
        assert_eq!((outcome.unwrap_err().reason(), attempts), (Reason::Unavailable, 0), "the breaker is open");
    }
}
