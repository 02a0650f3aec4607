//! What waits to be sent to one socket.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{SinkExt, StreamExt, stream::SplitStream};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::protocol::{End, Said};

/// Messages that a client may be behind.
const QUEUE: usize = 1024;
/// A client that does not take a single message for this long is gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last words may take, so that a stop is not held up.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The sending half of a socket. Sending never waits: a slow client cannot hold up events.
pub(super) struct Outbox {
    queue: mpsc::Sender<Message>,
    writer: JoinHandle<()>,
}

impl Outbox {
    /// Splits a socket.
    pub(super) fn split(socket: WebSocket) -> (Self, SplitStream<WebSocket>) {
        let (mut sink, stream) = socket.split();
        let (queue, mut waiting) = mpsc::channel::<Message>(QUEUE);
        let writer = tokio::spawn(async move {
            while let Some(message) = waiting.recv().await {
                match timeout(PATIENCE, sink.send(message)).await {
                    Ok(Ok(())) => {}
                    // Gone, or as good as.
                    Ok(Err(_)) | Err(_) => return,
                }
            }
            let _ = timeout(LAST_WORDS, sink.close()).await;
        });
        (Self { queue, writer }, stream)
    }

    /// Queues a message.
    pub(super) fn say(&self, said: &Said<'_>) -> Result<(), End> {
        self.queue_up(Message::Text(said.to_json().into()))
    }

    /// Queues a WebSocket ping, which every client answers by itself.
    pub(super) fn probe(&self) -> Result<(), End> {
        self.queue_up(Message::Ping(Default::default()))
    }

    fn queue_up(&self, message: Message) -> Result<(), End> {
        self.queue.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => End::TooSlow,
            mpsc::error::TrySendError::Closed(_) => End::Gone,
        })
    }

    /// Says why it ends, after all that waits, and closes the socket.
    pub(super) async fn close(mut self, end: End) {
        if let Some(said) = Said::disconnect(end) {
            let _ = timeout(LAST_WORDS, self.queue.send(Message::Text(said.to_json().into()))).await;
        }
        let frame = CloseFrame { code: end.close_code(), reason: Utf8Bytes::default() };
        let _ = timeout(LAST_WORDS, self.queue.send(Message::Close(Some(frame)))).await;
        drop(self.queue);
        if timeout(LAST_WORDS, &mut self.writer).await.is_err() {
            self.writer.abort();
        }
    }
}
