//! States of tasks that have to last until a rule runs.

use std::collections::HashMap;

use baton_errors::{Error, Result};
use baton_rules::Occurrence;
use baton_store::Tx;
use sqlx::types::Json;
use uuid::Uuid;

use crate::state_timer::{State, StateChange, StateTimer};

/// Cancels the timers of states that these events have left.
pub(crate) async fn cancel(tx: &mut Tx, left: &[StateChange]) -> Result<()> {
    let account_id = tx.tenant().account_id;
    let tasks: Vec<Uuid> = left.iter().map(|event| event.task_id).collect();
    let statuses: Vec<String> = left.iter().map(|event| event.status.clone()).collect();
    let assignees: Vec<Uuid> = left.iter().map(|event| event.assignee.unwrap_or_default()).collect();
    let times: Vec<_> = left.iter().map(|event| event.occurred_at).collect();
    // A state that was left after its time had lasted long enough. An event from before the state has not left it.
    sqlx::query!(
        "delete from automation.timers t
         using unnest($2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[]) as left_by (task_id, status, assignee, occurred_at)
         where t.account_id = $1 and t.task_id = left_by.task_id and t.fired_at is null
           and left_by.occurred_at > t.since and left_by.occurred_at < t.fires_at
           and (t.status <> left_by.status or t.assignee <> left_by.assignee)",
        account_id,
        &tasks,
        &statuses,
        &assignees,
        &times,
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
    let since: Vec<_> = waits.iter().map(|wait| wait.since).collect();
    let fires: Vec<_> = waits.iter().map(|wait| wait.fires_at).collect();
    let occurrences = waits.iter().map(|wait| serde_json::to_value(&wait.occurrence));
    let occurrences = occurrences.collect::<std::result::Result<Vec<_>, _>>().map_err(Error::internal)?;
    sqlx::query!(
        "insert into automation.timers
             (id, account_id, rule_id, task_id, kind, status, assignee, since, fires_at, try_at, occurrence)
         select waits.id, $1, rule_id, task_id, kind, status, assignee, since, fires_at, fires_at, occurrence
         from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::uuid[], $8::timestamptz[], $9::timestamptz[],
                     $10::jsonb[])
              as waits (id, rule_id, task_id, kind, status, assignee, since, fires_at, occurrence)
              join automation.rules r on r.account_id = $1 and r.id = rule_id and r.enabled and since >= r.enabled_at
         where not $11 or not exists (select from automation.timers t
                                      where t.account_id = $1 and t.rule_id = waits.rule_id and t.task_id = waits.task_id
                                        and t.fired_at is null and t.since >= r.enabled_at)
         on conflict on constraint timers_once do nothing",
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
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The rules and events of locked timers, by their ids.
pub(crate) async fn get(tx: &mut Tx, ids: &[Uuid]) -> Result<HashMap<Uuid, StateTimer>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query!(
        r#"select id, rule_id, task_id, status, assignee, since, fires_at, occurrence as "occurrence: Json<Occurrence>"
           from automation.timers where account_id = $1 and id = any($2)"#,
        account_id,
        ids,
    );
    let rows = rows.fetch_all(tx.connection()).await?.into_iter();
    let wait = rows.filter_map(|row| {
        let state = match (row.status, row.assignee) {
            (Some(status), _) => State::Status(status),
            (None, Some(assignee)) => State::Assignee(assignee),
            (None, None) => return None,
        };
        let (rule_id, task_id, since, fires_at) = (row.rule_id, row.task_id, row.since, row.fires_at);
        Some((row.id, StateTimer { rule_id, task_id, state, since, fires_at, occurrence: row.occurrence.0 }))
    });
    Ok(wait.collect())
}
