//! Updates of conversations: other services publish them, and gateways hear them in order.

use baton_clients::{Peer, ServiceTokens};
use baton_errors::{Reason, reason_of};
use baton_events::CONVERSATIONS_CHANNEL;
use baton_proto::baton::notification::v1::{
    ConversationUpdate, ConversationUpdateKind, PublishConversationUpdatesRequest,
    internal_service_client::InternalServiceClient,
};
use baton_runtime::Secret;
use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::time::{Duration, timeout};
use tonic::{Code, Request};
use uuid::Uuid;

use crate::fixture::Fixture;

fn updates(fixture: &Fixture, first_sequence: u32) -> PublishConversationUpdatesRequest {
    let chunk = ConversationUpdate {
        kind: ConversationUpdateKind::MessageChunk.into(),
        text: "Hello".to_owned(),
        function: None,
    };
    PublishConversationUpdatesRequest {
        account_id: fixture.team.account_id.to_string(),
        owner_id: fixture.team.user_a1.user_id.to_string(),
        conversation_id: Uuid::now_v7().to_string(),
        message_id: Uuid::now_v7().to_string(),
        first_sequence,
        updates: vec![chunk],
    }
}

#[tokio::test]
async fn services_publish_in_order_and_people_may_not() {
    let fixture = Fixture::start().await;
    let mut client = InternalServiceClient::new(fixture.channel.clone());
    let mut heard = fixture.streams.subscribe(CONVERSATIONS_CHANNEL).await.unwrap().into_on_message();
    let secret = fixture.context.env().get("BATON_GATEWAY_SERVICE_SECRET").unwrap().to_owned();
    let tokens = ServiceTokens::new(Peer::new("auth", fixture.context.auth()), "gateway", Secret::new(secret));
    let authorization = tokens.authorization("notification").await.unwrap();
    let as_service = |message| {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", authorization.clone());
        request
    };

    let person = fixture.team.owner.call(fixture.team.account_id, updates(&fixture, 9));
    let refused = client.publish_conversation_updates(person).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(Reason::ServiceOnly));
    let malformed = [
        PublishConversationUpdatesRequest { updates: Vec::new(), ..updates(&fixture, 9) },
        PublishConversationUpdatesRequest { owner_id: "me".to_owned(), ..updates(&fixture, 9) },
        updates(&fixture, 0),
    ];
    for malformed in malformed {
        let refused = client.publish_conversation_updates(as_service(malformed)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    for sequence in 1..=20 {
        client.publish_conversation_updates(as_service(updates(&fixture, sequence))).await.unwrap();
    }
    for sequence in 1..=20 {
        let message = timeout(Duration::from_secs(10), heard.next()).await.expect("in time").unwrap();
        let request = PublishConversationUpdatesRequest::decode(message.get_payload_bytes()).unwrap();
        assert_eq!((request.first_sequence, request.updates[0].text.as_str()), (sequence, "Hello"));
    }
}
