//! The WebSocket at `/cable`, in Action Cable's protocol and in AnyCable's extension of it, so that published clients work
//! unchanged. docs/live-updates.md describes it for clients.
//!
//! No event is lost silently: a client that cannot receive one is told to read the state again, or is disconnected.

mod protocol;
mod session;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{
        Query, State, WebSocketUpgrade,
        rejection::QueryRejection,
        ws::{WebSocket, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
    routing::any,
};
use baton_errors::Reason;
use baton_runtime::{Clock, Shutdown};
use http::{Extensions, HeaderMap, Uri, header::AUTHORIZATION};
use opentelemetry::{global, metrics::UpDownCounter};
use serde::Deserialize;
use tokio_util::task::TaskTracker;

use crate::{
    config::Config,
    headers::{self, X_ACCOUNT_ID},
    live::{Credentials, Format, Live, WATCH},
    problem::Problem,
    request_guard::RequestGuard,
    same_origin,
};

/// Path of the WebSocket.
const PATH: &str = "/cable";

const SUBPROTOCOL: &str = "actioncable-v1-json";
/// AnyCable's extension, with positions and history.
const EXTENDED_SUBPROTOCOL: &str = "actioncable-v1-ext-json";
/// Maximum frame and message of a client, in bytes.
const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Read buffer of a socket, in bytes, allocated while the socket is open. Commands are short; longer ones grow it.
const READ_BUFFER_BYTES: usize = 1024;
/// Bytes that a socket collects before it writes them; a batch is flushed.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// State that all sockets share. Clones share it.
#[derive(Clone)]
pub(crate) struct Cable(Arc<Shared>);

struct Shared {
    live: Live,
    guard: RequestGuard,
    clock: Clock,
    origins: Vec<String>,
    drain_time: Duration,
    shutdown: Shutdown,
    sockets: TaskTracker,
    open: UpDownCounter<i64>,
}

impl Cable {
    /// Serves sockets with the messages of `live`.
    pub(crate) fn new(live: Live, config: &Config, guard: RequestGuard, shutdown: Shutdown) -> Self {
        Self(Arc::new(Shared {
            live,
            guard,
            clock: Clock::system(),
            origins: config.cors_origins.clone(),
            drain_time: config.socket_drain_time,
            shutdown,
            sockets: TaskTracker::new(),
            open: global::meter("baton").i64_up_down_counter("baton.cable.sockets").build(),
        }))
    }

    /// Waits until all sockets are closed, which draining causes.
    pub(crate) async fn wait_closed(&self) {
        self.0.sockets.close();
        self.0.sockets.wait().await;
    }
}

impl std::fmt::Debug for Cable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cable").finish_non_exhaustive()
    }
}

/// The route of the WebSocket, over HTTP/1.1 and HTTP/2 (RFC 8441).
pub(crate) fn router(cable: Cable) -> Router {
    Router::new().route(PATH, any(connect)).with_state(cable)
}

#[derive(Default, Deserialize)]
struct Parameters {
    token: Option<String>,
    account_id: Option<String>,
}

async fn connect(
    State(cable): State<Cable>,
    query: std::result::Result<Query<Parameters>, QueryRejection>,
    uri: Uri,
    extensions: Extensions,
    mut headers: HeaderMap,
    upgrade: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else { return Problem::from(Reason::WebSocketExpected).into_response_for(&headers) };
    if !same_origin::may_connect(&cable.0.origins, &uri, &headers) {
        return Problem::from(Reason::OriginNotAllowed).into_response_for(&headers);
    }
    let Parameters { token, account_id } = query.map(|Query(parameters)| parameters).unwrap_or_default();
    let token = token
        .or_else(|| same_origin::subprotocol_token(&upgrade))
        .or_else(|| headers::bearer(&headers).map(str::to_owned));
    let account_id = account_id.or_else(|| headers::text(&headers, &X_ACCOUNT_ID).map(str::to_owned));
    let credentials = token.and_then(|token| Credentials::new(&token, account_id.as_deref()));
    // Connecting counts as a request of the token's quota, or else of the address's.
    let guard = &cable.0.guard;
    headers.remove(AUTHORIZATION);
    headers.extend(credentials.as_ref().map(Credentials::headers).unwrap_or_default());
    let client = guard.trusted_proxies.client_ip(&headers, &extensions);
    let permit = match guard.admit_stream(WATCH, &headers, None, client).await {
        Ok((permit, _)) => permit,
        Err((refused, verdict)) => {
            let mut response = Problem::from_unrouted_status(&refused.into()).into_response_for(&headers);
            if let Some(verdict) = verdict {
                verdict.write_headers(response.headers_mut());
            }
            return response;
        }
    };
    let upgrade = upgrade.protocols([EXTENDED_SUBPROTOCOL, SUBPROTOCOL]).max_frame_size(MAX_FRAME_BYTES);
    let is_extended = upgrade.selected_protocol().is_some_and(|protocol| protocol == EXTENDED_SUBPROTOCOL);
    let format = if is_extended { Format::CableExtended } else { Format::Cable };
    let upgrade = upgrade.read_buffer_size(READ_BUFFER_BYTES).write_buffer_size(WRITE_BUFFER_BYTES);
    upgrade.max_message_size(MAX_FRAME_BYTES).on_upgrade(move |socket| async move {
        cable.0.serve(socket, credentials, format).await;
        drop(permit);
    })
}

impl Shared {
    async fn serve(self: Arc<Self>, socket: WebSocket, credentials: Option<Credentials>, format: Format) {
        let _open = OpenSocket::count(&self.open);
        let sockets = self.sockets.clone();
        sockets.track_future(session::run(self, socket, credentials, format)).await;
    }
}

/// Counts a socket until it is dropped.
struct OpenSocket(UpDownCounter<i64>);

impl OpenSocket {
    fn count(open: &UpDownCounter<i64>) -> Self {
        open.add(1, &[]);
        Self(open.clone())
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}
