//! Isolation between accounts.

use std::collections::BTreeSet;

use baton_errors::Reason;
use baton_proto::{
    baton::{
        access::v1::Permission,
        task::v1::{
            CreateTaskRequest, ExplainRequest, GetTaskEventRequest, GetUserBoardRequest, ListStateTimesRequest,
            ListTaskHistoryRequest, TaskFilter, access_service_client::AccessServiceClient,
        },
    },
    convert::timestamp,
};
use baton_task::SPEC;
use chrono::TimeDelta;
use sqlx::{Connection, PgConnection};
use tonic::Status;
use uuid::Uuid;

use crate::fixture::{Fixture, error_reason, new_task, new_task_for, title_change};

/// Everything that a caller can observe of an error.
fn error_parts(status: &Status) -> (tonic::Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

/// Calls every RPC that takes a task id as the account's owner and returns each error.
async fn call_all(fixture: &Fixture, id: &str) -> Vec<(&'static str, Status)> {
    let (me, somebody) = (&fixture.team.owner, fixture.team.user_a1.user_id);
    let part = CreateTaskRequest { parent_task_id: Some(id.to_owned()), ..new_task("part") };
    vec![
        ("CreateTask", fixture.create(me, part).await.unwrap_err()),
        ("GetTask", fixture.get(me, id).await.unwrap_err()),
        ("UpdateTask", fixture.update(me, id, &["title"], title_change("Mine")).await.unwrap_err()),
        ("DeleteTask", fixture.delete(me, id).await.unwrap_err()),
        ("GetTimeline", fixture.timeline(me, id).await.unwrap_err()),
        ("StartTask", fixture.start(me, id).await.unwrap_err()),
        ("PauseTask", fixture.pause(me, id, "why").await.unwrap_err()),
        ("ResumeTask", fixture.resume(me, id).await.unwrap_err()),
        ("CompleteTask", fixture.complete(me, id).await.unwrap_err()),
        ("CancelTask", fixture.cancel(me, id, None).await.unwrap_err()),
        ("ArchiveTask", fixture.archive(me, id).await.unwrap_err()),
        ("ReopenTask", fixture.reopen(me, id, None).await.unwrap_err()),
        ("SkipTask", fixture.skip(me, id, None).await.unwrap_err()),
        ("UnskipTask", fixture.unskip(me, id, fixture.clock.now()).await.unwrap_err()),
        ("RestoreTask", fixture.restore(me, id).await.unwrap_err()),
        ("AssignTask", fixture.assign(me, id, somebody).await.unwrap_err()),
        ("ReassignTask", fixture.reassign(me, id, somebody).await.unwrap_err()),
        ("AcceptTask", fixture.accept(me, id).await.unwrap_err()),
        ("RejectTask", fixture.reject(me, id, None).await.unwrap_err()),
    ]
}

#[tokio::test]
async fn task_of_another_account_is_indistinguishable_from_a_missing_one() {
    let fixture = Fixture::new().await;
    let other = fixture.other_account().await;
    let mut request = new_task_for("Secret", &other.team.user_a1);
    request.visibility = baton_proto::baton::task::v1::TaskVisibility::Account.into();
    let foreign = other.create(&other.team.owner, request).await.unwrap();

    let theirs = call_all(&fixture, &foreign.id).await;
    let nobodys = call_all(&fixture, &Uuid::now_v7().to_string()).await;
    for ((rpc, foreign), (_, absent)) in theirs.iter().zip(&nobodys) {
        assert_eq!(baton_testkit::reason(foreign), Some(Reason::TaskNotFound), "{rpc}");
        assert_eq!(error_parts(foreign), error_parts(absent), "{rpc}");
    }
    assert_eq!(other.get(&other.team.owner, &foreign.id).await.unwrap(), foreign, "it is unchanged");

    let explain = |task: &str| ExplainRequest {
        user_id: fixture.team.owner.user_id.to_string(),
        permission: Permission::WorkOnTasks.into(),
        task_id: Some(task.to_owned()),
    };
    for task in [foreign.id.clone(), Uuid::now_v7().to_string()] {
        let mut access = AccessServiceClient::new(fixture.channel());
        let refusal = access.explain(fixture.call(&fixture.team.owner, explain(&task))).await;
        assert_eq!(error_reason(refusal), Reason::TaskNotFound);
    }

    // RPCs without a task id do not return it.
    assert!(fixture.list(&fixture.team.owner, TaskFilter::default()).await.unwrap().is_empty());
    let (from, to) = (fixture.clock.now() - TimeDelta::hours(1), fixture.clock.now() + TimeDelta::hours(1));
    let (from, to) = (Some(timestamp(from)), Some(timestamp(to)));
    let past = ListTaskHistoryRequest { from, to, ..Default::default() };
    let past = fixture.tasks().list_task_history(fixture.call(&fixture.team.owner, past)).await.unwrap().into_inner();
    assert_eq!((past.total, past.events), (Some(0), Vec::new()));
    let times = ListStateTimesRequest { task_ids: vec![foreign.id.clone(), Uuid::now_v7().to_string()] };
    let times = fixture.tasks().list_state_times(fixture.call(&fixture.team.owner, times)).await.unwrap().into_inner();
    assert_eq!(times.tasks, []);
    let entry = other.timeline(&other.team.owner, &foreign.id).await.unwrap()[0].id.clone();
    for id in [entry, Uuid::now_v7().to_string()] {
        let event = fixture.tasks().get_task_event(fixture.call(&fixture.team.owner, GetTaskEventRequest { id })).await;
        assert_eq!(error_reason(event), Reason::TaskNotFound);
    }
    let board = GetUserBoardRequest { user_id: other.team.user_a1.user_id.to_string(), ..Default::default() };
    let board = fixture.boards().get_user_board(fixture.call(&fixture.team.owner, board)).await;
    assert_eq!(error_reason(board), Reason::BoardNotFound);
    let stranger = new_task_for("Sweep", &other.team.user_a1);
    assert_eq!(error_reason(fixture.create(&fixture.team.owner, stranger).await), Reason::AssigneeInvalid);
    let intruder = fixture.tasks().create_task(fixture.team.owner.call(other.team.account_id, new_task("Mine"))).await;
    assert_eq!(error_reason(intruder), Reason::NotAMember);

    // Only TaskService: other services have their own tests, and the black-box permission test calls every RPC with ids
    // of another account.
    let mut covered: BTreeSet<String> = theirs.iter().map(|(rpc, _)| (*rpc).to_owned()).collect();
    covered.extend(["GetTaskEvent", "ListStateTimes", "ListTaskHistory", "ListTasks", "ListTrash"].map(str::to_owned));
    let service = baton_proto::pool().get_service_by_name("baton.task.v1.TaskService").unwrap();
    let all: BTreeSet<_> = service.methods().map(|method| method.name().to_owned()).collect();
    assert_eq!(covered, all, "a new RPC needs its line here");
}

#[tokio::test]
async fn row_level_security_alone_hides_other_accounts() {
    let fixture = Fixture::new().await;
    let other = fixture.other_account().await;
    let mine = fixture.create(&fixture.team.owner, new_task("Mine")).await.unwrap();
    let theirs = other.create(&other.team.owner, new_task("Theirs")).await.unwrap();

    let mut conn = PgConnection::connect(&fixture.context.database().app_url(SPEC.name)).await.unwrap();
    for table in ["task.tasks", "task.task_events"] {
        let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut conn).await.unwrap();
        assert_eq!(seen, 0, "without a tenant no row is visible in {table}");
    }
    let tenant = "select set_config('baton.account_id', $1, false)";
    sqlx::query(tenant).bind(fixture.team.account_id.to_string()).execute(&mut conn).await.unwrap();
    let titles: Vec<String> = sqlx::query_scalar("select title from task.tasks").fetch_all(&mut conn).await.unwrap();
    assert_eq!(titles, ["Mine"]);
    let lines: Vec<Uuid> =
        sqlx::query_scalar("select task_id from task.task_events").fetch_all(&mut conn).await.unwrap();
    assert_eq!(lines, [mine.id.parse::<Uuid>().unwrap()]);
    let changed = sqlx::query("update task.tasks set title = 'Ours'").execute(&mut conn).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    let gift = sqlx::query("update task.tasks set account_id = $1").bind(other.team.account_id);
    assert!(gift.execute(&mut conn).await.unwrap_err().to_string().contains("row-level security"));
    for rewriting in
        ["delete from task.tasks", "delete from task.task_events", "update task.task_events set version = 9"]
    {
        let refusal = sqlx::query(rewriting).execute(&mut conn).await.unwrap_err();
        assert!(refusal.to_string().contains("permission denied"), "{rewriting}");
    }
    // A subtask of another account's task cannot be stored either.
    let part = sqlx::query("update task.tasks set parent_task_id = $1").bind(theirs.id.parse::<Uuid>().unwrap());
    assert!(part.execute(&mut conn).await.unwrap_err().to_string().contains("tasks_parent"));
}
