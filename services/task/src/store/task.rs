//! Rows of tasks.

use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use super::{advisory_lock, subtasks::SummaryRow};
use crate::task::{
    Priority, Status, Task, Visibility,
    fields::Fields,
    subtasks::{MAX_DEPTH, MAX_ROLLED_UP, TaskSummary},
};

/// A row of `task.tasks`.
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
    pub(super) canceled_at: Option<DateTime<Utc>>,
    pub(super) archived_at: Option<DateTime<Utc>>,
    pub(super) deleted_at: Option<DateTime<Utc>>,
    pub(super) reassignment_count: i32,
    pub(super) rank: Option<String>,
    pub(super) recurrence_rule: Option<String>,
    pub(super) recurrence_timezone: Option<String>,
    pub(super) series_id: Option<Uuid>,
    pub(super) skipped_times: Vec<NaiveDateTime>,
}

/// The columns of [`Row`].
macro_rules! columns {
    () => {
        concat!(
            "id, account_id, title, description, status, priority, visibility, due_at, tags, custom_fields, ",
            "parent_task_id, created_by, assigned_to, assigned_by, accepted_at, estimated_seconds, actual_seconds, ",
            "running_since, pause_reason, version, created_at, updated_at, started_at, completed_at, canceled_at, ",
            "archived_at, deleted_at, reassignment_count, rank, recurrence_rule, recurrence_timezone, series_id, ",
            "skipped_times"
        )
    };
}

/// A statement that reads [`Row`]s: `select!("where ...")`. The one in [`get`] is checked at compile time, and
/// represents all.
macro_rules! select {
    ($rest:literal) => {
        concat!("select ", $crate::store::task::columns!(), " from task.tasks ", $rest)
    };
}
pub(super) use {columns, select};

/// The columns of [`Row`], for statements that are built at run time.
pub(super) const COLUMNS: &str = columns!();

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
            canceled_at: row.canceled_at,
            archived_at: row.archived_at,
            deleted_at: row.deleted_at,
            reassignment_count: row.reassignment_count,
            rank: row.rank,
            recurrence_rule: row.recurrence_rule,
            recurrence_timezone: row.recurrence_timezone,
            series_id: row.series_id,
            skipped_times: row.skipped_times,
        })
    }
}

/// The tasks as rows of `task.tasks` in JSON. Names and values are those of the task, except the priority's.
pub(super) fn json_rows(tasks: &[&Task]) -> Json<Vec<Value>> {
    let row = |task: &&Task| {
        let mut row = json!(task);
        row["priority"] = json!(task.fields.priority.level());
        row
    };
    Json(tasks.iter().map(row).collect())
}

/// A task of the account. The caller checks visibility.
pub(crate) async fn get(tx: &mut ReadTx, id: Uuid) -> Result<Option<Task>> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query_as!(
        Row,
        r#"select id, account_id, title, description, status, priority, visibility, due_at, tags,
                  custom_fields as "custom_fields: Json<Map<String, Value>>", parent_task_id, created_by, assigned_to,
                  assigned_by, accepted_at, estimated_seconds, actual_seconds, running_since, pause_reason, version,
                  created_at, updated_at, started_at, completed_at, canceled_at, archived_at, deleted_at,
                  reassignment_count, rank, recurrence_rule, recurrence_timezone, series_id, skipped_times
           from task.tasks where account_id = $1 and id = $2 and deleted_at is null"#,
        account_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Task::try_from).transpose()
}

/// A task with its summary at `now`, in one round trip. The caller checks visibility.
pub(crate) async fn get_with_summary(
    tx: &mut ReadTx,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<(Task, TaskSummary)>> {
    #[derive(sqlx::FromRow)]
    struct RowWithSummary {
        #[sqlx(flatten)]
        row: Row,
        #[sqlx(flatten)]
        summary: SummaryRow,
    }
    const SQL: &str = concat!(
        "select ",
        columns!(),
        ", around.* from task.tasks cross join lateral task.task_around($1, id, $3, $4, $5) around ",
        "where account_id = $1 and id = $2 and deleted_at is null"
    );
    let account_id = tx.tenant().account_id;
    let query = sqlx::query_as(SQL).bind(account_id).bind(id).bind(now).bind(MAX_DEPTH).bind(MAX_ROLLED_UP);
    let row: Option<RowWithSummary> = query.fetch_optional(tx.connection()).await?;
    row.map(|RowWithSummary { row, summary }| Ok((row.try_into()?, summary.into()))).transpose()
}

/// Locks a task until the transaction ends. The lock does not block tasks that become its subtasks.
pub(crate) async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<Task>> {
    let row: Option<Row> =
        sqlx::query_as(select!("where account_id = $1 and id = $2 and deleted_at is null for no key update"))
            .bind(tx.tenant().account_id)
            .bind(id)
            .fetch_optional(tx.connection())
            .await?;
    row.map(Task::try_from).transpose()
}

/// [`lock`] for many tasks, ordered by id; missing ones are left out.
pub(crate) async fn lock_all(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Task>> {
    let rows: Vec<Row> = sqlx::query_as(select!(
        "where account_id = $1 and id = any($2) and deleted_at is null order by id for no key update"
    ))
    .bind(tx.tenant().account_id)
    .bind(ids)
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// [`lock_all`] for deleted tasks; tasks outside the trash are left out.
pub(crate) async fn lock_all_in_trash(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Task>> {
    let rows: Vec<Row> = sqlx::query_as(select!(
        "where account_id = $1 and id = any($2) and deleted_at is not null order by id for no key update"
    ))
    .bind(tx.tenant().account_id)
    .bind(ids)
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// [`lock_all`] without waiting, including deleted tasks; those that another transaction has locked are left out.
pub(crate) async fn lock_free(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Task>> {
    let rows: Vec<Row> =
        sqlx::query_as(select!("where account_id = $1 and id = any($2) order by id for no key update skip locked"))
            .bind(tx.tenant().account_id)
            .bind(ids)
            .fetch_all(tx.connection())
            .await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// Serializes moves within the account's hierarchy: two transactions that make each other's task a subtask would not
/// see each other. Taken before task locks.
pub(crate) async fn lock_hierarchy(tx: &mut Tx) -> Result<()> {
    advisory_lock::exclusive(tx, "hierarchy").await
}

/// Serializes starts of work per worker, in the given order.
pub(crate) async fn lock_timers(tx: &mut Tx, workers: &[Uuid]) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('task.timer:' || $1 || ':' || worker, 0))
         from unnest($2::uuid[]) as workers (worker)",
        account_id.to_string(),
        workers
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A running task of one of these workers, other than `others`.
pub(crate) async fn running(tx: &mut ReadTx, workers: &[Uuid], others: &[Uuid]) -> Result<Option<Uuid>> {
    let account_id = tx.tenant().account_id;
    let id = sqlx::query_scalar!(
        "select id from task.tasks
         where account_id = $1 and coalesce(assigned_to, created_by) = any($2) and status = 'in_progress'
           and deleted_at is null and id <> all($3) limit 1",
        account_id,
        workers,
        others
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(id)
}

pub(super) fn map_constraint(error: sqlx::Error) -> Error {
    match violated_constraint(&error) {
        Some("tasks_parent") => Reason::TaskNotFound.into(),
        // Two concurrent moves chose the same rank.
        Some("tasks_rank") => Error::from(Reason::Conflict).with_source(error),
        _ => error.into(),
    }
}
