//! Events of tasks in a time, with the task after each.

use std::collections::HashMap;

use baton_errors::Result;
use baton_runtime::Via;
use baton_store::ReadTx;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::{FromRow, Postgres, QueryBuilder, types::Json};
use uuid::Uuid;

use super::visibility::visible;
use crate::{
    policy::visibility::Actor,
    task::{
        Task,
        event_kind::EventKind,
        event_log::{ReplayedState, StoredEntry, TimelineEntry, Values},
    },
};

/// Events of a page.
pub(crate) const PAGE: usize = 500;

/// An event, with the task after it, and before it if it is the task's first one of the page.
#[derive(Debug, Clone)]
pub(crate) struct HistoryEvent {
    pub(crate) entry: TimelineEntry,
    pub(crate) before: Option<Task>,
    pub(crate) after: Task,
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    task_id: Uuid,
    version: i32,
    kind: String,
    actor_id: Uuid,
    occurred_at: DateTime<Utc>,
    changes: Json<Map<String, Value>>,
    reason: Option<String>,
    via: Option<Json<Via>>,
}

/// Since when a task has been in its states.
#[derive(FromRow)]
pub(crate) struct StateTimes {
    pub(crate) task_id: Uuid,
    pub(crate) status_since: DateTime<Utc>,
    pub(crate) assignee_since: Option<DateTime<Utc>>,
}

/// Since when those of the tasks that the actor sees have been in their states.
pub(crate) async fn state_times(tx: &mut ReadTx, actor: Actor<'_>, task_ids: &[Uuid]) -> Result<Vec<StateTimes>> {
    let account_id = tx.tenant().account_id;
    let mut query = QueryBuilder::new(
        "select t.id as task_id, coalesce(status.since, t.created_at) as status_since, assignee.since as assignee_since
         from task.tasks t
         left join lateral (
             select occurred_at as since from task.task_events e
             where e.account_id = t.account_id and e.task_id = t.id and e.changes ? 'status' order by version desc limit 1
         ) status on true
         left join lateral (
             select occurred_at as since from task.task_events e
             where e.account_id = t.account_id and e.task_id = t.id and e.changes ? 'assigned_to' order by version desc limit 1
         ) assignee on true
         where t.deleted_at is null and t.account_id = ",
    );
    query.push_bind(account_id).push(" and t.id = any(").push_bind(task_ids).push(")");
    visible(&mut query, actor);
    Ok(query.build_query_as().fetch_all(tx.connection()).await?)
}

const SELECT: &str = "select e.id, e.task_id, e.version, e.kind, e.actor_id, e.occurred_at, e.changes, e.reason, e.via";

/// A time: from, and before.
pub(crate) type Range = (DateTime<Utc>, DateTime<Utc>);

fn matching(query: &mut QueryBuilder<Postgres>, account_id: Uuid, actor: Actor<'_>, (from, to): Range) {
    of_visible_tasks(query, account_id, actor);
    query.push(" and e.occurred_at >= ").push_bind(from).push(" and e.occurred_at < ").push_bind(to);
}

fn of_visible_tasks(query: &mut QueryBuilder<Postgres>, account_id: Uuid, actor: Actor<'_>) {
    query.push(" from task.task_events e join task.tasks t on t.account_id = e.account_id and t.id = e.task_id");
    query.push(" where e.account_id = ").push_bind(account_id).push(" and t.deleted_at is null");
    visible(query, actor);
}

/// The number of events of tasks that the actor sees, up to a number.
pub(crate) async fn count(tx: &mut ReadTx, actor: Actor<'_>, range: Range, up_to: i64) -> Result<i64> {
    let account_id = tx.tenant().account_id;
    let mut query = QueryBuilder::new("select count(*) from (select 1");
    matching(&mut query, account_id, actor, range);
    query.push(" limit ").push_bind(up_to).push(") counted");
    Ok(query.build_query_scalar().fetch_one(tx.connection()).await?)
}

/// The next events, by task and version, and whether more follow.
pub(crate) async fn page(
    tx: &mut ReadTx,
    actor: Actor<'_>,
    range: Range,
    after: Option<(Uuid, i32)>,
) -> Result<(Vec<HistoryEvent>, bool)> {
    let account_id = tx.tenant().account_id;
    let mut query = QueryBuilder::new(SELECT);
    matching(&mut query, account_id, actor, range);
    if let Some((task_id, version)) = after {
        query.push(" and (e.task_id, e.version) > (").push_bind(task_id).push(", ").push_bind(version).push(")");
    }
    query.push(format_args!(" order by e.task_id, e.version limit {}", PAGE + 1));
    let mut rows: Vec<Row> = query.build_query_as().fetch_all(tx.connection()).await?;
    let has_more = rows.len() > PAGE;
    rows.truncate(PAGE);
    Ok((replay(tx, rows).await?, has_more))
}

/// An event of a task that the actor sees.
pub(crate) async fn get(tx: &mut ReadTx, actor: Actor<'_>, id: Uuid) -> Result<Option<HistoryEvent>> {
    let account_id = tx.tenant().account_id;
    let mut query = QueryBuilder::new(SELECT);
    of_visible_tasks(&mut query, account_id, actor);
    query.push(" and e.id = ").push_bind(id);
    let rows = query.build_query_as().fetch_all(tx.connection()).await?;
    Ok(replay(tx, rows).await?.pop())
}

/// The events of rows, which are ordered by task and version.
async fn replay(tx: &mut ReadTx, rows: Vec<Row>) -> Result<Vec<HistoryEvent>> {
    let account_id = tx.tenant().account_id;
    let mut first: Vec<(Uuid, i32)> = Vec::new();
    for row in &rows {
        if first.last().is_none_or(|(task_id, _)| *task_id != row.task_id) {
            first.push((row.task_id, row.version));
        }
    }
    let mut states = states_before(tx, &first).await?;
    let mut events = Vec::with_capacity(rows.len());
    let mut last = None;
    for row in rows {
        let state = states.entry(row.task_id).or_default();
        let is_first = last.replace(row.task_id) != Some(row.task_id);
        let before =
            if is_first && !state.0.is_empty() { Some(state.clone().task(account_id, row.task_id)?) } else { None };
        let logged = StoredEntry {
            version: row.version,
            kind: EventKind::from_name(&row.kind),
            actor_id: row.actor_id,
            occurred_at: row.occurred_at,
            changes: row.changes.0,
            reason: row.reason,
        };
        state.apply(logged.clone());
        let after = state.clone().task(account_id, row.task_id)?;
        let entry = TimelineEntry { id: row.id, via: row.via.map(|via| via.0), logged };
        events.push(HistoryEvent { entry, before, after });
    }
    Ok(events)
}

/// The states of tasks before these versions.
async fn states_before(tx: &mut ReadTx, first: &[(Uuid, i32)]) -> Result<HashMap<Uuid, ReplayedState>> {
    let account_id = tx.tenant().account_id;
    let (ids, versions): (Vec<Uuid>, Vec<i32>) = first.iter().copied().unzip();
    let snapshots = sqlx::query!(
        r#"select task_id as "task_id!", version as "version!", state as "state!: Json<Values>"
           from unnest($2::uuid[], $3::integer[]) as asked (id, before), lateral (
               select task_id, version, state from task.task_snapshots
               where account_id = $1 and task_id = asked.id and version < asked.before order by version desc limit 1
           ) nearest"#,
        account_id,
        &ids,
        &versions,
    )
    .fetch_all(tx.connection())
    .await?;
    let from: HashMap<Uuid, i32> = snapshots.iter().map(|nearest| (nearest.task_id, nearest.version)).collect();
    let from: Vec<i32> = ids.iter().map(|id| from.get(id).copied().unwrap_or_default()).collect();
    let mut states: HashMap<Uuid, ReplayedState> =
        snapshots.into_iter().map(|nearest| (nearest.task_id, ReplayedState(nearest.state.0))).collect();
    let lines = sqlx::query!(
        r#"select e.task_id, e.version, e.kind, e.actor_id, e.occurred_at, e.changes as "changes: Json<Values>", e.reason
           from unnest($2::uuid[], $3::integer[], $4::integer[]) as asked (id, after, before)
           join task.task_events e on e.account_id = $1 and e.task_id = asked.id
                and e.version > asked.after and e.version < asked.before
           order by e.task_id, e.version"#,
        account_id,
        &ids,
        &from,
        &versions,
    )
    .fetch_all(tx.connection())
    .await?;
    for entry in lines {
        states.entry(entry.task_id).or_default().apply(StoredEntry {
            version: entry.version,
            kind: EventKind::from_name(&entry.kind),
            actor_id: entry.actor_id,
            occurred_at: entry.occurred_at,
            changes: entry.changes.0,
            reason: entry.reason,
        });
    }
    Ok(states)
}
