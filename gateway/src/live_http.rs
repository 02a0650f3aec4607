//! Live updates over plain HTTP, for clients without WebSockets: the same channels as at `/cable`.
//!
//! | endpoint | response |
//! |---|---|
//! | `GET /v1/live/stream?channel=` | `text/event-stream` (WHATWG HTML, 9.2). The id of an event is its position: a browser sends the last one as `Last-Event-ID` when it reconnects, and misses nothing. The first event is `subscribed` |
//! | `GET /v1/live/events?channel=&since=` | `{"events": [{"position", "message"}], "position"}`, as soon as there is an event, or without any after 25 seconds. Without `since` at once, with the position to begin with. Call it again with the `position` |
//!
//! The parameters of the channel are those of its identifier: `channel=TaskChannel&task_id=…`,
//! `channel=BoardChannel&board_id=my`, `channel=NotificationChannel`. Both take `since`, a position or a `Live-Position`;
//! POSITION_GONE tells to read the state again. Browsers cannot set headers for event streams, so the token may be the
//! query parameter `token`, and the account `account_id`.

use std::{collections::VecDeque, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    response::{IntoResponse as _, Response},
    routing::get,
};
use baton_errors::Reason;
use baton_runtime::Shutdown;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::{
    admission::StreamPermit,
    headers::{self, X_ACCOUNT_ID},
    live::{ChannelStream, Credentials, Encoded, Format, Live, Parameters, Since, WATCH},
    problem::Problem,
    rate_limit::Verdict,
    request_guard::RequestGuard,
    response_body::hold_until_read,
};

/// How long a poll waits for an event: less than the idle timeouts of proxies.
const POLL_TIMEOUT: Duration = Duration::from_secs(25);
/// How often a silent event stream sends a comment.
const KEEPALIVE: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Clone)]
struct LiveHttp {
    live: Live,
    guard: RequestGuard,
    shutdown: Shutdown,
}

/// The routes of both endpoints.
pub(crate) fn router(live: Live, guard: RequestGuard, shutdown: Shutdown) -> Router {
    let state = LiveHttp { live, guard, shutdown };
    Router::new().route("/v1/live/stream", get(event_stream)).route("/v1/live/events", get(poll)).with_state(state)
}

#[derive(Deserialize)]
struct Request {
    #[serde(flatten)]
    parameters: Parameters,
    token: Option<String>,
    account_id: Option<String>,
}

type Parsed = Result<Query<Request>, QueryRejection>;

/// What holds while a stream is open.
struct Opened {
    stream: ChannelStream,
    permit: StreamPermit,
    verdict: Option<Verdict>,
}

impl LiveHttp {
    /// Authorizes the request and opens its channel.
    async fn open(
        &self,
        query: Parsed,
        headers: &HeaderMap,
        extensions: &Extensions,
        format: Format,
    ) -> Result<Opened, Problem> {
        let Ok(Query(Request { parameters, token, account_id })) = query else {
            return Err(Problem::field(
                "channel",
                "must be TaskChannel, BoardChannel, NotificationChannel or AIChannel",
            ));
        };
        let token = token.or_else(|| headers::bearer(headers).map(str::to_owned)).ok_or(Reason::TokenMissing)?;
        let account_id = account_id.or_else(|| headers::text(headers, &X_ACCOUNT_ID).map(str::to_owned));
        let credentials = Credentials::new(&token, account_id.as_deref()).ok_or(Reason::TokenInvalid)?;
        let client = self.guard.trusted_proxies.client_ip(headers, extensions);
        let admitted = self.guard.admit_stream(WATCH, &credentials.headers(), None, client).await;
        let (permit, verdict) = admitted.map_err(|(refused, _)| Problem::from_unrouted_status(&refused.into()))?;
        let since = headers::text(headers, &LAST_EVENT_ID).map(str::to_owned).or_else(|| parameters.since.clone());
        let since = match since.map(|since| since.parse()) {
            Some(Ok(position)) => Some(Since::Position(position)),
            Some(Err(_)) => {
                return Err(Problem::field("since", "must be the position of a message or a Live-Position"));
            }
            None => None,
        };
        let channel = |user_id| parameters.channel(user_id).ok_or(Reason::ValidationFailed);
        let stream = ChannelStream::open(&self.live, credentials, format, channel, since).await;
        let stream = stream.map_err(|reason| match reason {
            Reason::ValidationFailed => Problem::field("channel", "must be a channel with its parameters"),
            reason => reason.into(),
        })?;
        Ok(Opened { stream, permit, verdict })
    }
}

async fn event_stream(
    State(http): State<LiveHttp>,
    extensions: Extensions,
    headers: HeaderMap,
    query: Parsed,
) -> Response {
    let Opened { stream, permit, verdict } = match http.open(query, &headers, &extensions, Format::EventStream).await {
        Ok(opened) => opened,
        Err(problem) => return problem.into_response_for(&headers),
    };
    let first = format!("retry: 1000\nid: {}\ndata: {{\"event\":\"subscribed\"}}\n\n", stream.position);
    let shutdown = http.shutdown;
    let events = stream::unfold(Some((stream, Some(first), shutdown)), async |state| {
        let (mut stream, first, shutdown) = state?;
        if let Some(first) = first {
            return Some((Ok::<_, std::convert::Infallible>(Bytes::from(first)), Some((stream, None, shutdown))));
        }
        // Read first: whatever is not later is sent before the position.
        let position = stream.current_position().unwrap_or(stream.position);
        let next = tokio::select! {
            next = timeout_at(Instant::now() + KEEPALIVE, stream.next()) => next,
            () = shutdown.draining().cancelled() => Ok(Err(Reason::Unavailable)),
        };
        match next {
            Ok(Ok(Encoded::Bytes(bytes))) => Some((Ok(bytes), Some((stream, None, shutdown)))),
            Ok(Ok(Encoded::Text(_))) | Err(_) => {
                // An id without data is no event, but the browser continues from it.
                Some((Ok(Bytes::from(format!("id: {position}\n\n"))), Some((stream, None, shutdown))))
            }
            Ok(Err(reason)) => {
                let end = format!("event: end\ndata: {{\"reason\":\"{}\"}}\n\n", reason.name());
                Some((Ok(Bytes::from(end)), None))
            }
        }
    });
    let mut response = Body::from_stream(events).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx buffers responses otherwise.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    finish(response, verdict.as_ref(), permit)
}

async fn poll(State(http): State<LiveHttp>, extensions: Extensions, headers: HeaderMap, query: Parsed) -> Response {
    let deadline = Instant::now() + POLL_TIMEOUT;
    let waits = matches!(&query, Ok(Query(request)) if request.parameters.since.is_some());
    if matches!(&query, Ok(Query(request)) if !request.parameters.has_history()) {
        let problem =
            Problem::field("channel", "has no history, so it cannot be polled; use /v1/live/stream or /cable");
        return problem.into_response_for(&headers);
    }
    let opened = http.open(query, &headers, &extensions, Format::Json).await;
    let Opened { mut stream, permit, verdict } = match opened {
        Ok(opened) => opened,
        Err(problem) => return problem.into_response_for(&headers),
    };
    let mut position = stream.position;
    let mut events = stream.take_waiting();
    if waits && events.is_empty() {
        // Read first: what is committed later has a later position.
        position = stream.current_position().unwrap_or(position);
        let next = tokio::select! {
            next = timeout_at(deadline, stream.next()) => next,
            () = http.shutdown.draining().cancelled() => Ok(Err(Reason::Unavailable)),
        };
        match next {
            Ok(Ok(event)) => {
                events = VecDeque::from([event]);
                events.extend(stream.take_waiting());
            }
            Ok(Err(reason)) => return Problem::from(reason).into_response_for(&headers),
            Err(_) => {}
        }
    }
    let mut body = BytesMut::from(&br#"{"events":["#[..]);
    let mut last = None;
    for (n, event) in events.into_iter().enumerate() {
        let Encoded::Bytes(event) = event else { continue };
        if n > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&event);
        last = Some(event);
    }
    // The position of the last event; each is encoded with its own.
    let last = last.and_then(|event| serde_json::from_slice::<Positioned>(&event).ok());
    let position = last.map_or_else(|| position.to_string(), |event| event.position);
    body.put_slice(format!(r#"],"position":"{position}"}}"#).as_bytes());
    let mut response = Body::from(body.freeze()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    finish(response, verdict.as_ref(), permit)
}

#[derive(Deserialize)]
struct Positioned {
    position: String,
}

fn finish(mut response: Response, verdict: Option<&Verdict>, permit: StreamPermit) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(verdict) = verdict {
        verdict.write_headers(response.headers_mut());
    }
    hold_until_read(response, permit)
}
