//! Clients repeat calls whose answers they did not get.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{AssignTaskRequest, StartTaskRequest, TaskFilter};

use crate::desk::{Answer, Desk, new, new_for, refused, with};

#[tokio::test]
async fn twenty_creates_with_one_key_are_one_task() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let calls = (0..20).map(|_| {
        let desk = desk.clone();
        tokio::spawn(async move {
            let request = desk.call(&desk.team.manager_a, new_for("Sweep", &desk.team.user_a1));
            let answer = desk.tasks().create_task(with(request, "idempotency-key", "key-1")).await?;
            Ok(answer.into_inner().task.unwrap()) as Answer
        })
    });
    let mut answers = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        answers.push(call.await.unwrap().unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(desk.list(&team.manager_a, TaskFilter::default()).await.unwrap(), [answers[0].id.clone()]);
    assert_eq!(desk.events(&answers[0].id).await.len(), 2, "created and assigned, once");

    let other = with(desk.call(&team.manager_a, new("Mop")), "idempotency-key", "key-1");
    assert_eq!(refused(desk.tasks().create_task(other).await), Reason::IdempotencyKeyReused);
    let empty = with(desk.call(&team.manager_a, new("Mop")), "idempotency-key", "");
    assert_eq!(refused(desk.tasks().create_task(empty).await), Reason::IdempotencyKeyInvalid);
    let theirs = with(desk.call(&team.manager_b, new("Mop")), "idempotency-key", "key-1");
    desk.tasks().create_task(theirs).await.expect("keys are each caller's own");
}

#[tokio::test]
async fn a_repeated_change_gets_its_first_answer() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let id = desk.create(&team.manager_a, new("Sweep")).await.unwrap().id;
    let assign = || {
        let message = AssignTaskRequest { id: id.clone(), assigned_to: team.user_a1.user_id.to_string() };
        with(desk.call(&team.manager_a, message), "idempotency-key", "assign-1")
    };
    let first = desk.tasks().assign_task(assign()).await.unwrap().into_inner();
    let start = || with(desk.call(&team.user_a1, StartTaskRequest { id: id.clone() }), "idempotency-key", "start-1");
    let started = desk.tasks().start_task(start()).await.unwrap().into_inner();
    assert_eq!(desk.tasks().start_task(start()).await.unwrap().into_inner(), started);
    assert_eq!(
        refused(desk.start(&team.user_a1, &id).await),
        Reason::TaskWrongState,
        "without the key it is a new call"
    );

    // The first answer stands, though the assignee has left since.
    let leave = "update tenancy.memberships set status = 'removed' where user_id = $1";
    sqlx::query(leave).bind(team.user_a1.user_id).execute(&desk.world.admin()).await.unwrap();
    assert_eq!(desk.tasks().assign_task(assign()).await.unwrap().into_inner(), first);
    assert_eq!(refused(desk.assign(&team.manager_a, &id, team.user_a1.user_id).await), Reason::AssigneeInvalid);
}

#[tokio::test]
async fn a_refused_call_leaves_its_key_free() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = desk.create(me, new("Sweep")).await.unwrap().id;
    desk.start(me, &id).await.unwrap();
    let start = || with(desk.call(me, StartTaskRequest { id: id.clone() }), "idempotency-key", "again");
    for _ in 0..2 {
        assert_eq!(refused(desk.tasks().start_task(start()).await), Reason::TaskWrongState);
    }
}
