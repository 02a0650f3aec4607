//! People put tasks in an order of their own.

use std::collections::HashSet;

use baton_errors::Reason;
use baton_proto::baton::task::v1::{
    ListTasksRequest, MoveTaskRequest, Task, TaskEvent, TaskEventKind, TaskFilter, TaskSort, TaskVisibility,
};
use baton_testkit::Person;
use chrono::TimeDelta;
use tokio::task::JoinSet;

use crate::desk::{Answer, Desk, new, new_for, refused, wrong_field};

enum Next<'a> {
    Before(&'a str),
    After(&'a str),
}
use Next::{After, Before};

async fn put(desk: &Desk, who: &Person, id: &str, next: Next<'_>) -> Answer {
    let mut request = MoveTaskRequest { id: id.to_owned(), ..Default::default() };
    match next {
        Before(id) => request.before_id = Some(id.to_owned()),
        After(id) => request.after_id = Some(id.to_owned()),
    }
    Ok(desk.boards().move_task(desk.call(who, request)).await?.into_inner().task.unwrap())
}

/// Titles in the manual order.
async fn order(desk: &Desk, who: &Person) -> Vec<String> {
    let filter = TaskFilter { sort: TaskSort::Rank.into(), ..Default::default() };
    let request = desk.call(who, ListTasksRequest { filter: Some(filter), page: None });
    let tasks = desk.tasks().list_tasks(request).await.unwrap().into_inner().tasks;
    tasks.into_iter().map(|task| task.title).collect()
}

async fn create(desk: &Desk, who: &Person, title: &str) -> Task {
    desk.clock.advance(TimeDelta::milliseconds(1));
    desk.create(who, new(title)).await.unwrap()
}

#[tokio::test]
async fn a_task_goes_where_it_is_put_and_new_ones_last() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let a = create(&desk, me, "a").await;
    let b = create(&desk, me, "b").await;
    let c = create(&desk, me, "c").await;
    assert_eq!(order(&desk, me).await, ["a", "b", "c"]);
    let moved = put(&desk, me, &c.id, Before(&a.id)).await.unwrap();
    assert_eq!(moved.version, 2);
    assert_eq!(order(&desk, me).await, ["c", "a", "b"]);
    put(&desk, me, &c.id, After(&a.id)).await.unwrap();
    assert_eq!(order(&desk, me).await, ["a", "c", "b"]);
    put(&desk, me, &a.id, After(&b.id)).await.unwrap();
    create(&desk, me, "d").await;
    assert_eq!(order(&desk, me).await, ["c", "b", "a", "d"]);

    // What is there already stays as it is, and nobody is told.
    let stays = put(&desk, me, &c.id, Before(&b.id)).await.unwrap();
    assert_eq!(stays.version, 3);
    let told = desk.told::<TaskEvent>("task.moved").await;
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|(_, event)| event.kind() == TaskEventKind::Moved && event.changed_fields == ["rank"]));
}

#[tokio::test]
async fn only_what_one_sees_and_may_touch_is_moved() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let own = create(&desk, &team.user_a1, "own").await;
    let given = desk.create(&team.manager_a, new_for("given", &team.user_a1)).await.unwrap();
    let mut shared = new("shared");
    shared.visibility = TaskVisibility::Account.into();
    let shared = desk.create(&team.owner, shared).await.unwrap();
    let hidden = create(&desk, &team.owner, "hidden").await;
    let me = &team.user_a1;

    put(&desk, me, &given.id, Before(&own.id)).await.expect("whose work it is may");
    put(&desk, me, &own.id, After(&shared.id)).await.expect("next to whatever one sees");
    assert_eq!(refused(put(&desk, me, &shared.id, Before(&own.id)).await), Reason::TaskChangeNotAllowed);
    assert_eq!(refused(put(&desk, me, &own.id, After(&hidden.id)).await), Reason::TaskNotFound);
    assert_eq!(refused(put(&desk, me, &hidden.id, After(&own.id)).await), Reason::TaskNotFound);
    let other = desk.elsewhere().await;
    let foreign = create(&other, &other.team.owner, "foreign").await;
    assert_eq!(refused(put(&desk, &team.owner, &own.id, After(&foreign.id)).await), Reason::TaskNotFound);

    assert_eq!(wrong_field(put(&desk, me, &own.id, After(&own.id)).await), "after_id");
    let both = MoveTaskRequest { id: own.id.clone(), before_id: Some(given.id.clone()), after_id: Some(given.id) };
    assert_eq!(wrong_field(desk.boards().move_task(desk.call(me, both)).await), "before_id");
    let neither = MoveTaskRequest { id: own.id, ..Default::default() };
    assert_eq!(wrong_field(desk.boards().move_task(desk.call(me, neither)).await), "before_id");
}

#[tokio::test]
async fn many_who_want_the_same_place_get_one_each() {
    let desk = Desk::open().await;
    let me = desk.team.user_a1.clone();
    let first = create(&desk, &me, "first").await;
    let last = create(&desk, &me, "last").await;
    let mut moves = JoinSet::new();
    for n in 0..12 {
        let task = create(&desk, &me, &n.to_string()).await;
        let (desk, me, first) = (desk.clone(), me.clone(), first.id.clone());
        moves.spawn(async move { put(&desk, &me, &task.id, After(&first)).await.unwrap().rank });
    }
    let ranks: HashSet<String> = moves.join_all().await.into_iter().collect();
    assert_eq!(ranks.len(), 12);
    assert!(ranks.iter().all(|rank| first.rank < *rank && *rank < last.rank));
}

#[tokio::test]
async fn a_crowded_place_is_spread_out_and_the_order_stays() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let first = create(&desk, me, "first").await;
    let tasks = [create(&desk, me, "one").await, create(&desk, me, "two").await];
    // The longest rank that a move may make, right after the first task.
    let crowded = format!("{}{}1", first.rank, "0".repeat(64 - first.rank.len() - 1));
    let set = "update task.tasks set rank = $1 where id = $2";
    let id: uuid::Uuid = tasks[0].id.parse().unwrap();
    sqlx::query(set).bind(&crowded).bind(id).execute(&desk.world.admin()).await.unwrap();

    let moved = put(&desk, me, &tasks[1].id, After(&first.id)).await.unwrap();
    assert_eq!(order(&desk, me).await, ["first", "two", "one"]);
    assert!(moved.rank.len() < 40, "{}", moved.rank);
    let spread = desk.get(me, &tasks[0].id).await.unwrap();
    assert!(spread.rank.len() < 40 && spread.version == 2, "{spread:?}");
}
