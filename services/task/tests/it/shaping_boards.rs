//! People look at boards as calendars, as timelines, and as they were.

use baton_proto::{
    baton::task::v1::{
        BoardLook, BoardShape, CreateTaskRequest, GetMyBoardRequest, GetMyBoardResponse, GetTeamBoardRequest,
        SortOrder, Task, TaskFilter, TaskSort, TaskStatus,
    },
    convert::timestamp,
};
use baton_testkit::Person;
use chrono::{DateTime, TimeDelta, Utc};

use crate::desk::{Answer, Desk, new, new_for, titled, wrong_field};

async fn mine(desk: &Desk, who: &Person, filter: TaskFilter, shape: BoardShape) -> Answer<GetMyBoardResponse> {
    let request = GetMyBoardRequest { filter: Some(filter), page: None, shape: Some(shape) };
    Ok(desk.boards().get_my_board(desk.call(who, request)).await?.into_inner())
}

fn looks(view: BoardLook, from: DateTime<Utc>, days: i64) -> BoardShape {
    let to = Some(timestamp(from + TimeDelta::days(days)));
    BoardShape { view: view.into(), from: Some(timestamp(from)), to, ..Default::default() }
}

async fn due(desk: &Desk, who: &Person, title: &str, at: DateTime<Utc>) -> Task {
    let mut request = new(title);
    request.due_at = Some(timestamp(at));
    desk.create(who, request).await.unwrap()
}

#[tokio::test]
async fn a_calendar_has_what_is_due_by_days_of_its_timezone() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let begin: DateTime<Utc> = "2027-03-01T00:00:00Z".parse().unwrap();
    let late = due(&desk, me, "late in the evening", begin + TimeDelta::minutes(23 * 60 + 30)).await;
    let noon = due(&desk, me, "at noon", begin + TimeDelta::hours(12)).await;
    due(&desk, me, "after the range", begin + TimeDelta::days(7)).await;
    desk.create(me, new("never due")).await.unwrap();
    let shape = looks(BoardLook::Calendar, begin, 7);
    let board =
        mine(&desk, me, TaskFilter::default(), BoardShape { timezone: Some("UTC".to_owned()), ..shape.clone() });
    let board = board.await.unwrap();
    assert_eq!(board.days.len(), 1);
    assert_eq!(
        (board.days[0].date.as_str(), &board.days[0].task_ids),
        ("2027-03-01", &vec![noon.id.clone(), late.id.clone()])
    );
    assert_eq!((board.tasks.len(), board.truncated, board.meta.unwrap().total_count), (2, false, 2));
    assert_eq!(board.columns[0].count, 2);

    let berlin = BoardShape { timezone: Some("Europe/Berlin".to_owned()), ..shape.clone() };
    let board = mine(&desk, me, TaskFilter::default(), berlin).await.unwrap();
    let dates: Vec<&str> = board.days.iter().map(|day| day.date.as_str()).collect();
    assert_eq!(dates, ["2027-03-01", "2027-03-02"]);
    // The filter's own range holds as well.
    let filter = TaskFilter { due_from: late.due_at, ..Default::default() };
    assert_eq!(mine(&desk, me, filter, shape).await.unwrap().tasks, [late]);

    for (shape, field) in [
        (looks(BoardLook::Calendar, begin, 63), "shape.to"),
        (looks(BoardLook::Timeline, begin, 0), "shape.to"),
        (BoardShape { timezone: Some("Mars/Olympus".to_owned()), ..Default::default() }, "shape.timezone"),
        (BoardShape { as_of: Some(timestamp(begin)), ..looks(BoardLook::Calendar, begin, 1) }, "shape.as_of"),
    ] {
        assert_eq!(wrong_field(mine(&desk, me, TaskFilter::default(), shape).await), field);
    }
}

#[tokio::test]
async fn a_timeline_has_what_is_worked_on_or_planned_in_its_range() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let now = desk.clock.now();
    let done = desk.create(me, new("done before")).await.unwrap();
    desk.start(me, &done.id).await.unwrap();
    desk.clock.advance(TimeDelta::hours(1));
    desk.complete(me, &done.id).await.unwrap();
    desk.clock.advance(TimeDelta::days(3));
    let planned = due(&desk, me, "planned", now + TimeDelta::days(5)).await;
    let open = desk.create(me, new("without end")).await.unwrap();
    desk.clock.advance(TimeDelta::days(30));
    desk.create(me, new("begun after")).await.unwrap();

    let board = mine(&desk, me, TaskFilter::default(), looks(BoardLook::Timeline, now + TimeDelta::days(2), 10)).await;
    let board = board.unwrap();
    let mut bars: Vec<_> = board.bars.iter().map(|bar| (bar.task_id.clone(), bar.end_at)).collect();
    bars.sort_by(|one, other| one.0.cmp(&other.0));
    let mut expected = vec![(planned.id, planned.due_at), (open.id, None)];
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(bars, expected);
    let whole = mine(&desk, me, TaskFilter::default(), looks(BoardLook::Timeline, now, 62)).await.unwrap();
    assert_eq!(whole.bars.len(), 4);
}

#[tokio::test]
async fn boards_of_every_look_say_how_far_parts_are_and_what_waits() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let now = desk.clock.now();
    let whole = due(&desk, me, "House", now + TimeDelta::days(1)).await;
    let part = CreateTaskRequest { parent_task_id: Some(whole.id.clone()), ..new("Walls") };
    let part = desk.create(me, part).await.unwrap().id;
    desk.add_dependency(me, &whole.id, &part).await.unwrap();
    let shapes = [
        BoardShape::default(),
        looks(BoardLook::Calendar, now, 7),
        looks(BoardLook::Timeline, now, 7),
        BoardShape { as_of: Some(timestamp(now + TimeDelta::seconds(1))), ..BoardShape::default() },
    ];
    desk.clock.advance(TimeDelta::seconds(2));
    for (shape, known) in shapes.into_iter().zip([true, true, true, false]) {
        let board = mine(&desk, me, TaskFilter::default(), shape.clone()).await.unwrap();
        let shown = board.tasks.into_iter().find(|task| task.id == whole.id).unwrap();
        let total = shown.progress.map(|progress| progress.total);
        assert_eq!((total, shown.blocked), (known.then_some(1), known), "{shape:?}");
    }
}

#[tokio::test]
async fn a_board_as_it_was_is_what_it_said_then() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let me = &team.manager_a;
    let ask = async |as_of: Option<DateTime<Utc>>, filter: &TaskFilter| {
        let shape = BoardShape { as_of: as_of.map(timestamp), ..Default::default() };
        let request = GetTeamBoardRequest { filter: Some(filter.clone()), page: None, shape: Some(shape) };
        let board = desk.boards().get_team_board(desk.call(me, request)).await.unwrap().into_inner();
        let tasks: Vec<_> =
            board.tasks.into_iter().map(|task| (task.id, task.title, task.status, task.version)).collect();
        (tasks, board.columns, board.meta.unwrap().total_count)
    };
    let filters = [
        TaskFilter::default(),
        TaskFilter { status: vec![TaskStatus::InProgress.into()], ..Default::default() },
        TaskFilter { assigned_to: Some(team.user_a1.user_id.to_string()), ..Default::default() },
        TaskFilter { sort: TaskSort::Priority.into(), order: SortOrder::Asc.into(), ..Default::default() },
        TaskFilter { sort: TaskSort::Rank.into(), unassigned: Some(true), ..Default::default() },
        TaskFilter { tags: vec!["yard".to_owned()], has_due: Some(false), ..Default::default() },
    ];
    let mut ids = Vec::new();
    for n in 0..6 {
        desk.clock.advance(TimeDelta::seconds(1));
        let mut request =
            if n % 2 == 0 { new(&format!("Task {n}")) } else { new_for(&format!("Task {n}"), &team.user_a1) };
        (request.priority, request.tags) = (1 + n % 4, if n % 3 == 0 { vec!["yard".to_owned()] } else { vec![] });
        ids.push(desk.create(me, request).await.unwrap().id);
    }
    desk.start(&team.user_a1, &ids[1]).await.unwrap();
    let mut seen = Vec::new();
    let then = desk.clock.now();
    for filter in &filters {
        seen.push(ask(None, filter).await);
    }
    desk.clock.advance(TimeDelta::hours(1));
    desk.complete(&team.user_a1, &ids[1]).await.unwrap();
    desk.start(&team.user_a1, &ids[3]).await.unwrap();
    desk.update(me, &ids[2], &["title"], titled("Another name")).await.unwrap();
    desk.assign(me, &ids[4], team.user_a1.user_id).await.unwrap();
    desk.create(me, new("Came later")).await.unwrap();
    for (filter, seen) in filters.iter().zip(&seen) {
        assert_eq!(&ask(Some(then), filter).await, seen, "{filter:?}");
        assert_ne!(&ask(None, &filters[0]).await, seen);
    }
    let search = TaskFilter { search: Some("x".to_owned()), ..Default::default() };
    let shape = BoardShape { as_of: Some(timestamp(then)), ..Default::default() };
    assert_eq!(wrong_field(mine(&desk, me, search, shape).await), "filter.search");
}
