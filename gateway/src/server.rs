//! The HTTP server: HTTP/1.1 and HTTP/2 (prior knowledge, as gRPC speaks it) at one port.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// What is read ahead of a connection at most, headers included; hyper would take 400 KiB of each.
const LARGEST_BUFFER: usize = 64 * 1024;

/// Accepts connections until `stop`; then tells each to finish what it has begun, and waits for it.
///
/// axum's own server sets no timeouts: a client that sends its headers one by one, or vanishes, would
/// hold a connection for ever.
pub(crate) async fn serve(listener: TcpListener, app: Router, stop: CancellationToken) {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(15)).max_buf_size(LARGEST_BUFFER);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(1024)
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
                // Out of file descriptors, most likely: closing connections will free some.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Otherwise the last frame of an answer waits for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let app = app.clone();
        let answer = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let app = app.clone();
            async move { Ok::<_, Infallible>(app.oneshot(request.map(Body::new)).await.unwrap_or_else(|e| match e {})) }
        });
        let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), answer).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "connection ended");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}
