//! Tasks that are in a state already when a rule that waits for it is enabled: they wait from then on, or with `existing` from the
//! time when they came into it.

use std::collections::HashMap;

use baton_catalog::EventType;
use baton_clients::is_access_revoked;
use baton_errors::{Error, Result};
use baton_proto::{
    baton::task::v1::{Task, TaskFilter, TaskStateTimes, TaskStatus},
    convert::{datetime, timestamp},
};
use baton_rules::{Lasting, Occurrence, Trigger, TriggerType};
use baton_store::{Tenant, Tx, jobs::NewJob};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::run::Runner;
use crate::{convert, rule::Rule, state_timer::StateTimer, store};

/// The kind of jobs that do so.
pub(crate) const BACKFILL: &str = "automation.backfill";
/// Tasks that wait from the moment when a rule is enabled.
const MAX_TASKS: usize = 1_000;

/// A rule that was enabled or changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Backfill {
    account_id: Uuid,
    rule_id: Uuid,
    terms_version: i32,
    since: DateTime<Utc>,
}

/// Has the tasks enrolled that are in the state which an enabled rule waits for, if it does.
///
/// # Errors
/// Those of the database.
pub(super) async fn enqueue(tx: &mut Tx, rule: &Rule, trigger: &Trigger) -> Result<()> {
    if !trigger.waits() || tasks_in_state(trigger, tx.db().clock().now()).is_none() {
        return Ok(());
    }
    let backfill = Backfill {
        account_id: rule.account_id,
        rule_id: rule.id,
        terms_version: rule.terms_version,
        since: tx.db().clock().now(),
    };
    // After the runs that are due.
    let job = NewJob::new(BACKFILL, &backfill)?.due_at(backfill.since);
    tx.enqueue_jobs(vec![job.unique(format!("backfill:{}:{}", rule.id, rule.version))]).await
}

/// Sets timers for the tasks that the rule's creator sees, up to 1,000.
///
/// # Errors
/// UNAVAILABLE, and others; the job is repeated.
pub(crate) async fn run(runner: &Runner, backfill: Backfill) -> Result<()> {
    let Backfill { account_id, rule_id, terms_version, since } = backfill;
    let mut tx = runner.db.begin_read(Tenant::account(account_id)).await?;
    let rule = store::rule::get(&mut tx, rule_id).await?;
    drop(tx);
    // A rule that was changed, or enabled again, since then has a job of its own.
    let is_current = |rule: &Rule| rule.enabled && rule.terms_version == terms_version && rule.enabled_at <= since;
    let Some(rule) = rule.filter(is_current) else { return Ok(()) };
    let definition = rule.terms.definition("").map_err(|error| Error::internal(error.to_string()))?;
    let trigger = &definition.trigger;
    let Some((filter, kind)) = tasks_in_state(trigger, since) else { return Ok(()) };
    let (mut token, mut seen) = (String::new(), 0);
    loop {
        let credentials = match runner.credentials_of(&rule, 1).await {
            Err(error) if is_access_revoked(error.reason()) => return Ok(()),
            credentials => credentials?,
        };
        let (tasks, next) = match runner.tasks.list(&credentials, filter.clone(), token).await {
            Err(error) if is_access_revoked(error.reason()) => return Ok(()),
            page => page?,
        };
        seen += tasks.len();
        let times = match trigger.existing && !tasks.is_empty() {
            false => HashMap::new(),
            true => {
                let ids = tasks.iter().map(|task| task.id.clone()).collect();
                match runner.tasks.state_times(&credentials, ids).await {
                    Err(error) if is_access_revoked(error.reason()) => return Ok(()),
                    times => times?,
                }
            }
        };
        let occurrences = tasks.iter().filter_map(|task| {
            let in_state_since = times.get(&task.id).and_then(|times| state_since(trigger, task, times));
            Some(Occurrence { in_state_since, ..occurrence(&rule, kind, task, since)? })
        });
        let waits = occurrences.filter_map(|occurrence| StateTimer::of(rule.id, trigger, &occurrence));
        // A due time that is nearer was there before the rule.
        let mut waits: Vec<StateTimer> =
            waits.filter(|wait| trigger.before_seconds.is_none() || wait.fires_at > since).collect();
        let mut tx = runner.db.begin(Tenant::account(account_id)).await?;
        store::rule::lock_keys(&mut tx, &[rule.id]).await?;
        if trigger.existing {
            // It may have run for the state before it was disabled.
            let tasks: Vec<Uuid> = waits.iter().map(|wait| wait.task_id).collect();
            let last = store::execution::last_of_tasks(&mut tx, rule.id, &tasks).await?;
            waits.retain(|wait| last.get(&wait.task_id) < wait.occurrence.in_state_since.as_ref());
        }
        store::timer::set(&mut tx, waits, true).await?;
        tx.commit().await?;
        token = next;
        if token.is_empty() || seen >= MAX_TASKS {
            return Ok(());
        }
    }
}

/// The tasks that are in the state for which a rule with this trigger waits, and a type of event that leads to it; `None` if the
/// trigger names no state.
fn tasks_in_state(trigger: &Trigger, now: DateTime<Utc>) -> Option<(TaskFilter, EventType)> {
    if trigger.before_seconds.is_some() {
        let filter = TaskFilter { status: open(), due_from: Some(timestamp(now)), ..TaskFilter::default() };
        return Some((filter, EventType::TaskUpdated));
    }
    if trigger.kind == TriggerType::TaskAssigned {
        let filter = TaskFilter { status: open(), unassigned: Some(false), ..TaskFilter::default() };
        return Some((filter, EventType::TaskAssigned));
    }
    if trigger.kind == TriggerType::TaskOverdue {
        let filter = TaskFilter { status: open(), overdue: Some(true), ..TaskFilter::default() };
        return Some((filter, EventType::TaskOverdue));
    }
    let status = status(trigger)?;
    let filter = TaskFilter { status: vec![status.into()], ..TaskFilter::default() };
    Some((filter, event_type(trigger.kind, status)?))
}

/// The statuses of open tasks.
fn open() -> Vec<i32> {
    [TaskStatus::Pending, TaskStatus::InProgress, TaskStatus::Paused].map(Into::into).to_vec()
}

/// Since when a task has been in the state that has to last.
fn state_since(trigger: &Trigger, task: &Task, times: &TaskStateTimes) -> Option<DateTime<Utc>> {
    let since = match trigger.kind.lasting()? {
        Lasting::Status => times.status_since.as_ref(),
        Lasting::Assignee => times.assignee_since.as_ref(),
        Lasting::Due => task.due_at.as_ref(),
    };
    since.and_then(datetime)
}

/// The status that a trigger leads to; `None` if it depends on the event.
fn status(trigger: &Trigger) -> Option<TaskStatus> {
    match (trigger.kind, trigger.from, trigger.to) {
        (TriggerType::TaskCreated | TriggerType::TaskReopened, ..) => Some(TaskStatus::Pending),
        (TriggerType::TaskStarted | TriggerType::TaskResumed, ..) => Some(TaskStatus::InProgress),
        (TriggerType::TaskPaused, ..) => Some(TaskStatus::Paused),
        (TriggerType::TaskCompleted, ..) => Some(TaskStatus::Completed),
        (TriggerType::TaskCanceled, ..) => Some(TaskStatus::Canceled),
        (TriggerType::TaskArchived, ..) => Some(TaskStatus::Archived),
        (TriggerType::TaskStatusChanged, None, Some(to)) => convert::event::status_of(to.name()),
        _ => None,
    }
}

/// The type of event that fires the trigger and leads to the status.
fn event_type(kind: TriggerType, status: TaskStatus) -> Option<EventType> {
    let of_status = match status {
        TaskStatus::Unspecified => return None,
        TaskStatus::Pending => EventType::TaskCreated,
        TaskStatus::InProgress => EventType::TaskStarted,
        TaskStatus::Paused => EventType::TaskPaused,
        TaskStatus::Completed => EventType::TaskCompleted,
        TaskStatus::Archived => EventType::TaskArchived,
        TaskStatus::Canceled => EventType::TaskCanceled,
    };
    let others = EventType::ALL.iter().copied();
    [of_status].into_iter().chain(others).find(|event| TriggerType::of_event(*event).contains(&kind))
}

/// What stands for the event that has put a task into the state before.
fn occurrence(rule: &Rule, kind: EventType, task: &Task, since: DateTime<Utc>) -> Option<Occurrence> {
    Some(Occurrence {
        event_id: Uuid::new_v5(&rule.id, format!("{}/{since}", task.id).as_bytes()),
        kind: kind.name().to_owned(),
        occurred_at: since,
        actor: None,
        task_id: Some(task.id.parse().ok()?),
        task: Some(convert::task::state(task)?),
        changed_fields: Vec::new(),
        late: false,
        depth: 0,
        rule_id: None,
        in_state_since: None,
    })
}
