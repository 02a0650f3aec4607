//! Response bodies: their read timeout.
//!
//! hyper polls a body for its next chunk when the client has read the previous one, without a timeout. A body that is
//! not polled for some time is therefore dropped, with its memory, its permit, and its stream from a service.

use std::{
    any::Any,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::sleep;

/// A response whose client reads nothing for this long is dropped.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum chunk, in bytes: chunks in HTTP/2's send buffers cannot be dropped.
const MAX_CHUNK: usize = 16 * 1024;
/// Responses up to this size, in bytes, are sent in one chunk and not watched.
const MAX_UNWATCHED_BYTES: u64 = 16 * 1024;

/// The client did not read the response.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the client did not read the response in time")]
struct ReadTimeout;

/// Holds `guard` until the response has been read, fails, or times out.
pub(crate) fn hold_until_read(response: Response, guard: impl Any + Send) -> Response {
    hold_until_read_within(response, guard, READ_TIMEOUT)
}

fn hold_until_read_within(response: Response, guard: impl Any + Send, timeout: Duration) -> Response {
    if response.body().size_hint().exact().is_some_and(|size| size <= MAX_UNWATCHED_BYTES) {
        // Sent at once.
        return response;
    }
    response.map(|body| {
        let state = State { body, rest: None, is_awaiting_body: false, chunks: 0, _guard: Box::new(guard) };
        let shared = Arc::new(Mutex::new(Some(state)));
        tokio::spawn(cancel_when_unread(Arc::downgrade(&shared), timeout));
        Body::new(WatchedBody { shared, is_done: false })
    })
}

struct WatchedBody {
    /// `None` after its end or its timeout.
    shared: Arc<Mutex<Option<State>>>,
    is_done: bool,
}

struct State {
    body: Body,
    /// The part that did not fit into the last chunk.
    rest: Option<Bytes>,
    /// The client has read all and waits for the inner body.
    is_awaiting_body: bool,
    chunks: u64,
    _guard: Box<dyn Any + Send>,
}

/// Drops the body of a response that is not read.
async fn cancel_when_unread(shared: Weak<Mutex<Option<State>>>, timeout: Duration) {
    let mut last = None;
    loop {
        sleep(timeout / 2).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut state = lock(&shared);
        let Some(now) = &*state else { return };
        let seen = Some((now.chunks, now.is_awaiting_body));
        if seen == last && !now.is_awaiting_body {
            *state = None;
            return;
        }
        last = seen;
    }
}

fn lock(shared: &Mutex<Option<State>>) -> MutexGuard<'_, Option<State>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.is_done {
            return Poll::Ready(None);
        }
        let mut shared = lock(&this.shared);
        let Some(state) = &mut *shared else {
            this.is_done = true;
            return Poll::Ready(Some(Err(ReadTimeout.into())));
        };
        state.chunks += 1;
        if let Some(rest) = &mut state.rest {
            let chunk = rest.split_to(rest.len().min(MAX_CHUNK));
            if rest.is_empty() {
                state.rest = None;
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        state.is_awaiting_body = true;
        let frame = ready!(Pin::new(&mut state.body).poll_frame(cx));
        state.is_awaiting_body = false;
        match frame {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(mut data) => {
                    let chunk = data.split_to(data.len().min(MAX_CHUNK));
                    state.rest = (!data.is_empty()).then_some(data);
                    Frame::data(chunk)
                }
                Err(other) => other,
            }))),
            end => {
                *shared = None;
                this.is_done = true;
                Poll::Ready(end.map(|end| end.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_done
            || lock(&self.shared).as_ref().is_some_and(|state| state.rest.is_none() && state.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let shared = lock(&self.shared);
        let Some(state) = &*shared else { return SizeHint::default() };
        let (body, rest) = (state.body.size_hint(), state.rest.as_ref().map_or(0, Bytes::len) as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(200);

    fn response(body: Body) -> (Response, Weak<()>) {
        let guard = Arc::new(());
        let held = Arc::downgrade(&guard);
        (hold_until_read_within(Response::new(body), guard, TIMEOUT), held)
    }

    #[tokio::test]
    async fn a_response_that_is_read_arrives_whole_and_releases_its_guard() {
        let text = "x".repeat(3 * MAX_CHUNK + 1);
        let (response, held) = response(Body::from(text.clone()));
        assert_eq!(response.body().size_hint().exact(), Some(text.len() as u64));
        let mut body = response.into_body();
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= MAX_CHUNK && held.upgrade().is_some());
            read.extend_from_slice(&data);
            sleep(TIMEOUT / 3).await;
        }
        assert_eq!(read, text.as_bytes());
        assert!(held.upgrade().is_none());
    }

    #[tokio::test]
    async fn an_unread_response_times_out() {
        let (response, held) = response(Body::from("x".repeat(3 * MAX_CHUNK)));
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        sleep(TIMEOUT * 2).await;
        assert!(held.upgrade().is_none());
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none(), "a body ends with its first error");
    }

    #[tokio::test]
    async fn an_idle_stream_does_not_time_out() {
        let chunks = futures_util::stream::once(async {
            sleep(TIMEOUT * 3).await;
            Ok::<_, std::io::Error>(Bytes::from_static(b"late"))
        });
        let (response, held) = response(Body::from_stream(chunks));
        let read = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(read, "late");
        assert!(held.upgrade().is_none());
    }
}
