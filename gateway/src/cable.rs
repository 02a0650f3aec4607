//! The WebSocket at `/cable`: pushes committed events.
//!
//! It speaks Action Cable's protocol (`actioncable-v1-json`), so that published clients such as
//! `@rails/actioncable` work unchanged:
//!
//! | channel | parameters | messages |
//! |---|---|---|
//! | `NotificationChannel` | none, or the caller's own `user_id` | `{"event": "notification_received", "notification": {id, type, task_id, created_at}}` |
//! | `TaskChannel` | `task_id` of a visible task | `{"event": "task_started", task_id, status, version, assigned_to, actor_id, occurred_at}`; one per event of the task. `comment_created`, `attachment_added` and the like: `{"event", task_id, actor_id, occurred_at}` and the id of the thing |
//! | `BoardChannel` | `board_id`: `my`, `user-<id>`, `team` or `account`, if visible | `{"event": "task_added", task_id, cause, status, version, assigned_to, actor_id, occurred_at}`, or `task_moved`, `task_removed`, `task_updated`; `{"event": "resync"}` when its set of users has changed: read the board again |
//!
//! **Connecting.** The access token is the query parameter `token`, `Authorization: Bearer`, or a subprotocol
//! `baton.token.<token>` (`consumer.addSubProtocol`), which unlike the query is not logged. The account is `account_id`
//! or `X-Account-Id`; the default is the caller's default account. Pages must be of an allowed CORS origin or of this
//! host.
//!
//! **Disconnecting.** Before it closes a socket, the gateway sends `{"type": "disconnect", "reason", "reconnect"}`:
//!
//! | reason | reconnect | when |
//! |---|---|---|
//! | `unauthorized` | no | the token, its session or the membership is not valid, or no longer |
//! | `token_expired` | yes | the token expired while connected. A client whose URL is a function (`createConsumer(() => url)`) reconnects with its new token |
//! | `token_expired` | no | the token had expired before connecting: refresh it, then connect |
//! | `server_restart` | yes | the gateway stops, missed events, or cannot check the caller's access |
//! | `too_slow` | yes | the client reads slower than messages are sent |
//! | `invalid_request` | no | the client violated the protocol |
//!
//! No event is lost silently: a client that cannot receive one is disconnected, and reads the state again after
//! reconnecting. An event of a task says who sees the task after it, so the gateway decides by the subscriber's
//! membership, and calls no service (`baton_access::TaskAudience`). When an event could change the membership itself,
//! the gateway checks access again with the subscriber's own token, and holds the affected events until the result is
//! known.

mod authorizer;
mod channel;
mod hub;
mod protocol;
mod send_queue;
mod session;

use std::sync::Arc;

use anyhow::Result;
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
use baton_proto::baton::events::v1::Envelope;
use baton_runtime::{Clock, Shutdown};
use http::{
    Extensions, HeaderMap, Uri,
    header::{AUTHORIZATION, ORIGIN},
};
use opentelemetry::{global, metrics::UpDownCounter};
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

use self::{
    authorizer::{Authorizer, Credentials, NOTIFICATIONS},
    hub::Hub,
};
use crate::{
    config::Config, headers::X_ACCOUNT_ID, problem::Problem, rate_limit::Caller, request_guard::RequestGuard,
    same_origin, upstream::Upstream,
};

/// Path of the WebSocket.
const PATH: &str = "/cable";

const SUBPROTOCOL: &str = "actioncable-v1-json";
const TOKEN_SUBPROTOCOL: &str = "baton.token.";
/// Maximum frame and message of a client, in bytes.
const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Read buffer of a socket, in bytes, allocated while the socket is open. Commands are short; longer ones grow it.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// State that all sockets share. Clones share it.
#[derive(Clone)]
pub(crate) struct Cable(Arc<Shared>);

struct Shared {
    authorizer: Authorizer,
    guard: RequestGuard,
    clock: Clock,
    hub: Hub,
    origins: Vec<String>,
    shutdown: Shutdown,
    sockets: TaskTracker,
    open: UpDownCounter<i64>,
}

/// The services that authenticate and authorize subscribers.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams {
    /// `baton.auth.v1`.
    pub(crate) auth: Upstream,
    /// `baton.tenancy.v1`.
    pub(crate) tenancy: Upstream,
    /// `baton.task.v1`.
    pub(crate) task: Upstream,
}

impl Cable {
    /// Starts to push `events`, the live tail of all streams, to subscribers that `upstreams` authorize.
    ///
    /// # Errors
    /// If the contract has no access rule for notifications.
    pub(crate) fn start(
        upstreams: Upstreams,
        config: &Config,
        guard: RequestGuard,
        events: &broadcast::Sender<Arc<Envelope>>,
        shutdown: Shutdown,
    ) -> Result<Self> {
        let authorizer = Authorizer::new(upstreams, &config.issuer)?;
        let hub = Hub::default();
        tokio::spawn(hub.clone().run(events.subscribe(), shutdown.clone()));
        Ok(Self(Arc::new(Shared {
            authorizer,
            guard,
            clock: Clock::system(),
            hub,
            origins: config.cors_origins.clone(),
            shutdown,
            sockets: TaskTracker::new(),
            open: global::meter("baton").i64_up_down_counter("baton.cable.sockets").build(),
        })))
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
    if !is_origin_allowed(&cable.0.origins, &uri, &headers) {
        return Problem::from(Reason::OriginNotAllowed).into_response_for(&headers);
    }
    let Parameters { token, account_id } = query.map(|Query(parameters)| parameters).unwrap_or_default();
    let token = token.or_else(|| subprotocol_token(&upgrade)).or_else(|| bearer(&headers));
    let account_id = account_id.or_else(|| text(&headers, X_ACCOUNT_ID.as_str()));
    let credentials = token.and_then(|token| Credentials::new(&token, account_id.as_deref()));
    // Connecting counts as a request of the token's quota, or else of the address's.
    let guard = &cable.0.guard;
    headers.remove(AUTHORIZATION);
    headers.extend(credentials.as_ref().map(Credentials::headers).unwrap_or_default());
    let client = guard.trusted_proxies.client_ip(&headers, &extensions);
    let caller = guard.limiter.caller(NOTIFICATIONS, &headers, None, client).await;
    if let Some(verdict) = guard.limiter.count(NOTIFICATIONS, &caller).await
        && let Err(refused) = verdict.check()
    {
        let mut response = Problem::from_unrouted_status(&refused.into()).into_response_for(&headers);
        verdict.write_headers(response.headers_mut());
        return response;
    }
    let permit = match guard.admission.acquire_stream(caller.key(), caller.account()) {
        Ok(permit) => permit,
        Err(refused) => return Problem::from_unrouted_status(&refused.into()).into_response_for(&headers),
    };
    let upgrade = upgrade.protocols([SUBPROTOCOL]).read_buffer_size(READ_BUFFER_BYTES);
    upgrade.max_frame_size(MAX_FRAME_BYTES).max_message_size(MAX_FRAME_BYTES).on_upgrade(move |socket| async move {
        cable.0.serve(socket, credentials, caller).await;
        drop(permit);
    })
}

impl Shared {
    async fn serve(self: Arc<Self>, socket: WebSocket, credentials: Option<Credentials>, caller: Caller) {
        let open = self.open.clone();
        open.add(1, &[]);
        let sockets = self.sockets.clone();
        sockets.track_future(session::run(self, socket, credentials, caller)).await;
        open.add(-1, &[]);
    }
}

/// Whether the page's origin may connect. Browsers always send `Origin`; clients without it are not browsers.
fn is_origin_allowed(allowed: &[String], uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    same_origin::is_same_origin(origin, uri, headers)
        || allowed.iter().any(|allowed| allowed == "*" || allowed == origin)
}

fn subprotocol_token(upgrade: &WebSocketUpgrade) -> Option<String> {
    let mut offered = upgrade.requested_protocols().filter_map(|protocol| protocol.to_str().ok());
    offered.find_map(|protocol| protocol.strip_prefix(TOKEN_SUBPROTOCOL)).map(str::to_owned)
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = text(headers, AUTHORIZATION.as_str())?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;

    #[test]
    fn only_allowed_origins_and_the_own_host_may_connect() {
        let uri = Uri::from_static("/cable");
        let may = |origin: Option<&str>, allowed: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "api.example.com:8080".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            is_origin_allowed(&allowed.iter().map(|&s| s.to_owned()).collect::<Vec<_>>(), &uri, &headers)
        };
        let app = &["https://app.example.com"][..];
        assert!(may(None, &[]));
        assert!(may(Some("https://app.example.com"), app));
        assert!(may(Some("http://api.example.com:8080"), &[]));
        assert!(may(Some("https://evil.example"), &["*"]));
        for evil in ["https://evil.example", "null", "http://api.example.com", "https://app.example.com.evil.example"] {
            assert!(!may(Some(evil), app), "{evil}");
        }
    }
}
