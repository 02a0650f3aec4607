//! People are told of what concerns them.

use baton_notification::SERVICES;
use baton_proto::baton::{
    notification::v1::NotificationType as Type,
    task::v1::{CommentEvent, MentionEvent, TaskEvent},
    tenancy::v1::MemberEvent,
};
use baton_store::Event;
use baton_testkit::Person;
use uuid::Uuid;

use crate::stage::{Stage, assigned};

#[tokio::test]
async fn a_user_is_told_of_an_assignment() {
    let stage = Stage::set().await;
    let (manager, user) = (&stage.team.manager_a, &stage.team.user_a1);
    let task_id = stage.assign(manager, user).await;

    let told = stage.told(user, 1).await;
    let notification = &told[0];
    assert_eq!(notification.r#type(), Type::TaskAssigned);
    assert_eq!(notification.title, "A task was assigned to you");
    assert_eq!(notification.account_id, stage.team.account_id.to_string());
    assert_eq!(notification.task_id, Some(task_id.to_string()));
    assert_eq!(notification.actor_id, Some(manager.user_id.to_string()));
    assert_eq!(notification.action_url, format!("/v1/tasks/{task_id}"));
    assert!(notification.created_at.is_some() && notification.read_at.is_none());
    assert!(stage.list(manager, stage.team.account_id).await.is_empty());
    assert_eq!(SERVICES, ["baton.notification.v1.NotificationService"]);
}

#[tokio::test]
async fn each_event_tells_those_it_concerns_and_nobody_twice() {
    let stage = Stage::set().await;
    let team = &stage.team;
    let (owner, manager, holder, next) = (&team.owner, &team.manager_a, &team.user_a1, &team.user_a2);
    let task_id = Uuid::now_v7();
    let task = || TaskEvent {
        previously_assigned_to: holder.user_id.to_string(),
        assigned_by: manager.user_id.to_string(),
        created_by: owner.user_id.to_string(),
        ..assigned(task_id, owner, holder)
    };
    let reassigned = TaskEvent { assigned_to: next.user_id.to_string(), ..task() };
    // Created and handed over by the same person: told once.
    let of_one = TaskEvent { created_by: manager.user_id.to_string(), ..task() };
    let member = MemberEvent {
        member_id: Uuid::now_v7().to_string(),
        user_id: next.user_id.to_string(),
        invited_by: owner.user_id.to_string(),
        ..MemberEvent::default()
    };
    let about_member = |kind| Event::new(kind, team.account_id, Uuid::now_v7(), &member);
    let by_holder = ["task.accepted", "task.rejected", "task.started", "task.completed"];
    stage.publish(holder, by_holder.map(|kind| stage.event(kind, task()))).await;
    stage.publish(holder, [stage.event("task.completed", of_one)]).await;
    stage.publish(manager, [stage.event("task.reassigned", reassigned)]).await;
    // Nobody is told of what they did themselves.
    stage.publish(holder, [stage.event("task.assigned", task())]).await;
    stage.publish(owner, [stage.event("task.completed", task()), about_member("member.invited")]).await;
    stage.publish(next, [about_member("member.joined")]).await;
    stage.settled().await;

    let told = async |person: &Person| -> Vec<Type> {
        let mut notifications = stage.list(person, team.account_id).await;
        notifications.reverse();
        notifications.iter().map(|notification| notification.r#type()).collect()
    };
    assert_eq!(
        told(manager).await,
        [Type::TaskAccepted, Type::TaskRejected, Type::TaskCompleted, Type::TaskCompleted, Type::TaskCompleted]
    );
    assert_eq!(told(owner).await, [Type::TaskCompleted, Type::Invited]);
    assert_eq!(told(holder).await, [Type::TaskReassigned]);
    assert_eq!(told(next).await, [Type::TaskReassigned, Type::Invited]);
    assert_eq!(told(&team.super_manager).await, []);
}

#[tokio::test]
async fn a_comment_tells_whom_it_names_and_who_watches() {
    let stage = Stage::set().await;
    let team = &stage.team;
    let (author, named, watcher) = (&team.manager_a, &team.user_a1, &team.user_a2);
    let (task_id, comment_id) = (Uuid::now_v7(), Uuid::now_v7());
    let id = |person: &Person| person.user_id.to_string();
    let mention =
        MentionEvent { comment_id: comment_id.to_string(), task_id: task_id.to_string(), user_ids: vec![id(named)] };
    let comment = CommentEvent {
        comment_id: comment_id.to_string(),
        task_id: task_id.to_string(),
        author_id: id(author),
        watcher_ids: vec![id(watcher), id(author)],
        ..CommentEvent::default()
    };
    let mentioned = Event::new("comment.mentioned", team.account_id, comment_id, &mention);
    let created = Event::new("comment.created", team.account_id, comment_id, &comment);
    let edited = Event::new("comment.updated", team.account_id, comment_id, &comment);
    stage.publish(author, [mentioned, created, edited]).await;
    stage.settled().await;
    for (person, expected) in [(named, Type::Mentioned), (watcher, Type::Commented)] {
        let told = stage.list(person, team.account_id).await;
        assert_eq!(told.iter().map(|one| one.r#type()).collect::<Vec<_>>(), [expected]);
        assert_eq!(told[0].action_url, format!("/v1/tasks/{task_id}"));
        assert_eq!((told[0].task_id.clone(), told[0].actor_id.clone()), (Some(task_id.to_string()), Some(id(author))));
    }
    assert!(stage.list(author, team.account_id).await.is_empty(), "nobody is told of what they said themselves");
}

#[tokio::test]
async fn what_somebody_else_cancels_reopens_or_restores_is_told_to_all_who_have_to_do_with_it() {
    let stage = Stage::set().await;
    let team = &stage.team;
    let (creator, holder, watcher) = (&team.manager_a, &team.user_a1, &team.user_a2);
    let task_id = Uuid::now_v7();
    // Whoever is told of it in two ways is told once.
    let watchers = [watcher, holder, &team.super_manager].map(|person| person.user_id.to_string());
    let task = TaskEvent { watcher_ids: watchers.to_vec(), ..assigned(task_id, creator, holder) };
    let kinds = ["task.canceled", "task.reopened", "task.restored"];
    stage.publish(&team.super_manager, kinds.map(|kind| stage.event(kind, task.clone()))).await;
    stage.settled().await;
    for person in [creator, holder, watcher] {
        let mut told = stage.list(person, team.account_id).await;
        told.reverse();
        let kinds: Vec<Type> = told.iter().map(|one| one.r#type()).collect();
        assert_eq!(kinds, [Type::TaskCanceled, Type::TaskReopened, Type::TaskRestored]);
        assert_eq!(told[0].action_url, format!("/v1/tasks/{task_id}"));
    }
    for person in [&team.super_manager, &team.owner] {
        assert!(stage.list(person, team.account_id).await.is_empty(), "who did it, and who has nothing to do with it");
    }
}

#[tokio::test]
async fn gateways_learn_of_every_notification() {
    use baton_proto::baton::{events::v1::Envelope, notification::v1::NotificationEvent};
    let stage = Stage::set().await;
    let mut tail = baton_events::tail::start(&stage.streams, stage.world.shutdown()).subscribe();
    let task_id = stage.assign(&stage.team.manager_a, &stage.team.user_a1).await;
    let event: std::sync::Arc<Envelope> = loop {
        let event = tokio::time::timeout(std::time::Duration::from_secs(10), tail.recv()).await.unwrap().unwrap();
        if event.r#type == "notification.created" {
            break event;
        }
    };
    let told: NotificationEvent = event.payload.as_ref().unwrap().to_msg().unwrap();
    let listed = stage.told(&stage.team.user_a1, 1).await;
    assert_eq!((&told.notification_id, &event.subject_id), (&listed[0].id, &listed[0].id));
    assert_eq!(told.user_id, stage.team.user_a1.user_id.to_string());
    assert_eq!((told.r#type(), told.task_id), (Type::TaskAssigned, task_id.to_string()));
    assert_eq!(event.account_id, stage.team.account_id.to_string());
}
