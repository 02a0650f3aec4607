//! Board layouts (calendar, timeline), and boards as of a past time.

use baton_proto::{
    baton::task::v1::{
        BoardLayout, BoardOptions, CreateTaskRequest, GetMyBoardRequest, GetMyBoardResponse, GetTeamBoardRequest,
        SortOrder, Task, TaskFilter, TaskSort, TaskStatus,
    },
    convert::timestamp,
};
use baton_testkit::Person;
use chrono::{DateTime, TimeDelta, Utc};

use crate::fixture::{Fixture, RpcResult, invalid_field, new_task, new_task_for, title_change};

async fn mine(
    fixture: &Fixture,
    actor: &Person,
    filter: TaskFilter,
    options: BoardOptions,
) -> RpcResult<GetMyBoardResponse> {
    let request = GetMyBoardRequest { filter: Some(filter), page: None, options: Some(options) };
    Ok(fixture.boards().get_my_board(fixture.call(actor, request)).await?.into_inner())
}

fn layout(layout: BoardLayout, from: DateTime<Utc>, days: i64) -> BoardOptions {
    let to = Some(timestamp(from + TimeDelta::days(days)));
    BoardOptions { layout: layout.into(), from: Some(timestamp(from)), to, ..Default::default() }
}

async fn due(fixture: &Fixture, actor: &Person, title: &str, at: DateTime<Utc>) -> Task {
    let mut request = new_task(title);
    request.due_at = Some(timestamp(at));
    fixture.create(actor, request).await.unwrap()
}

#[tokio::test]
async fn calendar_groups_due_tasks_by_local_day() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let begin: DateTime<Utc> = "2027-03-01T00:00:00Z".parse().unwrap();
    let late = due(&fixture, me, "late in the evening", begin + TimeDelta::minutes(23 * 60 + 30)).await;
    let noon = due(&fixture, me, "at noon", begin + TimeDelta::hours(12)).await;
    due(&fixture, me, "after the range", begin + TimeDelta::days(7)).await;
    fixture.create(me, new_task("never due")).await.unwrap();
    let options = layout(BoardLayout::Calendar, begin, 7);
    let board =
        mine(&fixture, me, TaskFilter::default(), BoardOptions { timezone: Some("UTC".to_owned()), ..options.clone() });
    let board = board.await.unwrap();
    assert_eq!(board.days.len(), 1);
    assert_eq!(
        (board.days[0].date.as_str(), &board.days[0].task_ids),
        ("2027-03-01", &vec![noon.id.clone(), late.id.clone()])
    );
    assert_eq!((board.tasks.len(), board.truncated, board.meta.unwrap().total_count), (2, false, 2));
    assert_eq!(board.columns[0].count, 2);

    let berlin = BoardOptions { timezone: Some("Europe/Berlin".to_owned()), ..options.clone() };
    let board = mine(&fixture, me, TaskFilter::default(), berlin).await.unwrap();
    let dates: Vec<&str> = board.days.iter().map(|day| day.date.as_str()).collect();
    assert_eq!(dates, ["2027-03-01", "2027-03-02"]);
    // The filter's own range applies as well.
    let filter = TaskFilter { due_from: late.due_at, ..Default::default() };
    assert_eq!(mine(&fixture, me, filter, options).await.unwrap().tasks, [late]);

    for (options, field) in [
        (layout(BoardLayout::Calendar, begin, 63), "options.to"),
        (layout(BoardLayout::Timeline, begin, 0), "options.to"),
        (BoardOptions { timezone: Some("Mars/Olympus".to_owned()), ..Default::default() }, "options.timezone"),
        (BoardOptions { as_of: Some(timestamp(begin)), ..layout(BoardLayout::Calendar, begin, 1) }, "options.as_of"),
    ] {
        assert_eq!(invalid_field(mine(&fixture, me, TaskFilter::default(), options).await), field);
    }
}

#[tokio::test]
async fn timeline_contains_tasks_worked_on_or_planned_in_its_range() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let now = fixture.clock.now();
    let done = fixture.create(me, new_task("done before")).await.unwrap();
    fixture.start(me, &done.id).await.unwrap();
    fixture.clock.advance(TimeDelta::hours(1));
    fixture.complete(me, &done.id).await.unwrap();
    fixture.clock.advance(TimeDelta::days(3));
    let planned = due(&fixture, me, "planned", now + TimeDelta::days(5)).await;
    let open = fixture.create(me, new_task("without end")).await.unwrap();
    fixture.clock.advance(TimeDelta::days(30));
    fixture.create(me, new_task("begun after")).await.unwrap();

    let board =
        mine(&fixture, me, TaskFilter::default(), layout(BoardLayout::Timeline, now + TimeDelta::days(2), 10)).await;
    let board = board.unwrap();
    let mut bars: Vec<_> = board.bars.iter().map(|bar| (bar.task_id.clone(), bar.end_at)).collect();
    bars.sort_by(|one, other| one.0.cmp(&other.0));
    let mut expected = vec![(planned.id, planned.due_at), (open.id, None)];
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(bars, expected);
    let whole = mine(&fixture, me, TaskFilter::default(), layout(BoardLayout::Timeline, now, 62)).await.unwrap();
    assert_eq!(whole.bars.len(), 4);
}

#[tokio::test]
async fn every_layout_includes_progress_and_blocked_state() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let now = fixture.clock.now();
    let whole = due(&fixture, me, "House", now + TimeDelta::days(1)).await;
    let part = CreateTaskRequest { parent_task_id: Some(whole.id.clone()), ..new_task("Walls") };
    let part = fixture.create(me, part).await.unwrap().id;
    fixture.add_dependency(me, &whole.id, &part).await.unwrap();
    let variants = [
        BoardOptions::default(),
        layout(BoardLayout::Calendar, now, 7),
        layout(BoardLayout::Timeline, now, 7),
        BoardOptions { as_of: Some(timestamp(now + TimeDelta::seconds(1))), ..BoardOptions::default() },
    ];
    fixture.clock.advance(TimeDelta::seconds(2));
    for (options, known) in variants.into_iter().zip([true, true, true, false]) {
        let board = mine(&fixture, me, TaskFilter::default(), options.clone()).await.unwrap();
        let shown = board.tasks.into_iter().find(|task| task.id == whole.id).unwrap();
        let total = shown.progress.map(|progress| progress.total);
        assert_eq!((total, shown.blocked), (known.then_some(1), known), "{options:?}");
    }
}

#[tokio::test]
async fn past_board_equals_the_board_at_that_time() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let me = &team.manager_a;
    let ask = async |as_of: Option<DateTime<Utc>>, filter: &TaskFilter| {
        let options = BoardOptions { as_of: as_of.map(timestamp), ..Default::default() };
        let request = GetTeamBoardRequest { filter: Some(filter.clone()), page: None, options: Some(options) };
        let board = fixture.boards().get_team_board(fixture.call(me, request)).await.unwrap().into_inner();
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
        fixture.clock.advance(TimeDelta::seconds(1));
        let mut request =
            if n % 2 == 0 { new_task(&format!("Task {n}")) } else { new_task_for(&format!("Task {n}"), &team.user_a1) };
        (request.priority, request.tags) = (1 + n % 4, if n % 3 == 0 { vec!["yard".to_owned()] } else { vec![] });
        ids.push(fixture.create(me, request).await.unwrap().id);
    }
    fixture.start(&team.user_a1, &ids[1]).await.unwrap();
    let mut seen = Vec::new();
    let then = fixture.clock.now();
    for filter in &filters {
        seen.push(ask(None, filter).await);
    }
    fixture.clock.advance(TimeDelta::hours(1));
    fixture.complete(&team.user_a1, &ids[1]).await.unwrap();
    fixture.start(&team.user_a1, &ids[3]).await.unwrap();
    fixture.update(me, &ids[2], &["title"], title_change("Another name")).await.unwrap();
    fixture.assign(me, &ids[4], team.user_a1.user_id).await.unwrap();
    fixture.create(me, new_task("Came later")).await.unwrap();
    for (filter, seen) in filters.iter().zip(&seen) {
        assert_eq!(&ask(Some(then), filter).await, seen, "{filter:?}");
        assert_ne!(&ask(None, &filters[0]).await, seen);
    }
    let search = TaskFilter { search: Some("x".to_owned()), ..Default::default() };
    let options = BoardOptions { as_of: Some(timestamp(then)), ..Default::default() };
    assert_eq!(invalid_field(mine(&fixture, me, search, options).await), "filter.search");
}
