//! Who is told what is said about a task: those who are mentioned, and those who watch, if they see it.

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
    commenting::{edit, reply, say},
    desk::{Answer, Desk, new, new_for, refused},
};

fn client(desk: &Desk) -> WatcherServiceClient<Channel> {
    WatcherServiceClient::new(desk.channel())
}

async fn watchers(desk: &Desk, who: &Person, task: &str) -> Answer<Vec<(String, WatchReason)>> {
    let page = Page { per_page: 100, ..Page::default() };
    let request = desk.call(who, ListWatchersRequest { task_id: task.to_owned(), page: Some(page) });
    let answer = client(desk).list_watchers(request).await?.into_inner();
    assert_eq!(answer.meta.unwrap().total_count as usize, answer.watchers.len());
    Ok(answer.watchers.iter().map(|watcher| (watcher.user_id.clone(), watcher.reason())).collect())
}

async fn watch(desk: &Desk, who: &Person, task: &str) -> Answer<()> {
    let request = desk.call(who, WatchTaskRequest { task_id: task.to_owned() });
    client(desk).watch_task(request).await.map(|_| ())
}

async fn unwatch(desk: &Desk, who: &Person, task: &str) -> Answer<()> {
    let request = desk.call(who, UnwatchTaskRequest { task_id: task.to_owned() });
    client(desk).unwatch_task(request).await.map(|_| ())
}

async fn add(desk: &Desk, who: &Person, task: &str, whom: Uuid) -> Answer<()> {
    let request = desk.call(who, AddWatcherRequest { task_id: task.to_owned(), user_id: whom.to_string() });
    client(desk).add_watcher(request).await.map(|_| ())
}

async fn remove(desk: &Desk, who: &Person, task: &str, whom: Uuid) -> Answer<()> {
    let request = desk.call(who, RemoveWatcherRequest { task_id: task.to_owned(), user_id: whom.to_string() });
    client(desk).remove_watcher(request).await.map(|_| ())
}

async fn handle(desk: &Desk, of: &Person) -> String {
    let request = GetMemberRequest { account_id: desk.team.account_id.to_string(), user_id: of.user_id.to_string() };
    let answer = MemberServiceClient::new(desk.world.tenancy()).get_member(desk.call(of, request)).await.unwrap();
    answer.into_inner().member.unwrap().handle.unwrap()
}

/// User ids, sorted, as events and lists have them.
fn ids(people: &[&Person]) -> Vec<String> {
    let mut ids: Vec<_> = people.iter().map(|person| person.user_id.to_string()).collect();
    ids.sort();
    ids
}

fn who(watchers: Vec<(String, WatchReason)>) -> Vec<String> {
    watchers.into_iter().map(|(id, _)| id).collect()
}

/// Whom the last comment told, as watchers.
async fn told(desk: &Desk) -> Vec<String> {
    let events = desk.told::<CommentEvent>("comment.created").await;
    events.last().unwrap().1.watcher_ids.clone()
}

#[tokio::test]
async fn who_has_to_do_with_a_task_watches_it_by_themselves() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let task = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    let creator_and_holder = ids(&[&team.manager_a, &team.user_a1]);
    assert_eq!(who(watchers(&desk, &team.owner, &task).await.unwrap()), creator_and_holder);

    let owners = handle(&desk, &team.owner).await;
    let body = format!("Ask @{}, and `@nobody` else", owners.to_uppercase());
    say(&desk, &team.super_manager, &task, &body).await.unwrap();
    let mut expected = vec![
        (team.manager_a.user_id.to_string(), WatchReason::Creator),
        (team.user_a1.user_id.to_string(), WatchReason::Holder),
        (team.super_manager.user_id.to_string(), WatchReason::Commented),
        (team.owner.user_id.to_string(), WatchReason::Mentioned),
    ];
    expected.sort();
    assert_eq!(watchers(&desk, &team.owner, &task).await.unwrap(), expected);
    assert_eq!(told(&desk).await, creator_and_holder, "neither the author nor who is mentioned");

    // The holder of before watches no more, unless they had something to say.
    desk.reassign(&team.super_manager, &task, team.user_a2.user_id).await.unwrap();
    say(&desk, &team.user_a2, &task, "Mine now").await.unwrap();
    assert_eq!(told(&desk).await, ids(&[&team.manager_a, &team.super_manager, &team.owner]));
}

#[tokio::test]
async fn mentions_are_told_once_and_only_to_who_sees_the_task() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let task = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    let [a1, a2, b1] =
        [handle(&desk, &team.user_a1).await, handle(&desk, &team.user_a2).await, handle(&desk, &team.user_b1).await];
    let body = format!("@{b1} @{a1}: @nobody knows, @{a1} does. @{a2}?");
    let comment = say(&desk, &team.manager_a, &task, &body).await.unwrap();
    let named: Vec<_> = comment.mentions.iter().map(|one| (one.user_id.clone(), one.sees_task)).collect();
    let [id_a1, id_a2, id_b1] = [&team.user_a1, &team.user_a2, &team.user_b1].map(|one| one.user_id.to_string());
    assert_eq!(named, [(id_b1, false), (id_a1.clone(), true), (id_a2.clone(), false)]);
    assert_eq!(comment.mentions[0].handle, b1);
    let mentioned = async || desk.told::<MentionEvent>("comment.mentioned").await;
    assert_eq!(mentioned().await[0].1.user_ids, [id_a1.as_str()]);
    assert!(told(&desk).await.is_empty(), "the holder knows by the mention");
    assert_eq!(who(watchers(&desk, &team.owner, &task).await.unwrap()), ids(&[&team.manager_a, &team.user_a1]));

    // Who sees it by now is told when another comment names them; an edit tells only whom it adds.
    let change = TaskChange { visibility: TaskVisibility::Team.into(), ..TaskChange::default() };
    desk.update(&team.manager_a, &task, &["visibility"], change).await.unwrap();
    edit(&desk, &team.manager_a, &comment.id, &format!("@{b1} @{a1} @{a2} still")).await.unwrap();
    assert_eq!(mentioned().await.len(), 1, "nobody is new");
    let own = handle(&desk, &team.manager_a).await;
    let first = reply(&desk, &team.manager_a, &task, "Wait", Some(&comment)).await.unwrap();
    let after = edit(&desk, &team.manager_a, &first.id, &format!("Wait for @{a2}, says @{own}")).await.unwrap();
    assert_eq!(after.mentions.iter().map(|one| one.sees_task).collect::<Vec<_>>(), [true, true]);
    let events = mentioned().await;
    assert_eq!((events.len(), &events[1].1.user_ids), (2, &vec![id_a2.clone()]), "and nobody by themselves");
    // An edit that takes a name out takes the mention out.
    assert!(edit(&desk, &team.manager_a, &first.id, "Wait").await.unwrap().mentions.is_empty());
    assert!(who(watchers(&desk, &team.owner, &task).await.unwrap()).contains(&id_a2));
}

#[tokio::test]
async fn another_accounts_people_cannot_be_mentioned() {
    let desk = Desk::open().await;
    let elsewhere = desk.elsewhere().await;
    let stranger = handle(&elsewhere, &elsewhere.team.owner).await;
    let task = desk.create(&desk.team.owner, new("Sweep")).await.unwrap().id;
    let comment = say(&desk, &desk.team.owner, &task, &format!("@{stranger}")).await.unwrap();
    assert!(comment.mentions.is_empty());
    assert_eq!(
        refused(add(&desk, &desk.team.owner, &task, elsewhere.team.owner.user_id).await),
        Reason::WatcherInvalid
    );
}

#[tokio::test]
async fn who_sees_the_task_no_more_is_told_nothing() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let mut shared = new_for("Sweep", &team.user_a1);
    shared.visibility = TaskVisibility::Account.into();
    let task = desk.create(&team.manager_a, shared).await.unwrap().id;
    for watcher in [&team.user_b1, &team.user_a2, &team.manager_b, &team.super_manager] {
        watch(&desk, watcher, &task).await.unwrap();
    }
    say(&desk, &team.manager_a, &task, "Hello").await.unwrap();
    let all = [&team.user_a1, &team.user_b1, &team.user_a2, &team.manager_b, &team.super_manager];
    assert_eq!(told(&desk).await, ids(&all));
    for (visibility, expected) in [
        (TaskVisibility::Team, vec![&team.user_a1, &team.user_a2, &team.manager_b, &team.super_manager]),
        (TaskVisibility::Private, vec![&team.user_a1, &team.super_manager]),
    ] {
        let change = TaskChange { visibility: visibility.into(), ..TaskChange::default() };
        desk.update(&team.manager_a, &task, &["visibility"], change).await.unwrap();
        say(&desk, &team.manager_a, &task, "Hush").await.unwrap();
        assert_eq!(told(&desk).await, ids(&expected), "{visibility:?}");
    }
}

#[tokio::test]
async fn who_watches_and_sees_a_task_is_told_that_it_was_given_up_or_is_open_again() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let mut shared = new_for("Sweep", &team.user_a1);
    shared.visibility = TaskVisibility::Account.into();
    let task = desk.create(&team.manager_a, shared).await.unwrap().id;
    for watcher in [&team.user_b1, &team.user_a2, &team.super_manager, &team.owner, &team.user_a1] {
        watch(&desk, watcher, &task).await.unwrap();
    }
    // Who says no is not told; nor are creator and holder, and who did it, as watchers.
    unwatch(&desk, &team.owner, &task).await.unwrap();
    let change = TaskChange { visibility: TaskVisibility::Team.into(), ..TaskChange::default() };
    desk.update(&team.manager_a, &task, &["visibility"], change).await.unwrap();
    let told = async |kind: &str| {
        let events = desk.told::<TaskEvent>("task.").await;
        let (last, event) = events.into_iter().rfind(|(_, event)| event.task_id == task).unwrap();
        assert_eq!(last, kind);
        event.watcher_ids
    };
    desk.cancel(&team.super_manager, &task, None).await.unwrap();
    assert_eq!(told("task.canceled").await, ids(&[&team.user_a2]));
    desk.reopen(&team.manager_a, &task, None).await.unwrap();
    assert_eq!(told("task.reopened").await, ids(&[&team.user_a2, &team.super_manager]));
    desk.delete(&team.manager_a, &task).await.unwrap();
    assert!(told("task.deleted").await.is_empty());
    desk.restore(&team.manager_a, &task).await.unwrap();
    assert_eq!(told("task.restored").await, ids(&[&team.user_a2, &team.super_manager]));

    // Many at once, by name or by filter.
    let other = desk.create(&team.manager_a, new("Mop")).await.unwrap().id;
    let mut client = BulkServiceClient::new(desk.channel());
    let request = ChangeTasksRequest {
        action: BulkAction::Cancel.into(),
        filter: Some(TaskFilter::default()),
        ..ChangeTasksRequest::default()
    };
    client.change_tasks(desk.call(&team.manager_a, request)).await.unwrap();
    assert_eq!(told("task.canceled").await, ids(&[&team.user_a2, &team.super_manager]));
    assert!(desk.events(&other).await.pop().unwrap().1.watcher_ids.is_empty());
    let request = ChangeTasksRequest {
        action: BulkAction::Reopen.into(),
        task_ids: vec![task.clone(), other],
        ..ChangeTasksRequest::default()
    };
    client.change_tasks(desk.call(&team.owner, request)).await.unwrap();
    assert_eq!(told("task.reopened").await, ids(&[&team.user_a2, &team.super_manager]));
}

#[tokio::test]
async fn no_is_no_until_one_says_otherwise() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let task = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    for _ in 0..2 {
        unwatch(&desk, &team.user_a1, &task).await.unwrap();
    }
    let a1 = handle(&desk, &team.user_a1).await;
    say(&desk, &team.user_a1, &task, "I only say").await.unwrap();
    let comment = say(&desk, &team.manager_a, &task, &format!("@{a1} listen")).await.unwrap();
    assert!(comment.mentions[0].sees_task, "who is named is told of that all the same");
    say(&desk, &team.manager_a, &task, "More").await.unwrap();
    assert!(told(&desk).await.is_empty());
    assert_eq!(refused(add(&desk, &team.manager_a, &task, team.user_a1.user_id).await), Reason::WatcherInvalid);
    for _ in 0..2 {
        watch(&desk, &team.user_a1, &task).await.unwrap();
    }
    say(&desk, &team.manager_a, &task, "Again").await.unwrap();
    assert_eq!(told(&desk).await, ids(&[&team.user_a1]));
    let events = desk.told::<WatcherEvent>("watcher.").await;
    let kinds: Vec<_> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["watcher.removed", "watcher.added"]);
}

#[tokio::test]
async fn who_may_change_the_task_says_who_else_watches() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let mut shared = new_for("Sweep", &team.user_a1);
    shared.visibility = TaskVisibility::Team.into();
    let task = desk.create(&team.manager_a, shared).await.unwrap().id;
    let (a2, b1) = (team.user_a2.user_id, team.user_b1.user_id);
    for refusal in [add(&desk, &team.user_a1, &task, a2).await, remove(&desk, &team.user_a1, &task, a2).await] {
        assert_eq!(refused(refusal), Reason::TaskChangeNotAllowed);
    }
    assert_eq!(refused(add(&desk, &team.user_b1, &task, a2).await), Reason::TaskNotFound);
    for nobody in [b1, Uuid::now_v7()] {
        assert_eq!(refused(add(&desk, &team.manager_a, &task, nobody).await), Reason::WatcherInvalid);
        assert_eq!(refused(remove(&desk, &team.manager_a, &task, nobody).await), Reason::WatcherNotFound);
    }
    for _ in 0..2 {
        add(&desk, &team.manager_a, &task, a2).await.unwrap();
    }
    let added = (a2.to_string(), WatchReason::Added);
    assert!(watchers(&desk, &team.user_a1, &task).await.unwrap().contains(&added));
    remove(&desk, &team.manager_a, &task, a2).await.unwrap();
    assert!(!watchers(&desk, &team.user_a1, &task).await.unwrap().contains(&added));
    // What one took out another puts back in.
    add(&desk, &team.super_manager, &task, a2).await.unwrap();
    assert!(watchers(&desk, &team.user_a1, &task).await.unwrap().contains(&added));
    remove(&desk, &team.user_a2, &task, a2).await.unwrap();
    assert_eq!(
        refused(add(&desk, &team.manager_a, &task, a2).await),
        Reason::WatcherInvalid,
        "they said no themselves"
    );
}

#[tokio::test]
async fn a_task_has_a_thousand_watchers_at_most() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let mut shared = new("Sweep");
    shared.visibility = TaskVisibility::Account.into();
    let task = desk.create(&team.owner, shared).await.unwrap().id;
    let many = "insert into task.task_watchers (account_id, task_id, user_id, standing, since)
                select $1, $2, gen_random_uuid(), 'chose', now() from generate_series(1, 999)";
    let admin = desk.world.admin();
    sqlx::query(many).bind(team.account_id).bind(task.parse::<Uuid>().unwrap()).execute(&admin).await.unwrap();
    let (one, other) = tokio::join!(watch(&desk, &team.user_a1, &task), watch(&desk, &team.user_b1, &task));
    let refusals: Vec<_> = [one, other].into_iter().filter(Result::is_err).map(refused).collect();
    assert_eq!(refusals, [Reason::WatcherLimit], "of two at once who want the last place, one gets it");
    // Who says something finds no room, and says it all the same.
    say(&desk, &team.manager_b, &task, "Hello").await.unwrap();
    assert!(told(&desk).await.contains(&team.owner.user_id.to_string()));
    let rows: i64 = sqlx::query_scalar("select count(*) from task.task_watchers").fetch_one(&admin).await.unwrap();
    assert_eq!(rows, 1000);
    // No needs no room.
    unwatch(&desk, &team.owner, &task).await.unwrap();
}

#[tokio::test]
async fn who_leaves_watches_nothing() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let task = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    say(&desk, &team.user_a1, &task, "Bye").await.unwrap();
    let request = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: team.user_a1.user_id.to_string(),
        hand_over_to: None,
    };
    MemberServiceClient::new(desk.world.tenancy()).remove_member(desk.call(&team.owner, request)).await.unwrap();
    eventually(|| async {
        let left = watchers(&desk, &team.manager_a, &task).await.unwrap();
        (who(left) == ids(&[&team.manager_a])).then_some(())
    })
    .await;
    say(&desk, &team.owner, &task, "Gone").await.unwrap();
    assert_eq!(told(&desk).await, ids(&[&team.manager_a]));
}
