//! A client's socket with a write timeout.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    runtime::Handle,
    time::{Sleep, sleep, timeout},
};

/// A client that reads no byte for this long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the client may keep sending after the last response. A socket that is closed while bytes arrive is reset,
/// and the client loses the response (RFC 9112, section 9.6).
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum bytes that are read and discarded while lingering.
const MAX_LINGER_BYTES: u64 = 8 * 1024 * 1024;

/// A socket and the permit that it holds while it is open. It lingers on drop.
pub(super) struct ClientIo<P: Send + 'static> {
    /// `None` during drop.
    inner: Option<(TcpStream, P)>,
    stall_timer: Option<Pin<Box<Sleep>>>,
}

impl<P: Send + 'static> ClientIo<P> {
    pub(super) fn new(stream: TcpStream, permit: P) -> Self {
        Self { inner: Some((stream, permit)), stall_timer: None }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let stream = self.inner.as_mut().map(|(stream, _)| Pin::new(stream));
        stream.ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Fails a write that makes no progress.
    fn check_stalled<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall_timer = None;
            return written;
        }
        ready!(self.stall_timer.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT))).poll_unpin(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<P: Send + 'static> Drop for ClientIo<P> {
    fn drop(&mut self) {
        let Some((mut stream, permit)) = self.inner.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            let linger = async {
                stream.shutdown().await?;
                tokio::io::copy(&mut stream.take(MAX_LINGER_BYTES), &mut tokio::io::sink()).await
            };
            let _ = timeout(LINGER_TIMEOUT, linger).await;
            drop(permit);
        });
    }
}

impl<P: Send + Unpin + 'static> AsyncRead for ClientIo<P> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buffer)
    }
}

impl<P: Send + Unpin + 'static> AsyncWrite for ClientIo<P> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write(cx, bytes);
        self.check_stalled(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write_vectored(cx, bytes);
        self.check_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.stream()?.poll_flush(cx);
        self.check_stalled(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}
