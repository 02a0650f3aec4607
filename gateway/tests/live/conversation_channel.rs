//! The channel of a conversation with the assistant: its owner receives the updates that are published, in order.

use baton_errors::{Reason, reason_of};
use baton_events::CONVERSATIONS_CHANNEL;
use baton_proto::baton::{
    auth::v1::{CreateApiKeyRequest, api_key_service_client::ApiKeyServiceClient},
    live::v1::{ChannelKind, WatchRequest, live_service_client::LiveServiceClient},
    notification::v1::{
        ConversationUpdate, ConversationUpdateKind, ExecutedFunction, PublishConversationUpdatesRequest,
    },
};
use baton_testkit::Person;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::fixture::{Fixture, TIMEOUT};

struct Conversation<'a> {
    fixture: &'a Fixture,
    owner: &'a Person,
    id: Uuid,
}

impl Conversation<'_> {
    fn identifier(&self) -> Value {
        json!({"channel": "AIChannel", "conversation_id": self.id})
    }

    /// Publishes as the notification service does.
    async fn publish(&self, message_id: Uuid, first_sequence: u32, updates: &[ConversationUpdate]) {
        let request = PublishConversationUpdatesRequest {
            account_id: self.fixture.team.account_id.to_string(),
            owner_id: self.owner.user_id.to_string(),
            conversation_id: self.id.to_string(),
            message_id: message_id.to_string(),
            first_sequence,
            updates: updates.to_vec(),
        };
        let streams = &self.fixture.streams;
        streams.publish_ephemeral(CONVERSATIONS_CHANNEL, &request.encode_to_vec()).await.unwrap();
    }
}

fn chunk(text: &str) -> ConversationUpdate {
    ConversationUpdate { kind: ConversationUpdateKind::MessageChunk.into(), text: text.to_owned(), function: None }
}

fn complete() -> ConversationUpdate {
    ConversationUpdate { kind: ConversationUpdateKind::MessageComplete.into(), ..ConversationUpdate::default() }
}

#[tokio::test]
async fn updates_reach_their_owner_only_each_once_and_in_order() {
    let fixture = Fixture::start().await;
    let conversation = Conversation { fixture: &fixture, owner: &fixture.team.user_a1, id: Uuid::now_v7() };
    let identifier = conversation.identifier();
    let mut socket = fixture.connect(conversation.owner).await;
    socket.subscribe(&identifier).await;
    // For anybody else it is a conversation that does not exist, and never says a word.
    let mut of_manager = fixture.connect(&fixture.team.manager_a).await;
    of_manager.subscribe(&identifier).await;

    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let function = ExecutedFunction { call_id: "1".to_owned(), name: "create_task".to_owned(), succeeded: true };
    let executed = ConversationUpdate {
        kind: ConversationUpdateKind::FunctionExecuted.into(),
        function: Some(function),
        ..ConversationUpdate::default()
    };
    conversation.publish(first, 1, &[chunk("Hel"), chunk("lo")]).await;
    // The answer to the first call was lost: it is repeated, with what came meanwhile.
    conversation.publish(first, 1, &[chunk("Hel"), chunk("lo"), executed, complete()]).await;
    conversation.publish(second, 1, &[complete()]).await;
    let expected = [
        json!({"event": "message_chunk", "message_id": first, "sequence": 1, "text": "Hel"}),
        json!({"event": "message_chunk", "message_id": first, "sequence": 2, "text": "lo"}),
        json!({
            "event": "function_executed", "message_id": first, "sequence": 3,
            "function": {"call_id": "1", "name": "create_task", "succeeded": true},
        }),
        json!({"event": "message_complete", "message_id": first, "sequence": 4}),
        json!({"event": "message_complete", "message_id": second, "sequence": 1}),
    ];
    for expected in expected {
        assert_eq!(socket.next_message(&identifier).await, expected);
    }

    let of_its_own = Conversation { owner: &fixture.team.manager_a, ..conversation };
    of_its_own.publish(second, 7, &[chunk("Yes?")]).await;
    assert_eq!(of_manager.next_message(&identifier).await["text"], "Yes?", "the first message of their own");
}

#[tokio::test]
async fn streams_begin_with_a_resync_and_need_a_session() {
    let fixture = Fixture::start().await;
    let conversation = Conversation { fixture: &fixture, owner: &fixture.team.user_a1, id: Uuid::now_v7() };
    let channel = Channel::from_shared(format!("http://{}", fixture.address)).unwrap().connect().await.unwrap();
    let mut client = LiveServiceClient::new(channel);
    let request = WatchRequest {
        channel: ChannelKind::Conversation.into(),
        conversation_id: Some(conversation.id.to_string()),
        // There is no history, so a position means nothing.
        since: Some("1:1".to_owned()),
        ..WatchRequest::default()
    };
    let call = conversation.owner.call(fixture.team.account_id, request.clone());
    let mut watch = client.watch(call).await.unwrap().into_inner();
    let mut event = async || {
        let response = timeout(TIMEOUT, watch.message()).await.expect("in time").unwrap().expect("a response");
        response.message.map(|message| message.event)
    };
    assert_eq!(event().await, None);
    assert_eq!(event().await.as_deref(), Some("resync"));
    conversation.publish(Uuid::now_v7(), 1, &[complete()]).await;
    assert_eq!(event().await.as_deref(), Some("message_complete"));

    let query = format!("channel=AIChannel&conversation_id={}", conversation.id);
    let url = format!("http://{}/v1/live/stream?{query}", fixture.address);
    let mut stream = fixture.get(conversation.owner, url).await;
    let mut text = String::new();
    while !text.contains("resync") {
        text += str::from_utf8(&timeout(TIMEOUT, stream.chunk()).await.expect("in time").unwrap().unwrap()).unwrap();
    }
    conversation.publish(Uuid::now_v7(), 1, &[chunk("Hello")]).await;
    while !text.contains(r#""text":"Hello""#) {
        text += str::from_utf8(&timeout(TIMEOUT, stream.chunk()).await.expect("in time").unwrap().unwrap()).unwrap();
    }
    let poll = fixture.get(conversation.owner, format!("http://{}/v1/live/events?{query}", fixture.address)).await;
    assert_eq!((poll.status().as_u16(), fixture.reason(poll).await.as_str()), (400, "VALIDATION_FAILED"));

    let create = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
    let mut keys = ApiKeyServiceClient::new(fixture.context.auth());
    let key = keys.create_api_key(conversation.owner.call_without_account(create)).await.unwrap().into_inner();
    let with_key = Person { token: key.key, ..conversation.owner.clone() };
    let refused = client.watch(with_key.call(fixture.team.account_id, request)).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(Reason::SessionRequired));
}

#[tokio::test]
async fn interrupted_updates_lead_to_a_resync() {
    let fixture = Fixture::start().await;
    let conversation = Conversation { fixture: &fixture, owner: &fixture.team.user_a1, id: Uuid::now_v7() };
    let identifier = conversation.identifier();
    let mut socket = fixture.connect(conversation.owner).await;
    socket.subscribe(&identifier).await;
    conversation.publish(Uuid::now_v7(), 1, &[complete()]).await;
    assert_eq!(socket.next_message(&identifier).await["event"], "message_complete");
    let mut redis = fixture.streams.connection();
    let () = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query_async(&mut redis).await.unwrap();
    assert_eq!(socket.next_message(&identifier).await, json!({"event": "resync"}));
    conversation.publish(Uuid::now_v7(), 1, &[complete()]).await;
    assert_eq!(socket.next_message(&identifier).await["event"], "message_complete");
}
