//! Messages of services that act for people.

use baton_errors::Reason;
use baton_proto::baton::notification::v1::{
    NotificationType, TellRequest, internal_service_client::InternalServiceClient,
};
use baton_testkit::{Person, reason};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::fixture::Fixture;

async fn tell(fixture: &Fixture, message: TellRequest) -> Result<(), Status> {
    let request = fixture.context.by_service("gateway", "notification", message).await;
    InternalServiceClient::new(fixture.channel.clone()).tell(request).await.map(drop)
}

fn message(fixture: &Fixture, to: &[&Person]) -> TellRequest {
    TellRequest {
        account_id: fixture.team.account_id.to_string(),
        user_ids: to.iter().map(|person| person.user_id.to_string()).collect(),
        task_id: Uuid::now_v7().to_string(),
        text: "It has been paused\nfor two hours.".to_owned(),
        key: Uuid::now_v7().to_string(),
        actor_id: fixture.team.manager_a.user_id.to_string(),
    }
}

#[tokio::test]
async fn message_is_delivered_once_per_key() {
    let fixture = Fixture::start().await;
    let (one, two) = (&fixture.team.user_a1, &fixture.team.user_a2);
    let account_id = fixture.team.account_id;
    let sent = message(&fixture, &[one, one]);
    for _ in 0..3 {
        tell(&fixture, sent.clone()).await.unwrap();
    }
    // A repetition that names somebody else tells nobody.
    let others = TellRequest { user_ids: vec![two.user_id.to_string()], ..sent.clone() };
    tell(&fixture, others).await.unwrap();
    assert!(fixture.list(two, account_id).await.is_empty());
    let [told] = &fixture.list(one, account_id).await[..] else { panic!("one message") };
    assert_eq!(told.r#type(), NotificationType::Message);
    assert_eq!((told.text.as_ref(), told.task_id.as_ref()), (Some(&sent.text), Some(&sent.task_id)));
    assert_eq!((told.actor_id.as_ref(), &*told.title), (Some(&sent.actor_id), "A rule has a message for you"));
    // Another service's same key is another key, and so is an event's id.
    let request = fixture.context.by_service("tenancy", "notification", sent.clone()).await;
    InternalServiceClient::new(fixture.channel.clone()).tell(request).await.unwrap();
    assert_eq!(fixture.list(one, account_id).await.len(), 2);
    let known: Vec<Uuid> = sqlx::query_scalar("select event_id from notification.inbox")
        .fetch_all(&fixture.context.admin())
        .await
        .unwrap();
    assert!(!known.contains(&sent.key.parse().unwrap()));
    // The events carry ids only.
    let published: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from notification.outbox")
        .fetch_all(&fixture.context.admin())
        .await
        .unwrap();
    assert_eq!(published.len(), 2);
    assert!(!String::from_utf8_lossy(&published[0]).contains("paused"));
}

#[tokio::test]
async fn people_cannot_tell_and_malformed_messages_store_nothing() {
    let fixture = Fixture::start().await;
    let one = &fixture.team.user_a1;
    let good = message(&fixture, &[one]);
    let by_hand = fixture.team.owner.call(fixture.team.account_id, good.clone());
    let refused = InternalServiceClient::new(fixture.channel.clone()).tell(by_hand).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ServiceOnly));
    for malformed in [
        TellRequest { text: "x".repeat(501), ..good.clone() },
        TellRequest { text: " \n".to_owned(), ..good.clone() },
        TellRequest { user_ids: Vec::new(), ..good.clone() },
        TellRequest { user_ids: vec!["me".to_owned()], ..good.clone() },
        TellRequest { key: "again".to_owned(), ..good.clone() },
        TellRequest { task_id: "mine".to_owned(), ..good.clone() },
    ] {
        assert_eq!(tell(&fixture, malformed).await.unwrap_err().code(), Code::InvalidArgument);
    }
    assert_eq!(fixture.count("select count(*) from notification.notifications").await, 0);
    // The bound is in characters.
    tell(&fixture, TellRequest { text: "é".repeat(500), ..good }).await.unwrap();
    assert_eq!(fixture.list(one, fixture.team.account_id).await.len(), 1);
}
