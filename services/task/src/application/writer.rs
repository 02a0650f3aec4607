//! The unit of work of every task change: in one transaction it writes rows, timeline entries, assignment history,
//! timers, events, and quota changes.

use std::collections::BTreeMap;

use baton_access::limits;
use baton_errors::{Error, Reason, Result};
use baton_store::{Event, Tx};
use uuid::Uuid;

use crate::{
    assignment_history::{AssignmentChange, AssignmentOrigin},
    events::publish::task_event,
    schedule::follow_ups::FollowUps,
    store,
    task::{
        Task,
        change::{AccountPolicy, AppliedChange},
        event_kind::EventKind,
        event_log::{self, LogEntry},
        time_entry::TimerChange,
    },
    watchers::Audience,
};

/// Name of the quota in errors.
const QUOTA: &str = "open_tasks_per_user";

/// Stores a new task and its first timeline entry. Pass the returned events to [`publish`], last in the transaction; it
/// also updates the counters.
pub(crate) async fn create(tx: &mut Tx, task: &Task) -> Result<Vec<Event>> {
    let changes = task.initial_values();
    let changed = changes.keys().cloned().collect();
    store::task::insert(tx, task).await?;
    let entries = LogEntry { kind: EventKind::Created, changes, reason: None, after: task.clone() };
    store::timeline::append(tx, &[entries]).await?;
    let assignment_change = AssignmentChange::of(None, task, EventKind::Created, tx.tenant().user_id, None);
    store::assignment_history::record(tx, assignment_change).await?;
    let mut follow_ups = FollowUps::default();
    follow_ups.collect(None, task, task.created_at)?;
    write_follow_ups(tx, &follow_ups).await?;
    let mut events = vec![task_event(EventKind::Created, None, task, changed, &[])];
    if task.assigned_by.is_some() {
        // One version and one timeline entry, but two events.
        let changed = vec!["assigned_to".to_owned(), "assigned_by".to_owned()];
        events.push(task_event(EventKind::Assigned, None, task, changed, &[]));
    }
    Ok(events)
}

/// Stores one change; see [`save_all`].
pub(crate) async fn save(tx: &mut Tx, changed: AppliedChange, policy: AccountPolicy) -> Result<Task> {
    only(save_all(tx, vec![changed], policy).await?)
}

/// The task of a single change.
pub(crate) fn only(mut tasks: Vec<Task>) -> Result<Task> {
    tasks.pop().ok_or_else(|| Error::internal("a change without a task"))
}

/// Stores changes and returns the tasks in their new versions. A change without effect writes nothing.
///
/// # Errors
/// QUOTA_EXCEEDED when a creator would have too many open tasks; TIMER_ALREADY_RUNNING.
pub(crate) async fn save_all(tx: &mut Tx, changed: Vec<AppliedChange>, policy: AccountPolicy) -> Result<Vec<Task>> {
    write_changes(tx, changed, policy, None, &Audience::default()).await
}

/// As [`save_all`], with notified watchers.
pub(crate) async fn save_for(
    tx: &mut Tx,
    changed: Vec<AppliedChange>,
    policy: AccountPolicy,
    audience: &Audience,
) -> Result<Vec<Task>> {
    write_changes(tx, changed, policy, None, audience).await
}

/// Stores reassignments from a departed member. They open and start nothing, so no limits apply.
pub(crate) async fn save_reassigned(tx: &mut Tx, changed: Vec<AppliedChange>) -> Result<Vec<Task>> {
    write_changes(tx, changed, AccountPolicy::default(), Some(AssignmentOrigin::HandedOver), &Audience::default()).await
}

/// `origin` overrides the origin of new assignments.
async fn write_changes(
    tx: &mut Tx,
    changed: Vec<AppliedChange>,
    policy: AccountPolicy,
    origin: Option<AssignmentOrigin>,
    audience: &Audience,
) -> Result<Vec<Task>> {
    let (now, actor) = (tx.db().clock().now(), tx.tenant().user_id);
    let (mut tasks, mut entries, mut events) = (Vec::with_capacity(changed.len()), Vec::new(), Vec::new());
    let (mut assignment_changes, mut follow_ups) = (Vec::new(), FollowUps::default());
    let mut counts = BTreeMap::new();
    let (mut starts, mut timer_changes) = (Vec::new(), Vec::new());
    for AppliedChange { before, mut after, kind, reason } in changed {
        let (at, timer_change) = TimerChange::of(&before, &mut after, now);
        let Some(entry) = event_log::next(&before, &after, kind, reason, at) else {
            tasks.push(after);
            continue;
        };
        let after = &entry.after;
        timer_changes.extend(timer_change);
        assignment_changes.extend(
            AssignmentChange::of(Some(&before), after, kind, actor, entry.reason.as_deref())
                .map(|assignment_change| assignment_change.with_origin(origin)),
        );
        follow_ups.collect(Some(&before), after, at)?;
        if before.is_open() != after.is_open() {
            *counts.entry(after.created_by).or_insert(0) += if after.is_open() { 1 } else { -1 };
        }
        if before.running_since.is_none() && after.running_since.is_some() {
            starts.push((after.worker(), after.id));
        }
        let watchers = if kind.notifies_watchers() { audience.of(after) } else { Vec::new() };
        events.push(task_event(kind, Some(&before), after, entry.changes.keys().cloned().collect(), &watchers));
        tasks.push(after.clone());
        entries.push(entry);
    }
    if entries.is_empty() {
        return Ok(tasks);
    }
    if policy.one_running_timer {
        enforce_single_timer(tx, &starts).await?;
    }
    store::task::save_all(tx, entries.iter().map(|entry| &entry.after)).await?;
    store::time_entry::apply_timer_changes(tx, &timer_changes).await?;
    store::timeline::append(tx, &entries).await?;
    store::assignment_history::record(tx, assignment_changes).await?;
    write_follow_ups(tx, &follow_ups).await?;
    publish(tx, events, &counts, policy.open_tasks).await?;
    Ok(tasks)
}

async fn write_follow_ups(tx: &mut Tx, follow_ups: &FollowUps) -> Result<()> {
    store::timer::set(tx, &follow_ups.timers).await?;
    store::timer::set_reminders(tx, &follow_ups.due).await?;
    store::series::start(tx, &follow_ups.instances).await
}

/// Publishes the events and adds `counts` to the number of open tasks per creator. Call it last in a transaction: with
/// a limit, all transactions that open tasks of the same creator are serialized from here to the commit, so that of
/// many that want the last place one gets it.
///
/// # Errors
/// QUOTA_EXCEEDED when a creator exceeds `limit`.
pub(crate) async fn publish(
    tx: &mut Tx,
    events: Vec<Event>,
    counts: &BTreeMap<Uuid, i32>,
    limit: Option<i32>,
) -> Result<()> {
    store::quota_counters::record_changes(tx, counts).await?;
    tx.publish_all(events).await?;
    let opened: Vec<Uuid> = counts.iter().filter(|&(_, &count)| count > 0).map(|(&user, _)| user).collect();
    let Some(limit) = limit.filter(|_| !opened.is_empty()) else { return Ok(()) };
    let used = store::quota_counters::lock(tx, &opened).await?;
    match used.into_iter().find(|&(_, used)| used > limit) {
        Some((user, used)) => Err(limits::exceeded(QUOTA, limit, (used - counts[&user]).into())),
        None => Ok(()),
    }
}

/// Refuses a second running task per worker. `starts` are workers and the tasks that they start. A lock per worker
/// serializes concurrent starts.
async fn enforce_single_timer(tx: &mut Tx, starts: &[(Uuid, Uuid)]) -> Result<()> {
    if starts.is_empty() {
        return Ok(());
    }
    let mut starts = starts.to_vec();
    starts.sort_unstable();
    let (workers, tasks): (Vec<Uuid>, Vec<Uuid>) = starts.iter().copied().unzip();
    store::task::lock_timers(tx, &workers).await?;
    let twice = || starts.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].1);
    match store::task::running(tx, &workers, &tasks).await?.or_else(twice) {
        Some(id) => Err(Error::from(Reason::TimerAlreadyRunning).with("task_id", id.to_string())),
        None => Ok(()),
    }
}
