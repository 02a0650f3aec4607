//! Accounts are kept apart.

use std::collections::BTreeSet;

use baton_errors::Reason;
use baton_proto::baton::{
    access::v1::Permission,
    task::v1::{
        CreateTaskRequest, ExplainRequest, GetUserBoardRequest, TaskFilter, access_service_client::AccessServiceClient,
    },
};
use baton_task::SCHEMA;
use sqlx::{Connection, PgConnection};
use tonic::Status;
use uuid::Uuid;

use crate::desk::{Desk, new, new_for, refused, titled};

/// What a caller can tell from a refusal.
fn told(status: &Status) -> (tonic::Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

/// Calls every RPC that names a task, as the owner of the account, and answers what each said.
async fn call_all(desk: &Desk, id: &str) -> Vec<(&'static str, Status)> {
    let (me, somebody) = (&desk.team.owner, desk.team.user_a1.user_id);
    let part = CreateTaskRequest { parent_task_id: Some(id.to_owned()), ..new("part") };
    vec![
        ("CreateTask", desk.create(me, part).await.unwrap_err()),
        ("GetTask", desk.get(me, id).await.unwrap_err()),
        ("UpdateTask", desk.update(me, id, &["title"], titled("Mine")).await.unwrap_err()),
        ("DeleteTask", desk.delete(me, id).await.unwrap_err()),
        ("GetTimeline", desk.timeline(me, id).await.unwrap_err()),
        ("StartTask", desk.start(me, id).await.unwrap_err()),
        ("PauseTask", desk.pause(me, id, "why").await.unwrap_err()),
        ("ResumeTask", desk.resume(me, id).await.unwrap_err()),
        ("CompleteTask", desk.complete(me, id).await.unwrap_err()),
        ("CancelTask", desk.cancel(me, id, None).await.unwrap_err()),
        ("ArchiveTask", desk.archive(me, id).await.unwrap_err()),
        ("ReopenTask", desk.reopen(me, id, None).await.unwrap_err()),
        ("SkipTask", desk.skip(me, id, None).await.unwrap_err()),
        ("UnskipTask", desk.unskip(me, id, desk.clock.now()).await.unwrap_err()),
        ("RestoreTask", desk.restore(me, id).await.unwrap_err()),
        ("AssignTask", desk.assign(me, id, somebody).await.unwrap_err()),
        ("ReassignTask", desk.reassign(me, id, somebody).await.unwrap_err()),
        ("AcceptTask", desk.accept(me, id).await.unwrap_err()),
        ("RejectTask", desk.reject(me, id, None).await.unwrap_err()),
    ]
}

#[tokio::test]
async fn another_accounts_task_is_as_absent_as_one_that_never_was() {
    let desk = Desk::open().await;
    let other = desk.elsewhere().await;
    let mut request = new_for("Secret", &other.team.user_a1);
    request.visibility = baton_proto::baton::task::v1::TaskVisibility::Account.into();
    let foreign = other.create(&other.team.owner, request).await.unwrap();

    let theirs = call_all(&desk, &foreign.id).await;
    let nobodys = call_all(&desk, &Uuid::now_v7().to_string()).await;
    for ((rpc, foreign), (_, absent)) in theirs.iter().zip(&nobodys) {
        assert_eq!(baton_testkit::reason(foreign), Some(Reason::TaskNotFound), "{rpc}");
        assert_eq!(told(foreign), told(absent), "{rpc}");
    }
    assert_eq!(other.get(&other.team.owner, &foreign.id).await.unwrap(), foreign, "nothing happened to it");

    let explain = |task: &str| ExplainRequest {
        user_id: desk.team.owner.user_id.to_string(),
        permission: Permission::WorkOnTasks.into(),
        task_id: Some(task.to_owned()),
    };
    for task in [foreign.id.clone(), Uuid::now_v7().to_string()] {
        let mut access = AccessServiceClient::new(desk.channel());
        let refusal = access.explain(desk.call(&desk.team.owner, explain(&task))).await;
        assert_eq!(refused(refusal), Reason::TaskNotFound);
    }

    // What names no task shows none of it.
    assert!(desk.list(&desk.team.owner, TaskFilter::default()).await.unwrap().is_empty());
    let board = GetUserBoardRequest { user_id: other.team.user_a1.user_id.to_string(), ..Default::default() };
    let board = desk.boards().get_user_board(desk.call(&desk.team.owner, board)).await;
    assert_eq!(refused(board), Reason::BoardNotFound);
    let stranger = new_for("Sweep", &other.team.user_a1);
    assert_eq!(refused(desk.create(&desk.team.owner, stranger).await), Reason::AssigneeInvalid);
    let intruder = desk.tasks().create_task(desk.team.owner.call(other.team.account_id, new("Mine"))).await;
    assert_eq!(refused(intruder), Reason::NotAMember);

    // Of the tasks' own service; what stands around tasks has stories of its own, and the black-box walk calls every RPC
    // with another account's ids.
    let mut covered: BTreeSet<String> = theirs.iter().map(|(rpc, _)| (*rpc).to_owned()).collect();
    covered.extend(["ListTasks", "ListTrash"].map(str::to_owned));
    let service = baton_proto::pool().get_service_by_name("baton.task.v1.TaskService").unwrap();
    let all: BTreeSet<_> = service.methods().map(|method| method.name().to_owned()).collect();
    assert_eq!(covered, all, "a new RPC needs its line here");
}

#[tokio::test]
async fn row_level_security_alone_hides_the_other_account() {
    let desk = Desk::open().await;
    let other = desk.elsewhere().await;
    let mine = desk.create(&desk.team.owner, new("Mine")).await.unwrap();
    let theirs = other.create(&other.team.owner, new("Theirs")).await.unwrap();

    let mut conn = PgConnection::connect(&desk.world.database().app_url(SCHEMA)).await.unwrap();
    for table in ["task.tasks", "task.task_events"] {
        let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut conn).await.unwrap();
        assert_eq!(seen, 0, "without a tenant there are no rows in {table}");
    }
    let tenant = "select set_config('baton.account_id', $1, false)";
    sqlx::query(tenant).bind(desk.team.account_id.to_string()).execute(&mut conn).await.unwrap();
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
    // Not even a part of another account's task can be stored.
    let part = sqlx::query("update task.tasks set parent_task_id = $1").bind(theirs.id.parse::<Uuid>().unwrap());
    assert!(part.execute(&mut conn).await.unwrap_err().to_string().contains("tasks_parent"));
}
