//! Calls of services that act for people: histories name the service and its cause beside the person.

use baton_errors::Reason;
use baton_proto::baton::{api::v1::Via, auth::v1::DelegationCause, events::v1::Envelope};
use prost::Message;
use uuid::Uuid;

use crate::{
    comments::post_comment,
    fixture::{Fixture, error_reason, new_task, title_change},
};

#[tokio::test]
async fn timeline_comments_and_events_name_the_service_that_acted() {
    let fixture = Fixture::new().await;
    let (me, account_id) = (&fixture.team.user_a1, fixture.team.account_id);
    let rule = Uuid::now_v7().to_string();
    let cause = DelegationCause { kind: "rule".to_owned(), id: rule.clone(), depth: 3 };
    let scopes = ["tasks:write"];
    let acting = fixture.context.delegated(me, account_id, ("gateway", "task"), &scopes, Some(cause)).await;
    let task = fixture.create(me, new_task("Mine")).await.unwrap();
    let changed = fixture.update(&acting, &task.id, &["title"], title_change("Theirs")).await.unwrap();
    assert_eq!((changed.version, &*changed.created_by), (2, &*me.user_id.to_string()));
    let own = post_comment(&fixture, me, &task.id, "by hand").await.unwrap();
    let comment = post_comment(&fixture, &acting, &task.id, "by rule").await.unwrap();

    let via = Some(Via { service: "gateway".to_owned(), kind: "rule".to_owned(), id: rule, depth: 3 });
    assert_eq!((own.via, comment.via.clone()), (None, via.clone()));
    assert_eq!((comment.author_id, comment.version), (me.user_id.to_string(), 1));
    let timeline = fixture.timeline(me, &task.id).await.unwrap();
    let entries: Vec<_> = timeline.iter().map(|entry| (&*entry.actor_id, entry.via.clone())).collect();
    let actor = me.user_id.to_string();
    assert_eq!(entries, [(&*actor, None), (&*actor, via.clone())]);

    let rows: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from task.outbox order by position")
        .fetch_all(&fixture.context.admin())
        .await
        .unwrap();
    let events = rows.iter().map(|row| Envelope::decode(row.as_slice()).unwrap());
    let named: Vec<_> = events.filter(|event| event.via == via).map(|event| (event.r#type, event.actor_id)).collect();
    let expected = ["task.updated", "comment.created"].map(|kind| (kind.to_owned(), actor.clone()));
    assert_eq!(named, expected);
}

#[tokio::test]
async fn service_reads_and_changes_what_the_person_may_and_the_scopes_allow() {
    let fixture = Fixture::new().await;
    let (me, account_id) = (&fixture.team.user_a1, fixture.team.account_id);
    let task = fixture.create(me, new_task("Mine")).await.unwrap();
    let reader = fixture.context.delegated(me, account_id, ("gateway", "task"), &["tasks:read"], None).await;
    fixture.get(&reader, &task.id).await.unwrap();
    let refused = fixture.update(&reader, &task.id, &["title"], title_change("Other")).await;
    assert_eq!(error_reason(refused), Reason::ScopeMissing);
    // With the rights of somebody who does not see the task, it does not exist.
    let stranger = &fixture.team.user_b1;
    let acting = fixture.context.delegated(stranger, account_id, ("gateway", "task"), &["tasks:write"], None).await;
    assert_eq!(error_reason(fixture.get(&acting, &task.id).await), Reason::TaskNotFound);
    // A token for another service.
    let elsewhere =
        fixture.context.delegated(me, account_id, ("gateway", "notification"), &["tasks:write"], None).await;
    assert_eq!(error_reason(fixture.get(&elsewhere, &task.id).await), Reason::TokenInvalid);
}
