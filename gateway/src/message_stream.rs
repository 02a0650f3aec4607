//! Server-streaming RPCs over plain HTTP: as server-sent events, and as a WebSocket on the same path. A `google.api.http`
//! GET on the RPC is all that it takes.
//!
//! Each message of the RPC is one event, or one text frame, with the JSON of the REST interface. The stream ends as soon as
//! its caller may no longer call the RPC, whatever the service does. A client that does not read slows down its own stream
//! only: the gateway takes the next message from the service when the one before was written.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{
        FromRequestParts as _, Request, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    response::{IntoResponse as _, Response},
};
use baton_errors::{Reason, reason_of};
use baton_runtime::Shutdown;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{
    HeaderValue,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use prost_reflect::DynamicMessage;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tonic::Streaming;
use url::form_urlencoded;

use crate::{
    headers::{self, X_ACCOUNT_ID},
    json::encode::MessageJson,
    live::{AccessError, Credentials, Format, Identified, Joined, Live},
    problem::Problem,
    rate_limit::Verdict,
    response_body::hold_until_read,
    rest::{self, Endpoint},
    same_origin, upstream,
};

/// The WebSocket subprotocol. A client that offers one must be given one.
const SUBPROTOCOL: &str = "baton-v1-json";
/// How often a silent stream says something, and the caller's rights are checked.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// A WebSocket client that takes nothing for this long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A WebSocket client that sends nothing for this long, not even a pong, is disconnected.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(90);
/// Maximum frame of a client, which has nothing to say.
const MAX_FRAME_BYTES: usize = 4 * 1024;

/// Handles a request that matched the route.
pub(crate) async fn handle(endpoint: Arc<Endpoint>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.ok();
    if upgrade.is_some() && !same_origin::may_connect(&endpoint.config.cors_origins, &parts.uri, &parts.headers) {
        return Problem::from(Reason::OriginNotAllowed).into_response_for(&parts.headers);
    }
    if let Err(problem) = take_credentials(&mut parts, upgrade.as_ref()) {
        return problem.into_response_for(&parts.headers);
    }
    let client = endpoint.guard.trusted_proxies.client_ip(&parts.headers, &parts.extensions);
    let body = match rest::read_body(&endpoint, &parts, body, client).await {
        Ok(body) => body,
        Err(problem) => return rest::refuse(problem, &parts),
    };
    let account = rest::account_of_path_parameters(&endpoint.route, &mut parts).await;
    let rpc = endpoint.route.rpc.as_str();
    let admitted = endpoint.guard.admit_stream(rpc, &parts.headers, account.as_deref(), client).await;
    let (permit, verdict) = match admitted {
        Ok(admitted) => admitted,
        Err((error, verdict)) => {
            let problem = Problem::from_status(&error.into(), &endpoint.route);
            return finish(problem.into_response_for(&parts.headers), verdict.as_ref());
        }
    };
    let opening = rest::with_deadline(
        Instant::now() + endpoint.config.timeout,
        OpenStream::open(&endpoint, &mut parts, &body.bytes, client),
    );
    let stream = match opening.await {
        Ok(stream) => stream,
        Err(problem) => return finish(problem.into_response_for(&parts.headers), verdict.as_ref()),
    };
    let response = match upgrade {
        Some(upgrade) => {
            upgrade.protocols([SUBPROTOCOL]).max_message_size(MAX_FRAME_BYTES).on_upgrade(move |socket| async move {
                serve_socket(stream, socket).await;
                drop(permit);
            })
        }
        None => hold_until_read(event_stream(stream), permit),
    };
    finish(response, verdict.as_ref())
}

fn finish(mut response: Response, verdict: Option<&Verdict>) -> Response {
    if let Some(verdict) = verdict {
        verdict.write_headers(response.headers_mut());
    }
    response
}

/// Moves token and account to the headers: a browser cannot set headers of an `EventSource` or a `WebSocket`, so they are
/// query parameters there, or the token is a subprotocol.
fn take_credentials(parts: &mut Parts, upgrade: Option<&WebSocketUpgrade>) -> Result<(), Problem> {
    let mut token = upgrade.and_then(same_origin::subprotocol_token);
    let mut account = None;
    let mut rest = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "token" => token = Some(value.into_owned()),
            "account_id" => account = Some(value.into_owned()),
            _ => drop(rest.append_pair(&name, &value)),
        }
    }
    let header = |value: String, name| HeaderValue::try_from(value).map_err(|_| Problem::field(name, "must be text"));
    if let Some(token) = token {
        parts.headers.insert(AUTHORIZATION, header(format!("Bearer {token}"), "token")?);
    }
    if let Some(account) = account {
        parts.headers.insert(X_ACCOUNT_ID, header(account, "account_id")?);
    }
    let path = match rest.finish() {
        rest if rest.is_empty() => parts.uri.path().to_owned(),
        rest => format!("{}?{rest}", parts.uri.path()),
    };
    parts.uri = path.try_into().map_err(|_| Problem::from(Reason::MalformedRequest))?;
    Ok(())
}

/// A stream of a service, and what ends it.
struct OpenStream {
    messages: Streaming<DynamicMessage>,
    live: Live,
    credentials: Credentials,
    rpc: String,
    /// Notices within a second that the caller may no longer act in the account.
    joined: Joined,
    expires: Option<Instant>,
    ticks: tokio::time::Interval,
    /// The check of the caller's rights that runs; it goes on when [`OpenStream::next`] is dropped.
    check: Option<JoinHandle<Result<Identified, AccessError>>>,
    shutdown: Shutdown,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if let Some(check) = &self.check {
            check.abort();
        }
    }
}

enum Step {
    /// The JSON of a message.
    Message(String),
    /// Nothing was said for a while.
    Silence,
    /// The service has ended the stream.
    Complete,
}

impl OpenStream {
    /// Calls the RPC.
    async fn open(
        Endpoint { route, upstream, live, shutdown, .. }: &Endpoint,
        parts: &mut Parts,
        body: &[u8],
        client: Option<std::net::IpAddr>,
    ) -> Result<Self, Problem> {
        let request = rest::decode(route, parts, body).await?;
        rest::name_account(route, parts, &request)?;
        let credentials = Credentials::from_headers(&parts.headers)?;
        let identified = live.identify(&credentials, route.rpc.as_str()).await.map_err(Reason::from)?;
        let expires = identified.expires();
        let credentials = credentials.in_account(identified.identity.account_id);
        let joined = live.join(identified, credentials.clone(), Format::Json).ok_or(Reason::Unavailable)?;
        let metadata = headers::upstream_metadata(&parts.headers, client);
        let call = tonic::Request::from_parts(metadata, tonic::Extensions::default(), request);
        let response = upstream::streaming(upstream.clone(), route.rpc.clone(), call, route.method.output()).await;
        let mut ticks = interval_at(Instant::now() + KEEPALIVE, KEEPALIVE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            messages: response.map_err(|status| Problem::from_status(&status, route))?.into_inner(),
            live: live.clone(),
            credentials,
            rpc: route.rpc.to_string(),
            joined,
            expires,
            ticks,
            check: None,
            shutdown: shutdown.clone(),
        })
    }

    /// Waits for the next message. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// Why the stream ends.
    async fn next(&mut self) -> Result<Step, Reason> {
        let expires = self.expires;
        let expiry = async {
            match expires {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            end = self.joined.ended() => Err(self.joined.reason(end).await),
            () = expiry => Err(Reason::TokenInvalid),
            () = self.shutdown.draining().cancelled() => Err(Reason::Unavailable),
            checked = checked(&mut self.check) => {
                self.check = None;
                match checked {
                    Some(Reason::Unavailable) | None => Ok(Step::Silence),
                    Some(reason) => Err(reason),
                }
            }
            _ = self.ticks.tick(), if self.check.is_none() => {
                // Somebody's role may have changed.
                let (live, credentials, rpc) = (self.live.clone(), self.credentials.clone(), self.rpc.clone());
                self.check = Some(tokio::spawn(async move { live.identify(&credentials, &rpc).await }));
                Ok(Step::Silence)
            }
            message = self.messages.message() => match message {
                Ok(Some(message)) => {
                    let json = serde_json::to_string(&MessageJson(&message)).map_err(|_| Reason::Internal)?;
                    Ok(Step::Message(json))
                }
                Ok(None) => Ok(Step::Complete),
                Err(status) => Err(reason_of(&status).unwrap_or(Reason::Unavailable)),
            },
        }
    }
}

/// Waits for a check of the caller's rights; for ever if none runs. Returns why the call was refused.
async fn checked(check: &mut Option<JoinHandle<Result<Identified, AccessError>>>) -> Option<Reason> {
    match check {
        Some(check) => check.await.ok()?.err().map(Reason::from),
        None => std::future::pending().await,
    }
}

/// The stream as server-sent events. The event `end` says why it ends, `{}` when it is complete.
fn event_stream(stream: OpenStream) -> Response {
    let events = stream::unfold(Some(stream), async |stream| {
        let mut stream = stream?;
        let (text, rest) = match stream.next().await {
            Ok(Step::Message(json)) => (format!("data: {json}\n\n"), Some(stream)),
            Ok(Step::Silence) => (":\n\n".to_owned(), Some(stream)),
            Ok(Step::Complete) => ("event: end\ndata: {}\n\n".to_owned(), None),
            Err(reason) => (format!("event: end\ndata: {{\"reason\":\"{}\"}}\n\n", reason.name()), None),
        };
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), rest))
    });
    // Tells the client at once that the stream is open.
    let events = stream::once(async { Ok(Bytes::from_static(b":\n\n")) }).chain(events);
    let mut response = Body::from_stream(events).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx buffers responses otherwise.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Serves the stream as a WebSocket. The close frame says why it ends.
async fn serve_socket(mut stream: OpenStream, mut socket: WebSocket) {
    let mut last_received = Instant::now();
    let (code, reason) = loop {
        let frame = tokio::select! {
            step = stream.next() => match step {
                Ok(Step::Message(json)) => Message::Text(json.into()),
                Ok(Step::Silence) if last_received.elapsed() > SILENCE_TIMEOUT => return,
                Ok(Step::Silence) => Message::Ping(Bytes::new()),
                Ok(Step::Complete) => break (close_code::NORMAL, ""),
                Err(reason @ Reason::Unavailable) => break (close_code::RESTART, reason.name()),
                Err(reason @ Reason::Internal) => break (close_code::ERROR, reason.name()),
                Err(reason) => break (close_code::POLICY, reason.name()),
            },
            received = socket.next() => match received {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                    last_received = Instant::now();
                    continue;
                }
                Some(Ok(Message::Text(_) | Message::Binary(_))) => break (close_code::UNSUPPORTED, ""),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        };
        if !matches!(timeout(WRITE_TIMEOUT, socket.send(frame)).await, Ok(Ok(()))) {
            return;
        }
    };
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let closing = async {
        if socket.send(close).await.is_ok() {
            // The client's close frame ends the connection.
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = timeout(Duration::from_secs(2), closing).await;
}
