//! Large accounts: lists use indexes, and totals are marked when they are estimates.

use baton_proto::{
    baton::{
        api::v1::{Page, PageMeta},
        task::v1::{
            GetAccountBoardRequest, GetMyBoardRequest, GetTeamBoardRequest, ListTasksRequest, SortOrder, TaskFilter,
            TaskPriority, TaskSort, TaskStatus,
        },
    },
    convert::timestamp,
};
use baton_testkit::{Person, eventually};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::fixture::{Fixture, new_task};

const TASKS: i64 = 100_000;
const PEOPLE: usize = 100;

/// Inserts `TASKS` tasks into the team's account and as many into another. The work of row triggers is done in bulk, as
/// far as lists need it.
async fn fill(fixture: &Fixture) {
    let team = &fixture.team;
    let people = [&team.owner, &team.manager_a, &team.manager_b, &team.user_a1, &team.user_a2, &team.user_b1];
    // Most of the hundred members only create tasks and have tasks assigned.
    let others = (people.len()..PEOPLE).map(|_| Uuid::now_v7());
    let people: Vec<_> =
        people.map(|person| person.user_id).into_iter().chain(others).map(|id| format!("'{id}'")).collect();
    let people = people.join(", ");
    let mut script = "alter table task.tasks disable trigger user;".to_owned();
    for account in [team.account_id, fixture.other_account().await.team.account_id] {
        script += &format!(
            "insert into task.tasks (id, account_id, title, description, status, priority, visibility, due_at, tags,
                                     custom_fields, created_by, assigned_to, assigned_by, accepted_at, actual_seconds,
                                     version, created_at, updated_at, completed_at, rank)
             select id, '{account}', 'Task ' || n, '', case when n % 3 = 0 then 'pending' else 'completed' end,
                    1 + n % 4, case when n % 50 = 0 then 'account' else 'private' end, made + n % 40 * interval '1 day',
                    array['tag' || n % 100], '{{}}', people[1 + n % {PEOPLE}], people[1 + n / 7 % {PEOPLE}], people[1 + n % {PEOPLE}], made, 0, 1,
                    made, made, case when n % 3 > 0 then made end, 'V' || replace(id::text, '-', '') || 'V'
             from (select n, gen_random_uuid() as id, now() - n * interval '1 minute' as made, array[{people}]::uuid[] as people
                   from generate_series(1, {TASKS}) n) n;"
        );
    }
    script += "insert into task.task_tags (account_id, tag, task_id) select account_id, tag, id from task.tasks, unnest(tags) tag;
               alter table task.tasks enable trigger user";
    let admin = fixture.context.admin();
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&admin).await.unwrap();
    // As autovacuum does on a server that runs longer than a test.
    for table in ["task.tasks", "task.task_tags"] {
        sqlx::query(AssertSqlSafe(format!("vacuum (analyze) {table}"))).execute(&admin).await.unwrap();
    }
}

/// Sequential scans per table of the service, and index scans of the tasks table.
async fn scans(fixture: &Fixture) -> (Vec<(String, i64)>, i64) {
    let admin = fixture.context.admin();
    let tables = sqlx::query_as(
        "select relname::text, seq_scan from pg_stat_user_tables
         where schemaname = 'task' and relname in ('tasks', 'task_tags') order by relname",
    );
    let indexed = "select idx_scan from pg_stat_user_tables where schemaname = 'task' and relname = 'tasks'";
    (tables.fetch_all(&admin).await.unwrap(), sqlx::query_scalar(indexed).fetch_one(&admin).await.unwrap())
}

async fn list(fixture: &Fixture, actor: &Person, filter: TaskFilter, page: i32) -> PageMeta {
    let request = ListTasksRequest { filter: Some(filter), page: Some(Page { page, ..Default::default() }) };
    fixture.tasks().list_tasks(fixture.call(actor, request)).await.unwrap().into_inner().meta.unwrap()
}

#[tokio::test]
async fn lists_use_indexes_and_large_totals_are_marked_as_estimates() {
    let fixture = Fixture::new().await;
    fill(&fixture).await;
    lists_read_no_whole_table(&fixture).await;
    totals_are_exact_up_to_ten_thousand(&fixture).await;
    page_number_and_token_return_the_same_page(&fixture).await;
    user_board_is_complete_in_every_sort(&fixture).await;
}

async fn lists_read_no_whole_table(fixture: &Fixture) {
    let team = &fixture.team;
    let filter =
        |sort: TaskSort, order: SortOrder| TaskFilter { sort: sort.into(), order: order.into(), ..Default::default() };
    let now = fixture.clock.now();
    let filters = [
        filter(TaskSort::CreatedAt, SortOrder::Desc),
        filter(TaskSort::CreatedAt, SortOrder::Asc),
        filter(TaskSort::UpdatedAt, SortOrder::Desc),
        filter(TaskSort::DueAt, SortOrder::Asc),
        filter(TaskSort::DueAt, SortOrder::Desc),
        filter(TaskSort::Priority, SortOrder::Desc),
        filter(TaskSort::Rank, SortOrder::Asc),
        TaskFilter { status: vec![TaskStatus::Pending.into()], ..Default::default() },
        TaskFilter { status: vec![TaskStatus::Pending.into(), TaskStatus::Completed.into()], ..Default::default() },
        TaskFilter { priority: vec![TaskPriority::Urgent.into()], ..Default::default() },
        TaskFilter { assigned_to: Some(team.user_a1.user_id.to_string()), ..Default::default() },
        TaskFilter { created_by: Some(team.user_a1.user_id.to_string()), ..Default::default() },
        TaskFilter { tags: vec!["tag7".to_owned()], ..Default::default() },
        TaskFilter {
            due_from: Some(timestamp(now)),
            due_to: Some(timestamp(now + TimeDelta::days(1))),
            ..Default::default()
        },
    ];
    let (before, indexed) = scans(fixture).await;
    let mut calls = 0;
    for (actor, known, created) in [(&team.owner, 100, 100), (&team.manager_a, 26, 5), (&team.user_a1, 10, 3)] {
        for filter in &filters {
            for page in [1, 1000] {
                list(fixture, actor, filter.clone(), page).await;
                calls += 1;
            }
        }
        let mut boards = fixture.boards();
        boards.get_my_board(fixture.call(actor, GetMyBoardRequest::default())).await.unwrap();
        calls += 1;
        let tags = fixture.tags(actor, "tag", Page { per_page: 100, ..Default::default() }).await.unwrap();
        // Each of a hundred tags covers all tasks of one creator; the tasks of one assignee have seven of them.
        let whole = tags.tags.iter().filter(|tag| tag.task_count == 1_000 && !tag.has_older_tasks).count();
        assert_eq!(whole as i32, created, "{tags:?}");
        assert_eq!(tags.meta.unwrap().total_count, known);
    }
    let mut boards = fixture.boards();
    boards.get_team_board(fixture.call(&team.manager_a, GetTeamBoardRequest::default())).await.unwrap();
    boards.get_account_board(fixture.call(&team.owner, GetAccountBoardRequest::default())).await.unwrap();
    // Postgres updates its statistics with a delay.
    eventually(|| async { (scans(fixture).await.1 >= indexed + calls).then_some(()) }).await;
    assert_eq!(scans(fixture).await.0, before, "a table was scanned sequentially");
}

async fn totals_are_exact_up_to_ten_thousand(fixture: &Fixture) {
    let team = &fixture.team;
    let tagged = |tag: &str| TaskFilter { tags: vec![tag.to_owned()], ..Default::default() };
    for page in [1, 30, 1000] {
        let meta = list(fixture, &team.owner, tagged("tag7"), page).await;
        assert_eq!((meta.total_count, meta.total_is_estimate), (1000, false), "page {page}");
    }
    let meta = list(fixture, &team.owner, TaskFilter::default(), 1).await;
    assert!(meta.total_is_estimate);
    assert!((50_000..200_000).contains(&meta.total_count), "{}", meta.total_count);
    // An estimate is cached for this list of this caller only.
    let pending = TaskFilter { status: vec![TaskStatus::Pending.into()], ..Default::default() };
    let pending = list(fixture, &team.owner, pending, 1).await;
    assert!(pending.total_is_estimate);
    assert!((15_000..60_000).contains(&pending.total_count), "{}", pending.total_count);
    let seen = list(fixture, &team.user_a1, TaskFilter::default(), 1).await;
    assert!(!seen.total_is_estimate && seen.total_count < 10_000, "{seen:?}");
    let board = fixture.boards().get_account_board(fixture.call(&team.owner, GetAccountBoardRequest::default())).await;
    let columns = board.unwrap().into_inner().columns;
    let of = |status: TaskStatus| columns.iter().find(|column| column.status() == status).unwrap();
    assert_eq!((of(TaskStatus::Paused).count, of(TaskStatus::Paused).count_is_estimate), (0, false));
    let completed = of(TaskStatus::Completed);
    assert!(completed.count_is_estimate && completed.count > 10_000, "{completed:?}");
}

async fn page_number_and_token_return_the_same_page(fixture: &Fixture) {
    let team = &fixture.team;
    let read = async |filter: &TaskFilter, page: Page| {
        let request = ListTasksRequest { filter: Some(filter.clone()), page: Some(page) };
        let listed = fixture.tasks().list_tasks(fixture.call(&team.owner, request)).await.unwrap().into_inner();
        let ids: Vec<String> = listed.tasks.into_iter().map(|task| task.id).collect();
        (ids, listed.meta.unwrap().next_page_token)
    };
    for (sort, order) in [
        (TaskSort::CreatedAt, SortOrder::Desc),
        (TaskSort::DueAt, SortOrder::Asc),
        (TaskSort::Priority, SortOrder::Desc),
    ] {
        let filter = TaskFilter { sort: sort.into(), order: order.into(), ..Default::default() };
        let numbered = |page: i32| Page { page, per_page: 90, ..Default::default() };
        let (mut by_token, mut token) = (Vec::new(), String::new());
        for _ in 0..16 {
            let (ids, next) = read(&filter, Page { per_page: 90, page_token: token, ..Default::default() }).await;
            by_token.push(ids);
            token = next;
        }
        // Consecutive, isolated and repeated pages.
        for page in [1, 12, 13, 11, 12, 16, 15, 16, 14] {
            let (ids, _) = read(&filter, numbered(page)).await;
            assert_eq!(ids, by_token[page as usize - 1], "page {page} by {sort:?}");
        }
        // A page with another offset, and one beyond the end.
        let (ids, _) = read(&filter, Page { page: 120, per_page: 9, ..Default::default() }).await;
        assert_eq!(ids, by_token[11][81..], "by {sort:?}");
        assert!(read(&filter, numbered(2_000)).await.0.is_empty());
    }
    // The cache entry is for this list only.
    let pending = TaskFilter { status: vec![TaskStatus::Pending.into()], ..Default::default() };
    let (ids, _) = read(&pending, Page { page: 12, per_page: 90, ..Default::default() }).await;
    let (others, _) = read(&TaskFilter::default(), Page { page: 12, per_page: 90, ..Default::default() }).await;
    assert_ne!(ids, others);
}

/// A task with all its sort keys.
#[derive(Clone, sqlx::FromRow)]
struct SortableTask {
    id: String,
    place: i64,
    priority: i16,
    due_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
}

/// The board is a union of the user's assigned tasks and their own unassigned ones.
async fn user_board_is_complete_in_every_sort(fixture: &Fixture) {
    let user = &fixture.team.user_a1;
    for n in 0..30 {
        fixture.create(user, new_task(&format!("Kept {n}"))).await.unwrap();
    }
    let mine: Vec<SortableTask> = sqlx::query_as(
        "select id::text, row_number() over (order by rank) as place, priority, due_at, updated_at from task.tasks
         where account_id = $1 and deleted_at is null and status <> 'archived'
           and (assigned_to = $2 or assigned_to is null and created_by = $2) order by id",
    )
    .bind(fixture.team.account_id)
    .bind(user.user_id)
    .fetch_all(&fixture.context.admin())
    .await
    .unwrap();
    assert!(mine.len() > 1_000, "{}", mine.len());
    let read = async |filter: TaskFilter, page: Page| {
        let request = GetMyBoardRequest { filter: Some(filter), page: Some(page), ..Default::default() };
        let board = fixture.boards().get_my_board(fixture.call(user, request)).await.unwrap().into_inner();
        let ids: Vec<String> = board.tasks.into_iter().map(|task| task.id).collect();
        (ids, board.meta.unwrap())
    };
    for sort in [TaskSort::CreatedAt, TaskSort::UpdatedAt, TaskSort::DueAt, TaskSort::Priority, TaskSort::Rank] {
        for order in [SortOrder::Asc, SortOrder::Desc] {
            let mut expected = mine.clone();
            expected.sort_by(|one, other| {
                let compare = match sort {
                    TaskSort::UpdatedAt => one.updated_at.cmp(&other.updated_at),
                    TaskSort::DueAt => match (one.due_at, other.due_at) {
                        (Some(one), Some(other)) => one.cmp(&other),
                        // Null sort keys come last in both orders.
                        (one, other) if order == SortOrder::Asc => one.is_none().cmp(&other.is_none()),
                        (one, other) => other.is_none().cmp(&one.is_none()),
                    },
                    TaskSort::Priority => one.priority.cmp(&other.priority),
                    TaskSort::Rank => one.place.cmp(&other.place),
                    _ => std::cmp::Ordering::Equal,
                };
                let compare = compare.then_with(|| one.id.cmp(&other.id));
                if order == SortOrder::Asc { compare } else { compare.reverse() }
            });
            let expected: Vec<&String> = expected.iter().map(|task| &task.id).collect();
            let filter = TaskFilter { sort: sort.into(), order: order.into(), ..Default::default() };
            let (mut found, mut token) = (Vec::new(), String::new());
            loop {
                let (ids, meta) =
                    read(filter.clone(), Page { per_page: 100, page_token: token, ..Default::default() }).await;
                assert_eq!(meta.total_count as usize, expected.len());
                found.extend(ids);
                token = meta.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            assert!(found.iter().eq(expected.iter().copied()), "{sort:?} {order:?}");
            let (ids, _) = read(filter.clone(), Page { page: 11, per_page: 100, ..Default::default() }).await;
            assert!(ids.iter().eq(expected[1_000..].iter().copied()), "{sort:?} {order:?}");
        }
    }
}
