//! The gRPC server of every service: health, reflection, tracing, metrics, limits, graceful shutdown.

use std::{
    collections::HashSet,
    sync::LazyLock,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use baton_proto::pool;
use http::{Request, Response};
use opentelemetry::{KeyValue, global, metrics::Histogram};
use prost_reflect::{MethodDescriptor, ServiceDescriptor};
use tokio::net::TcpListener;
use tonic::{
    service::Routes,
    transport::{
        Server,
        server::{TcpConnectInfo, TcpIncoming},
    },
};
use tonic_health::ServingStatus;
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty, info_span};

use crate::{Origin, Shutdown, message_size, propagation, reflection};

/// Concurrent requests of one connection, at most; more are refused with RESOURCE_EXHAUSTED rather than queued. A
/// connection carries the calls of many users. The gateway limits the concurrent calls of one user.
const MAX_REQUESTS_PER_CONNECTION: usize = 2048;
/// Calls on one connection that may be cancelled before they are processed. h2 closes a connection that exceeds this,
/// which fails the calls of others too: the cancelling clients are the gateway's, and the connection is shared.
const MAX_PENDING_RESETS: usize = 16 * 1024;
/// Maximum duration of a request, whatever its deadline.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves `routes` on `listener` until `shutdown` requests the stop and every accepted request is complete.
///
/// `services` are the full names of the gRPC services in `routes`. Health reports SERVING for each of them, and for the
/// empty name, from when `ready` completes until draining begins. RPCs are served before that as well.
///
/// # Errors
/// If the reflection service cannot be built or the listener fails.
pub async fn serve(
    listener: TcpListener,
    services: &[&str],
    routes: Routes,
    ready: impl Future<Output = ()> + Send + 'static,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let names: Vec<String> = services.iter().map(|&s| s.to_owned()).chain([String::new()]).collect();
    for name in &names {
        health.set_service_status(name, ServingStatus::NotServing).await;
    }
    let draining = shutdown.draining().clone();
    tokio::spawn(async move {
        let report = async |status| {
            for name in &names {
                health.set_service_status(name, status).await;
            }
        };
        tokio::select! {
            () = ready => report(ServingStatus::Serving).await,
            () = draining.cancelled() => {}
        }
        draining.cancelled().await;
        report(ServingStatus::NotServing).await;
    });
    let names: Vec<String> = services.iter().map(|&service| service.to_owned()).collect();
    let (reflection, reflection_alpha) = (reflection::v1(&names)?, reflection::v1alpha(&names)?);
    // The server's `tcp_nodelay` does not apply to a listener that is passed in, and without it the second packet of
    // a response waits 40 ms for the acknowledgement of the first.
    let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .layer(TraceLayer::default())
        .timeout(REQUEST_TIMEOUT)
        .load_shed(true)
        .concurrency_limit_per_connection(MAX_REQUESTS_PER_CONNECTION)
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_max_local_error_reset_streams(None)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_routes(routes)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(reflection_alpha)
        .serve_with_incoming_shutdown(connections, shutdown.stop().clone().cancelled_owned())
        .await?;
    Ok(())
}

/// The name of an RPC of the contract (`baton.task.v1.TaskService/GetTask`), or of gRPC's own. All other paths have one
/// name, because each name is a series in the metrics forever.
fn rpc_name(path: &str) -> String {
    static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let services = pool().services();
        let names = |service: ServiceDescriptor| {
            let name = |method: MethodDescriptor| format!("{}/{}", service.full_name(), method.name());
            service.methods().map(name).collect::<Vec<_>>()
        };
        services.flat_map(names).collect()
    });
    let name = path.trim_start_matches('/');
    if NAMES.contains(name) || matches!(name, "grpc.health.v1.Health/Check" | "grpc.health.v1.Health/Watch") {
        return name.to_owned();
    }
    let is_grpc = name.starts_with("grpc.");
    if is_grpc { "grpc.other".to_owned() } else { "other".to_owned() }
}

/// Adds a server span per RPC, child of the caller's, the call's [`Origin`], and the RED metrics:
/// `rpc.server.call.duration` in seconds by `rpc.method` and `rpc.grpc.status_code`.
#[derive(Debug, Clone)]
struct TraceLayer(Histogram<f64>);

impl Default for TraceLayer {
    fn default() -> Self {
        Self(
            global::meter("baton")
                .f64_histogram("rpc.server.call.duration")
                .with_unit("s")
                .with_description("Time from the request's headers to the answer's.")
                .with_boundaries(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
                .build(),
        )
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner, duration: self.0.clone() }
    }
}

#[derive(Debug, Clone)]
struct Trace<S> {
    inner: S,
    duration: Histogram<f64>,
}

impl<S, B, R> Service<Request<B>> for Trace<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = rpc_name(request.uri().path());
        // Probes are frequent and not worth a span.
        let span = if method.starts_with("grpc.") {
            Span::none()
        } else {
            info_span!("rpc", otel.name = %method, otel.kind = "server", rpc.system = "grpc", rpc.grpc.status_code = Empty)
        };
        propagation::continue_from_headers(&span, request.headers());
        let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        let origin = Origin::of(request.headers(), peer.map(|peer| peer.ip()));
        let duration = self.duration.clone();
        let begun = Instant::now();
        let answer = span.in_scope(|| self.inner.call(request));
        Box::pin(
            origin
                .scope(async move {
                    let answer = answer.await.map(message_size::explain);
                    // tonic returns the error of a unary call in the headers; no status there means OK.
                    let code = match &answer {
                        Ok(answer) => answer.headers().get("grpc-status").and_then(|v| v.to_str().ok()).unwrap_or("0"),
                        Err(_) => "13",
                    };
                    Span::current().record("rpc.grpc.status_code", code);
                    let attributes =
                        [KeyValue::new("rpc.method", method), KeyValue::new("rpc.grpc.status_code", code.to_owned())];
                    duration.record(begun.elapsed().as_secs_f64(), &attributes);
                    answer
                })
                .instrument(span),
        )
    }
}
