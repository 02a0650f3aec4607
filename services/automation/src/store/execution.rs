//! Executions.

use std::{collections::HashMap, time::Duration};

use baton_errors::{Error, Result};
use baton_rules::Occurrence;
use baton_store::{Db, Page, ReadTx, Tx};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    execution::{Execution, ExecutionStatus, Outcome, limit},
    plan::Plan,
};

/// An execution as it is stored.
struct Row {
    id: Uuid,
    rule_id: Uuid,
    created_by: Uuid,
    terms_version: i32,
    occurrence: Json<Occurrence>,
    status: String,
    reason: Option<String>,
    actions: Json<Vec<Outcome>>,
    plan: Option<Json<Plan>>,
    repetitions: i32,
    claims: i32,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Execution {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let status = ExecutionStatus::from_name(&row.status);
        Ok(Self {
            id: row.id,
            rule_id: row.rule_id,
            created_by: row.created_by,
            terms_version: row.terms_version,
            occurrence: row.occurrence.0,
            status: status.ok_or_else(|| Error::internal("an execution has an unknown status"))?,
            reason: row.reason,
            actions: row.actions.0,
            plan: row.plan.map(|plan| plan.0),
            repetitions: row.repetitions,
            claims: row.claims,
            started_at: row.started_at,
            ended_at: row.ended_at,
        })
    }
}

/// Inserts an execution; `false` when the event has run the rule before.
pub(crate) async fn insert(tx: &mut Tx, execution: &Execution) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let occurrence = &execution.occurrence;
    let added = sqlx::query!(
        "insert into automation.executions
             (id, account_id, rule_id, created_by, terms_version, event_id, event_type, task_id, status, reason, depth, late,
              occurrence, actions, occurred_at, created_at, started_at, ended_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16, $17)
         on conflict on constraint executions_event do nothing",
        execution.id,
        account_id,
        execution.rule_id,
        execution.created_by,
        execution.terms_version,
        occurrence.event_id,
        occurrence.kind,
        occurrence.task_id,
        execution.status.name(),
        execution.reason,
        i32::from(occurrence.depth) + 1,
        occurrence.late,
        Json(occurrence) as _,
        Json(&execution.actions) as _,
        occurrence.occurred_at,
        execution.started_at,
        execution.ended_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(added.rows_affected() == 1)
}

/// The execution of a rule by an event.
pub(crate) async fn of_event(tx: &mut ReadTx, rule_id: Uuid, event_id: Uuid) -> Result<Option<Execution>> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query_as!(
        Row,
        r#"select id, rule_id, created_by, terms_version, occurrence as "occurrence: Json<Occurrence>", status, reason,
                  actions as "actions: Json<Vec<Outcome>>", plan as "plan: Json<Plan>", repetitions, claims, started_at, ended_at
           from automation.executions where account_id = $1 and rule_id = $2 and event_id = $3"#,
        account_id,
        rule_id,
        event_id,
    );
    row.fetch_optional(tx.connection()).await?.map(Execution::try_from).transpose()
}

/// Finds and locks an execution of a rule.
pub(crate) async fn lock(tx: &mut Tx, rule_id: Uuid, id: Uuid) -> Result<Option<Execution>> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query_as!(
        Row,
        r#"select id, rule_id, created_by, terms_version, occurrence as "occurrence: Json<Occurrence>", status, reason,
                  actions as "actions: Json<Vec<Outcome>>", plan as "plan: Json<Plan>", repetitions, claims, started_at, ended_at
           from automation.executions where account_id = $1 and rule_id = $2 and id = $3 for update"#,
        account_id,
        rule_id,
        id,
    );
    row.fetch_optional(tx.connection()).await?.map(Execution::try_from).transpose()
}

/// Takes on a locked execution: whoever had it before changes it no more. Returns `false` when a call of theirs may be under way.
pub(crate) async fn claim(tx: &mut Tx, execution: &mut Execution) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let claims = sqlx::query_scalar!(
        "update automation.executions set claims = claims + 1
         where account_id = $1 and id = $2 and (acting_until is null or acting_until <= clock_timestamp()) returning claims",
        account_id,
        execution.id,
    );
    let claims = claims.fetch_optional(tx.connection()).await?;
    execution.claims = claims.unwrap_or(execution.claims);
    Ok(claims.is_some())
}

/// Saves what became of an execution. `acting` is how long a call may be under way from now on. Returns `false`, and changes
/// nothing, when another worker has taken it on or it was ended.
pub(crate) async fn save(tx: &mut Tx, execution: &Execution, acting: Option<Duration>) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let saved = sqlx::query!(
        "update automation.executions
         set status = $3, reason = $4, actions = $5, plan = $6, acting_until = clock_timestamp() + make_interval(secs => $7),
             ended_at = $8
         where account_id = $1 and id = $2 and claims = $9 and ended_at is null",
        account_id,
        execution.id,
        execution.status.name(),
        execution.reason,
        Json(&execution.actions) as _,
        execution.plan.as_ref().map(Json) as _,
        acting.map(|acting| acting.as_secs_f64()),
        execution.ended_at,
        execution.claims,
    )
    .execute(tx.connection())
    .await?;
    Ok(saved.rows_affected() == 1)
}

/// When a rule last ran on each of these tasks.
pub(crate) async fn last_of_tasks(
    tx: &mut ReadTx,
    rule_id: Uuid,
    task_ids: &[Uuid],
) -> Result<HashMap<Uuid, DateTime<Utc>>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query!(
        r#"select task_id as "task_id!", max(started_at) as "started_at!" from automation.executions
           where account_id = $1 and rule_id = $2 and task_id = any($3) group by task_id"#,
        account_id,
        rule_id,
        task_ids,
    );
    let rows = rows.fetch_all(tx.connection()).await?;
    Ok(rows.into_iter().map(|row| (row.task_id, row.started_at)).collect())
}

/// Lets a locked execution that has ended run again.
pub(crate) async fn repeat(tx: &mut Tx, execution: &Execution) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!(
        "update automation.executions
         set status = $3, reason = $4, actions = $5, repetitions = $6, started_at = $7, ended_at = null
         where account_id = $1 and id = $2",
        account_id,
        execution.id,
        execution.status.name(),
        execution.reason,
        Json(&execution.actions) as _,
        execution.repetitions,
        execution.started_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Corrects the outcome of a locked execution that has ended.
pub(crate) async fn correct(tx: &mut Tx, execution: &Execution) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!(
        "update automation.executions set status = $3, reason = $4, actions = $5
         where account_id = $1 and id = $2 and ended_at is not null",
        account_id,
        execution.id,
        execution.status.name(),
        execution.reason,
        Json(&execution.actions) as _,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Executions of all accounts that have begun before a time and not ended: account, rule and id of some.
pub(crate) async fn unfinished(db: &Db, before: DateTime<Utc>) -> Result<Vec<(Uuid, Uuid, Uuid)>> {
    let rows = sqlx::query!(
        "select account_id, rule_id, id from automation.executions
         where ended_at is null and started_at < $1 order by started_at limit 200",
        before,
    );
    let rows = rows.fetch_all(db.system()).await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.rule_id, row.id)).collect())
}

/// [`is_acting`], without an account.
pub(crate) async fn is_acting_in_system(db: &Db, account_id: Uuid, rule_id: Uuid) -> Result<bool> {
    let acting = sqlx::query_scalar!(
        r#"select exists (select from automation.executions
                          where account_id = $1 and rule_id = $2 and ended_at is null
                            and acting_until > clock_timestamp())
               or exists (select from automation.webhook_deliveries
                          where account_id = $1 and rule_id = $2 and ended_at is null
                            and sending_until > clock_timestamp()) as "acting!""#,
        account_id,
        rule_id,
    );
    Ok(acting.fetch_one(db.system()).await?)
}

/// Deletes some executions of a deleted rule, and the rule when it has none left. Returns whether it has.
pub(crate) async fn clear(db: &Db, account_id: Uuid, rule_id: Uuid) -> Result<bool> {
    const BATCH: i64 = 5_000;
    let deleted = sqlx::query!(
        "delete from automation.executions where id in
             (select id from automation.executions where account_id = $1 and rule_id = $2 limit $3)",
        account_id,
        rule_id,
        BATCH,
    );
    if deleted.execute(db.system()).await?.rows_affected() > 0 {
        return Ok(true);
    }
    let rule = sqlx::query!(
        "delete from automation.rules where account_id = $1 and id = $2 and deleted_at is not null",
        account_id,
        rule_id,
    );
    rule.execute(db.system()).await?;
    Ok(false)
}

/// Whether a limit has stopped an execution of the rule since a time.
pub(crate) async fn is_limited_since(tx: &mut Tx, rule_id: Uuid, reason: &str, since: DateTime<Utc>) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let limited = sqlx::query_scalar!(
        r#"select exists (select from automation.executions
                          where account_id = $1 and rule_id = $2 and status = 'skipped' and reason = $3
                            and started_at > $4) as "limited!""#,
        account_id,
        rule_id,
        reason,
        since,
    );
    Ok(limited.fetch_one(tx.connection()).await?)
}

/// In how many minutes since a time limits of the rule have stopped executions.
pub(crate) async fn limited_minutes(tx: &mut Tx, rule_id: Uuid, since: DateTime<Utc>) -> Result<i64> {
    let account_id = tx.tenant().account_id;
    let minutes = sqlx::query_scalar!(
        r#"select count(distinct date_trunc('minute', started_at)) as "minutes!" from automation.executions
           where account_id = $1 and rule_id = $2 and status = 'skipped' and started_at > $3 and reason <> $4"#,
        account_id,
        rule_id,
        since,
        limit::ACCOUNT,
    );
    Ok(minutes.fetch_one(tx.connection()).await?)
}

/// Executions of a rule on one task since a time, without those that limits have stopped.
pub(crate) async fn count_recent(tx: &mut Tx, rule_id: Uuid, task_id: Uuid, since: DateTime<Utc>) -> Result<i64> {
    let account_id = tx.tenant().account_id;
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from automation.executions
           where account_id = $1 and rule_id = $2 and task_id = $3 and started_at > $4 and status <> 'skipped'"#,
        account_id,
        rule_id,
        task_id,
        since,
    );
    Ok(count.fetch_one(tx.connection()).await?)
}

/// Locks the executions of a rule that have not ended and are not under way.
pub(crate) async fn lock_idle(tx: &mut Tx, rule_id: Uuid) -> Result<Vec<Execution>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query_as!(
        Row,
        r#"select id, rule_id, created_by, terms_version, occurrence as "occurrence: Json<Occurrence>", status, reason,
                  actions as "actions: Json<Vec<Outcome>>", plan as "plan: Json<Plan>", repetitions, claims, started_at, ended_at
           from automation.executions
           where account_id = $1 and rule_id = $2 and ended_at is null
             and (acting_until is null or acting_until <= clock_timestamp())
           order by id for update"#,
        account_id,
        rule_id,
    );
    rows.fetch_all(tx.connection()).await?.into_iter().map(Execution::try_from).collect()
}

/// Whether a call of an execution of the rule may be under way.
pub(crate) async fn is_acting(tx: &mut ReadTx, rule_id: Uuid) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let acting = sqlx::query_scalar!(
        r#"select exists (select from automation.executions
                          where account_id = $1 and rule_id = $2 and ended_at is null
                            and acting_until > clock_timestamp())
               or exists (select from automation.webhook_deliveries
                          where account_id = $1 and rule_id = $2 and ended_at is null
                            and sending_until > clock_timestamp()) as "acting!""#,
        account_id,
        rule_id,
    );
    Ok(acting.fetch_one(tx.connection()).await?)
}

/// Which executions of a list to show.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filter {
    pub(crate) status: Option<ExecutionStatus>,
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: Option<DateTime<Utc>>,
}

/// A page of a rule's executions, newest first, and their total count.
pub(crate) async fn list(tx: &mut ReadTx, rule_id: Uuid, filter: Filter, page: &Page) -> Result<(Vec<Execution>, i64)> {
    let account_id = tx.tenant().account_id;
    let status = filter.status.map(ExecutionStatus::name);
    let rows = sqlx::query_as!(
        Row,
        r#"select id, rule_id, created_by, terms_version, occurrence as "occurrence: Json<Occurrence>", status, reason,
                  actions as "actions: Json<Vec<Outcome>>", null as "plan: Json<Plan>", repetitions, claims, started_at, ended_at
           from automation.executions
           where account_id = $1 and rule_id = $2 and ($3::text is null or status = $3)
             and ($4::timestamptz is null or started_at >= $4) and ($5::timestamptz is null or started_at < $5) and id < $6
           order by id desc limit $7 offset $8"#,
        account_id,
        rule_id,
        status,
        filter.from,
        filter.to,
        page.before(),
        page.limit(),
        page.offset(),
    )
    .fetch_all(tx.connection())
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from automation.executions
           where account_id = $1 and rule_id = $2 and ($3::text is null or status = $3)
             and ($4::timestamptz is null or started_at >= $4) and ($5::timestamptz is null or started_at < $5)"#,
        account_id,
        rule_id,
        status,
        filter.from,
        filter.to,
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((rows.into_iter().map(Execution::try_from).collect::<Result<_>>()?, total))
}

/// A page of the executions on a task, newest first, and their total count: of one person's rules if given.
pub(crate) async fn list_of_task(
    tx: &mut ReadTx,
    task_id: Uuid,
    created_by: Option<Uuid>,
    page: &Page,
) -> Result<(Vec<Execution>, i64)> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query_as!(
        Row,
        r#"select id, rule_id, created_by, terms_version, occurrence as "occurrence: Json<Occurrence>", status, reason,
                  actions as "actions: Json<Vec<Outcome>>", null as "plan: Json<Plan>", repetitions, claims, started_at, ended_at
           from automation.executions
           where account_id = $1 and task_id = $2 and ($3::uuid is null or created_by = $3) and id < $4
           order by id desc limit $5 offset $6"#,
        account_id,
        task_id,
        created_by,
        page.before(),
        page.limit(),
        page.offset(),
    )
    .fetch_all(tx.connection())
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from automation.executions
           where account_id = $1 and task_id = $2 and ($3::uuid is null or created_by = $3)"#,
        account_id,
        task_id,
        created_by,
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((rows.into_iter().map(Execution::try_from).collect::<Result<_>>()?, total))
}
