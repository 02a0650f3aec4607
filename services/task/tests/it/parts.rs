//! Tasks that are parts of others, and what they come to.

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{
        BoardLook, BoardShape, CreateTaskRequest, GetMyBoardRequest, GetTaskRequest, ListSubtasksRequest,
        ListTasksRequest, MoveTaskRequest, SearchTasksRequest, TaskChange, TaskFilter, TaskProgress,
        search_service_client::SearchServiceClient, structure_service_client::StructureServiceClient,
    },
    convert::timestamp,
};
use baton_testkit::Person;
use chrono::TimeDelta;
use futures_util::future::join_all;

use crate::desk::{Answer, Desk, new, refused, wrong_field};

fn part_of(whole: &str, title: &str, estimated: Option<i32>) -> CreateTaskRequest {
    CreateTaskRequest { parent_task_id: Some(whole.to_owned()), estimated_seconds: estimated, ..new(title) }
}

async fn parts(
    desk: &Desk,
    who: &Person,
    id: &str,
    filter: Option<TaskFilter>,
) -> Answer<Vec<baton_proto::baton::task::v1::Task>> {
    let message = ListSubtasksRequest { id: id.to_owned(), filter, page: None };
    let mut client = StructureServiceClient::new(desk.channel());
    Ok(client.list_subtasks(desk.call(who, message)).await?.into_inner().tasks)
}

#[tokio::test]
async fn progress_rolls_up_from_all_parts_that_were_not_given_up() {
    let desk = Desk::open().await;
    let (me, boss) = (desk.team.user_a1.clone(), desk.team.manager_a.clone());
    let whole = desk.create(&me, new("House")).await.unwrap();
    assert_eq!((desk.get(&me, &whole.id).await.unwrap().progress, whole.progress), (None, None));
    let ground = desk.create(&me, part_of(&whole.id, "Ground", Some(100))).await.unwrap().id;
    let walls = desk.create(&me, part_of(&whole.id, "Walls", Some(200))).await.unwrap().id;
    let tower = desk.create(&me, part_of(&whole.id, "Tower", Some(5_000))).await.unwrap().id;
    let brick = desk.create(&me, part_of(&walls, "Brick", None)).await.unwrap().id;
    desk.create(&me, part_of(&tower, "Flag", Some(7_000))).await.unwrap();
    // What is given up does not count, nor what is below it; nor does what was deleted.
    desk.cancel(&me, &tower, None).await.unwrap();
    let gone = desk.create(&me, part_of(&whole.id, "Gone", Some(9_000))).await.unwrap().id;
    desk.delete(&me, &gone).await.unwrap();

    desk.start(&me, &ground).await.unwrap();
    desk.clock.advance(TimeDelta::seconds(60));
    desk.complete(&me, &ground).await.unwrap();
    desk.archive(&me, &ground).await.unwrap();
    desk.start(&me, &brick).await.unwrap();
    desk.clock.advance(TimeDelta::seconds(30));
    let expected = TaskProgress { total: 3, completed: 1, percent: 33, estimated_seconds: 300, actual_seconds: 90 };
    assert_eq!(desk.get(&me, &whole.id).await.unwrap().progress, Some(expected));
    let of_walls = TaskProgress { total: 1, completed: 0, percent: 0, estimated_seconds: 0, actual_seconds: 30 };

    // Lists say the same, of each task on the page.
    let request = ListTasksRequest { filter: None, page: None };
    let listed = desk.tasks().list_tasks(desk.call(&boss, request)).await.unwrap().into_inner().tasks;
    let progress = |id: &str| listed.iter().find(|task| task.id == id).unwrap().progress;
    assert_eq!((progress(&whole.id), progress(&walls), progress(&brick)), (Some(expected), Some(of_walls), None));
    let direct = parts(&desk, &me, &whole.id, None).await.unwrap();
    let mut titles: Vec<_> = direct.iter().map(|part| part.title.as_str()).collect();
    titles.sort_unstable();
    assert_eq!(titles, ["Tower", "Walls"], "what is archived is shown when asked for");
    assert_eq!(direct.iter().find(|part| part.id == walls).unwrap().progress, Some(of_walls));

    // A part that the caller does not see counts, and is not shown.
    let (owner, user) = (&desk.team.owner, &desk.team.user_b1);
    let open = CreateTaskRequest { visibility: 3, ..new("Open") };
    let open = desk.create(owner, open).await.unwrap().id;
    desk.create(owner, part_of(&open, "Secret", None)).await.unwrap();
    assert_eq!(desk.get(user, &open).await.unwrap().progress.unwrap().total, 1);
    assert!(parts(&desk, user, &open, None).await.unwrap().is_empty());
    assert_eq!(refused(parts(&desk, user, &whole.id, None).await), Reason::TaskNotFound);
}

#[tokio::test]
async fn parts_lie_ten_levels_deep_at_most() {
    let desk = Desk::open().await;
    let me = desk.team.user_a1.clone();
    let mut chain = vec![desk.create(&me, new("1")).await.unwrap().id];
    for level in 2..=10 {
        let above = chain.last().unwrap();
        chain.push(desk.create(&me, part_of(above, &level.to_string(), None)).await.unwrap().id);
    }
    assert_eq!(wrong_field(desk.create(&me, part_of(&chain[9], "11", None)).await), "parent_task_id");
    assert_eq!(desk.get(&me, &chain[0]).await.unwrap().progress.unwrap().total, 9);

    // What is moved brings its parts along.
    let (pair, below) = (desk.create(&me, new("Pair")).await.unwrap().id, "Below");
    desk.create(&me, part_of(&pair, below, None)).await.unwrap();
    let under = async |whole: &str| {
        let change = TaskChange { parent_task_id: Some(whole.to_owned()), ..Default::default() };
        desk.update(&me, &pair, &["parent_task_id"], change).await
    };
    assert_eq!(wrong_field(under(&chain[8]).await), "task.parent_task_id");
    under(&chain[7]).await.unwrap();
    // The top of it all cannot go below itself.
    let change = TaskChange { parent_task_id: Some(pair.clone()), ..Default::default() };
    assert_eq!(wrong_field(desk.update(&me, &chain[0], &["parent_task_id"], change).await), "task.parent_task_id");
}

#[tokio::test]
async fn parts_that_are_made_while_the_whole_moves_lie_no_deeper() {
    let desk = Desk::open().await;
    let me = desk.team.user_a1.clone();
    let mut chain = vec![desk.create(&me, new("1")).await.unwrap().id];
    for level in 2..=9 {
        let above = chain.last().unwrap();
        chain.push(desk.create(&me, part_of(above, &level.to_string(), None)).await.unwrap().id);
    }
    for _ in 0..8 {
        let moved = desk.create(&me, new("Moved")).await.unwrap().id;
        let change = TaskChange { parent_task_id: Some(chain[8].clone()), ..Default::default() };
        let (under, made) = tokio::join!(
            desk.update(&me, &moved, &["parent_task_id"], change),
            join_all((0..3).map(|_| desk.create(&me, part_of(&moved, "Part", None)))),
        );
        let made = made.iter().filter(|part| part.is_ok()).count();
        assert!(under.is_err() || made == 0, "{made} parts on the eleventh level");
    }
}

/// A task that somebody does not see is named nowhere: not by its parts, their timelines, answers to changes, or boards.
#[tokio::test]
async fn a_part_does_not_name_what_it_is_a_part_of_to_who_does_not_see_that() {
    let desk = Desk::open().await;
    let (boss, me) = (&desk.team.manager_a, &desk.team.user_a1);
    let hidden = desk.create(boss, new("Reorganisation")).await.unwrap().id;
    let request = CreateTaskRequest { assigned_to: Some(me.user_id.to_string()), ..part_of(&hidden, "Sweep", None) };
    let part = desk.create(boss, request).await.unwrap();
    let id = &part.id;
    assert_eq!(part.parent_task_id.as_ref(), Some(&hidden), "who made it sees both");
    assert_eq!(refused(desk.get(me, &hidden).await), Reason::TaskNotFound);

    let now = desk.clock.now();
    desk.clock.advance(TimeDelta::seconds(1));
    let named = |what: &dyn std::fmt::Debug| format!("{what:?}").contains(&hidden);
    let get = async |as_of| {
        let request = GetTaskRequest { id: id.clone(), as_of };
        desk.tasks().get_task(desk.call(me, request)).await.unwrap().into_inner()
    };
    assert!(!named(&get(None).await) && !named(&get(Some(timestamp(now))).await));
    let list = ListTasksRequest::default();
    assert!(!named(&desk.tasks().list_tasks(desk.call(me, list)).await.unwrap().into_inner()));
    for as_of in [None, Some(timestamp(now))] {
        for view in [BoardLook::Kanban, BoardLook::Timeline] {
            let as_of = as_of.filter(|_| view == BoardLook::Kanban);
            let shape = Some(BoardShape { view: view.into(), as_of, ..Default::default() });
            let request = GetMyBoardRequest { shape, ..Default::default() };
            let board = desk.boards().get_my_board(desk.call(me, request)).await.unwrap().into_inner();
            assert!(!board.tasks.is_empty() && !named(&board));
        }
    }
    let search = SearchTasksRequest { q: "sweep".to_owned(), ..Default::default() };
    let mut searches = SearchServiceClient::new(desk.channel());
    let found = searches.search_tasks(desk.call(me, search)).await.unwrap().into_inner();
    assert!(found.tasks.len() == 1 && !named(&found));
    assert!(!named(&desk.start(me, id).await.unwrap()));
    let mine = desk.create(me, new("Mine")).await.unwrap().id;
    let moved = MoveTaskRequest { id: id.clone(), after_id: Some(mine), ..Default::default() };
    assert!(!named(&desk.boards().move_task(desk.call(me, moved)).await.unwrap().into_inner()));
    assert!(!named(&desk.timeline(me, id).await.unwrap()));
    // It is not lost by that, and who sees it goes on to.
    assert_eq!(desk.get(boss, id).await.unwrap().parent_task_id.as_ref(), Some(&hidden));
    assert!(named(&desk.timeline(boss, id).await.unwrap()));
}
