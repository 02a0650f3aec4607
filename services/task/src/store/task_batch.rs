//! The rows that new and changed tasks write, all of them in one transaction. Tasks, timelines and assignment histories
//! have no other writer, so that none of them can lack the others.

use std::collections::BTreeMap;

use baton_errors::Result;
use baton_runtime::Via;
use baton_store::{Event, OutboxRows, Tx};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::task::{json_rows, map_constraint};
use crate::{
    assignment_history::AssignmentChange,
    schedule::follow_ups::FollowUps,
    store,
    task::{
        Task,
        event_kind::EventKind,
        event_log::{LogEntry, SNAPSHOT_EVERY},
        time_entry::TimerChange,
    },
};

/// A batch of new tasks and of changes of locked tasks.
#[must_use = "nothing is stored until `write`"]
#[derive(Debug)]
pub(crate) struct TaskBatch {
    /// One per task. Those of the kind `created` have new tasks.
    pub(crate) entries: Vec<LogEntry>,
    /// The assignment changes of the entries.
    pub(crate) assignments: Vec<AssignmentChange>,
    pub(crate) timers: Vec<TimerChange>,
    pub(crate) follow_ups: FollowUps,
    /// Pairs of a task and a new one that gets its reminders.
    pub(crate) reminders: Vec<(Uuid, Uuid)>,
    /// Changes in the number of open tasks per creator.
    pub(crate) opened: BTreeMap<Uuid, i32>,
    pub(crate) events: Vec<Event>,
}

impl TaskBatch {
    /// Writes rows, timelines, counters and events with one statement, and then what few batches have: snapshots, timer
    /// intervals, assignment histories, reminders, timers.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn write(self, tx: &mut Tx) -> Result<()> {
        let Self { entries, assignments, timers, follow_ups, reminders, opened, events } = self;
        let outbox = tx.outbox_rows(events)?;
        write_rows(tx, &entries, &opened, outbox).await?;
        let with_snapshot = entries.iter().map(|it| &it.after).filter(|task| task.version % SNAPSHOT_EVERY == 0);
        store::snapshot::insert(tx, with_snapshot).await?;
        store::time_entry::apply_timer_changes(tx, &timers).await?;
        store::assignment_history::record(tx, assignments).await?;
        for (from, to) in reminders {
            store::reminder::copy(tx, from, to).await?;
        }
        store::timer::set(tx, &follow_ups.timers).await?;
        store::timer::set_reminders(tx, &follow_ups.due).await?;
        store::series::start(tx, &follow_ups.instances).await
    }
}

/// A statement that stores rows of tasks (`$2`, and for those that exist their ids, `$17`), and with them the entries of
/// their timelines, the changes of counters, and the events: every change has these, and each would cost a round trip
/// (docs/adr/0035-one-statement-per-task-change.md).
macro_rules! store_tasks {
    ($rows:literal, $tx:expr, $tasks:expr, $records:expr $(, $ids:expr)?) => {
        sqlx::query!(
            "with logged as (
                 insert into task.task_events
                     (id, account_id, task_id, version, kind, actor_id, occurred_at, changes, reason, via)
                 select id, $1, task_id, version, kind, $3, occurred_at, changes, reason, $16::jsonb
                 from unnest($4::uuid[], $5::uuid[], $6::integer[], $7::text[], $8::timestamptz[], $9::jsonb[],
                             $10::text[])
                      as entries (id, task_id, version, kind, occurred_at, changes, reason)
             ), counted as (
                 insert into task.usage_changes (account_id, user_id, change)
                 select $1, user_id, change from unnest($11::uuid[], $12::integer[]) as changes (user_id, change)
             ), published as (
                 insert into task.outbox (id, account_id, envelope)
                 select id, account_id, envelope from unnest($13::uuid[], $14::uuid[], $15::bytea[])
                      with ordinality as events (id, account_id, envelope, nth) order by nth
             )
             " + $rows,
            $tx.tenant().account_id,
            json_rows($tasks) as _,
            $tx.tenant().user_id,
            &$records.ids,
            &$records.tasks,
            &$records.versions,
            &$records.kinds,
            &$records.times,
            &$records.changes,
            &$records.reasons as &[Option<String>],
            &$records.creators,
            &$records.opened,
            &$records.outbox.ids,
            &$records.outbox.account_ids as &[Option<Uuid>],
            &$records.outbox.envelopes,
            Via::current().map(Json) as _
            $(, $ids)?
        )
        .execute($tx.connection())
        .await
        .map_err(map_constraint)?
    };
}

/// Columns of the rows that follow from changes of tasks.
#[derive(Default)]
struct Records {
    ids: Vec<Uuid>,
    tasks: Vec<Uuid>,
    versions: Vec<i32>,
    kinds: Vec<String>,
    times: Vec<DateTime<Utc>>,
    changes: Vec<Value>,
    reasons: Vec<Option<String>>,
    creators: Vec<Uuid>,
    opened: Vec<i32>,
    outbox: OutboxRows,
}

async fn write_rows(tx: &mut Tx, entries: &[LogEntry], opened: &BTreeMap<Uuid, i32>, outbox: OutboxRows) -> Result<()> {
    let clock = tx.db().clock().clone();
    let (creators, opened) =
        opened.iter().filter(|&(_, &change)| change != 0).map(|(&user, &change)| (user, change)).unzip();
    let records = Records {
        ids: entries.iter().map(|_| clock.new_id()).collect(),
        tasks: entries.iter().map(|it| it.after.id).collect(),
        versions: entries.iter().map(|it| it.after.version).collect(),
        kinds: entries.iter().map(|it| it.kind.name().to_owned()).collect(),
        times: entries.iter().map(|it| it.after.updated_at).collect(),
        changes: entries.iter().map(|it| Value::Object(it.changes.clone())).collect(),
        reasons: entries.iter().map(|it| it.reason.clone()).collect(),
        creators,
        opened,
        outbox,
    };
    let (new, changed): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.kind == EventKind::Created);
    let [new, changed] = [new, changed].map(|entries| entries.into_iter().map(|it| &it.after).collect::<Vec<&Task>>());
    if changed.is_empty() {
        return insert(tx, &new, &records).await;
    }
    if !new.is_empty() {
        insert(tx, &new, &Records::default()).await?;
    }
    update(tx, &changed, &records).await
}

async fn insert(tx: &mut Tx, tasks: &[&Task], records: &Records) -> Result<()> {
    store_tasks!(
        "insert into task.tasks (
             id, account_id, title, description, status, priority, visibility, due_at, tags, custom_fields,
             parent_task_id, created_by, assigned_to, assigned_by, accepted_at, estimated_seconds, actual_seconds,
             running_since, pause_reason, version, created_at, updated_at, started_at, completed_at, canceled_at,
             archived_at, deleted_at, reassignment_count, rank, recurrence_rule, recurrence_timezone, series_id,
             skipped_times)
         select
             id, account_id, title, description, status, priority, visibility, due_at, tags, custom_fields,
             parent_task_id, created_by, assigned_to, assigned_by, accepted_at, estimated_seconds, actual_seconds,
             running_since, pause_reason, version, created_at, updated_at, started_at, completed_at, canceled_at,
             archived_at, deleted_at, reassignment_count, rank, recurrence_rule, recurrence_timezone, series_id,
             skipped_times
         from jsonb_populate_recordset(null::task.tasks, $2)",
        tx,
        tasks,
        records
    );
    Ok(())
}

async fn update(tx: &mut Tx, tasks: &[&Task], records: &Records) -> Result<()> {
    let ids: Vec<Uuid> = tasks.iter().map(|task| task.id).collect();
    // The separate list of ids lets Postgres estimate few rows.
    store_tasks!(
        "update task.tasks t set
             title = n.title, description = n.description, status = n.status, priority = n.priority,
             visibility = n.visibility, due_at = n.due_at, tags = n.tags, custom_fields = n.custom_fields,
             parent_task_id = n.parent_task_id, created_by = n.created_by, assigned_to = n.assigned_to,
             assigned_by = n.assigned_by, accepted_at = n.accepted_at, estimated_seconds = n.estimated_seconds,
             actual_seconds = n.actual_seconds, running_since = n.running_since, pause_reason = n.pause_reason,
             version = n.version, created_at = n.created_at, updated_at = n.updated_at, started_at = n.started_at,
             completed_at = n.completed_at, canceled_at = n.canceled_at, archived_at = n.archived_at,
             deleted_at = n.deleted_at, reassignment_count = n.reassignment_count, rank = n.rank,
             recurrence_rule = n.recurrence_rule, recurrence_timezone = n.recurrence_timezone, series_id = n.series_id,
             skipped_times = n.skipped_times
         from jsonb_populate_recordset(null::task.tasks, $2) n
         where t.account_id = $1 and t.id = any($17::uuid[]) and n.id = t.id",
        tx,
        tasks,
        records,
        &ids
    );
    Ok(())
}

/// Overwrites the rows of locked tasks, and nothing else: for repairs from their timelines.
pub(super) async fn overwrite(tx: &mut Tx, tasks: &[Task]) -> Result<()> {
    update(tx, &tasks.iter().collect::<Vec<_>>(), &Records::default()).await
}
