//! What every change of tasks leaves behind, in the transaction that makes it: the rows, a line in each timeline, the
//! events, and the counters of open tasks.

use std::collections::BTreeMap;

use baton_access::{Membership, limits};
use baton_errors::{Error, Reason, Result};
use baton_store::{Event, Tx};
use uuid::Uuid;

use crate::{
    assignment_history::{AssignmentChange, AssignmentOrigin},
    events::publish::task_event,
    offboarding,
    schedule::follow_ups::FollowUps,
    store,
    task::{
        Task,
        event_kind::EventKind,
        event_log::{self, LogEntry},
        time_entry::TimerChange,
    },
    watchers::Audience,
};

/// The quota, as errors name it.
const QUOTA: &str = "open_tasks_per_user";

/// What the account lets its members do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AccountPolicy {
    /// How many open tasks one may have made; `None` for any number.
    pub(crate) open_tasks: Option<i32>,
    /// Whether nobody works on two tasks at once.
    pub(crate) one_running_timer: bool,
}

impl AccountPolicy {
    /// Those of this member.
    pub(crate) fn of(membership: &Membership) -> Self {
        Self {
            open_tasks: membership.limits.open_tasks_per_user,
            one_running_timer: membership.settings.one_running_timer,
        }
    }
}

/// A task that the transaction has locked, what was made of it, and how.
#[derive(Debug, Clone)]
pub(crate) struct Changed {
    pub(crate) before: Task,
    pub(crate) after: Task,
    pub(crate) kind: EventKind,
    pub(crate) reason: Option<String>,
}

/// Stores a new task, with the first line of its timeline. It is to be counted as well, by [`tell`], which
/// publishes the events that are answered.
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
    follow_ups.write(tx).await?;
    let mut events = vec![task_event(EventKind::Created, None, task, changed, &[])];
    if task.assigned_by.is_some() {
        // One version, so one line in the timeline; but two things for those who listen.
        let changed = vec!["assigned_to".to_owned(), "assigned_by".to_owned()];
        events.push(task_event(EventKind::Assigned, None, task, changed, &[]));
    }
    Ok(events)
}

/// Stores what was made of a task; see [`save_all`].
pub(crate) async fn save(tx: &mut Tx, changed: Changed, policy: AccountPolicy) -> Result<Task> {
    single(save_all(tx, vec![changed], policy).await?)
}

/// The task of a change of one.
pub(crate) fn single(mut tasks: Vec<Task>) -> Result<Task> {
    tasks.pop().ok_or_else(|| Error::internal("a change without a task"))
}

/// Stores what was made of tasks, and answers them in their new versions. A change that changes nothing leaves
/// everything as it is.
///
/// # Errors
/// QUOTA_EXCEEDED when it opens more tasks than their creators may have; TIMER_ALREADY_RUNNING.
pub(crate) async fn save_all(tx: &mut Tx, changed: Vec<Changed>, policy: AccountPolicy) -> Result<Vec<Task>> {
    write_changes(tx, changed, policy, None, &Audience::default()).await
}

/// The same where those who watch are told, and where tasks may be opened whose people have left: these change hands
/// in a version of their own. Then [`store::offboarding::lock_departures_shared`] comes before.
pub(crate) async fn save_and_publish(
    tx: &mut Tx,
    changed: Vec<Changed>,
    policy: AccountPolicy,
    audience: &Audience,
) -> Result<Vec<Task>> {
    let reopens = changed.iter().any(|change| change.kind.reopens());
    let tasks = write_changes(tx, changed, policy, None, audience).await?;
    if reopens { offboarding::reassign_from_departed(tx, tasks).await } else { Ok(tasks) }
}

/// The same for tasks whose worker has left the account. Nothing is opened or begun by it, so there is nothing to be
/// allowed.
pub(crate) async fn hand_over(tx: &mut Tx, changed: Vec<Changed>) -> Result<Vec<Task>> {
    write_changes(tx, changed, AccountPolicy::default(), Some(AssignmentOrigin::HandedOver), &Audience::default()).await
}

/// `origin` says how tasks come into other hands where the change itself does not tell.
async fn write_changes(
    tx: &mut Tx,
    changed: Vec<Changed>,
    policy: AccountPolicy,
    origin: Option<AssignmentOrigin>,
    audience: &Audience,
) -> Result<Vec<Task>> {
    let (now, actor) = (tx.db().clock().now(), tx.tenant().user_id);
    let (mut tasks, mut entries, mut events) = (Vec::with_capacity(changed.len()), Vec::new(), Vec::new());
    let (mut assignment_changes, mut follow_ups) = (Vec::new(), FollowUps::default());
    let mut counts = BTreeMap::new();
    let (mut starts, mut timer_changes) = (Vec::new(), Vec::new());
    for Changed { before, mut after, kind, reason } in changed {
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
    follow_ups.write(tx).await?;
    publish(tx, events, &counts, policy.open_tasks).await?;
    Ok(tasks)
}

/// Tells of everything, and counts so many tasks more, or less, as open that these members have made. Last in a
/// transaction: where there is a limit, all who open tasks of the same person wait for each other from here to the
/// commit, and of many who want the last place one gets it.
///
/// # Errors
/// QUOTA_EXCEEDED when one of them has opened more than `limit`.
pub(crate) async fn publish(
    tx: &mut Tx,
    events: Vec<Event>,
    counts: &BTreeMap<Uuid, i32>,
    limit: Option<i32>,
) -> Result<()> {
    store::quota_counters::count(tx, counts).await?;
    tx.publish_all(events).await?;
    let opened: Vec<Uuid> = counts.iter().filter(|&(_, &count)| count > 0).map(|(&user, _)| user).collect();
    let Some(limit) = limit.filter(|_| !opened.is_empty()) else { return Ok(()) };
    let used = store::quota_counters::lock(tx, &opened).await?;
    match used.into_iter().find(|&(_, used)| used > limit) {
        Some((user, used)) => Err(limits::exceeded(QUOTA, limit, (used - counts[&user]).into())),
        None => Ok(()),
    }
}

/// Refuses to let anybody work on two tasks at once; `starts` are workers and what they begin. Who starts one waits
/// for others who start one of the same person's, so of many at once one is first.
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
