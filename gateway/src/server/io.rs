//! The socket of a client, with a clock on what the client does not read.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// A client that takes no byte for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the client may go on sending after the last response. A socket that is closed while bytes arrive is reset, and
/// the client loses the response with them (RFC 9112, section 9.6).
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// What is read, and thrown away, of that.
const MAX_LINGER_BYTES: usize = 8 * 1024 * 1024;

/// A socket, and what is held as long as it is open.
pub(super) struct ClientIo<P> {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
    _place: P,
}

impl<P> ClientIo<P> {
    pub(super) fn new(stream: TcpStream, place: P) -> Self {
        Self { stream, stalled: None, lingering: None, _place: place }
    }

    /// Ends a write that makes no progress.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT))).poll_unpin(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<P: Unpin> AsyncRead for ClientIo<P> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<P: Unpin> AsyncWrite for ClientIo<P> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let (deadline, read) = this.lingering.get_or_insert_with(|| (Box::pin(sleep(LINGER_TIMEOUT)), 0));
        let mut bytes = [0; 8 * 1024];
        while *read < MAX_LINGER_BYTES && deadline.poll_unpin(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => *read += buffer.filled().len(),
                // The client has closed its side, or is gone.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
