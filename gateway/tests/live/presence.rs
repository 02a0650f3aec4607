//! Presence: who is on a task or a board, and who types.

use std::time::Duration;

use baton_proto::baton::{
    auth::v1::{UpdateMeRequest, UserChange, user_service_client::UserServiceClient},
    task::v1::TaskVisibility,
};
use prost_types::{FieldMask, Struct, Value as ProtoValue, value::Kind};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::{Fixture, Socket, task_identifier};

/// Presence ends after 15 seconds, and is looked at every five.
const MAX_DELAY: Duration = Duration::from_secs(25);

async fn perform(socket: &mut Socket, identifier: &Value, action: &str) {
    let data = json!({"action": action}).to_string();
    socket.send(json!({"command": "message", "identifier": identifier.to_string(), "data": data}).to_string()).await;
}

#[tokio::test]
async fn those_who_have_joined_see_each_other_come_go_and_type() {
    let fixture = Fixture::start().await;
    let (ann, ben) = (&fixture.team.user_a1, &fixture.team.user_a2);
    let identifier = task_identifier(fixture.task_service.create(ann, TaskVisibility::Account));
    let mut of_ann = fixture.connect(ann).await;
    of_ann.subscribe(&identifier).await;
    perform(&mut of_ann, &identifier, "presence_join").await;
    // The answer may come before or after the news about oneself.
    let mut first = [of_ann.next_message(&identifier).await, of_ann.next_message(&identifier).await];
    first.sort_by_key(|message| message["event"].to_string());
    let expected = [
        json!({"event": "presence", "user_ids": [ann.user_id]}),
        json!({"event": "presence_joined", "user_id": ann.user_id}),
    ];
    assert_eq!(first, expected);

    // Whoever only follows neither sees nor is seen.
    let mut silent = fixture.connect(&fixture.team.manager_a).await;
    silent.subscribe(&identifier).await;
    let mut of_ben = fixture.connect_extended(ben).await;
    of_ben.confirm(&identifier.to_string()).await;
    assert_eq!(of_ben.receive().await["message"]["event"], "resync");
    of_ben.command("join", &identifier.to_string()).await;
    assert_eq!(of_ann.next_message(&identifier).await, json!({"event": "presence_joined", "user_id": ben.user_id}));
    let joined = of_ben.receive().await;
    assert_eq!(joined["message"], json!({"type": "join", "id": ben.user_id, "info": {}}), "{joined}");
    of_ben.command("presence", &identifier.to_string()).await;
    let info = of_ben.receive().await;
    assert_eq!((&info["type"], &info["message"]["total"]), (&json!("presence"), &json!(2)), "{info}");

    for _ in 0..3 {
        perform(&mut of_ben, &identifier, "typing").await;
    }
    let typing = json!({"event": "typing", "user_id": ben.user_id});
    assert_eq!(of_ann.next_message(&identifier).await, typing, "once a second at most");
    of_ben.command("leave", &identifier.to_string()).await;
    let left = json!({"event": "presence_left", "user_id": ben.user_id});
    assert_eq!(of_ann.next_message(&identifier).await, left);

    // A closed socket ends presence by itself.
    of_ben.command("join", &identifier.to_string()).await;
    assert_eq!(of_ann.next_message(&identifier).await["event"], "presence_joined");
    drop(of_ben);
    let closed = Instant::now();
    let message = tokio::time::timeout(MAX_DELAY, async {
        loop {
            match of_ann.receive_any().await.expect("an open socket") {
                message if message["type"] == "ping" => {}
                message => return message,
            }
        }
    });
    assert_eq!(message.await.expect("it ends")["message"], left, "after {:?}", closed.elapsed());
    fixture.publish([fixture.task_event("task.started", task_id(&identifier), 1)]).await;
    assert_eq!(silent.next_message(&identifier).await["event"], "task_started", "nothing about presence");
}

fn task_id(identifier: &Value) -> uuid::Uuid {
    identifier["task_id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn person_who_does_not_want_to_be_seen_cannot_join() {
    let fixture = Fixture::start().await;
    let (ann, ben) = (&fixture.team.user_a1, &fixture.team.user_a2);
    let preferences = Struct {
        fields: [("presence".to_owned(), ProtoValue { kind: Some(Kind::BoolValue(false)) })].into_iter().collect(),
    };
    let change = UpdateMeRequest {
        user: Some(UserChange { preferences: Some(preferences), ..UserChange::default() }),
        update_mask: Some(FieldMask { paths: vec!["preferences".to_owned()] }),
    };
    let mut users = UserServiceClient::new(fixture.context.auth());
    users.update_me(ben.call_without_account(change)).await.unwrap();
    let identifier = task_identifier(fixture.task_service.create(ann, TaskVisibility::Account));
    let mut of_ben = fixture.connect(ben).await;
    of_ben.subscribe(&identifier).await;
    perform(&mut of_ben, &identifier, "presence_join").await;
    // Nobody is at a channel that is not followed.
    perform(&mut of_ben, &json!({"channel": "TaskChannel"}), "presence_join").await;
    perform(&mut of_ben, &identifier, "presence").await;
    assert_eq!(of_ben.next_message(&identifier).await, json!({"event": "presence", "user_ids": []}));
}
