//! Tasks, one at a time.

use baton_errors::{Error, Reason, Result, broken_constraint};
use baton_store::Tx;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    fields::Fields,
    task::{Priority, Status, Task, Visibility},
};

/// A task as Postgres has it.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) account_id: Uuid,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) status: String,
    pub(super) priority: i16,
    pub(super) visibility: String,
    pub(super) due_at: Option<DateTime<Utc>>,
    pub(super) tags: Vec<String>,
    pub(super) custom_fields: Json<Map<String, Value>>,
    pub(super) parent_task_id: Option<Uuid>,
    pub(super) created_by: Uuid,
    pub(super) assigned_to: Option<Uuid>,
    pub(super) assigned_by: Option<Uuid>,
    pub(super) accepted_at: Option<DateTime<Utc>>,
    pub(super) estimated_seconds: Option<i32>,
    pub(super) actual_seconds: i32,
    pub(super) running_since: Option<DateTime<Utc>>,
    pub(super) pause_reason: Option<String>,
    pub(super) version: i32,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) completed_at: Option<DateTime<Utc>>,
}

/// The columns of [`Row`], for statements that are put together at run time.
pub(super) const COLUMNS: &str = "id, account_id, title, description, status, priority, visibility, due_at, tags, \
     custom_fields, parent_task_id, created_by, assigned_to, assigned_by, accepted_at, estimated_seconds, \
     actual_seconds, running_since, pause_reason, version, created_at, updated_at, started_at, completed_at";

impl TryFrom<Row> for Task {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unknown = |what: &str| Error::internal(format!("a task has an unknown {what}"));
        Ok(Self {
            id: row.id,
            account_id: row.account_id,
            fields: Fields {
                title: row.title,
                description: row.description,
                priority: Priority::from_level(row.priority).ok_or_else(|| unknown("priority"))?,
                due_at: row.due_at,
                tags: row.tags,
                visibility: Visibility::from_name(&row.visibility).ok_or_else(|| unknown("visibility"))?,
                estimated_seconds: row.estimated_seconds,
                custom_fields: row.custom_fields.0,
                parent_task_id: row.parent_task_id,
            },
            status: Status::from_name(&row.status).ok_or_else(|| unknown("status"))?,
            created_by: row.created_by,
            assigned_to: row.assigned_to,
            assigned_by: row.assigned_by,
            accepted_at: row.accepted_at,
            actual_seconds: row.actual_seconds,
            running_since: row.running_since,
            pause_reason: row.pause_reason,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            started_at: row.started_at,
            completed_at: row.completed_at,
        })
    }
}

/// A task of the account, whoever may see it.
pub(crate) async fn get(tx: &mut Tx, id: Uuid) -> Result<Option<Task>> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query_as!(
        Row,
        r#"select id, account_id, title, description, status, priority, visibility, due_at, tags,
                  custom_fields as "custom_fields: Json<Map<String, Value>>", parent_task_id, created_by, assigned_to,
                  assigned_by, accepted_at, estimated_seconds, actual_seconds, running_since, pause_reason, version,
                  created_at, updated_at, started_at, completed_at
           from task.tasks where account_id = $1 and id = $2 and deleted_at is null"#,
        account_id,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Task::try_from).transpose()
}

/// The same, locked until the transaction ends: of several changes at once, one goes first. The lock
/// leaves tasks alone that become a part of this one.
pub(crate) async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<Task>> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query_as!(
        Row,
        r#"select id, account_id, title, description, status, priority, visibility, due_at, tags,
                  custom_fields as "custom_fields: Json<Map<String, Value>>", parent_task_id, created_by, assigned_to,
                  assigned_by, accepted_at, estimated_seconds, actual_seconds, running_since, pause_reason, version,
                  created_at, updated_at, started_at, completed_at
           from task.tasks where account_id = $1 and id = $2 and deleted_at is null for no key update"#,
        account_id,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Task::try_from).transpose()
}

/// Stores a new task.
pub(crate) async fn insert(tx: &mut Tx, task: &Task) -> Result<()> {
    let fields = &task.fields;
    sqlx::query!(
        "insert into task.tasks (id, account_id, title, description, status, priority, visibility, due_at, tags,
                                 custom_fields, parent_task_id, created_by, assigned_to, assigned_by, accepted_at,
                                 estimated_seconds, actual_seconds, version, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
        task.id,
        task.account_id,
        fields.title,
        fields.description,
        task.status.name(),
        fields.priority.level(),
        fields.visibility.name(),
        fields.due_at,
        &fields.tags,
        Json(&fields.custom_fields) as _,
        fields.parent_task_id,
        task.created_by,
        task.assigned_to,
        task.assigned_by,
        task.accepted_at,
        fields.estimated_seconds,
        task.actual_seconds,
        task.version,
        task.created_at,
        task.updated_at,
    )
    .execute(&mut **tx)
    .await
    .map_err(broken)?;
    Ok(())
}

/// Stores what can change of a task that the transaction has locked.
pub(crate) async fn save(tx: &mut Tx, task: &Task) -> Result<()> {
    let fields = &task.fields;
    sqlx::query!(
        "update task.tasks set
             title = $3, description = $4, status = $5, priority = $6, visibility = $7, due_at = $8, tags = $9,
             custom_fields = $10, parent_task_id = $11, assigned_to = $12, assigned_by = $13, accepted_at = $14,
             estimated_seconds = $15, actual_seconds = $16, running_since = $17, pause_reason = $18, version = $19,
             updated_at = $20, started_at = $21, completed_at = $22
         where account_id = $1 and id = $2",
        task.account_id,
        task.id,
        fields.title,
        fields.description,
        task.status.name(),
        fields.priority.level(),
        fields.visibility.name(),
        fields.due_at,
        &fields.tags,
        Json(&fields.custom_fields) as _,
        fields.parent_task_id,
        task.assigned_to,
        task.assigned_by,
        task.accepted_at,
        fields.estimated_seconds,
        task.actual_seconds,
        task.running_since,
        task.pause_reason,
        task.version,
        task.updated_at,
        task.started_at,
        task.completed_at,
    )
    .execute(&mut **tx)
    .await
    .map_err(broken)?;
    Ok(())
}

/// Marks a task that the transaction has locked as deleted.
pub(crate) async fn delete(tx: &mut Tx, task: &Task) -> Result<()> {
    sqlx::query!(
        "update task.tasks set version = $3, updated_at = $4, deleted_at = $4 where account_id = $1 and id = $2",
        task.account_id,
        task.id,
        task.version,
        task.updated_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Lets one transaction at a time move tasks about in this account. Two that make each other's task a part
/// of their own would not see what the other has not committed. Taken before tasks are locked, always.
pub(crate) async fn lock_hierarchy(tx: &mut Tx) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('task.hierarchy:' || $1, 0))", account_id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Whether `part` is `whole` or, directly or not, a part of it.
pub(crate) async fn is_part_of(tx: &mut Tx, part: Uuid, whole: Uuid) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let found = sqlx::query_scalar!(
        r#"with recursive above as (
               select id, parent_task_id from task.tasks where account_id = $1 and id = $2
               union
               select parent.id, parent.parent_task_id
               from task.tasks parent join above on parent.id = above.parent_task_id where parent.account_id = $1
           )
           select exists (select from above where id = $3) as "found!""#,
        account_id,
        part,
        whole
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(found)
}

fn broken(error: sqlx::Error) -> Error {
    match broken_constraint(&error) {
        Some("tasks_parent") => Reason::TaskNotFound.into(),
        _ => error.into(),
    }
}
