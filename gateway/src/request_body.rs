//! Request bodies: their timeout, size limit and memory quota.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use baton_errors::{Error, Reason, Result};
use baton_runtime::{
    origin,
    shares::{Share, Shares},
};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// Time for a small body, and maximum pause within a larger one.
const BODY_TIMEOUT: Duration = Duration::from_secs(8);
/// Minimum rate of a larger body: each of this many received bytes extends its time by one second (like `MinRate` of
/// Apache's mod_reqtimeout).
const MIN_BYTES_PER_SECOND: u64 = 4 * 1024;

/// Memory for the bodies of one address (IPv6: the /64) at one gateway, in KiB.
const MAX_BUFFERED_KIB_PER_ADDRESS: u32 = 64 * 1024;

/// The client stopped sending its body, or sends it too slowly.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the body did not arrive in time")]
pub(crate) struct TooSlow;

/// A body that fails with [`TooSlow`] if it does not arrive in time.
pub(crate) struct TimedBody<B> {
    body: B,
    timeout: Duration,
    started_at: Option<Instant>,
    received: u64,
    deadline: Option<Pin<Box<Sleep>>>,
    is_done: bool,
}

impl<B> TimedBody<B> {
    pub(crate) fn new(body: B) -> Self {
        Self::with_timeout(body, BODY_TIMEOUT)
    }

    fn with_timeout(body: B, timeout: Duration) -> Self {
        Self { body, timeout, started_at: None, received: 0, deadline: None, is_done: false }
    }
}

impl<B> HttpBody for TimedBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.is_done {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.received += frame.data_ref().map_or(0, |data| data.len() as u64);
                this.deadline = None;
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(end) => {
                this.is_done = true;
                return Poll::Ready(end.map(|end| end.map_err(Into::into)));
            }
            Poll::Pending => {}
        }
        // The clock starts with the first wait for the client.
        let now = Instant::now();
        let started_at = *this.started_at.get_or_insert(now);
        let extra_time = Duration::from_secs(this.received / MIN_BYTES_PER_SECOND);
        let ends = (started_at + this.timeout + extra_time).min(now + this.timeout);
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep_until(ends)));
        if deadline.poll_unpin(cx).is_pending() {
            return Poll::Pending;
        }
        this.is_done = true;
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.is_done || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Memory quota of bodies per address. Clones share it.
#[derive(Clone)]
pub(crate) struct BodyBuffers(Arc<Shares<Option<IpAddr>>>);

/// A whole body, with its share of the memory quota.
pub(crate) struct BufferedBody {
    pub(crate) bytes: Bytes,
    _share: Option<Share<Option<IpAddr>>>,
}

impl Default for BodyBuffers {
    fn default() -> Self {
        Self(Shares::new(MAX_BUFFERED_KIB_PER_ADDRESS))
    }
}

impl BodyBuffers {
    /// Reads a body of at most `limit` bytes, and stops reading beyond that.
    ///
    /// # Errors
    /// REQUEST_TOO_LARGE, BODY_TIMEOUT, BUSY if the client's bodies exceed its quota, and MALFORMED_REQUEST if the body
    /// ends early.
    pub(crate) async fn read(
        &self,
        mut body: Body,
        headers: &HeaderMap,
        limit: usize,
        client: Option<IpAddr>,
    ) -> Result<BufferedBody> {
        let too_large = || Error::new(Reason::RequestTooLarge, format!("the body is larger than {limit} bytes"));
        let content_length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if content_length.is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let network = client.map(origin::network);
        let (mut chunks, mut share) = (Chunks::default(), None::<Share<_>>);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| read_error(&error))?.into_data() else { continue };
            if chunks.len() + data.len() > limit {
                return Err(too_large());
            }
            let kib = u32::try_from(data.len().div_ceil(1024)).unwrap_or(u32::MAX);
            if kib > 0 {
                let more = self.0.try_take(&network, kib).ok_or_else(|| Error::from(Reason::Busy))?;
                match &mut share {
                    Some(share) => share.merge(more),
                    None => share = Some(more),
                }
            }
            chunks.push(data);
        }
        Ok(BufferedBody { bytes: chunks.into_bytes(), _share: share })
    }
}

/// Chunks of a body. The first one is kept without copying, since most bodies have only one.
#[derive(Default)]
struct Chunks {
    first: Bytes,
    rest: BytesMut,
}

impl Chunks {
    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = data;
        } else {
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
            self.rest.extend_from_slice(&data);
        }
    }

    fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// Maps a read error to a reason.
fn read_error(error: &axum::Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<TooSlow>() {
            return Reason::BodyTimeout.into();
        }
        source = error.source();
    }
    Error::new(Reason::MalformedRequest, "the body ended early")
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(400);

    /// Reads chunks that arrive after so many tenths of the body timeout.
    async fn read(pieces: &'static [(u32, &'static str)], limit: usize) -> std::result::Result<Bytes, String> {
        let pieces = stream::iter(pieces).then(|&(tenths, piece)| async move {
            tokio::time::sleep(TIMEOUT / 10 * tenths).await;
            Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))
        });
        let body = Body::new(TimedBody::with_timeout(Body::from_stream(pieces), TIMEOUT));
        let arrived = BodyBuffers::default().read(body, &HeaderMap::new(), limit, None).await;
        arrived.map(|arrived| arrived.bytes).map_err(|error| error.reason().name().to_owned())
    }

    #[tokio::test]
    async fn a_body_that_arrives_in_time_is_joined() {
        assert_eq!(read(&[], 9).await.unwrap(), "");
        assert_eq!(read(&[(0, "one")], 9).await.unwrap(), "one");
        assert_eq!(read(&[(2, "one"), (0, ""), (1, "two")], 6).await.unwrap(), "onetwo");
    }

    #[tokio::test]
    async fn slow_and_large_bodies_are_refused() {
        assert_eq!(read(&[(30, "x")], 9).await.unwrap_err(), "BODY_TIMEOUT");
        assert_eq!(
            read(&[(6, "x"), (6, "x"), (6, "x")], 9).await.unwrap_err(),
            "BODY_TIMEOUT",
            "below the minimum rate"
        );
        assert_eq!(read(&[(0, "one"), (0, "two")], 5).await.unwrap_err(), "REQUEST_TOO_LARGE");
    }
}
