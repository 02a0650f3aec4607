//! Request bodies that nobody reads.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tonic::{Status, body::Body};

/// How much of a body is read for nothing, and for how long. Who sends more is cut off.
const AT_MOST_BYTES: usize = 64 * 1024;
const AT_MOST: Duration = Duration::from_secs(5);

/// A request's body, read to its end in the background when it is dropped before.
///
/// A call that is refused by its headers leaves its body unread, and the stream is reset while the body is still
/// on its way. h2 counts such small frames against the *connection* for as long as that lives, and after some
/// hundred closes it (`too_many_data_frames`): calls of people without a token would break those of everybody who
/// shares the gateway's connection.
#[derive(Debug)]
pub(crate) struct ReadToEnd(Option<Body>);

/// Wraps a body.
pub(crate) fn read_to_end(body: Body) -> Body {
    Body::new(ReadToEnd(Some(body)))
}

impl HttpBody for ReadToEnd {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for ReadToEnd {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        // There is none when the process ends, and then it does not matter.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(AT_MOST, discard(body)));
        }
    }
}

async fn discard(mut body: Body) {
    let mut read = 0;
    while read < AT_MOST_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, |data| data.len());
    }
}
