//! What gateways hear besides the event streams, and what is stored nowhere: signals of presence, and updates of
//! conversations.

use std::time::Duration;

use baton_events::{CONVERSATIONS_CHANNEL, Streams};
use baton_proto::baton::{
    live::v1::{LiveFunction, LiveMessage},
    notification::v1::{ConversationUpdate, ConversationUpdateKind, PublishConversationUpdatesRequest},
};
use baton_runtime::Shutdown;
use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::time::sleep;
use uuid::Uuid;

use super::{Live, topic::Topic};

const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Passes on what is published on a channel of Redis, until the process stops. `interrupted` is called when messages may
/// have been missed, before the next is passed on.
pub(super) async fn listen(
    streams: &Streams,
    channel: &str,
    shutdown: &Shutdown,
    interrupted: impl Fn(),
    pass_on: impl Fn(&[u8]),
) {
    while !shutdown.stop().is_cancelled() {
        let heard = async {
            let mut messages = streams.subscribe(channel).await?.into_on_message();
            interrupted();
            while let Some(message) = messages.next().await {
                pass_on(message.get_payload_bytes());
            }
            Ok::<_, redis::RedisError>(())
        };
        tokio::select! {
            result = heard => if let Err(error) = result {
                tracing::warn!(%error, channel, "ephemeral messages are interrupted");
            },
            () = shutdown.stop().cancelled() => return,
        }
        sleep(RETRY_DELAY).await;
    }
}

/// Delivers the updates of conversations, until the process stops.
pub(super) async fn deliver_conversations(live: Live, streams: Streams, shutdown: Shutdown) {
    let deliver = |request: &[u8]| match PublishConversationUpdatesRequest::decode(request) {
        Ok(request) => live.publish_updates(request),
        Err(error) => tracing::error!(%error, "cannot decode updates of a conversation; not delivered"),
    };
    listen(&streams, CONVERSATIONS_CHANNEL, &shutdown, || live.resync_conversations(), deliver).await;
}

/// Consecutive updates of a message in a conversation.
pub(super) struct Updates {
    pub(super) topic: Topic,
    pub(super) message_id: Uuid,
    /// Each with its number within the message.
    pub(super) messages: Vec<(u32, LiveMessage)>,
}

impl Updates {
    /// The account, and its updates; `None` if an id is not one.
    pub(super) fn parse(request: PublishConversationUpdatesRequest) -> Option<(Uuid, Self)> {
        let account_id = request.account_id.parse().ok()?;
        let topic =
            Topic::Conversation { owner: request.owner_id.parse().ok()?, id: request.conversation_id.parse().ok()? };
        let message_id: Uuid = request.message_id.parse().ok()?;
        let messages = (request.first_sequence..).zip(request.updates);
        let messages =
            messages.filter_map(|(sequence, update)| Some((sequence, message(message_id, sequence, update)?)));
        Some((account_id, Self { topic, message_id, messages: messages.collect() }))
    }
}

fn message(message_id: Uuid, sequence: u32, update: ConversationUpdate) -> Option<LiveMessage> {
    let event = match update.kind() {
        ConversationUpdateKind::MessageChunk => "message_chunk",
        ConversationUpdateKind::MessageComplete => "message_complete",
        ConversationUpdateKind::FunctionExecuted => "function_executed",
        ConversationUpdateKind::Unspecified => return None,
    };
    Some(LiveMessage {
        event: event.to_owned(),
        message_id: Some(message_id.to_string()),
        sequence: Some(sequence),
        text: (!update.text.is_empty()).then_some(update.text),
        function: update.function.map(|it| LiveFunction {
            call_id: it.call_id,
            name: it.name,
            succeeded: it.succeeded,
        }),
        ..LiveMessage::default()
    })
}
