//! Deletion of an account's task data.

use baton_testkit::eventually;
use uuid::Uuid;

use crate::{
    custom_fields::text_field,
    fixture::{Fixture, new_task, new_task_for},
};

/// Row counts of an account: tasks with their child tables, timeline entries, open-task counters.
async fn rows(fixture: &Fixture, account_id: Uuid) -> (i64, i64, i64) {
    sqlx::query_as(
        "select (select count(*) from task.tasks where account_id = $1)
                    + (select count(*) from task.task_dependencies where account_id = $1)
                    + (select count(*) from task.custom_fields where account_id = $1),
                (select count(*) from task.task_events where account_id = $1),
                (select count(distinct user_id) from (
                    select account_id, user_id from task.usage
                    union all
                    select account_id, user_id from task.usage_changes
                ) counters where account_id = $1)",
    )
    .bind(account_id)
    .fetch_one(&fixture.context.admin())
    .await
    .unwrap()
}

#[tokio::test]
async fn deleted_account_loses_all_its_rows_and_other_accounts_none() {
    let fixture = Fixture::new().await;
    let (team, other_account) = (&fixture.team, fixture.other_account().await);
    let admin = fixture.context.admin();
    fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap();
    let deleted = fixture.create(&team.owner, new_task("Deleted")).await.unwrap().id;
    fixture.delete(&team.owner, &deleted).await.unwrap();
    other_account.create(&other_account.team.owner, new_task("Theirs")).await.unwrap();
    for here in [&fixture, &other_account] {
        let owner = &here.team.owner;
        let [one, other] =
            [here.create(owner, new_task("One")).await.unwrap(), here.create(owner, new_task("Other")).await.unwrap()];
        here.add_dependency(owner, &one.id, &other.id).await.unwrap();
        here.define(owner, text_field("room")).await.unwrap();
    }
    // A chain of subtasks, each with a log entry: more rows than one batch deletes.
    sqlx::query(
        "with ids as (select n, gen_random_uuid() as id from generate_series(1, 2300) n),
              made as (insert into task.tasks (id, account_id, title, description, status, priority, visibility, tags,
                           custom_fields, parent_task_id, created_by, actual_seconds, version, created_at, updated_at)
                       select id, $1, 'Part', '', 'pending', 2, 'private', '{}', '{}',
                              case when n % 10 > 0 then lag(id) over (order by n) end, $2, 0, 1, now(), now()
                       from ids returning id)
         insert into task.task_events (id, account_id, task_id, version, kind, actor_id, occurred_at, changes)
         select gen_random_uuid(), $1, id, 1, 'created', $2, now(), '{}' from made",
    )
    .bind(team.account_id)
    .bind(team.owner.user_id)
    .execute(&admin)
    .await
    .unwrap();
    let theirs = rows(&fixture, other_account.team.account_id).await;
    assert!(theirs.0 > 0 && theirs.1 > 0 && theirs.2 > 0, "{theirs:?}");
    // Counters are published by a timer, so they are excluded.
    let published = "select count(*) from task.outbox where position('usage.changed'::bytea in envelope) = 0";
    let before: i64 = sqlx::query_scalar(published).fetch_one(&admin).await.unwrap();

    let end = "update tenancy.accounts set status = 'canceled', deletes_at = now() - interval '1 second' where id = $1";
    sqlx::query(end).bind(team.account_id).execute(&admin).await.unwrap();
    let gone = async || {
        eventually(|| async { (rows(&fixture, team.account_id).await == (0, 0, 0)).then_some(()) }).await;
        eventually(|| async {
            let jobs: i64 = sqlx::query_scalar("select count(*) from task.jobs").fetch_one(&admin).await.unwrap();
            (jobs == 0).then_some(())
        })
        .await;
    };
    gone().await;
    // A redelivery after the inbox row has expired finds nothing to delete.
    sqlx::query("delete from task.inbox").execute(&admin).await.unwrap();
    sqlx::query("update tenancy.outbox set published_at = null, batch = null").execute(&admin).await.unwrap();
    eventually(|| async {
        let handled = "select count(*) from task.inbox where event_id in
                           (select id from tenancy.outbox where position('account.deleted'::bytea in envelope) > 0)";
        let handled: i64 = sqlx::query_scalar(handled).fetch_one(&admin).await.unwrap();
        (handled == 1).then_some(())
    })
    .await;
    gone().await;
    assert_eq!(rows(&fixture, other_account.team.account_id).await, theirs);
    let after: i64 = sqlx::query_scalar(published).fetch_one(&admin).await.unwrap();
    assert_eq!(after, before, "no event per task");
}
