//! People look for tasks: filters, sorts, pages.

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

use crate::desk::{Answer, Desk, new, new_for, refused, titled, wrong_field};

async fn page(desk: &Desk, who: &Person, filter: &TaskFilter, page: Page) -> Answer<(Vec<Task>, PageMeta)> {
    let request = desk.call(who, ListTasksRequest { filter: Some(filter.clone()), page: Some(page) });
    let answer = desk.tasks().list_tasks(request).await?.into_inner();
    Ok((answer.tasks, answer.meta.unwrap()))
}

/// Thirteen tasks with ties in every key, some without a due time.
async fn thirteen(desk: &Desk) -> HashMap<String, Task> {
    let me = &desk.team.manager_a;
    let begun = desk.clock.now();
    for n in 0..13 {
        if n % 3 == 0 {
            desk.clock.advance(TimeDelta::seconds(1));
        }
        let mut request = new(&format!("Task {n}"));
        request.priority = 1 + n % 4;
        request.due_at = (n % 3 != 0).then(|| timestamp(begun + TimeDelta::days(i64::from(n % 2))));
        let task = desk.create(me, request).await.unwrap();
        if n % 4 == 0 {
            desk.clock.advance(TimeDelta::microseconds(1));
            desk.update(me, &task.id, &["title"], titled("Changed")).await.unwrap();
        }
    }
    let all = page(desk, me, &TaskFilter::default(), Page { per_page: 100, ..Default::default() }).await.unwrap().0;
    all.into_iter().map(|task| (task.id.clone(), task)).collect()
}

/// The order as the contract tells it, worked out without SQL.
fn sorted(tasks: &HashMap<String, Task>, sort: TaskSort, order: SortOrder) -> Vec<String> {
    let nanos = |at: &Option<prost_types::Timestamp>| at.map(|at| (at.seconds, at.nanos));
    let mut tasks: Vec<&Task> = tasks.values().collect();
    tasks.sort_by(|a, b| {
        let by_key = match sort {
            TaskSort::UpdatedAt => nanos(&a.updated_at).cmp(&nanos(&b.updated_at)),
            TaskSort::DueAt => nanos(&a.due_at).cmp(&nanos(&b.due_at)),
            TaskSort::Priority => a.priority.cmp(&b.priority),
            TaskSort::Rank => a.rank.cmp(&b.rank),
            // Ids are made in this order.
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
async fn every_sort_walks_every_task_once_by_number_and_by_token() {
    let desk = Desk::open().await;
    let tasks = thirteen(&desk).await;
    let me = &desk.team.manager_a;
    for sort in [TaskSort::CreatedAt, TaskSort::UpdatedAt, TaskSort::DueAt, TaskSort::Priority, TaskSort::Rank] {
        for order in [SortOrder::Asc, SortOrder::Desc] {
            let filter = TaskFilter { sort: sort.into(), order: order.into(), ..Default::default() };
            let expected = sorted(&tasks, sort, order);
            let mut by_number = Vec::new();
            for number in 1..=4 {
                let numbered = Page { page: number, per_page: 4, ..Default::default() };
                let (found, meta) = page(&desk, me, &filter, numbered).await.unwrap();
                assert_eq!((meta.total_count, meta.page, meta.total_pages), (13, number, 4));
                assert_eq!(meta.next_page_token.is_empty(), number == 4);
                by_number.extend(found.into_iter().map(|task| task.id));
            }
            assert_eq!(by_number, expected, "{sort:?} {order:?} by number");
            let (mut by_token, mut token) = (Vec::new(), String::new());
            while by_token.len() <= 13 {
                let tokened = Page { page_token: token, per_page: 1, ..Default::default() };
                let (found, meta) = page(&desk, me, &filter, tokened).await.unwrap();
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

/// What is due in a month is found in another way than what is due in a year: in the same order, with the same pages.
#[tokio::test]
async fn what_is_due_soon_comes_in_every_order() {
    let desk = Desk::open().await;
    let me = &desk.team.manager_a;
    let now = desk.clock.now();
    let tasks = thirteen(&desk).await;
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
                    let (tasks, meta) = page(&desk, me, &filter, asked).await.unwrap();
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

/// Whoever runs the account reads the tasks of a tag from the table of tags.
#[tokio::test]
async fn the_tasks_of_a_tag_are_those_that_are_not_put_away() {
    let desk = Desk::open().await;
    let (owner, me) = (&desk.team.owner, &desk.team.user_a1);
    let mut ids = Vec::new();
    for n in 0..5 {
        let mut request = new(&format!("Task {n}"));
        request.tags = vec!["yard".to_owned(), format!("n{n}")];
        ids.push(desk.create(me, request).await.unwrap().id);
        desk.clock.advance(TimeDelta::seconds(1));
    }
    let other = desk.elsewhere().await;
    let mut foreign = new("Foreign");
    foreign.tags = vec!["yard".to_owned()];
    other.create(&other.team.owner, foreign).await.unwrap();
    let newest_first = |ids: &[&String]| ids.iter().rev().map(|id| (*id).clone()).collect::<Vec<_>>();
    let tagged = TaskFilter { tags: vec!["yard".to_owned()], ..Default::default() };
    let list = async |filter: &TaskFilter| desk.list(owner, filter.clone()).await.unwrap();
    assert_eq!(list(&tagged).await, newest_first(&ids.iter().collect::<Vec<_>>()));

    desk.cancel(me, &ids[0], None).await.unwrap();
    desk.archive(me, &ids[0]).await.unwrap();
    desk.delete(me, &ids[1]).await.unwrap();
    desk.update(me, &ids[2], &["tags"], TaskChange { tags: vec!["n2".to_owned()], ..Default::default() })
        .await
        .unwrap();
    assert_eq!(list(&tagged).await, newest_first(&[&ids[3], &ids[4]]));
    let oldest_first = TaskFilter { order: SortOrder::Asc.into(), ..tagged.clone() };
    assert_eq!(list(&oldest_first).await, [ids[3].clone(), ids[4].clone()]);
    let archived = TaskFilter { status: vec![TaskStatus::Archived.into()], ..tagged.clone() };
    assert_eq!(list(&archived).await, [ids[0].clone()]);

    desk.reopen(me, &ids[0], None).await.unwrap();
    desk.restore(me, &ids[1]).await.unwrap();
    assert_eq!(list(&tagged).await, newest_first(&[&ids[0], &ids[1], &ids[3], &ids[4]]));
    let (first, meta) = page(&desk, owner, &tagged, Page { per_page: 3, ..Default::default() }).await.unwrap();
    assert_eq!((first.len(), meta.total_count), (3, 4));
    let (rest, _) =
        page(&desk, owner, &tagged, Page { per_page: 3, page_token: meta.next_page_token, ..Default::default() })
            .await
            .unwrap();
    assert_eq!(rest.into_iter().map(|task| task.id).collect::<Vec<_>>(), [ids[0].clone()]);
}

#[tokio::test]
async fn a_token_belongs_to_its_list_and_stays_stable() {
    let desk = Desk::open().await;
    let tasks = thirteen(&desk).await;
    let me = &desk.team.manager_a;
    let filter = TaskFilter { sort: TaskSort::CreatedAt.into(), order: SortOrder::Asc.into(), ..Default::default() };
    let first = Page { per_page: 5, ..Default::default() };
    let (_, meta) = page(&desk, me, &filter, first).await.unwrap();
    let next = Page { per_page: 5, page_token: meta.next_page_token, ..Default::default() };
    let gone = sorted(&tasks, TaskSort::CreatedAt, SortOrder::Asc)[0].clone();
    desk.delete(me, &gone).await.unwrap();
    let (second, _) = page(&desk, me, &filter, next.clone()).await.unwrap();
    let expected = &sorted(&tasks, TaskSort::CreatedAt, SortOrder::Asc)[5..10];
    assert!(second.iter().map(|task| &task.id).eq(expected), "nothing skipped, though one before went");

    let other = TaskFilter { sort: TaskSort::Priority.into(), ..filter.clone() };
    assert_eq!(refused(page(&desk, me, &other, next).await), Reason::PageTokenInvalid);
    let nonsense = Page { page_token: "nonsense".to_owned(), ..Default::default() };
    assert_eq!(refused(page(&desk, me, &filter, nonsense).await), Reason::PageTokenInvalid);
    let beyond = Page { page: 1_000_000, per_page: 100, ..Default::default() };
    let (found, meta) = page(&desk, me, &filter, beyond).await.unwrap();
    assert_eq!((found.len(), meta.total_count, meta.next_page_token.as_str()), (0, 12, ""));
    let line = GetTimelineRequest { id: gone, page: Some(Page { page_token: "x".to_owned(), ..Default::default() }) };
    assert_eq!(refused(desk.tasks().get_timeline(desk.call(me, line)).await), Reason::PageTokenInvalid);
}

#[tokio::test]
async fn filters_narrow_and_all_that_are_given_hold() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let me = &team.manager_a;
    let now = desk.clock.now();
    let due = |days| Some(timestamp(now + TimeDelta::days(days)));
    let tagged = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
    let mut request = new_for("Sweep 100% of it", &team.user_a1);
    (request.priority, request.due_at, request.tags) = (TaskPriority::High.into(), due(1), tagged(&["shop", " yard "]));
    let sweep = desk.create(me, request).await.unwrap();
    assert_eq!(sweep.tags, ["shop", "yard"]);
    let mut request = new("Mop_the floor");
    (request.description, request.due_at, request.tags) = ("With WATER\\soap".to_owned(), due(2), tagged(&["shop"]));
    let mop = desk.create(me, request).await.unwrap();
    let own = desk.create(&team.user_a1, new("Read 1000 pages")).await.unwrap();
    desk.start(&team.user_a1, &own.id).await.unwrap();

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
        let found = desk.list(me, filter.clone()).await.unwrap();
        assert_eq!(found.into_iter().collect::<HashSet<_>>(), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_filter_that_means_nothing_is_refused() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
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
        assert_eq!(wrong_field(desk.list(me, filter).await), field);
    }
}

#[tokio::test]
async fn a_timeline_is_read_page_by_page() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = desk.create(me, new("Sweep")).await.unwrap().id;
    for n in 2..=7 {
        desk.update(me, &id, &["title"], titled(&format!("Sweep {n}"))).await.unwrap();
    }
    let (mut versions, mut token) = (Vec::new(), String::new());
    loop {
        let page = Page { per_page: 3, page_token: token, ..Default::default() };
        let request = desk.call(me, GetTimelineRequest { id: id.clone(), page: Some(page) });
        let answer = desk.tasks().get_timeline(request).await.unwrap().into_inner();
        versions.extend(answer.events.iter().map(|entry| entry.version));
        let meta = answer.meta.unwrap();
        assert_eq!(meta.total_count, 7);
        token = meta.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert!(versions.into_iter().eq(1..=7));
}
