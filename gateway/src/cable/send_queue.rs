//! The send queue of one socket.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{SinkExt, StreamExt, stream::SplitStream};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::protocol::{CloseReason, ServerMessage};

/// Queued messages before a client is disconnected as too slow.
const MAX_QUEUED_MESSAGES: usize = 1024;
/// Timeout of sending one message.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of each step of closing, so that clients cannot delay shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The sending half of a socket. Sending never waits: a slow client cannot delay events.
pub(super) struct SendQueue {
    messages: mpsc::Sender<Message>,
    writer: JoinHandle<()>,
}

impl SendQueue {
    /// Splits a socket into its queue and its incoming messages.
    pub(super) fn split(socket: WebSocket) -> (Self, SplitStream<WebSocket>) {
        let (mut sink, stream) = socket.split();
        let (messages, mut queued) = mpsc::channel::<Message>(MAX_QUEUED_MESSAGES);
        let writer = tokio::spawn(async move {
            while let Some(message) = queued.recv().await {
                match timeout(WRITE_TIMEOUT, sink.send(message)).await {
                    Ok(Ok(())) => {}
                    // Disconnected, or too slow.
                    Ok(Err(_)) | Err(_) => return,
                }
            }
            let _ = timeout(CLOSE_TIMEOUT, sink.close()).await;
        });
        (Self { messages, writer }, stream)
    }

    /// Queues a message.
    pub(super) fn send(&self, message: &ServerMessage<'_>) -> Result<(), CloseReason> {
        self.enqueue(Message::Text(message.to_json().into()))
    }

    /// Queues a WebSocket ping. Every client replies with a pong.
    pub(super) fn ping(&self) -> Result<(), CloseReason> {
        self.enqueue(Message::Ping(Default::default()))
    }

    fn enqueue(&self, message: Message) -> Result<(), CloseReason> {
        self.messages.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CloseReason::TooSlow,
            mpsc::error::TrySendError::Closed(_) => CloseReason::Disconnected,
        })
    }

    /// Sends the reason after all queued messages, and closes the socket.
    pub(super) async fn close(mut self, reason: CloseReason) {
        if let Some(message) = ServerMessage::disconnect(reason) {
            let _ = timeout(CLOSE_TIMEOUT, self.messages.send(Message::Text(message.to_json().into()))).await;
        }
        let frame = CloseFrame { code: reason.close_code(), reason: Utf8Bytes::default() };
        let _ = timeout(CLOSE_TIMEOUT, self.messages.send(Message::Close(Some(frame)))).await;
        drop(self.messages);
        if timeout(CLOSE_TIMEOUT, &mut self.writer).await.is_err() {
            self.writer.abort();
        }
    }
}
