//! Offboarding: the open tasks of a removed member are reassigned.

use baton_errors::Reason;
use baton_proto::baton::{
    task::v1::{
        BulkAction, ChangeTasksRequest, TaskEventKind, TaskStatus, TaskVisibility,
        bulk_service_client::BulkServiceClient,
    },
    tenancy::v1::{
        LeaveAccountRequest, MemberEvent, RemoveMemberRequest, SettingsChange, UpdateSettingsRequest, Visibility,
        account_service_client::AccountServiceClient, member_service_client::MemberServiceClient,
    },
};
use baton_store::Tenant;
use baton_testkit::{Person, event, eventually};
use prost_types::FieldMask;

use crate::fixture::{Fixture, error_reason, new_task, new_task_for};

async fn remove(fixture: &Fixture, by: &Person, member: &Person, to: Option<&Person>) {
    let request = RemoveMemberRequest {
        account_id: fixture.team.account_id.to_string(),
        user_id: member.user_id.to_string(),
        hand_over_to: to.map(|to| to.user_id.to_string()),
    };
    MemberServiceClient::new(fixture.context.tenancy()).remove_member(fixture.call(by, request)).await.unwrap();
}

async fn leave(fixture: &Fixture, member: &Person) {
    let request = LeaveAccountRequest { account_id: fixture.team.account_id.to_string(), hand_over_to: None };
    MemberServiceClient::new(fixture.context.tenancy()).leave_account(fixture.call(member, request)).await.unwrap();
}

/// Number of open tasks assigned to this user, read from the database.
async fn open_task_count(fixture: &Fixture, member: &Person) -> i64 {
    let count =
        "select count(*) from task.tasks where assigned_to = $1 and status <> 'completed' and deleted_at is null";
    sqlx::query_scalar(count).bind(member.user_id).fetch_one(&fixture.context.admin()).await.unwrap()
}

async fn wait_for_open_tasks(fixture: &Fixture, member: &Person, tasks: i64) {
    eventually(|| async { (open_task_count(fixture, member).await == tasks).then_some(()) }).await;
}

#[tokio::test]
async fn open_tasks_of_a_removed_member_go_to_the_named_successor() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let running = fixture.create(&team.manager_a, new_task_for("Running", &team.user_a1)).await.unwrap().id;
    fixture.start(&team.user_a1, &running).await.unwrap();
    let own = fixture.create(&team.user_a1, new_task("Own, held by nobody")).await.unwrap().id;
    let done = fixture.create(&team.manager_a, new_task_for("Done", &team.user_a1)).await.unwrap().id;
    fixture.start(&team.user_a1, &done).await.unwrap();
    fixture.complete(&team.user_a1, &done).await.unwrap();
    let others = fixture.create(&team.manager_a, new_task_for("Another's", &team.user_a2)).await.unwrap().id;

    remove(&fixture, &team.owner, &team.user_a1, Some(&team.user_b1)).await;
    wait_for_open_tasks(&fixture, &team.user_b1, 2).await;
    let owner = &team.owner;
    let running = fixture.get(owner, &running).await.unwrap();
    assert_eq!((running.status(), running.assigned_by.clone()), (TaskStatus::Paused, None));
    assert!(running.accepted_at.is_some(), "the task is accepted, as there is no assigner to return it to");
    let entries = fixture.entries(owner, &running.id).await.unwrap();
    let run: Vec<_> = entries.iter().filter(|entry| entry.ended_at.is_none()).map(|it| it.user_id.clone()).collect();
    assert_eq!(
        (entries.len(), run),
        (2, vec![team.user_b1.user_id.to_string()]),
        "the work interval ended; the pause belongs to the successor"
    );
    for (id, kind) in [(&running.id, TaskEventKind::Reassigned), (&own, TaskEventKind::Assigned)] {
        let task = fixture.get(owner, id).await.unwrap();
        assert_eq!(task.assigned_to, Some(team.user_b1.user_id.to_string()));
        let entry = fixture.timeline(owner, id).await.unwrap().pop().unwrap();
        assert_eq!((entry.kind(), entry.version, &*entry.actor_id), (kind, task.version, &*owner.user_id.to_string()));
        let (_, event) = fixture.events(id).await.pop().unwrap();
        assert_eq!((event.kind(), event.version), (kind, task.version));
        assert_eq!(event.assigned_to, team.user_b1.user_id.to_string());
    }
    // Completed tasks keep their assignee, and tasks of others are unchanged.
    assert_eq!(fixture.get(owner, &done).await.unwrap().assigned_to, Some(team.user_a1.user_id.to_string()));
    assert_eq!(fixture.get(owner, &others).await.unwrap().assigned_to, Some(team.user_a2.user_id.to_string()));
    fixture.resume(&team.user_b1, &running.id).await.unwrap();
}

#[tokio::test]
async fn tasks_offered_by_a_leaving_manager_return_to_the_successor() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let offered = fixture.create(&team.manager_a, new_task_for("Offered", &team.user_a1)).await.unwrap().id;
    leave(&fixture, &team.manager_a).await;
    // Without a named successor the manager is used, here the manager of a manager.
    let successor = team.super_manager.user_id.to_string();
    eventually(|| async {
        let task = fixture.get(&team.owner, &offered).await.unwrap();
        (task.assigned_by.as_ref() == Some(&successor)).then_some(())
    })
    .await;
    let rejected = fixture.reject(&team.user_a1, &offered, None).await.unwrap();
    assert_eq!(rejected.assigned_to, Some(successor));
}

#[tokio::test]
async fn redelivered_removal_reassigns_each_task_once() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let admin = fixture.context.admin();
    sqlx::query(
        "insert into task.tasks (id, account_id, title, description, status, priority, visibility, tags, custom_fields,
                                 created_by, assigned_to, accepted_at, actual_seconds, version, created_at, updated_at)
         select gen_random_uuid(), $1, 'Sweep', '', 'pending', 2, 'private', '{}', '{}', $2, $2, now(), 0, 1, now(), now()
         from generate_series(1, 1201)",
    )
    .bind(team.account_id)
    .bind(team.user_a1.user_id)
    .execute(&admin)
    .await
    .unwrap();
    remove(&fixture, &team.super_manager, &team.user_a1, None).await;
    wait_for_open_tasks(&fixture, &team.manager_a, 1201).await;
    let lines = async || {
        let (lines, tasks): (i64, i64) = sqlx::query_as(
            "select count(*), count(distinct task_id) from task.task_events where kind = 'reassigned' and version = 2",
        )
        .fetch_one(&admin)
        .await
        .unwrap();
        (lines, tasks)
    };
    assert_eq!(lines().await, (1201, 1201));

    // The member rejoins and gets a task; then the old event is redelivered.
    fixture.context.join(team.account_id, &team.user_a1, baton_access::Role::User, Some(team.manager_a.user_id)).await;
    let new =
        eventually(|| async { fixture.create(&team.manager_a, new_task_for("New", &team.user_a1)).await.ok() }).await;
    sqlx::query("update tenancy.outbox set published_at = null, batch = null").execute(&admin).await.unwrap();
    remove(&fixture, &team.owner, &team.user_a2, Some(&team.user_b1)).await;
    // Events of an account are ordered: once this one is handled, the old one has been.
    eventually(|| async {
        let handled: i64 = sqlx::query_scalar("select count(*) from task.inbox").fetch_one(&admin).await.unwrap();
        (handled == 2).then_some(())
    })
    .await;
    let still = fixture.get(&team.manager_a, &new.id).await.unwrap().assigned_to;
    assert_eq!(still, Some(team.user_a1.user_id.to_string()));
    assert_eq!(lines().await, (1201, 1201));
}

#[tokio::test]
async fn reopened_or_restored_task_goes_to_the_successor() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let (leaving, successor, last) = (&team.user_a1, &team.manager_a, &team.manager_b);
    let given = async |title: &str| fixture.create(&team.owner, new_task_for(title, leaving)).await.unwrap().id;
    let (done, trashed, bulk) = (given("Done").await, given("Thrown away").await, given("Canceled").await);
    let own = fixture.create(leaving, new_task("Own")).await.unwrap().id;
    let kept = given("Stays done").await;
    for id in [&done, &kept] {
        fixture.start(leaving, id).await.unwrap();
        fixture.complete(leaving, id).await.unwrap();
    }
    fixture.cancel(&team.owner, &bulk, None).await.unwrap();
    fixture.cancel(leaving, &own, None).await.unwrap();
    for id in [&trashed, &kept] {
        fixture.delete(&team.owner, id).await.unwrap();
    }
    let offered = fixture.create(successor, new_task_for("Offered", &team.user_a2)).await.unwrap().id;
    fixture.delete(successor, &offered).await.unwrap();
    // In sequence: the successor of the first leaves as well.
    let left = async |count: i64| {
        eventually(async || {
            let left: i64 = sqlx::query_scalar("select count(*) from task.departures")
                .fetch_one(&fixture.context.admin())
                .await
                .unwrap();
            (left == count).then_some(())
        })
        .await;
    };
    remove(&fixture, &team.owner, leaving, Some(successor)).await;
    left(1).await;
    remove(&fixture, &team.owner, successor, Some(last)).await;
    left(2).await;

    let owner = &team.owner;
    let reopened = fixture.reopen(owner, &done, None).await.unwrap();
    let restored = fixture.restore(owner, &trashed).await.unwrap();
    let many = [BulkAction::Reopen, BulkAction::Restore].map(|action| ChangeTasksRequest {
        action: action.into(),
        task_ids: vec![bulk.clone(), own.clone(), offered.clone(), kept.clone()],
        ..ChangeTasksRequest::default()
    });
    for (request, succeeded) in many.into_iter().zip([2, 2]) {
        let mut client = BulkServiceClient::new(fixture.channel());
        let response = client.change_tasks(fixture.call(owner, request)).await.unwrap().into_inner();
        assert_eq!(response.succeeded, succeeded, "{response:?}");
    }
    let (bulk, own) = (fixture.get(owner, &bulk).await.unwrap(), fixture.get(owner, &own).await.unwrap());
    for (task, first, second) in [
        (&reopened, TaskEventKind::Reopened, TaskEventKind::Reassigned),
        (&restored, TaskEventKind::Restored, TaskEventKind::Reassigned),
        (&bulk, TaskEventKind::Reopened, TaskEventKind::Reassigned),
        // It was unassigned, so its creator was responsible.
        (&own, TaskEventKind::Reopened, TaskEventKind::Assigned),
    ] {
        assert_eq!(task.assigned_to, Some(last.user_id.to_string()), "{task:?}");
        assert!(task.accepted_at.is_some() && task.status() == TaskStatus::Pending);
        let lines = fixture.timeline(owner, &task.id).await.unwrap();
        let kinds: Vec<_> = lines.iter().rev().take(2).map(|line| line.kind()).collect();
        assert_eq!(kinds, [second, first]);
        assert_eq!(lines.last().unwrap().version, task.version);
        let (kind, event) = fixture.events(&task.id).await.pop().unwrap();
        assert_eq!((event.kind(), event.assigned_to), (second, last.user_id.to_string()), "{kind}");
    }
    // An offered task stays with its assignee; if rejected, it returns to the successor.
    let offered = fixture.get(owner, &offered).await.unwrap();
    assert_eq!(offered.assigned_to, Some(team.user_a2.user_id.to_string()));
    assert_eq!(offered.assigned_by, Some(last.user_id.to_string()));
    // Closed tasks keep their assignee.
    let kept = fixture.get(owner, &kept).await.unwrap();
    assert_eq!((kept.status(), kept.assigned_to), (TaskStatus::Completed, Some(leaving.user_id.to_string())));

    // A member who rejoins gets their tasks again.
    let joined = MemberEvent { user_id: leaving.user_id.to_string(), ..MemberEvent::default() };
    let mut tx = fixture.context.db("tenancy").begin(Tenant::account(team.account_id)).await.unwrap();
    tx.publish(event("member.joined", team.account_id, leaving.user_id, &joined)).await.unwrap();
    tx.commit().await.unwrap();
    left(1).await;
    let again = fixture.reopen(owner, &kept.id, None).await.unwrap();
    assert_eq!(again.assigned_to, Some(leaving.user_id.to_string()));
}

#[tokio::test]
async fn account_settings_apply_to_reassignment() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    assert_eq!(fixture.create(&team.owner, new_task("Before")).await.unwrap().visibility(), TaskVisibility::Private);
    let request = UpdateSettingsRequest {
        account_id: team.account_id.to_string(),
        settings: Some(SettingsChange {
            rejection_enabled: Some(false),
            default_visibility: Visibility::Account.into(),
            ..Default::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["rejection_enabled".to_owned(), "default_visibility".to_owned()] }),
    };
    let mut accounts = AccountServiceClient::new(fixture.context.tenancy());
    accounts.update_settings(fixture.call(&team.owner, request)).await.unwrap();
    let task = eventually(|| async {
        let task = fixture.create(&team.manager_a, new_task_for("After", &team.user_a1)).await.unwrap();
        (task.visibility() == TaskVisibility::Account).then_some(task)
    })
    .await;
    assert_eq!(error_reason(fixture.reject(&team.user_a1, &task.id, None).await), Reason::RejectionDisabled);
    let private = baton_proto::baton::task::v1::CreateTaskRequest {
        visibility: TaskVisibility::Private.into(),
        ..new_task("Private all the same")
    };
    assert_eq!(fixture.create(&team.owner, private).await.unwrap().visibility(), TaskVisibility::Private);
}
