//! Watchers and mentions: who is notified about a task.

use baton_errors::Reason;
use baton_proto::baton::{
    api::v1::Page,
    task::v1::{
        AddWatcherRequest, BulkAction, ChangeTasksRequest, CommentEvent, ListWatchersRequest, MentionEvent,
        RemoveWatcherRequest, TaskChange, TaskEvent, TaskFilter, TaskVisibility, UnwatchTaskRequest, WatchReason,
        WatchTaskRequest, WatcherEvent, bulk_service_client::BulkServiceClient,
        watcher_service_client::WatcherServiceClient,
    },
    tenancy::v1::{GetMemberRequest, RemoveMemberRequest, member_service_client::MemberServiceClient},
};
use baton_testkit::{Person, eventually};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::{
    comments::{edit, post_comment, reply},
    fixture::{Fixture, RpcResult, error_reason, new_task, new_task_for},
};

fn client(fixture: &Fixture) -> WatcherServiceClient<Channel> {
    WatcherServiceClient::new(fixture.channel())
}

async fn watchers(fixture: &Fixture, actor: &Person, task: &str) -> RpcResult<Vec<(String, WatchReason)>> {
    let page = Page { per_page: 100, ..Page::default() };
    let request = fixture.call(actor, ListWatchersRequest { task_id: task.to_owned(), page: Some(page) });
    let response = client(fixture).list_watchers(request).await?.into_inner();
    assert_eq!(response.meta.unwrap().total_count as usize, response.watchers.len());
    Ok(response.watchers.iter().map(|watcher| (watcher.user_id.clone(), watcher.reason())).collect())
}

async fn watch(fixture: &Fixture, actor: &Person, task: &str) -> RpcResult<()> {
    let request = fixture.call(actor, WatchTaskRequest { task_id: task.to_owned() });
    client(fixture).watch_task(request).await.map(|_| ())
}

async fn unwatch(fixture: &Fixture, actor: &Person, task: &str) -> RpcResult<()> {
    let request = fixture.call(actor, UnwatchTaskRequest { task_id: task.to_owned() });
    client(fixture).unwatch_task(request).await.map(|_| ())
}

async fn add(fixture: &Fixture, actor: &Person, task: &str, user_id: Uuid) -> RpcResult<()> {
    let request = fixture.call(actor, AddWatcherRequest { task_id: task.to_owned(), user_id: user_id.to_string() });
    client(fixture).add_watcher(request).await.map(|_| ())
}

async fn remove(fixture: &Fixture, actor: &Person, task: &str, user_id: Uuid) -> RpcResult<()> {
    let request = fixture.call(actor, RemoveWatcherRequest { task_id: task.to_owned(), user_id: user_id.to_string() });
    client(fixture).remove_watcher(request).await.map(|_| ())
}

async fn handle(fixture: &Fixture, of: &Person) -> String {
    let request = GetMemberRequest { account_id: fixture.team.account_id.to_string(), user_id: of.user_id.to_string() };
    let response =
        MemberServiceClient::new(fixture.context.tenancy()).get_member(fixture.call(of, request)).await.unwrap();
    response.into_inner().member.unwrap().handle.unwrap()
}

/// User ids, sorted as in events and lists.
fn ids(people: &[&Person]) -> Vec<String> {
    let mut ids: Vec<_> = people.iter().map(|person| person.user_id.to_string()).collect();
    ids.sort();
    ids
}

fn user_ids(watchers: Vec<(String, WatchReason)>) -> Vec<String> {
    watchers.into_iter().map(|(id, _)| id).collect()
}

/// The watchers that the last comment notified.
async fn notified(fixture: &Fixture) -> Vec<String> {
    let events = fixture.published::<CommentEvent>("comment.created").await;
    events.last().unwrap().1.watcher_ids.clone()
}

#[tokio::test]
async fn participants_watch_a_task_automatically() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let task = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    let creator_and_assignee = ids(&[&team.manager_a, &team.user_a1]);
    assert_eq!(user_ids(watchers(&fixture, &team.owner, &task).await.unwrap()), creator_and_assignee);

    let owners = handle(&fixture, &team.owner).await;
    let body = format!("Ask @{}, and `@nobody` else", owners.to_uppercase());
    post_comment(&fixture, &team.super_manager, &task, &body).await.unwrap();
    let mut expected = vec![
        (team.manager_a.user_id.to_string(), WatchReason::Creator),
        (team.user_a1.user_id.to_string(), WatchReason::Holder),
        (team.super_manager.user_id.to_string(), WatchReason::Commented),
        (team.owner.user_id.to_string(), WatchReason::Mentioned),
    ];
    expected.sort();
    assert_eq!(watchers(&fixture, &team.owner, &task).await.unwrap(), expected);
    assert_eq!(notified(&fixture).await, creator_and_assignee, "neither the author nor mentioned users");

    // The former assignee stops watching, unless they have commented.
    fixture.reassign(&team.super_manager, &task, team.user_a2.user_id).await.unwrap();
    post_comment(&fixture, &team.user_a2, &task, "Mine now").await.unwrap();
    assert_eq!(notified(&fixture).await, ids(&[&team.manager_a, &team.super_manager, &team.owner]));
}

#[tokio::test]
async fn mention_is_announced_once_and_only_to_those_who_see_the_task() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let task = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    let [a1, a2, b1] = [
        handle(&fixture, &team.user_a1).await,
        handle(&fixture, &team.user_a2).await,
        handle(&fixture, &team.user_b1).await,
    ];
    let body = format!("@{b1} @{a1}: @nobody knows, @{a1} does. @{a2}?");
    let comment = post_comment(&fixture, &team.manager_a, &task, &body).await.unwrap();
    let named: Vec<_> = comment.mentions.iter().map(|one| (one.user_id.clone(), one.sees_task)).collect();
    let [id_a1, id_a2, id_b1] = [&team.user_a1, &team.user_a2, &team.user_b1].map(|one| one.user_id.to_string());
    assert_eq!(named, [(id_b1, false), (id_a1.clone(), true), (id_a2.clone(), false)]);
    assert_eq!(comment.mentions[0].handle, b1);
    let mentioned = async || fixture.published::<MentionEvent>("comment.mentioned").await;
    assert_eq!(mentioned().await[0].1.user_ids, [id_a1.as_str()]);
    assert!(notified(&fixture).await.is_empty(), "the assignee is notified by the mention");
    assert_eq!(user_ids(watchers(&fixture, &team.owner, &task).await.unwrap()), ids(&[&team.manager_a, &team.user_a1]));

    // A user who sees the task by now is notified by a new mention. An edit notifies only the users it adds.
    let change = TaskChange { visibility: TaskVisibility::Team.into(), ..TaskChange::default() };
    fixture.update(&team.manager_a, &task, &["visibility"], change).await.unwrap();
    edit(&fixture, &team.manager_a, &comment.id, &format!("@{b1} @{a1} @{a2} still")).await.unwrap();
    assert_eq!(mentioned().await.len(), 1, "no new mention");
    let own = handle(&fixture, &team.manager_a).await;
    let first = reply(&fixture, &team.manager_a, &task, "Wait", Some(&comment)).await.unwrap();
    let after = edit(&fixture, &team.manager_a, &first.id, &format!("Wait for @{a2}, says @{own}")).await.unwrap();
    assert_eq!(after.mentions.iter().map(|one| one.sees_task).collect::<Vec<_>>(), [true, true]);
    let events = mentioned().await;
    assert_eq!((events.len(), &events[1].1.user_ids), (2, &vec![id_a2.clone()]), "and no other user");
    // An edit that removes a handle removes the mention.
    assert!(edit(&fixture, &team.manager_a, &first.id, "Wait").await.unwrap().mentions.is_empty());
    assert!(user_ids(watchers(&fixture, &team.owner, &task).await.unwrap()).contains(&id_a2));
}

#[tokio::test]
async fn users_of_another_account_cannot_be_mentioned() {
    let fixture = Fixture::new().await;
    let other_account = fixture.other_account().await;
    let stranger = handle(&other_account, &other_account.team.owner).await;
    let task = fixture.create(&fixture.team.owner, new_task("Sweep")).await.unwrap().id;
    let comment = post_comment(&fixture, &fixture.team.owner, &task, &format!("@{stranger}")).await.unwrap();
    assert!(comment.mentions.is_empty());
    assert_eq!(
        error_reason(add(&fixture, &fixture.team.owner, &task, other_account.team.owner.user_id).await),
        Reason::WatcherInvalid
    );
}

#[tokio::test]
async fn watcher_without_visibility_is_not_notified() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let mut shared = new_task_for("Sweep", &team.user_a1);
    shared.visibility = TaskVisibility::Account.into();
    let task = fixture.create(&team.manager_a, shared).await.unwrap().id;
    for watcher in [&team.user_b1, &team.user_a2, &team.manager_b, &team.super_manager] {
        watch(&fixture, watcher, &task).await.unwrap();
    }
    post_comment(&fixture, &team.manager_a, &task, "Hello").await.unwrap();
    let all = [&team.user_a1, &team.user_b1, &team.user_a2, &team.manager_b, &team.super_manager];
    assert_eq!(notified(&fixture).await, ids(&all));
    for (visibility, expected) in [
        (TaskVisibility::Team, vec![&team.user_a1, &team.user_a2, &team.manager_b, &team.super_manager]),
        (TaskVisibility::Private, vec![&team.user_a1, &team.super_manager]),
    ] {
        let change = TaskChange { visibility: visibility.into(), ..TaskChange::default() };
        fixture.update(&team.manager_a, &task, &["visibility"], change).await.unwrap();
        post_comment(&fixture, &team.manager_a, &task, "Hush").await.unwrap();
        assert_eq!(notified(&fixture).await, ids(&expected), "{visibility:?}");
    }
}

#[tokio::test]
async fn watchers_are_notified_of_cancellation_and_reopening() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let mut shared = new_task_for("Sweep", &team.user_a1);
    shared.visibility = TaskVisibility::Account.into();
    let task = fixture.create(&team.manager_a, shared).await.unwrap().id;
    for watcher in [&team.user_b1, &team.user_a2, &team.super_manager, &team.owner, &team.user_a1] {
        watch(&fixture, watcher, &task).await.unwrap();
    }
    // Not notified as watchers: users who unwatched, the creator, the assignee, the actor.
    unwatch(&fixture, &team.owner, &task).await.unwrap();
    let change = TaskChange { visibility: TaskVisibility::Team.into(), ..TaskChange::default() };
    fixture.update(&team.manager_a, &task, &["visibility"], change).await.unwrap();
    let notified = async |kind: &str| {
        let events = fixture.published::<TaskEvent>("task.").await;
        let (last, event) = events.into_iter().rfind(|(_, event)| event.task_id == task).unwrap();
        assert_eq!(last, kind);
        event.watcher_ids
    };
    fixture.cancel(&team.super_manager, &task, None).await.unwrap();
    assert_eq!(notified("task.canceled").await, ids(&[&team.user_a2]));
    fixture.reopen(&team.manager_a, &task, None).await.unwrap();
    assert_eq!(notified("task.reopened").await, ids(&[&team.user_a2, &team.super_manager]));
    fixture.delete(&team.manager_a, &task).await.unwrap();
    assert!(notified("task.deleted").await.is_empty());
    fixture.restore(&team.manager_a, &task).await.unwrap();
    assert_eq!(notified("task.restored").await, ids(&[&team.user_a2, &team.super_manager]));

    // Bulk changes, by ids or by filter.
    let other = fixture.create(&team.manager_a, new_task("Mop")).await.unwrap().id;
    let mut client = BulkServiceClient::new(fixture.channel());
    let request = ChangeTasksRequest {
        action: BulkAction::Cancel.into(),
        filter: Some(TaskFilter::default()),
        ..ChangeTasksRequest::default()
    };
    client.change_tasks(fixture.call(&team.manager_a, request)).await.unwrap();
    assert_eq!(notified("task.canceled").await, ids(&[&team.user_a2, &team.super_manager]));
    assert!(fixture.events(&other).await.pop().unwrap().1.watcher_ids.is_empty());
    let request = ChangeTasksRequest {
        action: BulkAction::Reopen.into(),
        task_ids: vec![task.clone(), other],
        ..ChangeTasksRequest::default()
    };
    client.change_tasks(fixture.call(&team.owner, request)).await.unwrap();
    assert_eq!(notified("task.reopened").await, ids(&[&team.user_a2, &team.super_manager]));
}

#[tokio::test]
async fn unwatch_lasts_until_the_user_watches_again() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let task = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    for _ in 0..2 {
        unwatch(&fixture, &team.user_a1, &task).await.unwrap();
    }
    let a1 = handle(&fixture, &team.user_a1).await;
    post_comment(&fixture, &team.user_a1, &task, "I only say").await.unwrap();
    let comment = post_comment(&fixture, &team.manager_a, &task, &format!("@{a1} listen")).await.unwrap();
    assert!(comment.mentions[0].sees_task, "a mention notifies a user who unwatched");
    post_comment(&fixture, &team.manager_a, &task, "More").await.unwrap();
    assert!(notified(&fixture).await.is_empty());
    assert_eq!(error_reason(add(&fixture, &team.manager_a, &task, team.user_a1.user_id).await), Reason::WatcherInvalid);
    for _ in 0..2 {
        watch(&fixture, &team.user_a1, &task).await.unwrap();
    }
    post_comment(&fixture, &team.manager_a, &task, "Again").await.unwrap();
    assert_eq!(notified(&fixture).await, ids(&[&team.user_a1]));
    let events = fixture.published::<WatcherEvent>("watcher.").await;
    let kinds: Vec<_> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["watcher.removed", "watcher.added"]);
}

#[tokio::test]
async fn editors_add_and_remove_watchers() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let mut shared = new_task_for("Sweep", &team.user_a1);
    shared.visibility = TaskVisibility::Team.into();
    let task = fixture.create(&team.manager_a, shared).await.unwrap().id;
    let (a2, b1) = (team.user_a2.user_id, team.user_b1.user_id);
    for refusal in [add(&fixture, &team.user_a1, &task, a2).await, remove(&fixture, &team.user_a1, &task, a2).await] {
        assert_eq!(error_reason(refusal), Reason::TaskChangeNotAllowed);
    }
    assert_eq!(error_reason(add(&fixture, &team.user_b1, &task, a2).await), Reason::TaskNotFound);
    for nobody in [b1, Uuid::now_v7()] {
        assert_eq!(error_reason(add(&fixture, &team.manager_a, &task, nobody).await), Reason::WatcherInvalid);
        assert_eq!(error_reason(remove(&fixture, &team.manager_a, &task, nobody).await), Reason::WatcherNotFound);
    }
    for _ in 0..2 {
        add(&fixture, &team.manager_a, &task, a2).await.unwrap();
    }
    let added = (a2.to_string(), WatchReason::Added);
    assert!(watchers(&fixture, &team.user_a1, &task).await.unwrap().contains(&added));
    remove(&fixture, &team.manager_a, &task, a2).await.unwrap();
    assert!(!watchers(&fixture, &team.user_a1, &task).await.unwrap().contains(&added));
    // A watcher removed by one user is added again by another.
    add(&fixture, &team.super_manager, &task, a2).await.unwrap();
    assert!(watchers(&fixture, &team.user_a1, &task).await.unwrap().contains(&added));
    remove(&fixture, &team.user_a2, &task, a2).await.unwrap();
    assert_eq!(
        error_reason(add(&fixture, &team.manager_a, &task, a2).await),
        Reason::WatcherInvalid,
        "they said no themselves"
    );
}

#[tokio::test]
async fn task_has_at_most_a_thousand_watchers() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let mut shared = new_task("Sweep");
    shared.visibility = TaskVisibility::Account.into();
    let task = fixture.create(&team.owner, shared).await.unwrap().id;
    let many = "insert into task.task_watchers (account_id, task_id, user_id, standing, since)
                select $1, $2, gen_random_uuid(), 'chose', now() from generate_series(1, 999)";
    let admin = fixture.context.admin();
    sqlx::query(many).bind(team.account_id).bind(task.parse::<Uuid>().unwrap()).execute(&admin).await.unwrap();
    let (one, other) = tokio::join!(watch(&fixture, &team.user_a1, &task), watch(&fixture, &team.user_b1, &task));
    let refusals: Vec<_> = [one, other].into_iter().filter(Result::is_err).map(error_reason).collect();
    assert_eq!(refusals, [Reason::WatcherLimit], "one of two concurrent additions exceeds the limit");
    // At the limit a comment is accepted, but its author does not become a watcher.
    post_comment(&fixture, &team.manager_b, &task, "Hello").await.unwrap();
    assert!(notified(&fixture).await.contains(&team.owner.user_id.to_string()));
    let rows: i64 = sqlx::query_scalar("select count(*) from task.task_watchers").fetch_one(&admin).await.unwrap();
    assert_eq!(rows, 1000);
    // Unwatching works at the limit.
    unwatch(&fixture, &team.owner, &task).await.unwrap();
}

#[tokio::test]
async fn removed_member_watches_nothing() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let task = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    post_comment(&fixture, &team.user_a1, &task, "Bye").await.unwrap();
    let request = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: team.user_a1.user_id.to_string(),
        hand_over_to: None,
    };
    MemberServiceClient::new(fixture.context.tenancy())
        .remove_member(fixture.call(&team.owner, request))
        .await
        .unwrap();
    eventually(|| async {
        let left = watchers(&fixture, &team.manager_a, &task).await.unwrap();
        (user_ids(left) == ids(&[&team.manager_a])).then_some(())
    })
    .await;
    post_comment(&fixture, &team.owner, &task, "Gone").await.unwrap();
    assert_eq!(notified(&fixture).await, ids(&[&team.manager_a]));
}
