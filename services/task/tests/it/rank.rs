//! The manual task order.

use std::collections::HashSet;

use baton_errors::Reason;
use baton_proto::baton::task::v1::{
    ListTasksRequest, MoveTaskRequest, Task, TaskEvent, TaskEventKind, TaskFilter, TaskSort, TaskVisibility,
};
use baton_testkit::Person;
use chrono::TimeDelta;
use tokio::task::JoinSet;

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task, new_task_for};

enum Next<'a> {
    Before(&'a str),
    After(&'a str),
}
use Next::{After, Before};

async fn move_task(fixture: &Fixture, actor: &Person, id: &str, next: Next<'_>) -> RpcResult {
    let mut request = MoveTaskRequest { id: id.to_owned(), ..Default::default() };
    match next {
        Before(id) => request.before_id = Some(id.to_owned()),
        After(id) => request.after_id = Some(id.to_owned()),
    }
    Ok(fixture.boards().move_task(fixture.call(actor, request)).await?.into_inner().task.unwrap())
}

/// Titles in the manual order.
async fn order(fixture: &Fixture, actor: &Person) -> Vec<String> {
    let filter = TaskFilter { sort: TaskSort::Rank.into(), ..Default::default() };
    let request = fixture.call(actor, ListTasksRequest { filter: Some(filter), page: None });
    let tasks = fixture.tasks().list_tasks(request).await.unwrap().into_inner().tasks;
    tasks.into_iter().map(|task| task.title).collect()
}

async fn create(fixture: &Fixture, actor: &Person, title: &str) -> Task {
    fixture.clock.advance(TimeDelta::milliseconds(1));
    fixture.create(actor, new_task(title)).await.unwrap()
}

#[tokio::test]
async fn task_moves_to_the_requested_position_and_new_tasks_come_last() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let a = create(&fixture, me, "a").await;
    let b = create(&fixture, me, "b").await;
    let c = create(&fixture, me, "c").await;
    assert_eq!(order(&fixture, me).await, ["a", "b", "c"]);
    let moved = move_task(&fixture, me, &c.id, Before(&a.id)).await.unwrap();
    assert_eq!(moved.version, 2);
    assert_eq!(order(&fixture, me).await, ["c", "a", "b"]);
    move_task(&fixture, me, &c.id, After(&a.id)).await.unwrap();
    assert_eq!(order(&fixture, me).await, ["a", "c", "b"]);
    move_task(&fixture, me, &a.id, After(&b.id)).await.unwrap();
    create(&fixture, me, "d").await;
    assert_eq!(order(&fixture, me).await, ["c", "b", "a", "d"]);

    // A task that is already at the position is unchanged, and no event is published.
    let stays = move_task(&fixture, me, &c.id, Before(&b.id)).await.unwrap();
    assert_eq!(stays.version, 3);
    let events = fixture.published::<TaskEvent>("task.moved").await;
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|(_, event)| event.kind() == TaskEventKind::Moved && event.changed_fields == ["rank"]));
}

#[tokio::test]
async fn only_visible_and_editable_tasks_are_moved() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let own = create(&fixture, &team.user_a1, "own").await;
    let given = fixture.create(&team.manager_a, new_task_for("given", &team.user_a1)).await.unwrap();
    let mut shared = new_task("shared");
    shared.visibility = TaskVisibility::Account.into();
    let shared = fixture.create(&team.owner, shared).await.unwrap();
    let hidden = create(&fixture, &team.owner, "hidden").await;
    let me = &team.user_a1;

    move_task(&fixture, me, &given.id, Before(&own.id)).await.expect("the assignee may");
    move_task(&fixture, me, &own.id, After(&shared.id)).await.expect("any visible task is a valid neighbour");
    assert_eq!(error_reason(move_task(&fixture, me, &shared.id, Before(&own.id)).await), Reason::TaskChangeNotAllowed);
    assert_eq!(error_reason(move_task(&fixture, me, &own.id, After(&hidden.id)).await), Reason::TaskNotFound);
    assert_eq!(error_reason(move_task(&fixture, me, &hidden.id, After(&own.id)).await), Reason::TaskNotFound);
    let other = fixture.other_account().await;
    let foreign = create(&other, &other.team.owner, "foreign").await;
    assert_eq!(error_reason(move_task(&fixture, &team.owner, &own.id, After(&foreign.id)).await), Reason::TaskNotFound);

    assert_eq!(invalid_field(move_task(&fixture, me, &own.id, After(&own.id)).await), "after_id");
    let both = MoveTaskRequest { id: own.id.clone(), before_id: Some(given.id.clone()), after_id: Some(given.id) };
    assert_eq!(invalid_field(fixture.boards().move_task(fixture.call(me, both)).await), "before_id");
    let neither = MoveTaskRequest { id: own.id, ..Default::default() };
    assert_eq!(invalid_field(fixture.boards().move_task(fixture.call(me, neither)).await), "before_id");
}

#[tokio::test]
async fn concurrent_moves_to_one_position_get_distinct_ranks() {
    let fixture = Fixture::new().await;
    let me = fixture.team.user_a1.clone();
    let first = create(&fixture, &me, "first").await;
    let last = create(&fixture, &me, "last").await;
    let mut moves = JoinSet::new();
    for n in 0..12 {
        let task = create(&fixture, &me, &n.to_string()).await;
        let (fixture, me, first) = (fixture.clone(), me.clone(), first.id.clone());
        moves.spawn(async move { move_task(&fixture, &me, &task.id, After(&first)).await.unwrap().rank });
    }
    let ranks: HashSet<String> = moves.join_all().await.into_iter().collect();
    assert_eq!(ranks.len(), 12);
    assert!(ranks.iter().all(|rank| first.rank < *rank && *rank < last.rank));
}

#[tokio::test]
async fn rebalancing_ranks_keeps_the_order() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let first = create(&fixture, me, "first").await;
    let tasks = [create(&fixture, me, "one").await, create(&fixture, me, "two").await];
    // The longest rank that a move may create, directly after the first task.
    let crowded = format!("{}{}1", first.rank, "0".repeat(64 - first.rank.len() - 1));
    let set = "update task.tasks set rank = $1 where id = $2";
    let id: uuid::Uuid = tasks[0].id.parse().unwrap();
    sqlx::query(set).bind(&crowded).bind(id).execute(&fixture.context.admin()).await.unwrap();

    let moved = move_task(&fixture, me, &tasks[1].id, After(&first.id)).await.unwrap();
    assert_eq!(order(&fixture, me).await, ["first", "two", "one"]);
    assert!(moved.rank.len() < 40, "{}", moved.rank);
    let spread = fixture.get(me, &tasks[0].id).await.unwrap();
    assert!(spread.rank.len() < 40 && spread.version == 2, "{spread:?}");
}
