//! Timers.

use std::collections::HashMap;

use baton_errors::{Error, Result};
use baton_store::{Db, Tx};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::schedule::timer::{Timer, TimerKind};

/// Sets timers. An existing timer stays unchanged, fired or not.
pub(super) async fn set(tx: &mut Tx, timers: &[Timer]) -> Result<()> {
    if timers.is_empty() {
        return Ok(());
    }
    let tasks: Vec<Uuid> = timers.iter().map(|timer| timer.task_id).collect();
    let kinds: Vec<String> = timers.iter().map(|timer| timer.kind.name().to_owned()).collect();
    let due: Vec<Option<DateTime<Utc>>> = timers.iter().map(|timer| timer.due_at).collect();
    let times: Vec<DateTime<Utc>> = timers.iter().map(|timer| timer.at).collect();
    sqlx::query!(
        "insert into task.timers (account_id, task_id, kind, due_at, fires_at, try_at)
         select $1, task_id, kind, due_at, at, at
         from unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[]) as set (task_id, kind, due_at, at)
         on conflict on constraint timers_once do nothing",
        tx.tenant().account_id,
        &tasks,
        &kinds,
        &due as &[Option<DateTime<Utc>>],
        &times,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Sets the timers of all reminders relative to these tasks' new due times, except those whose time has passed.
pub(super) async fn set_reminders(tx: &mut Tx, due: &[(Uuid, DateTime<Utc>)]) -> Result<()> {
    if due.is_empty() {
        return Ok(());
    }
    let (tasks, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = due.iter().copied().unzip();
    let now = tx.db().clock().now();
    sqlx::query!(
        "insert into task.timers (account_id, task_id, kind, reminder_id, due_at, fires_at, try_at)
         select $1, task_id, 'reminder', id, due_at, at, at
         from unnest($2::uuid[], $3::timestamptz[]) as due (task_id, due_at)
         join task.reminders r using (task_id)
         cross join lateral (select due_at - make_interval(secs => r.before_seconds)) as fires (at)
         where r.account_id = $1 and r.before_seconds is not null and at > $4
         on conflict on constraint timers_once do nothing",
        tx.tenant().account_id,
        &tasks,
        &times,
        now,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The people whom a timer concerns.
#[derive(Debug, Clone)]
pub(crate) struct Concerned {
    pub(crate) created_by: Uuid,
    pub(crate) assigned_to: Option<Uuid>,
    /// The member to remind.
    pub(crate) reminds: Option<Uuid>,
}

/// The people whom timers concern, by timer. Read before the transaction that fires them, across tenants.
pub(crate) async fn concerned(db: &Db, ids: &[Uuid]) -> Result<HashMap<Uuid, Concerned>> {
    let rows = sqlx::query!(
        r#"select m.id as "id!", t.created_by as "created_by!", t.assigned_to as "assigned_to?", r.user_id as "reminds?"
           from task.timers m
           join task.tasks t on t.account_id = m.account_id and t.id = m.task_id
           left join task.reminders r on r.account_id = m.account_id and r.id = m.reminder_id
           where m.id = any($1)"#,
        ids
    );
    let rows = rows.fetch_all(db.system()).await?;
    let concerned = |created_by, assigned_to, reminds| Concerned { created_by, assigned_to, reminds };
    Ok(rows.into_iter().map(|row| (row.id, concerned(row.created_by, row.assigned_to, row.reminds))).collect())
}

/// Postpones the next instance of a series that exceeds a quota; returns how often it was postponed.
pub(crate) async fn postpone_instance(tx: &mut Tx, id: Uuid, by: TimeDelta) -> Result<Option<i32>> {
    let (account_id, until) = (tx.tenant().account_id, tx.db().clock().now() + by);
    let pauses = sqlx::query_scalar!(
        "update task.timers set try_at = $3, pauses = pauses + 1
         where account_id = $1 and id = $2 and fired_at is null returning pauses",
        account_id,
        id,
        until
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(pauses)
}

/// A locked timer.
#[derive(Debug, Clone)]
pub(crate) struct LockedTimer {
    pub(crate) id: Uuid,
    pub(crate) task_id: Uuid,
    pub(crate) kind: TimerKind,
    pub(crate) reminder_id: Option<Uuid>,
    /// The member to remind.
    pub(crate) reminds: Option<Uuid>,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) fires_at: DateTime<Utc>,
}

/// Locks those of these timers that have not fired and are not locked by another transaction, so each fires once.
pub(crate) async fn lock(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<LockedTimer>> {
    let rows = sqlx::query!(
        r#"select m.id, m.task_id, m.kind, m.reminder_id, r.user_id as "reminds?", m.due_at, m.fires_at
           from task.timers m
           left join task.reminders r on r.account_id = m.account_id and r.id = m.reminder_id
           where m.account_id = $1 and m.id = any($2) and m.fired_at is null
           order by m.fires_at, m.id for update of m skip locked"#,
        tx.tenant().account_id,
        ids
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(LockedTimer {
                id: row.id,
                task_id: row.task_id,
                kind: kind(&row.kind)?,
                reminder_id: row.reminder_id,
                reminds: row.reminds,
                due_at: row.due_at,
                fires_at: row.fires_at,
            })
        })
        .collect()
}

fn kind(name: &str) -> Result<TimerKind> {
    TimerKind::from_name(name).ok_or_else(|| Error::internal("a timer of an unknown kind"))
}
