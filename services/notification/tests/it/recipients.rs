//! Who is notified of which events.

use baton_proto::baton::{
    notification::v1::NotificationType as Type,
    task::v1::{CommentEvent, MentionEvent, TaskEvent},
    tenancy::v1::MemberEvent,
};
use baton_runtime::Clock;
use baton_testkit::{Person, event};
use uuid::Uuid;

use crate::fixture::{Fixture, task_event};

#[tokio::test]
async fn an_assignment_notifies_the_assignee() {
    let fixture = Fixture::start().await;
    let (manager, user) = (&fixture.team.manager_a, &fixture.team.user_a1);
    let task_id = fixture.assign(manager, user).await;

    let notifications = fixture.wait_for_notifications(user, 1).await;
    let notification = &notifications[0];
    assert_eq!(notification.r#type(), Type::TaskAssigned);
    assert_eq!(notification.title, "A task was assigned to you");
    assert_eq!(notification.account_id, fixture.team.account_id.to_string());
    assert_eq!(notification.task_id, Some(task_id.to_string()));
    assert_eq!(notification.actor_id, Some(manager.user_id.to_string()));
    assert_eq!(notification.action_url, format!("/v1/tasks/{task_id}"));
    assert!(notification.created_at.is_some() && notification.read_at.is_none());
    assert!(fixture.list(manager, fixture.team.account_id).await.is_empty());
}

#[tokio::test]
async fn each_event_notifies_each_recipient_once_and_never_the_actor() {
    let fixture = Fixture::start().await;
    let team = &fixture.team;
    let (owner, manager, assignee, next) = (&team.owner, &team.manager_a, &team.user_a1, &team.user_a2);
    let task_id = Uuid::now_v7();
    let task = || TaskEvent {
        previously_assigned_to: assignee.user_id.to_string(),
        assigned_by: manager.user_id.to_string(),
        created_by: owner.user_id.to_string(),
        ..task_event(task_id, owner, assignee)
    };
    let reassigned = TaskEvent { assigned_to: next.user_id.to_string(), ..task() };
    // The creator is also the assigner, and is notified once.
    let same_creator = TaskEvent { created_by: manager.user_id.to_string(), ..task() };
    let member = MemberEvent {
        member_id: Uuid::now_v7().to_string(),
        user_id: next.user_id.to_string(),
        invited_by: owner.user_id.to_string(),
        ..MemberEvent::default()
    };
    let member_event = |kind| event(kind, team.account_id, Uuid::now_v7(), &member);
    let by_assignee = ["task.accepted", "task.rejected", "task.started", "task.completed"];
    fixture.publish(assignee, by_assignee.map(|kind| fixture.event(kind, task()))).await;
    fixture.publish(assignee, [fixture.event("task.completed", same_creator)]).await;
    fixture.publish(manager, [fixture.event("task.reassigned", reassigned)]).await;
    // The actor is never notified.
    fixture.publish(assignee, [fixture.event("task.assigned", task())]).await;
    fixture.publish(owner, [fixture.event("task.completed", task()), member_event("member.invited")]).await;
    fixture.publish(next, [member_event("member.joined")]).await;
    fixture.wait_until_processed().await;

    let types = async |person: &Person| -> Vec<Type> {
        let mut notifications = fixture.list(person, team.account_id).await;
        notifications.reverse();
        notifications.iter().map(|notification| notification.r#type()).collect()
    };
    assert_eq!(
        types(manager).await,
        [Type::TaskAccepted, Type::TaskRejected, Type::TaskCompleted, Type::TaskCompleted, Type::TaskCompleted]
    );
    assert_eq!(types(owner).await, [Type::TaskCompleted, Type::Invited]);
    assert_eq!(types(assignee).await, [Type::TaskReassigned]);
    assert_eq!(types(next).await, [Type::TaskReassigned, Type::Invited]);
    assert_eq!(types(&team.super_manager).await, []);
}

#[tokio::test]
async fn a_comment_notifies_mentioned_users_and_watchers() {
    let fixture = Fixture::start().await;
    let team = &fixture.team;
    let (author, mentioned, watcher) = (&team.manager_a, &team.user_a1, &team.user_a2);
    let (task_id, comment_id) = (Uuid::now_v7(), Uuid::now_v7());
    let id = |person: &Person| person.user_id.to_string();
    let mention = MentionEvent {
        comment_id: comment_id.to_string(),
        task_id: task_id.to_string(),
        user_ids: vec![id(mentioned)],
    };
    let comment = CommentEvent {
        comment_id: comment_id.to_string(),
        task_id: task_id.to_string(),
        author_id: id(author),
        watcher_ids: vec![id(watcher), id(author)],
        ..CommentEvent::default()
    };
    let mention_created = event("comment.mentioned", team.account_id, comment_id, &mention);
    let created = event("comment.created", team.account_id, comment_id, &comment);
    let edited = event("comment.updated", team.account_id, comment_id, &comment);
    fixture.publish(author, [mention_created, created, edited]).await;
    fixture.wait_until_processed().await;
    for (person, expected) in [(mentioned, Type::Mentioned), (watcher, Type::Commented)] {
        let notifications = fixture.list(person, team.account_id).await;
        assert_eq!(notifications.iter().map(|one| one.r#type()).collect::<Vec<_>>(), [expected]);
        assert_eq!(notifications[0].action_url, format!("/v1/tasks/{task_id}"));
        assert_eq!(
            (notifications[0].task_id.clone(), notifications[0].actor_id.clone()),
            (Some(task_id.to_string()), Some(id(author)))
        );
    }
    assert!(fixture.list(author, team.account_id).await.is_empty(), "the author is not notified");
}

#[tokio::test]
async fn a_cancel_reopen_or_restore_notifies_creator_assignee_and_watchers() {
    let fixture = Fixture::start().await;
    let team = &fixture.team;
    let (creator, assignee, watcher) = (&team.manager_a, &team.user_a1, &team.user_a2);
    let task_id = Uuid::now_v7();
    // The assignee also watches, and is notified once.
    let watchers = [watcher, assignee, &team.super_manager].map(|person| person.user_id.to_string());
    let task = TaskEvent { watcher_ids: watchers.to_vec(), ..task_event(task_id, creator, assignee) };
    let kinds = ["task.canceled", "task.reopened", "task.restored"];
    fixture.publish(&team.super_manager, kinds.map(|kind| fixture.event(kind, task.clone()))).await;
    fixture.wait_until_processed().await;
    for person in [creator, assignee, watcher] {
        let mut notifications = fixture.list(person, team.account_id).await;
        notifications.reverse();
        let types: Vec<Type> = notifications.iter().map(|one| one.r#type()).collect();
        assert_eq!(types, [Type::TaskCanceled, Type::TaskReopened, Type::TaskRestored]);
        assert_eq!(notifications[0].action_url, format!("/v1/tasks/{task_id}"));
    }
    for person in [&team.super_manager, &team.owner] {
        assert!(fixture.list(person, team.account_id).await.is_empty(), "the actor and an uninvolved member");
    }
}

#[tokio::test]
async fn every_notification_is_published_to_gateways() {
    use baton_events::tail;
    use baton_proto::baton::{events::v1::Envelope, notification::v1::NotificationEvent};
    let fixture = Fixture::start().await;
    let no_history = std::time::Duration::ZERO;
    let mut tail = tail::start(&fixture.streams, &Clock::system(), fixture.context.shutdown(), no_history);
    let task_id = fixture.assign(&fixture.team.manager_a, &fixture.team.user_a1).await;
    let event: Box<Envelope> = loop {
        let item = tokio::time::timeout(std::time::Duration::from_secs(10), tail.recv()).await.unwrap().unwrap();
        if let tail::Item::Event { event, .. } = item
            && event.r#type == "notification.created"
        {
            break event;
        }
    };
    let payload: NotificationEvent = event.payload.as_ref().unwrap().to_msg().unwrap();
    let listed = fixture.wait_for_notifications(&fixture.team.user_a1, 1).await;
    assert_eq!((&payload.notification_id, &event.subject_id), (&listed[0].id, &listed[0].id));
    assert_eq!(payload.user_id, fixture.team.user_a1.user_id.to_string());
    assert_eq!((payload.r#type(), payload.task_id), (Type::TaskAssigned, task_id.to_string()));
    assert_eq!(event.account_id, fixture.team.account_id.to_string());
}
