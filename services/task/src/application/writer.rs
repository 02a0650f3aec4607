//! The unit of work of every task change: in one transaction it writes rows, timeline entries, assignment history,
//! timers, events, and quota changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use baton_access::limits;
use baton_errors::{Error, Reason, Result};
use baton_store::{ReadTx, Tx};
use uuid::Uuid;

use crate::{
    assignment_history::{AssignmentChange, AssignmentOrigin},
    events::publish::{dependency, task_event},
    policy::succession,
    schedule::follow_ups::FollowUps,
    store::{self, task_batch::TaskBatch},
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

/// A unit of work: new tasks and changes of locked tasks. [`Self::write`] stores them with everything that follows from
/// them.
#[must_use = "nothing is stored until `write`"]
#[derive(Debug, Default)]
pub(crate) struct UnitOfWork<'a> {
    created: Vec<Task>,
    changed: Vec<AppliedChange>,
    policy: AccountPolicy,
    audience: Option<&'a Audience>,
    /// Overrides the origin of new assignments.
    origin: Option<AssignmentOrigin>,
    /// The task whose reminders the new tasks get.
    reminders_of: Option<Uuid>,
}

impl<'a> UnitOfWork<'a> {
    /// A new task.
    pub(crate) fn create(task: Task, policy: AccountPolicy) -> Self {
        Self { created: vec![task], policy, ..Self::default() }
    }

    /// Changes of locked tasks. A change without effect writes nothing. If one reopens a task, the caller holds
    /// [`store::offboarding::lock_departures_shared`].
    pub(crate) fn change(changed: Vec<AppliedChange>, policy: AccountPolicy) -> Self {
        Self { changed, policy, ..Self::default() }
    }

    /// Reassignments from a departed member. They open and start nothing, so no limits apply.
    pub(crate) fn hand_over(changed: Vec<AppliedChange>) -> Self {
        Self { changed, origin: Some(AssignmentOrigin::HandedOver), ..Self::default() }
    }

    /// Notifies these watchers.
    pub(crate) fn notifying(self, audience: &'a Audience) -> Self {
        Self { audience: Some(audience), ..self }
    }

    /// Copies the reminders of this task that are relative to its due time.
    pub(crate) fn with_reminders_of(self, task_id: Uuid) -> Self {
        Self { reminders_of: Some(task_id), ..self }
    }

    /// [`Self::write`] for one task.
    pub(crate) async fn write_one(self, tx: &mut Tx) -> Result<Task> {
        self.write(tx).await?.pop().ok_or_else(|| Error::internal("a unit of work without a task"))
    }

    /// Stores the unit of work and returns its tasks in their new versions, new ones first. Tasks that are reopened are
    /// also reassigned from departed members, in a version of their own.
    ///
    /// Call it late in a transaction: with a limit, all transactions that open tasks of the same creator are serialized
    /// from here to the commit, so that of many that want the last place one gets it.
    ///
    /// # Errors
    /// QUOTA_EXCEEDED when a creator would have too many open tasks; TIMER_ALREADY_RUNNING.
    pub(crate) async fn write(self, tx: &mut Tx) -> Result<Vec<Task>> {
        let reopens = self.changed.iter().any(|change| change.kind.reopens());
        let tasks = self.write_batch(tx).await?;
        if reopens { reassign_from_departed(tx, tasks).await } else { Ok(tasks) }
    }

    async fn write_batch(self, tx: &mut Tx) -> Result<Vec<Task>> {
        let policy = self.policy;
        let closes = |change: &&AppliedChange| change.before.is_open() && !change.after.is_open();
        let closed: Vec<Uuid> = self.changed.iter().filter(closes).map(|change| change.after.id).collect();
        let Collected { tasks, starts, mut batch } = self.collect(tx)?;
        if batch.entries.is_empty() {
            return Ok(tasks);
        }
        let unblocked = store::dependency::lock_unblocked(tx, &closed).await?;
        batch.events.extend(unblocked.iter().map(dependency::unblocked));
        if policy.one_running_timer {
            enforce_single_timer(tx, &starts).await?;
        }
        let opened = batch.opened.clone();
        batch.write(tx).await?;
        enforce_quota(tx, &opened, policy.open_tasks).await?;
        Ok(tasks)
    }

    /// Collects what follows from the changes.
    fn collect(self, tx: &ReadTx) -> Result<Collected> {
        let (now, actor) = (tx.db().clock().now(), tx.tenant().user_id);
        let mut tasks = Vec::with_capacity(self.created.len() + self.changed.len());
        let (mut entries, mut events, mut assignments) = (Vec::new(), Vec::new(), Vec::new());
        let (mut timers, mut starts, mut reminders) = (Vec::new(), Vec::new(), Vec::new());
        let (mut follow_ups, mut opened) = (FollowUps::default(), BTreeMap::new());
        for task in self.created {
            let changes = task.initial_values();
            follow_ups.collect(None, &task, task.created_at)?;
            if let Some(from) = self.reminders_of {
                reminders.push((from, task.id));
                follow_ups.due.extend(task.fields.due_at.map(|due_at| (task.id, due_at)));
            }
            assignments.extend(AssignmentChange::of(None, &task, EventKind::Created, actor, None));
            *opened.entry(task.created_by).or_insert(0) += 1;
            events.push(task_event(EventKind::Created, None, &task, changes.keys().cloned().collect(), &[]));
            if task.assigned_by.is_some() {
                // One version and one timeline entry, but two events.
                let changed = vec!["assigned_to".to_owned(), "assigned_by".to_owned()];
                events.push(task_event(EventKind::Assigned, None, &task, changed, &[]));
            }
            entries.push(LogEntry { kind: EventKind::Created, changes, reason: None, after: task.clone() });
            tasks.push(task);
        }
        for AppliedChange { before, mut after, kind, reason } in self.changed {
            let (at, timer_change) = TimerChange::of(&before, &mut after, now);
            let Some(entry) = event_log::next(&before, &after, kind, reason, at) else {
                tasks.push(after);
                continue;
            };
            let after = &entry.after;
            timers.extend(timer_change);
            assignments.extend(
                AssignmentChange::of(Some(&before), after, kind, actor, entry.reason.as_deref())
                    .map(|assignment_change| assignment_change.with_origin(self.origin)),
            );
            follow_ups.collect(Some(&before), after, at)?;
            if before.is_open() != after.is_open() {
                *opened.entry(after.created_by).or_insert(0) += if after.is_open() { 1 } else { -1 };
            }
            if before.running_since.is_none() && after.running_since.is_some() {
                starts.push((after.worker(), after.id));
            }
            let audience = self.audience.filter(|_| kind.notifies_watchers());
            let watchers = audience.map(|audience| audience.of(after)).unwrap_or_default();
            events.push(task_event(kind, Some(&before), after, entry.changes.keys().cloned().collect(), &watchers));
            tasks.push(after.clone());
            entries.push(entry);
        }
        let batch = TaskBatch { entries, assignments, timers, follow_ups, reminders, opened, events };
        Ok(Collected { tasks, starts, batch })
    }
}

/// What follows from a unit of work.
struct Collected {
    /// All tasks, changed or not.
    tasks: Vec<Task>,
    /// Workers and the tasks that they start.
    starts: Vec<(Uuid, Uuid)>,
    batch: TaskBatch,
}

/// Reassigns reopened tasks of departed members to their successors and returns all tasks in their latest versions.
async fn reassign_from_departed(tx: &mut Tx, mut tasks: Vec<Task>) -> Result<Vec<Task>> {
    let people: BTreeSet<Uuid> = tasks.iter().flat_map(succession::required_people).collect();
    let people: Vec<Uuid> = people.into_iter().collect();
    let successors = store::offboarding::successors(tx, &people).await?;
    let changes = succession::hand_over_all(&tasks, &successors, tx.db().clock().now());
    let reassigned = UnitOfWork::hand_over(changes).write_batch(tx).await?.into_iter();
    let mut reassigned: HashMap<Uuid, Task> = reassigned.map(|task| (task.id, task)).collect();
    for task in &mut tasks {
        if let Some(reassigned) = reassigned.remove(&task.id) {
            *task = reassigned;
        }
    }
    Ok(tasks)
}

/// Refuses more open tasks of a creator than `limit`. `opened` are the changes that the transaction has recorded.
async fn enforce_quota(tx: &mut Tx, opened: &BTreeMap<Uuid, i32>, limit: Option<i32>) -> Result<()> {
    let creators: Vec<Uuid> = opened.iter().filter(|&(_, &count)| count > 0).map(|(&user, _)| user).collect();
    let Some(limit) = limit.filter(|_| !creators.is_empty()) else { return Ok(()) };
    // A statement of its own, after the triggers of the rows: others wait from here to the commit.
    let used = store::quota_counters::lock(tx, &creators).await?;
    match used.into_iter().find(|&(_, used)| used > limit) {
        Some((user, used)) => Err(limits::exceeded(QUOTA, limit, (used - opened[&user]).into())),
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
