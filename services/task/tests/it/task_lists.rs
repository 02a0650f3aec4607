//! Task lists: filters, sorts, pages.

use std::collections::{HashMap, HashSet};

use baton_errors::Reason;
use baton_proto::{
    baton::{
        api::v1::{Page, PageMeta},
        task::v1::{
            GetTimelineRequest, ListTasksRequest, SortOrder, Task, TaskChange, TaskFilter, TaskPriority, TaskSort,
            TaskStatus,
        },
    },
    convert::timestamp,
};
use baton_testkit::Person;
use chrono::TimeDelta;

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task, new_task_for, title_change};

async fn page(fixture: &Fixture, actor: &Person, filter: &TaskFilter, page: Page) -> RpcResult<(Vec<Task>, PageMeta)> {
    let request = fixture.call(actor, ListTasksRequest { filter: Some(filter.clone()), page: Some(page) });
    let response = fixture.tasks().list_tasks(request).await?.into_inner();
    Ok((response.tasks, response.meta.unwrap()))
}

/// Thirteen tasks with ties in every key, some without a due time.
async fn thirteen(fixture: &Fixture) -> HashMap<String, Task> {
    let me = &fixture.team.manager_a;
    let started = fixture.clock.now();
    for n in 0..13 {
        if n % 3 == 0 {
            fixture.clock.advance(TimeDelta::seconds(1));
        }
        let mut request = new_task(&format!("Task {n}"));
        request.priority = 1 + n % 4;
        request.due_at = (n % 3 != 0).then(|| timestamp(started + TimeDelta::days(i64::from(n % 2))));
        let task = fixture.create(me, request).await.unwrap();
        if n % 4 == 0 {
            fixture.clock.advance(TimeDelta::microseconds(1));
            fixture.update(me, &task.id, &["title"], title_change("Changed")).await.unwrap();
        }
    }
    let all = page(fixture, me, &TaskFilter::default(), Page { per_page: 100, ..Default::default() }).await.unwrap().0;
    all.into_iter().map(|task| (task.id.clone(), task)).collect()
}

/// The order of the contract, computed without SQL.
fn sorted(tasks: &HashMap<String, Task>, sort: TaskSort, order: SortOrder) -> Vec<String> {
    let nanos = |at: &Option<prost_types::Timestamp>| at.map(|at| (at.seconds, at.nanos));
    let mut tasks: Vec<&Task> = tasks.values().collect();
    tasks.sort_by(|a, b| {
        let by_key = match sort {
            TaskSort::UpdatedAt => nanos(&a.updated_at).cmp(&nanos(&b.updated_at)),
            TaskSort::DueAt => nanos(&a.due_at).cmp(&nanos(&b.due_at)),
            TaskSort::Priority => a.priority.cmp(&b.priority),
            TaskSort::Rank => a.rank.cmp(&b.rank),
            // Ids are created in this order.
            _ => std::cmp::Ordering::Equal,
        };
        let ordered = by_key.then_with(|| a.id.cmp(&b.id));
        let ordered = if order == SortOrder::Asc { ordered } else { ordered.reverse() };
        let undated = |task: &Task| sort == TaskSort::DueAt && task.due_at.is_none();
        undated(a).cmp(&undated(b)).then(ordered)
    });
    tasks.into_iter().map(|task| task.id.clone()).collect()
}

#[tokio::test]
async fn every_sort_returns_each_task_once_by_page_number_and_token() {
    let fixture = Fixture::new().await;
    let tasks = thirteen(&fixture).await;
    let me = &fixture.team.manager_a;
    for sort in [TaskSort::CreatedAt, TaskSort::UpdatedAt, TaskSort::DueAt, TaskSort::Priority, TaskSort::Rank] {
        for order in [SortOrder::Asc, SortOrder::Desc] {
            let filter = TaskFilter { sort: sort.into(), order: order.into(), ..Default::default() };
            let expected = sorted(&tasks, sort, order);
            let mut by_number = Vec::new();
            for number in 1..=4 {
                let numbered = Page { page: number, per_page: 4, ..Default::default() };
                let (found, meta) = page(&fixture, me, &filter, numbered).await.unwrap();
                assert_eq!((meta.total_count, meta.page, meta.total_pages), (13, number, 4));
                assert_eq!(meta.next_page_token.is_empty(), number == 4);
                by_number.extend(found.into_iter().map(|task| task.id));
            }
            assert_eq!(by_number, expected, "{sort:?} {order:?} by number");
            let (mut by_token, mut token) = (Vec::new(), String::new());
            while by_token.len() <= 13 {
                let tokened = Page { page_token: token, per_page: 1, ..Default::default() };
                let (found, meta) = page(&fixture, me, &filter, tokened).await.unwrap();
                by_token.extend(found.into_iter().map(|task| task.id));
                token = meta.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(by_token, expected, "{sort:?} {order:?} by token");
        }
    }
}

/// A month and a year use different query plans; order and pages are the same.
#[tokio::test]
async fn due_soon_filter_works_with_every_sort() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.manager_a;
    let now = fixture.clock.now();
    let tasks = thirteen(&fixture).await;
    let due: HashMap<String, Task> = tasks.into_iter().filter(|(_, task)| task.due_at.is_some()).collect();
    for sort in [TaskSort::CreatedAt, TaskSort::UpdatedAt, TaskSort::DueAt, TaskSort::Priority, TaskSort::Rank] {
        for order in [SortOrder::Asc, SortOrder::Desc] {
            for days in [30, 3_000] {
                let filter = TaskFilter {
                    due_from: Some(timestamp(now - TimeDelta::days(1))),
                    due_to: Some(timestamp(now + TimeDelta::days(days))),
                    sort: sort.into(),
                    order: order.into(),
                    ..Default::default()
                };
                let (mut walked, mut token) = (Vec::new(), String::new());
                loop {
                    let asked = Page { per_page: 3, page_token: token, ..Default::default() };
                    let (tasks, meta) = page(&fixture, me, &filter, asked).await.unwrap();
                    assert_eq!(meta.total_count as usize, due.len());
                    walked.extend(tasks.into_iter().map(|task| task.id));
                    token = meta.next_page_token;
                    if token.is_empty() {
                        break;
                    }
                }
                assert_eq!(walked, sorted(&due, sort, order), "{sort:?} {order:?}, {days} days");
            }
        }
    }
}

/// Account admins read the tasks of a tag from the tags table.
#[tokio::test]
async fn tag_filter_excludes_archived_and_deleted_tasks() {
    let fixture = Fixture::new().await;
    let (owner, me) = (&fixture.team.owner, &fixture.team.user_a1);
    let mut ids = Vec::new();
    for n in 0..5 {
        let mut request = new_task(&format!("Task {n}"));
        request.tags = vec!["yard".to_owned(), format!("n{n}")];
        ids.push(fixture.create(me, request).await.unwrap().id);
        fixture.clock.advance(TimeDelta::seconds(1));
    }
    let other = fixture.other_account().await;
    let mut foreign = new_task("Foreign");
    foreign.tags = vec!["yard".to_owned()];
    other.create(&other.team.owner, foreign).await.unwrap();
    let newest_first = |ids: &[&String]| ids.iter().rev().map(|id| (*id).clone()).collect::<Vec<_>>();
    let tagged = TaskFilter { tags: vec!["yard".to_owned()], ..Default::default() };
    let list = async |filter: &TaskFilter| fixture.list(owner, filter.clone()).await.unwrap();
    assert_eq!(list(&tagged).await, newest_first(&ids.iter().collect::<Vec<_>>()));

    fixture.cancel(me, &ids[0], None).await.unwrap();
    fixture.archive(me, &ids[0]).await.unwrap();
    fixture.delete(me, &ids[1]).await.unwrap();
    fixture
        .update(me, &ids[2], &["tags"], TaskChange { tags: vec!["n2".to_owned()], ..Default::default() })
        .await
        .unwrap();
    assert_eq!(list(&tagged).await, newest_first(&[&ids[3], &ids[4]]));
    let oldest_first = TaskFilter { order: SortOrder::Asc.into(), ..tagged.clone() };
    assert_eq!(list(&oldest_first).await, [ids[3].clone(), ids[4].clone()]);
    let archived = TaskFilter { status: vec![TaskStatus::Archived.into()], ..tagged.clone() };
    assert_eq!(list(&archived).await, [ids[0].clone()]);

    fixture.reopen(me, &ids[0], None).await.unwrap();
    fixture.restore(me, &ids[1]).await.unwrap();
    assert_eq!(list(&tagged).await, newest_first(&[&ids[0], &ids[1], &ids[3], &ids[4]]));
    let (first, meta) = page(&fixture, owner, &tagged, Page { per_page: 3, ..Default::default() }).await.unwrap();
    assert_eq!((first.len(), meta.total_count), (3, 4));
    let (rest, _) =
        page(&fixture, owner, &tagged, Page { per_page: 3, page_token: meta.next_page_token, ..Default::default() })
            .await
            .unwrap();
    assert_eq!(rest.into_iter().map(|task| task.id).collect::<Vec<_>>(), [ids[0].clone()]);
}

#[tokio::test]
async fn page_token_is_bound_to_its_query_and_stable() {
    let fixture = Fixture::new().await;
    let tasks = thirteen(&fixture).await;
    let me = &fixture.team.manager_a;
    let filter = TaskFilter { sort: TaskSort::CreatedAt.into(), order: SortOrder::Asc.into(), ..Default::default() };
    let first = Page { per_page: 5, ..Default::default() };
    let (_, meta) = page(&fixture, me, &filter, first).await.unwrap();
    let next = Page { per_page: 5, page_token: meta.next_page_token, ..Default::default() };
    let gone = sorted(&tasks, TaskSort::CreatedAt, SortOrder::Asc)[0].clone();
    fixture.delete(me, &gone).await.unwrap();
    let (second, _) = page(&fixture, me, &filter, next.clone()).await.unwrap();
    let expected = &sorted(&tasks, TaskSort::CreatedAt, SortOrder::Asc)[5..10];
    assert!(
        second.iter().map(|task| &task.id).eq(expected),
        "nothing is skipped, although an earlier task left the list"
    );

    let other = TaskFilter { sort: TaskSort::Priority.into(), ..filter.clone() };
    assert_eq!(error_reason(page(&fixture, me, &other, next).await), Reason::PageTokenInvalid);
    let nonsense = Page { page_token: "nonsense".to_owned(), ..Default::default() };
    assert_eq!(error_reason(page(&fixture, me, &filter, nonsense).await), Reason::PageTokenInvalid);
    let beyond = Page { page: 1_000_000, per_page: 100, ..Default::default() };
    let (found, meta) = page(&fixture, me, &filter, beyond).await.unwrap();
    assert_eq!((found.len(), meta.total_count, meta.next_page_token.as_str()), (0, 12, ""));
    let line = GetTimelineRequest { id: gone, page: Some(Page { page_token: "x".to_owned(), ..Default::default() }) };
    assert_eq!(error_reason(fixture.tasks().get_timeline(fixture.call(me, line)).await), Reason::PageTokenInvalid);
}

#[tokio::test]
async fn filters_combine_with_and() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let me = &team.manager_a;
    let now = fixture.clock.now();
    let due = |days| Some(timestamp(now + TimeDelta::days(days)));
    let tagged = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
    let mut request = new_task_for("Sweep 100% of it", &team.user_a1);
    (request.priority, request.due_at, request.tags) = (TaskPriority::High.into(), due(1), tagged(&["shop", " yard "]));
    let sweep = fixture.create(me, request).await.unwrap();
    assert_eq!(sweep.tags, ["shop", "yard"]);
    let mut request = new_task("Mop_the floor");
    (request.description, request.due_at, request.tags) = ("With WATER\\soap".to_owned(), due(2), tagged(&["shop"]));
    let mop = fixture.create(me, request).await.unwrap();
    let own = fixture.create(&team.user_a1, new_task("Read 1000 pages")).await.unwrap();
    fixture.start(&team.user_a1, &own.id).await.unwrap();

    let ids = |tasks: &[&Task]| tasks.iter().map(|task| task.id.clone()).collect::<HashSet<_>>();
    let user = |person: &Person| Some(person.user_id.to_string());
    let search = |text: &str| TaskFilter { search: Some(text.to_owned()), ..Default::default() };
    let (pending, running) = (TaskStatus::Pending as i32, TaskStatus::InProgress as i32);
    let (high, medium) = (TaskPriority::High as i32, TaskPriority::Medium as i32);
    for (filter, expected) in [
        (TaskFilter::default(), ids(&[&sweep, &mop, &own])),
        (TaskFilter { status: vec![running], ..Default::default() }, ids(&[&own])),
        (TaskFilter { status: vec![running, pending], ..Default::default() }, ids(&[&sweep, &mop, &own])),
        (TaskFilter { priority: vec![high], ..Default::default() }, ids(&[&sweep])),
        (TaskFilter { priority: vec![medium], status: vec![pending], ..Default::default() }, ids(&[&mop])),
        (TaskFilter { assigned_to: user(&team.user_a1), ..Default::default() }, ids(&[&sweep])),
        (TaskFilter { created_by: user(&team.user_a1), ..Default::default() }, ids(&[&own])),
        (TaskFilter { due_from: due(1), due_to: due(2), ..Default::default() }, ids(&[&sweep])),
        (TaskFilter { due_from: due(2), ..Default::default() }, ids(&[&mop])),
        (TaskFilter { due_to: due(3), ..Default::default() }, ids(&[&sweep, &mop])),
        (TaskFilter { tags: tagged(&["shop"]), ..Default::default() }, ids(&[&sweep, &mop])),
        (TaskFilter { tags: tagged(&["shop", "yard "]), ..Default::default() }, ids(&[&sweep])),
        (TaskFilter { tags: tagged(&["sho"]), ..Default::default() }, ids(&[])),
        (search("SWEEP"), ids(&[&sweep])),
        (search("water"), ids(&[&mop])),
        (search("100%"), ids(&[&sweep])),
        (search("sweeping yar"), ids(&[&sweep])),
        (search("shop -mop"), ids(&[&sweep])),
        (search("%"), ids(&[])),
        (search("mop or pages"), ids(&[&mop, &own])),
        (TaskFilter { unassigned: Some(true), ..Default::default() }, ids(&[&mop, &own])),
        (TaskFilter { unassigned: Some(false), ..Default::default() }, ids(&[&sweep])),
        (TaskFilter { has_due: Some(true), ..Default::default() }, ids(&[&sweep, &mop])),
        (TaskFilter { has_due: Some(false), ..Default::default() }, ids(&[&own])),
        (TaskFilter { overdue: Some(true), ..Default::default() }, ids(&[])),
        (TaskFilter { overdue: Some(false), ..Default::default() }, ids(&[&sweep, &mop, &own])),
        (TaskFilter { parent_task_id: Some(sweep.id.clone()), ..Default::default() }, ids(&[])),
    ] {
        let found = fixture.list(me, filter.clone()).await.unwrap();
        assert_eq!(found.into_iter().collect::<HashSet<_>>(), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn invalid_filter_is_refused() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let year_300000 = Some(prost_types::Timestamp { seconds: 9_000_000_000_000, nanos: 0 });
    for (filter, field) in [
        (TaskFilter { status: vec![77], ..Default::default() }, "filter.status[0]"),
        (TaskFilter { priority: vec![0], ..Default::default() }, "filter.priority[0]"),
        (TaskFilter { assigned_to: Some("myself".to_owned()), ..Default::default() }, "filter.assigned_to"),
        (TaskFilter { sort: 9, ..Default::default() }, "filter.sort"),
        (TaskFilter { due_from: year_300000, ..Default::default() }, "filter.due_from"),
        (TaskFilter { search: Some("a\0".to_owned()), ..Default::default() }, "filter.search"),
        (TaskFilter { tags: vec!["\0".to_owned()], ..Default::default() }, "filter.tags[0]"),
    ] {
        assert_eq!(invalid_field(fixture.list(me, filter).await), field);
    }
}

#[tokio::test]
async fn timeline_is_paginated() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    for n in 2..=7 {
        fixture.update(me, &id, &["title"], title_change(&format!("Sweep {n}"))).await.unwrap();
    }
    let (mut versions, mut token) = (Vec::new(), String::new());
    loop {
        let page = Page { per_page: 3, page_token: token, ..Default::default() };
        let request = fixture.call(me, GetTimelineRequest { id: id.clone(), page: Some(page) });
        let response = fixture.tasks().get_timeline(request).await.unwrap().into_inner();
        versions.extend(response.events.iter().map(|entry| entry.version));
        let meta = response.meta.unwrap();
        assert_eq!(meta.total_count, 7);
        token = meta.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert!(versions.into_iter().eq(1..=7));
}
