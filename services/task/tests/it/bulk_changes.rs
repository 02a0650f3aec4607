//! Bulk changes: the rules of the single calls, in one transaction.

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{
        BulkAction, ChangeTasksRequest, ChangeTasksResponse, CreateTaskRequest, CustomFieldType, TaskChange,
        TaskFilter, TaskPriority, TaskStatus, TaskVisibility, bulk_service_client::BulkServiceClient,
    },
    convert::to_struct,
};
use baton_testkit::{Person, reason};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task, new_task_for, with_header};

fn all(action: BulkAction, ids: &[String]) -> ChangeTasksRequest {
    ChangeTasksRequest { action: action.into(), task_ids: ids.to_vec(), ..Default::default() }
}

fn urgent() -> TaskChange {
    TaskChange { priority: TaskPriority::Urgent.into(), ..Default::default() }
}

impl Fixture {
    async fn bulk(&self, actor: &Person, message: ChangeTasksRequest) -> RpcResult<ChangeTasksResponse> {
        let mut client = BulkServiceClient::new(self.channel());
        Ok(client.change_tasks(self.call(actor, message)).await?.into_inner())
    }

    async fn several(&self, actor: &Person, count: usize) -> Vec<String> {
        let tasks = join_all((0..count).map(|_| self.create(actor, new_task("Sweep")))).await;
        let mut ids: Vec<String> = tasks.into_iter().map(|task| task.unwrap().id).collect();
        ids.sort_unstable();
        ids
    }
}

/// Outcome of each task, in the order of the response.
fn verdicts(response: &ChangeTasksResponse) -> Vec<(String, Option<String>)> {
    for result in &response.results {
        assert_eq!(result.ok, result.reason.is_none());
    }
    let ok = response.results.iter().filter(|result| result.ok).count() as i32;
    assert_eq!((ok, response.results.len() as i32 - ok), (response.succeeded, response.failed));
    response.results.iter().map(|result| (result.task_id.clone(), result.reason.clone())).collect()
}

const ACTIONS: [BulkAction; 12] = [
    BulkAction::Start,
    BulkAction::Pause,
    BulkAction::Resume,
    BulkAction::Complete,
    BulkAction::Archive,
    BulkAction::Cancel,
    BulkAction::Reopen,
    BulkAction::Delete,
    BulkAction::Restore,
    BulkAction::Assign,
    BulkAction::Reassign,
    BulkAction::Update,
];

async fn single(fixture: &Fixture, actor: &Person, action: BulkAction, id: &str, to: &Person) -> RpcResult<()> {
    match action {
        BulkAction::Start => fixture.start(actor, id).await.map(drop),
        BulkAction::Pause => fixture.pause(actor, id, "lunch").await.map(drop),
        BulkAction::Resume => fixture.resume(actor, id).await.map(drop),
        BulkAction::Complete => fixture.complete(actor, id).await.map(drop),
        BulkAction::Archive => fixture.archive(actor, id).await.map(drop),
        BulkAction::Cancel => fixture.cancel(actor, id, None).await.map(drop),
        BulkAction::Reopen => fixture.reopen(actor, id, None).await.map(drop),
        BulkAction::Delete => fixture.delete(actor, id).await,
        BulkAction::Restore => fixture.restore(actor, id).await.map(drop),
        BulkAction::Assign => fixture.assign(actor, id, to.user_id).await.map(drop),
        BulkAction::Reassign => fixture.reassign(actor, id, to.user_id).await.map(drop),
        BulkAction::Update => fixture.update(actor, id, &["priority"], urgent()).await.map(drop),
        BulkAction::Unspecified => unreachable!(),
    }
}

/// Random users apply random actions to random tasks, by single calls and in bulk. Both must have the same outcome.
#[tokio::test]
async fn each_task_gets_the_result_of_the_single_call() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let people = [
        &team.owner,
        &team.super_manager,
        &team.manager_a,
        &team.manager_b,
        &team.user_a1,
        &team.user_a2,
        &team.user_b1,
    ];
    let mut random = Uuid::new_v4().as_u128();
    let seed = random;
    let mut choose = |of: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 64) as usize % of
    };
    let mut ids = vec![Uuid::now_v7().to_string()];
    while ids.len() < 14 {
        let (creator, assignee) = (people[choose(7)], people[choose(7)]);
        let mut request = if choose(2) == 0 { new_task("Sweep") } else { new_task_for("Sweep", assignee) };
        request.visibility = 1 + choose(3) as i32;
        if let Ok(task) = fixture.create(creator, request).await {
            ids.push(task.id);
        }
    }
    ids.sort_unstable();
    let (mut done, mut not_done) = (0, 0);
    for round in 0..72 {
        let (action, actor, to) = (ACTIONS[round % 12], people[choose(7)], people[choose(7)]);
        let mut request = all(action, &ids);
        match action {
            BulkAction::Assign | BulkAction::Reassign => request.assigned_to = Some(to.user_id.to_string()),
            BulkAction::Pause => request.reason = Some("lunch".to_owned()),
            BulkAction::Update => request.task = Some(urgent()),
            _ => {}
        }
        let predicted = fixture.bulk(actor, ChangeTasksRequest { dry_run: true, ..request.clone() }).await;
        let predicted: Vec<(String, Option<String>)> = match predicted {
            Ok(response) => verdicts(&response),
            // A caller without the permission is refused as a whole.
            Err(status) => {
                let reason = reason(&status).unwrap().name().to_owned();
                ids.iter().map(|id| (id.clone(), Some(reason.clone()))).collect()
            }
        };
        assert_eq!(predicted.iter().map(|(id, _)| id).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
        let became: Vec<(String, Option<String>)> = if choose(2) == 0 {
            let mut became = Vec::new();
            for id in &ids {
                let refusal = single(&fixture, actor, action, id, to).await.err();
                became.push((id.clone(), refusal.map(|status| reason(&status).unwrap().name().to_owned())));
            }
            became
        } else {
            match fixture.bulk(actor, request).await {
                Ok(response) => verdicts(&response),
                Err(_) => predicted.clone(),
            }
        };
        assert_eq!(became, predicted, "{action:?} by {} to {}, seed {seed}", actor.email, to.email);
        done += became.iter().filter(|(_, refusal)| refusal.is_none()).count();
        not_done += became.iter().filter(|(_, refusal)| refusal.is_some()).count();
    }
    assert!(done > 20 && not_done > 20, "{done} and {not_done}: too few of either, seed {seed}");
}

#[tokio::test]
async fn thousand_tasks_change_in_one_transaction_with_a_log_entry_and_event_each() {
    let fixture = Fixture::new().await;
    let (me, admin) = (&fixture.team.user_a1, fixture.context.admin());
    let insert = "insert into task.tasks (id, account_id, title, description, status, priority, visibility, tags,
                      custom_fields, created_by, actual_seconds, version, created_at, updated_at)
                  select gen_random_uuid(), $1, 'Sweep', '', 'pending', 2, 'private', '{}', '{}', $2, 0, 1, now(), now()
                  from generate_series(1, $3::integer)";
    sqlx::query(insert).bind(fixture.team.account_id).bind(me.user_id).bind(1_001).execute(&admin).await.unwrap();
    let filter = TaskFilter { status: vec![TaskStatus::Pending.into()], ..Default::default() };
    let by_filter = || ChangeTasksRequest { filter: Some(filter.clone()), ..all(BulkAction::Start, &[]) };
    let status = fixture.bulk(me, by_filter()).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::TooManyTasks));
    let details = status.get_details_error_info().unwrap().metadata;
    assert_eq!((details["limit"].as_str(), details["matched"].as_str()), ("1000", "1001"));
    sqlx::query("delete from task.tasks where id in (select id from task.tasks limit 1)")
        .execute(&admin)
        .await
        .unwrap();

    let dry = fixture.bulk(me, ChangeTasksRequest { dry_run: true, ..by_filter() }).await.unwrap();
    let count =
        async |what: &str| sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(what)).fetch_one(&admin).await.unwrap();
    assert_eq!((dry.succeeded, count("select count(*) from task.task_events").await), (1_000, 0));
    let response = fixture.bulk(me, by_filter()).await.unwrap();
    assert_eq!(response, dry);
    assert_eq!(count("select count(*) from task.tasks where status = 'in_progress' and version = 2").await, 1_000);
    assert_eq!(count("select count(distinct xmin::text) from task.tasks").await, 1);
    assert_eq!(count("select count(*) from task.task_events where kind = 'started' and version = 2").await, 1_000);
    let events = "select count(*) from task.outbox where position('task.started'::bytea in envelope) > 0";
    assert_eq!(count(events).await, 1_000);
    assert_eq!(
        fixture.bulk(me, by_filter()).await.unwrap(),
        ChangeTasksResponse::default(),
        "nothing is pending any more"
    );
}

#[tokio::test]
async fn repeated_request_gets_the_first_response_and_foreign_tasks_are_not_found() {
    let fixture = Fixture::new().await;
    let (me, other_account) = (&fixture.team.user_a1, fixture.other_account().await);
    let mut ids = fixture.several(me, 3).await;
    ids.push(fixture.create(&fixture.team.owner, new_task("Secret")).await.unwrap().id);
    ids.push(other_account.create(&other_account.team.owner, new_task("Theirs")).await.unwrap().id);
    let mut named = ids.clone();
    named.push(ids[0].clone());
    let call = || async {
        let mut client = BulkServiceClient::new(fixture.channel());
        let request = with_header(fixture.call(me, all(BulkAction::Start, &named)), "idempotency-key", "all");
        client.change_tasks(request).await.unwrap().into_inner()
    };
    let first = call().await;
    let absent = Some("TASK_NOT_FOUND".to_owned());
    let mut expected: Vec<_> = ids.iter().cloned().zip([None, None, None, absent.clone(), absent]).collect();
    expected.sort_unstable();
    assert_eq!(verdicts(&first), expected);
    for again in join_all((0..5).map(|_| call())).await {
        assert_eq!(again, first);
    }
    assert_eq!(fixture.get(me, &ids[0]).await.unwrap().version, 2);
    assert_eq!(other_account.get(&other_account.team.owner, &ids[4]).await.unwrap().version, 1);
}

#[tokio::test]
async fn remaining_quota_goes_to_the_first_tasks() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let ids = fixture.several(me, 5).await;
    fixture
        .bulk(me, ChangeTasksRequest { reason: Some("rain".to_owned()), ..all(BulkAction::Cancel, &ids) })
        .await
        .unwrap();
    assert_eq!(fixture.timeline(me, &ids[0]).await.unwrap()[1].reason.as_deref(), Some("rain"));
    sqlx::query("update tenancy.accounts set max_open_tasks_per_user = 3")
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    let reopened = |response: ChangeTasksResponse| {
        response.results.into_iter().map(|result| result.reason.unwrap_or_default()).collect::<Vec<_>>()
    };
    let full = "QUOTA_EXCEEDED".to_owned();
    let none = String::new();
    let expected = [none.clone(), none.clone(), none, full.clone(), full];
    baton_testkit::eventually(|| async {
        let dry = ChangeTasksRequest { dry_run: true, ..all(BulkAction::Reopen, &ids) };
        (reopened(fixture.bulk(me, dry).await.unwrap()) == expected).then_some(())
    })
    .await;
    assert_eq!(reopened(fixture.bulk(me, all(BulkAction::Reopen, &ids)).await.unwrap()), expected);
    let counted = "select (select sum(open_tasks) from task.usage where user_id = $1)
                        + (select coalesce(sum(change), 0) from task.usage_changes where user_id = $1)";
    let open: i64 = sqlx::query_scalar(counted).bind(me.user_id).fetch_one(&fixture.context.admin()).await.unwrap();
    assert_eq!(open, 3);
    assert_eq!(error_reason(fixture.reopen(me, &ids[4], None).await), Reason::QuotaExceeded);
}

#[tokio::test]
async fn single_timer_setting_starts_one_of_many() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let ids = fixture.several(me, 4).await;
    let one = "update tenancy.accounts set one_running_timer = true";
    sqlx::query(one).execute(&fixture.context.admin()).await.unwrap();
    let expected = |response: &ChangeTasksResponse| {
        response.succeeded == 1
            && response.results[0].ok
            && response.results[1].reason.as_deref() == Some("TIMER_ALREADY_RUNNING")
    };
    baton_testkit::eventually(|| async {
        let dry = ChangeTasksRequest { dry_run: true, ..all(BulkAction::Start, &ids) };
        expected(&fixture.bulk(me, dry).await.unwrap()).then_some(())
    })
    .await;
    assert!(expected(&fixture.bulk(me, all(BulkAction::Start, &ids)).await.unwrap()));
    assert_eq!(fixture.bulk(me, all(BulkAction::Start, &ids[1..])).await.unwrap().succeeded, 0);
}

#[tokio::test]
async fn fields_and_subtask_moves_follow_the_single_call_rules() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let cost = baton_proto::baton::task::v1::CreateCustomFieldRequest {
        key: "cost".to_owned(),
        name: "Cost".to_owned(),
        r#type: CustomFieldType::Number.into(),
        ..Default::default()
    };
    fixture.define(&fixture.team.owner, cost).await.unwrap();
    let ids = fixture.several(me, 3).await;
    let object = |value: Value| {
        let Value::Object(fields) = value else { panic!("an object") };
        Some(to_struct(fields))
    };
    let update = |task: TaskChange, clear: &[&str]| ChangeTasksRequest {
        task: Some(task),
        clear: clear.iter().map(|&path| path.to_owned()).collect(),
        ..all(BulkAction::Update, &ids)
    };
    let noted = |value| TaskChange { custom_fields: object(value), ..Default::default() };
    let change = TaskChange {
        estimated_seconds: Some(60),
        tags: vec!["b".into(), "a".into()],
        ..noted(json!({"cost": 5, "x": 1}))
    };
    assert_eq!(fixture.bulk(me, update(change, &[])).await.unwrap().succeeded, 3);
    let cleared = update(
        TaskChange { description: "All".to_owned(), ..Default::default() },
        &["estimated_seconds", "custom_fields.x"],
    );
    assert_eq!(fixture.bulk(me, cleared).await.unwrap().succeeded, 3);
    for id in &ids {
        let task = fixture.get(me, id).await.unwrap();
        assert_eq!((task.version, task.tags.join(" "), task.estimated_seconds), (3, "a b".to_owned(), None));
        assert_eq!((task.description.as_str(), task.custom_fields), ("All", object(json!({"cost": 5}))));
    }
    // A task cannot become its own subtask; the others become subtasks of it.
    let under = TaskChange { parent_task_id: Some(ids[1].clone()), ..Default::default() };
    let response = fixture.bulk(me, update(under, &[])).await.unwrap();
    let wrong = Some("VALIDATION_FAILED".to_owned());
    assert_eq!(verdicts(&response).into_iter().map(|(_, reason)| reason).collect::<Vec<_>>(), [None, wrong, None]);
    assert_eq!(fixture.get(me, &ids[1]).await.unwrap().progress.unwrap().total, 2);

    let secret = fixture.create(&fixture.team.owner, new_task("Secret")).await.unwrap().id;
    let under = TaskChange { parent_task_id: Some(secret), ..Default::default() };
    assert_eq!(error_reason(fixture.bulk(me, update(under, &[])).await), Reason::TaskNotFound);
    let rule = TaskChange { recurrence_rule: Some("FREQ=DAILY".to_owned()), ..Default::default() };
    for (request, field) in [
        (update(noted(json!({"cost": "much"})), &[]), "task.custom_fields.cost"),
        (update(TaskChange::default(), &[]), "task"),
        (update(TaskChange::default(), &["title"]), "task.title"),
        (update(TaskChange::default(), &["status"]), "update_mask"),
        (update(urgent(), &["priority"]), "clear[0]"),
        (update(rule, &[]), "task.recurrence_rule"),
        (ChangeTasksRequest { filter: Some(TaskFilter::default()), ..all(BulkAction::Start, &ids) }, "filter"),
        (all(BulkAction::Start, &[]), "task_ids"),
        (all(BulkAction::Pause, &ids), "reason"),
        (ChangeTasksRequest { reason: Some(" ".to_owned()), ..all(BulkAction::Pause, &ids) }, "reason"),
        (ChangeTasksRequest { reason: Some("why".to_owned()), ..all(BulkAction::Start, &ids) }, "reason"),
        (all(BulkAction::Assign, &ids), "assigned_to"),
        (ChangeTasksRequest { task: Some(urgent()), ..all(BulkAction::Start, &ids) }, "task"),
        (ChangeTasksRequest { filter: Some(TaskFilter::default()), ..all(BulkAction::Restore, &[]) }, "filter"),
        (all(BulkAction::Start, &vec![ids[0].clone(); 1_001]), "task_ids"),
    ] {
        assert_eq!(invalid_field(fixture.bulk(me, request).await), field);
    }
}

#[tokio::test]
async fn visible_task_is_not_changeable_by_every_viewer() {
    let fixture = Fixture::new().await;
    let shared = CreateTaskRequest { visibility: TaskVisibility::Account.into(), ..new_task("Shared") };
    let id = fixture.create(&fixture.team.owner, shared).await.unwrap().id;
    let response = fixture.bulk(&fixture.team.user_b1, all(BulkAction::Delete, &[id])).await.unwrap();
    assert_eq!(response.results[0].reason.as_deref(), Some("TASK_CHANGE_NOT_ALLOWED"));
}
