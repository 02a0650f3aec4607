//! Subtasks: progress, depth, visibility of parents.

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{
        BoardLayout, BoardOptions, CreateTaskRequest, GetMyBoardRequest, GetTaskRequest, ListSubtasksRequest,
        ListTasksRequest, MoveTaskRequest, SearchTasksRequest, TaskChange, TaskFilter, TaskProgress,
        search_service_client::SearchServiceClient, structure_service_client::StructureServiceClient,
    },
    convert::timestamp,
};
use baton_testkit::Person;
use chrono::TimeDelta;
use futures_util::future::join_all;

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task};

fn part_of(parent: &str, title: &str, estimated: Option<i32>) -> CreateTaskRequest {
    CreateTaskRequest { parent_task_id: Some(parent.to_owned()), estimated_seconds: estimated, ..new_task(title) }
}

async fn subtasks(
    fixture: &Fixture,
    actor: &Person,
    id: &str,
    filter: Option<TaskFilter>,
) -> RpcResult<Vec<baton_proto::baton::task::v1::Task>> {
    let message = ListSubtasksRequest { id: id.to_owned(), filter, page: None };
    let mut client = StructureServiceClient::new(fixture.channel());
    Ok(client.list_subtasks(fixture.call(actor, message)).await?.into_inner().tasks)
}

#[tokio::test]
async fn progress_rolls_up_from_subtasks_that_are_not_canceled() {
    let fixture = Fixture::new().await;
    let (me, boss) = (fixture.team.user_a1.clone(), fixture.team.manager_a.clone());
    let parent = fixture.create(&me, new_task("House")).await.unwrap();
    assert_eq!((fixture.get(&me, &parent.id).await.unwrap().progress, parent.progress), (None, None));
    let ground = fixture.create(&me, part_of(&parent.id, "Ground", Some(100))).await.unwrap().id;
    let walls = fixture.create(&me, part_of(&parent.id, "Walls", Some(200))).await.unwrap().id;
    let tower = fixture.create(&me, part_of(&parent.id, "Tower", Some(5_000))).await.unwrap().id;
    let brick = fixture.create(&me, part_of(&walls, "Brick", None)).await.unwrap().id;
    fixture.create(&me, part_of(&tower, "Flag", Some(7_000))).await.unwrap();
    // Canceled and deleted tasks and their descendants do not count.
    fixture.cancel(&me, &tower, None).await.unwrap();
    let gone = fixture.create(&me, part_of(&parent.id, "Gone", Some(9_000))).await.unwrap().id;
    fixture.delete(&me, &gone).await.unwrap();

    fixture.start(&me, &ground).await.unwrap();
    fixture.clock.advance(TimeDelta::seconds(60));
    fixture.complete(&me, &ground).await.unwrap();
    fixture.archive(&me, &ground).await.unwrap();
    fixture.start(&me, &brick).await.unwrap();
    fixture.clock.advance(TimeDelta::seconds(30));
    let expected = TaskProgress { total: 3, completed: 1, percent: 33, estimated_seconds: 300, actual_seconds: 90 };
    assert_eq!(fixture.get(&me, &parent.id).await.unwrap().progress, Some(expected));
    let of_walls = TaskProgress { total: 1, completed: 0, percent: 0, estimated_seconds: 0, actual_seconds: 30 };

    // Lists return the same progress for each task.
    let request = ListTasksRequest { filter: None, page: None };
    let listed = fixture.tasks().list_tasks(fixture.call(&boss, request)).await.unwrap().into_inner().tasks;
    let progress = |id: &str| listed.iter().find(|task| task.id == id).unwrap().progress;
    assert_eq!((progress(&parent.id), progress(&walls), progress(&brick)), (Some(expected), Some(of_walls), None));
    let direct = subtasks(&fixture, &me, &parent.id, None).await.unwrap();
    let mut titles: Vec<_> = direct.iter().map(|part| part.title.as_str()).collect();
    titles.sort_unstable();
    assert_eq!(titles, ["Tower", "Walls"], "archived subtasks are returned if requested");
    assert_eq!(direct.iter().find(|part| part.id == walls).unwrap().progress, Some(of_walls));

    // A hidden subtask counts but is not listed.
    let (owner, user) = (&fixture.team.owner, &fixture.team.user_b1);
    let open = CreateTaskRequest { visibility: 3, ..new_task("Open") };
    let open = fixture.create(owner, open).await.unwrap().id;
    fixture.create(owner, part_of(&open, "Secret", None)).await.unwrap();
    assert_eq!(fixture.get(user, &open).await.unwrap().progress.unwrap().total, 1);
    assert!(subtasks(&fixture, user, &open, None).await.unwrap().is_empty());
    assert_eq!(error_reason(subtasks(&fixture, user, &parent.id, None).await), Reason::TaskNotFound);
}

#[tokio::test]
async fn subtasks_nest_at_most_ten_levels() {
    let fixture = Fixture::new().await;
    let me = fixture.team.user_a1.clone();
    let mut chain = vec![fixture.create(&me, new_task("1")).await.unwrap().id];
    for level in 2..=10 {
        let above = chain.last().unwrap();
        chain.push(fixture.create(&me, part_of(above, &level.to_string(), None)).await.unwrap().id);
    }
    assert_eq!(invalid_field(fixture.create(&me, part_of(&chain[9], "11", None)).await), "parent_task_id");
    assert_eq!(fixture.get(&me, &chain[0]).await.unwrap().progress.unwrap().total, 9);

    // A moved task brings its subtasks along.
    let (pair, below) = (fixture.create(&me, new_task("Pair")).await.unwrap().id, "Below");
    fixture.create(&me, part_of(&pair, below, None)).await.unwrap();
    let under = async |parent: &str| {
        let change = TaskChange { parent_task_id: Some(parent.to_owned()), ..Default::default() };
        fixture.update(&me, &pair, &["parent_task_id"], change).await
    };
    assert_eq!(invalid_field(under(&chain[8]).await), "task.parent_task_id");
    under(&chain[7]).await.unwrap();
    // The root cannot move below itself.
    let change = TaskChange { parent_task_id: Some(pair.clone()), ..Default::default() };
    assert_eq!(invalid_field(fixture.update(&me, &chain[0], &["parent_task_id"], change).await), "task.parent_task_id");
}

#[tokio::test]
async fn concurrent_create_and_move_respect_the_depth_limit() {
    let fixture = Fixture::new().await;
    let me = fixture.team.user_a1.clone();
    let mut chain = vec![fixture.create(&me, new_task("1")).await.unwrap().id];
    for level in 2..=9 {
        let above = chain.last().unwrap();
        chain.push(fixture.create(&me, part_of(above, &level.to_string(), None)).await.unwrap().id);
    }
    for _ in 0..8 {
        let moved = fixture.create(&me, new_task("Moved")).await.unwrap().id;
        let change = TaskChange { parent_task_id: Some(chain[8].clone()), ..Default::default() };
        let (under, made) = tokio::join!(
            fixture.update(&me, &moved, &["parent_task_id"], change),
            join_all((0..3).map(|_| fixture.create(&me, part_of(&moved, "Part", None)))),
        );
        let made = made.iter().filter(|part| part.is_ok()).count();
        assert!(under.is_err() || made == 0, "{made} subtasks on the eleventh level");
    }
}

/// A hidden parent is named nowhere: not in its subtasks, their timelines, mutation responses, or boards.
#[tokio::test]
async fn subtask_hides_a_parent_that_the_reader_cannot_see() {
    let fixture = Fixture::new().await;
    let (boss, me) = (&fixture.team.manager_a, &fixture.team.user_a1);
    let hidden = fixture.create(boss, new_task("Reorganisation")).await.unwrap().id;
    let request = CreateTaskRequest { assigned_to: Some(me.user_id.to_string()), ..part_of(&hidden, "Sweep", None) };
    let part = fixture.create(boss, request).await.unwrap();
    let id = &part.id;
    assert_eq!(part.parent_task_id.as_ref(), Some(&hidden), "its creator sees both");
    assert_eq!(error_reason(fixture.get(me, &hidden).await), Reason::TaskNotFound);

    let now = fixture.clock.now();
    fixture.clock.advance(TimeDelta::seconds(1));
    let named = |what: &dyn std::fmt::Debug| format!("{what:?}").contains(&hidden);
    let get = async |as_of| {
        let request = GetTaskRequest { id: id.clone(), as_of };
        fixture.tasks().get_task(fixture.call(me, request)).await.unwrap().into_inner()
    };
    assert!(!named(&get(None).await) && !named(&get(Some(timestamp(now))).await));
    let list = ListTasksRequest::default();
    assert!(!named(&fixture.tasks().list_tasks(fixture.call(me, list)).await.unwrap().into_inner()));
    for as_of in [None, Some(timestamp(now))] {
        for layout in [BoardLayout::Kanban, BoardLayout::Timeline] {
            let as_of = as_of.filter(|_| layout == BoardLayout::Kanban);
            let options = Some(BoardOptions { layout: layout.into(), as_of, ..Default::default() });
            let request = GetMyBoardRequest { options, ..Default::default() };
            let board = fixture.boards().get_my_board(fixture.call(me, request)).await.unwrap().into_inner();
            assert!(!board.tasks.is_empty() && !named(&board));
        }
    }
    let search = SearchTasksRequest { q: "sweep".to_owned(), ..Default::default() };
    let mut searches = SearchServiceClient::new(fixture.channel());
    let found = searches.search_tasks(fixture.call(me, search)).await.unwrap().into_inner();
    assert!(found.tasks.len() == 1 && !named(&found));
    assert!(!named(&fixture.start(me, id).await.unwrap()));
    let mine = fixture.create(me, new_task("Mine")).await.unwrap().id;
    let moved = MoveTaskRequest { id: id.clone(), after_id: Some(mine), ..Default::default() };
    assert!(!named(&fixture.boards().move_task(fixture.call(me, moved)).await.unwrap().into_inner()));
    assert!(!named(&fixture.timeline(me, id).await.unwrap()));
    // The parent is kept, and users who see it still get it.
    assert_eq!(fixture.get(boss, id).await.unwrap().parent_task_id.as_ref(), Some(&hidden));
    assert!(named(&fixture.timeline(boss, id).await.unwrap()));
}
