//! Times at which rules run.

use std::collections::HashMap;

use baton_errors::{Error, Result};
use baton_rules::Occurrence;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::state_timer::{StateChange, StateTimer, is_open, stored};

/// A timer that fires.
#[derive(Debug, Clone)]
pub(crate) struct FiringTimer {
    pub(crate) rule_id: Uuid,
    pub(crate) fires_at: DateTime<Utc>,
    pub(crate) is_schedule: bool,
    /// What makes the rule run.
    pub(crate) occurrence: Occurrence,
}

/// Cancels the timers of states that these events have left.
pub(crate) async fn cancel(tx: &mut Tx, left: &[StateChange]) -> Result<()> {
    let account_id = tx.tenant().account_id;
    let tasks: Vec<Uuid> = left.iter().map(|event| event.task_id).collect();
    let statuses: Vec<String> = left.iter().map(|event| event.status.clone()).collect();
    let assignees: Vec<Uuid> = left.iter().map(|event| event.assignee.unwrap_or_default()).collect();
    let due: Vec<Option<DateTime<Utc>>> = left.iter().map(|event| event.due_at.map(stored)).collect();
    let open: Vec<bool> = left.iter().map(|event| is_open(&event.status)).collect();
    let times: Vec<_> = left.iter().map(|event| event.occurred_at).collect();
    // A state that was left after its time had lasted long enough. An event from before the state has not left it.
    sqlx::query!(
        "delete from automation.timers t
         using unnest($2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[], $6::timestamptz[], $7::boolean[])
                   as left_by (task_id, status, assignee, occurred_at, due_at, is_open)
         where t.account_id = $1 and t.task_id = left_by.task_id and t.fired_at is null
           and left_by.occurred_at > t.since and left_by.occurred_at < t.fires_at
           and (t.status <> left_by.status or t.assignee <> left_by.assignee
                or t.due_at is not null and (t.due_at is distinct from left_by.due_at or not left_by.is_open))",
        account_id,
        &tasks,
        &statuses,
        &assignees,
        &times,
        &due as _,
        &open,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Cancels the timers of a rule.
pub(crate) async fn clear(tx: &mut Tx, rule_id: Uuid) -> Result<()> {
    let account_id = tx.tenant().account_id;
    let delete =
        sqlx::query!("delete from automation.timers where account_id = $1 and rule_id = $2", account_id, rule_id);
    delete.execute(tx.connection()).await?;
    Ok(())
}

/// Sets timers of enabled rules, for states since their rule was enabled. With `unless_set`, not for a rule and task that have one.
pub(crate) async fn set(tx: &mut Tx, mut waits: Vec<StateTimer>, unless_set: bool) -> Result<()> {
    if waits.is_empty() {
        return Ok(());
    }
    // In one order, so that concurrent statements do not wait for each other in a circle.
    waits.sort_unstable_by_key(|wait| (wait.rule_id, wait.task_id, wait.since));
    let account_id = tx.tenant().account_id;
    let ids: Vec<Uuid> = waits.iter().map(|_| tx.db().clock().new_id()).collect();
    let rules: Vec<Uuid> = waits.iter().map(|wait| wait.rule_id).collect();
    let tasks: Vec<Uuid> = waits.iter().map(|wait| wait.task_id).collect();
    let kinds: Vec<&str> = waits.iter().map(|wait| wait.state.kind()).collect();
    let statuses: Vec<Option<String>> = waits.iter().map(|wait| wait.state.status()).collect();
    let assignees: Vec<Option<Uuid>> = waits.iter().map(|wait| wait.state.assignee()).collect();
    let due: Vec<Option<DateTime<Utc>>> = waits.iter().map(|wait| wait.state.due_at()).collect();
    let since: Vec<_> = waits.iter().map(|wait| wait.since).collect();
    let fires: Vec<_> = waits.iter().map(|wait| wait.fires_at).collect();
    let occurrences = waits.iter().map(|wait| serde_json::to_value(&wait.occurrence));
    let occurrences = occurrences.collect::<std::result::Result<Vec<_>, _>>().map_err(Error::internal)?;
    sqlx::query!(
        "insert into automation.timers
             (id, account_id, rule_id, task_id, kind, status, assignee, due_at, since, fires_at, try_at, occurrence)
         select waits.id, $1, rule_id, task_id, kind, status, assignee, due_at, since, fires_at, fires_at, occurrence
         from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::uuid[], $8::timestamptz[], $9::timestamptz[],
                     $10::jsonb[], $12::timestamptz[])
              as waits (id, rule_id, task_id, kind, status, assignee, since, fires_at, occurrence, due_at)
              join automation.rules r on r.account_id = $1 and r.id = rule_id and r.enabled and since >= r.enabled_at
         where not $11 or not exists (select from automation.timers t
                                      where t.account_id = $1 and t.rule_id = waits.rule_id and t.task_id = waits.task_id
                                        and t.fired_at is null and t.since >= r.enabled_at)
         on conflict do nothing",
        account_id,
        &ids,
        &rules,
        &tasks,
        &kinds as _,
        &statuses as _,
        &assignees as _,
        &since,
        &fires,
        &occurrences,
        unless_set,
        &due as _,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Sets the next times of schedules of rules, instead of those that were set before.
pub(crate) async fn set_next(tx: &mut Tx, rule_ids: &[Uuid], next: &[(Uuid, Occurrence)]) -> Result<()> {
    let (account_id, now) = (tx.tenant().account_id, tx.db().clock().now());
    let delete = sqlx::query!(
        "delete from automation.timers
         where account_id = $1 and rule_id = any($2) and kind = 'schedule' and fired_at is null",
        account_id,
        rule_ids,
    );
    delete.execute(tx.connection()).await?;
    let ids: Vec<Uuid> = next.iter().map(|_| tx.db().clock().new_id()).collect();
    let rules: Vec<Uuid> = next.iter().map(|(rule_id, _)| *rule_id).collect();
    let times: Vec<_> = next.iter().map(|(_, occurrence)| occurrence.occurred_at).collect();
    let occurrences = next.iter().map(|(_, occurrence)| serde_json::to_value(occurrence));
    let occurrences = occurrences.collect::<std::result::Result<Vec<_>, _>>().map_err(Error::internal)?;
    sqlx::query!(
        "insert into automation.timers (id, account_id, rule_id, kind, since, fires_at, try_at, occurrence)
         select next.id, $1, rule_id, 'schedule', $2, fires_at, fires_at, occurrence
         from unnest($3::uuid[], $4::uuid[], $5::timestamptz[], $6::jsonb[]) as next (id, rule_id, fires_at, occurrence)",
        account_id,
        now,
        &ids,
        &rules,
        &times,
        &occurrences,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The rules of timers.
pub(crate) async fn rules_of(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let account_id = tx.tenant().account_id;
    let select = sqlx::query_scalar!(
        "select distinct rule_id from automation.timers where account_id = $1 and id = any($2)",
        account_id,
        ids,
    );
    Ok(select.fetch_all(tx.connection()).await?)
}

/// What locked timers are for, by their ids.
pub(crate) async fn get(tx: &mut Tx, ids: &[Uuid]) -> Result<HashMap<Uuid, FiringTimer>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query!(
        r#"select id, rule_id, kind, fires_at, occurrence as "occurrence: Json<Occurrence>"
           from automation.timers where account_id = $1 and id = any($2)"#,
        account_id,
        ids,
    );
    let rows = rows.fetch_all(tx.connection()).await?.into_iter();
    let timer = rows.map(|row| {
        let is_schedule = row.kind == "schedule";
        let timer =
            FiringTimer { rule_id: row.rule_id, fires_at: row.fires_at, is_schedule, occurrence: row.occurrence.0 };
        (row.id, timer)
    });
    Ok(timer.collect())
}
