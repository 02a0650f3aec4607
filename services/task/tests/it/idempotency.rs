//! Idempotency keys: repeated calls get the first response.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{AssignTaskRequest, StartTaskRequest, TaskFilter};

use crate::fixture::{Fixture, RpcResult, error_reason, new_task, new_task_for, with_header};

#[tokio::test]
async fn twenty_creates_with_one_key_create_one_task() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let calls = (0..20).map(|_| {
        let fixture = fixture.clone();
        tokio::spawn(async move {
            let request = fixture.call(&fixture.team.manager_a, new_task_for("Sweep", &fixture.team.user_a1));
            let response = fixture.tasks().create_task(with_header(request, "idempotency-key", "key-1")).await?;
            Ok(response.into_inner().task.unwrap()) as RpcResult
        })
    });
    let mut responses = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        responses.push(call.await.unwrap().unwrap());
    }
    assert!(responses.iter().all(|response| *response == responses[0]));
    assert_eq!(fixture.list(&team.manager_a, TaskFilter::default()).await.unwrap(), [responses[0].id.clone()]);
    assert_eq!(fixture.events(&responses[0].id).await.len(), 2, "created and assigned, once");

    let other = with_header(fixture.call(&team.manager_a, new_task("Mop")), "idempotency-key", "key-1");
    assert_eq!(error_reason(fixture.tasks().create_task(other).await), Reason::IdempotencyKeyReused);
    let empty = with_header(fixture.call(&team.manager_a, new_task("Mop")), "idempotency-key", "");
    assert_eq!(error_reason(fixture.tasks().create_task(empty).await), Reason::IdempotencyKeyInvalid);
    let theirs = with_header(fixture.call(&team.manager_b, new_task("Mop")), "idempotency-key", "key-1");
    fixture.tasks().create_task(theirs).await.expect("keys are per caller");
}

#[tokio::test]
async fn repeated_change_gets_the_first_response() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = fixture.create(&team.manager_a, new_task("Sweep")).await.unwrap().id;
    let assign = || {
        let message = AssignTaskRequest { id: id.clone(), assigned_to: team.user_a1.user_id.to_string() };
        with_header(fixture.call(&team.manager_a, message), "idempotency-key", "assign-1")
    };
    let first = fixture.tasks().assign_task(assign()).await.unwrap().into_inner();
    let start =
        || with_header(fixture.call(&team.user_a1, StartTaskRequest { id: id.clone() }), "idempotency-key", "start-1");
    let started = fixture.tasks().start_task(start()).await.unwrap().into_inner();
    assert_eq!(fixture.tasks().start_task(start()).await.unwrap().into_inner(), started);
    assert_eq!(
        error_reason(fixture.start(&team.user_a1, &id).await),
        Reason::TaskWrongState,
        "a call without the key is a new one"
    );

    // The first response is returned, although the assignee has left since.
    let leave = "update tenancy.memberships set status = 'removed' where user_id = $1";
    sqlx::query(leave).bind(team.user_a1.user_id).execute(&fixture.context.admin()).await.unwrap();
    assert_eq!(fixture.tasks().assign_task(assign()).await.unwrap().into_inner(), first);
    assert_eq!(error_reason(fixture.assign(&team.manager_a, &id, team.user_a1.user_id).await), Reason::AssigneeInvalid);
}

#[tokio::test]
async fn failed_call_does_not_consume_its_key() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    fixture.start(me, &id).await.unwrap();
    let start = || with_header(fixture.call(me, StartTaskRequest { id: id.clone() }), "idempotency-key", "again");
    for _ in 0..2 {
        assert_eq!(error_reason(fixture.tasks().start_task(start()).await), Reason::TaskWrongState);
    }
}
