//! Tasks of somebody who has left, many at a time.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use super::task::Row;
use crate::{events::Kind, task::Task};

/// A task that changed hands.
pub(crate) struct Handed {
    pub(crate) kind: Kind,
    pub(crate) changes: Map<String, Value>,
    pub(crate) tasks: Pair,
}

/// A task as it was, and as it is.
pub(crate) struct Pair {
    pub(crate) before: Task,
    pub(crate) after: Task,
}

/// Open tasks of the account that are this person's to do, or that they handed to somebody who has not
/// accepted yet, locked; in the order of their ids, after `after`.
pub(crate) async fn lock(tx: &mut Tx, user_id: Uuid, after: Uuid, limit: i64) -> Result<Vec<Task>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query_as!(
        Row,
        r#"select id, account_id, title, description, status, priority, visibility, due_at, tags,
                  custom_fields as "custom_fields: Json<Map<String, Value>>", parent_task_id, created_by, assigned_to,
                  assigned_by, accepted_at, estimated_seconds, actual_seconds, running_since, pause_reason, version,
                  created_at, updated_at, started_at, completed_at
           from task.tasks
           where account_id = $1 and deleted_at is null and status <> 'completed' and id > $3
             and (assigned_to = $2 or (assigned_to is null and created_by = $2)
                  or (assigned_by = $2 and accepted_at is null))
           order by id limit $4 for no key update"#,
        account_id,
        user_id,
        after,
        limit
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// Stores what became of locked tasks, and a line in the timeline of each.
pub(crate) async fn save(tx: &mut Tx, handed: &[Handed]) -> Result<()> {
    if handed.is_empty() {
        return Ok(());
    }
    let tasks = || handed.iter().map(|handed| &handed.tasks.after);
    let ids: Vec<Uuid> = tasks().map(|task| task.id).collect();
    let versions: Vec<i32> = tasks().map(|task| task.version).collect();
    let statuses: Vec<String> = tasks().map(|task| task.status.name().to_owned()).collect();
    let holders: Vec<Option<Uuid>> = tasks().map(|task| task.assigned_to).collect();
    let givers: Vec<Option<Uuid>> = tasks().map(|task| task.assigned_by).collect();
    let accepted: Vec<Option<DateTime<Utc>>> = tasks().map(|task| task.accepted_at).collect();
    let seconds: Vec<i32> = tasks().map(|task| task.actual_seconds).collect();
    let running: Vec<Option<DateTime<Utc>>> = tasks().map(|task| task.running_since).collect();
    let reasons: Vec<Option<String>> = tasks().map(|task| task.pause_reason.clone()).collect();
    let updated: Vec<DateTime<Utc>> = tasks().map(|task| task.updated_at).collect();
    let account_id = tx.tenant().account_id;
    sqlx::query!(
        "update task.tasks t set
             status = n.status, assigned_to = n.assigned_to, assigned_by = n.assigned_by, accepted_at = n.accepted_at,
             actual_seconds = n.actual_seconds, running_since = n.running_since, pause_reason = n.pause_reason,
             version = n.version, updated_at = n.updated_at
         from unnest($2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::integer[],
                     $8::timestamptz[], $9::text[], $10::integer[], $11::timestamptz[])
              as n (id, status, assigned_to, assigned_by, accepted_at, actual_seconds, running_since, pause_reason,
                    version, updated_at)
         where t.account_id = $1 and t.id = n.id",
        account_id,
        &ids,
        &statuses,
        &holders as &[Option<Uuid>],
        &givers as &[Option<Uuid>],
        &accepted as &[Option<DateTime<Utc>>],
        &seconds,
        &running as &[Option<DateTime<Utc>>],
        &reasons as &[Option<String>],
        &versions,
        &updated,
    )
    .execute(&mut **tx)
    .await?;

    let clock = tx.db().clock().clone();
    let entries: Vec<Uuid> = handed.iter().map(|_| clock.new_id()).collect();
    let kinds: Vec<String> = handed.iter().map(|handed| handed.kind.name().to_owned()).collect();
    let changes: Vec<Value> = handed.iter().map(|handed| Value::Object(handed.changes.clone())).collect();
    let actor_id = tx.tenant().user_id;
    sqlx::query!(
        "insert into task.task_events (id, account_id, task_id, version, kind, actor_id, occurred_at, changes)
         select id, $1, task_id, version, kind, $2, occurred_at, changes
         from unnest($3::uuid[], $4::uuid[], $5::integer[], $6::text[], $7::timestamptz[], $8::jsonb[])
              as entries (id, task_id, version, kind, occurred_at, changes)",
        account_id,
        actor_id,
        &entries,
        &ids,
        &versions,
        &kinds,
        &updated,
        &changes,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
