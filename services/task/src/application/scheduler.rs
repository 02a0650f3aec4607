//! Fires timers: notifies of due dates and reminders, and continues series.
//!
//! Any number of schedulers may run. They find the same timers, but the transaction that fires one locks it and marks
//! it as fired: of several workers, and of one that crashes and restarts, one fires it, once. A timer that is fired
//! late says so.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use baton_access::Membership;
use baton_catalog::Payload;
use baton_errors::{Error, Reason, Result};
use baton_runtime::Next;
use baton_store::{Db, Event, Tenant, Tx};
use chrono::{DateTime, TimeDelta, Utc};
use tracing::{Instrument, info_span};
use uuid::Uuid;

use crate::{
    application::writer::UnitOfWork,
    clients::internal::InternalDirectory,
    events::publish::schedule as events,
    policy::visibility::Actor,
    schedule::{
        series::{self, Instance},
        timer::TimerKind,
    },
    store::{
        self,
        timer::{DueTimer, LockedTimer},
    },
    task::{Task, change::AccountPolicy},
};

/// Maximum pause between polls: another process may have set an earlier timer.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Timers per poll.
const BATCH: i64 = 200;
/// A timer that fires longer than this after its time is late.
const LATE_AFTER: TimeDelta = TimeDelta::minutes(5);
/// Delay before a failed timer is retried.
const RETRY_DELAY: TimeDelta = TimeDelta::seconds(30);
/// Delay before a series that exceeds its creator's quota is retried.
const QUOTA_RETRY_DELAY: TimeDelta = TimeDelta::hours(1);

/// Memberships of the people whom timers concern; `None` for former members.
type Memberships = HashMap<Uuid, Option<Membership>>;

/// Fires due timers and returns the time of the next poll.
///
/// # Errors
/// Those of the database.
pub(crate) async fn poll(db: Db, directory: InternalDirectory) -> Result<Next> {
    let settled = fire_due(&db, &directory).await?;
    Ok(Next::After(if settled == 0 { time_until_next(&db).await } else { Duration::ZERO }))
}

async fn time_until_next(db: &Db) -> Duration {
    let next = store::timer::next(db).await.ok().flatten();
    let left = next.and_then(|next| (next - db.clock().now()).to_std().ok()).unwrap_or(POLL_INTERVAL);
    // A timer that is due now is locked by another worker.
    if left.is_zero() { POLL_INTERVAL } else { left.min(POLL_INTERVAL) }
}

/// Fires a batch of due timers and returns the number of settled ones.
async fn fire_due(db: &Db, directory: &InternalDirectory) -> Result<usize> {
    let due = store::timer::due(db, db.clock().now(), BATCH).await?;
    let mut accounts: BTreeMap<Uuid, Vec<DueTimer>> = BTreeMap::new();
    for timer in due {
        accounts.entry(timer.account_id).or_default().push(timer);
    }
    let mut settled = 0;
    for (account_id, due) in accounts {
        let (instances, notices): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|timer| timer.kind == TimerKind::NextInstance);
        let span = info_span!("timers", otel.name = "timers", account.id = %account_id);
        settled += attempt(db, &notices, notify(db, directory, account_id, &notices)).instrument(span.clone()).await;
        // One by one, so that a failing series does not delay others.
        for timer in &instances {
            let timer = std::slice::from_ref(timer);
            settled += attempt(db, timer, continue_series(db, directory, &timer[0])).instrument(span.clone()).await;
        }
    }
    Ok(settled)
}

/// Postpones timers that fail, so that they do not block others.
async fn attempt(db: &Db, timers: &[DueTimer], work: impl Future<Output = Result<usize>>) -> usize {
    match work.await {
        Ok(settled) => settled,
        Err(error) => {
            tracing::warn!(%error, timers = timers.len(), "cannot fire timers; they are retried");
            let ids: Vec<Uuid> = timers.iter().map(|timer| timer.id).collect();
            if let Err(error) = store::timer::postpone(db, &ids, RETRY_DELAY).await {
                tracing::warn!(%error, "cannot postpone timers");
            }
            0
        }
    }
}

/// Read before the transaction: no transaction waits for another service.
async fn members(directory: &InternalDirectory, account_id: Uuid, ids: HashSet<Uuid>) -> Result<Memberships> {
    let mut members = Memberships::new();
    for id in ids {
        members.insert(id, directory.membership(account_id, id).await?);
    }
    Ok(members)
}

/// Publishes due dates and reminders of one account.
async fn notify(db: &Db, directory: &InternalDirectory, account_id: Uuid, due: &[DueTimer]) -> Result<usize> {
    if due.is_empty() {
        return Ok(0);
    }
    let reminded = due.iter().filter_map(|timer| timer.reminds).collect();
    let members = members(directory, account_id, reminded).await?;
    let mut tx = db.begin(Tenant::account(account_id)).await?;
    let ids: Vec<Uuid> = due.iter().map(|timer| timer.id).collect();
    let timers = store::timer::lock(&mut tx, &ids).await?;
    let tasks: Vec<Uuid> = timers.iter().map(|timer| timer.task_id).collect();
    let tasks = store::task::lock_free(&mut tx, &tasks).await?;
    let now = db.clock().now();
    let (mut fired, mut dropped, mut published) = (Vec::new(), Vec::new(), Vec::new());
    for timer in &timers {
        // The task is locked by a change; the timer is retried.
        let Some(task) = tasks.iter().find(|task| task.id == timer.task_id) else { continue };
        match event_for(timer, task, &members, now) {
            Some(event) => {
                fired.push(timer.id);
                published.push(event);
            }
            None => dropped.push(timer.id),
        }
    }
    tx.publish_all(published).await?;
    store::timer::mark_fired(&mut tx, &fired, &dropped).await?;
    tx.commit().await?;
    Ok(fired.len() + dropped.len())
}

/// The event that the timer publishes for the current task; `None` if it is obsolete.
fn event_for(timer: &LockedTimer, task: &Task, members: &Memberships, now: DateTime<Utc>) -> Option<Event> {
    let applies = task.is_open() && (timer.due_at.is_none() || timer.due_at == task.fields.due_at);
    let late = now - timer.fires_at > LATE_AFTER;
    match timer.kind {
        _ if !applies => None,
        TimerKind::Overdue => Some(events::due(Payload::TaskOverdue, task, late)),
        // After a downtime the task may be overdue, which has its own timer.
        TimerKind::DueSoon => {
            timer.due_at.is_some_and(|due| due > now).then(|| events::due(Payload::TaskDueSoon, task, late))
        }
        TimerKind::Reminder => {
            let (reminder_id, user_id) = (timer.reminder_id?, timer.reminds?);
            let membership = members.get(&user_id)?.as_ref()?;
            let sees = Actor { id: user_id, membership }.can_see(task);
            sees.then(|| events::reminder(Payload::ReminderFired, task.account_id, reminder_id, task.id, user_id, late))
        }
        TimerKind::NextInstance => None,
    }
}

/// Creates the next instance of a series, if there is one.
async fn continue_series(db: &Db, directory: &InternalDirectory, timer: &DueTimer) -> Result<usize> {
    let (creator, account_id) = (timer.created_by, timer.account_id);
    let people = [creator].into_iter().chain(timer.assigned_to).collect();
    let members = members(directory, account_id, people).await?;
    let limit = members.get(&creator).and_then(Option::as_ref).and_then(|member| member.limits.open_tasks_per_user);
    // The creator of a series is the creator of its instances.
    let mut tx = db.begin(Tenant { account_id, user_id: creator }).await?;
    let Some(locked) = store::timer::lock(&mut tx, &[timer.id]).await?.pop() else { return Ok(0) };
    let last = store::task::lock(&mut tx, locked.task_id).await?;
    let Some(last) = last.filter(|last| !last.is_open() && last.recurrence_rule.is_some()) else {
        // Reopened, deleted or no longer recurring. Closing it again sets another timer.
        store::timer::mark_fired(&mut tx, &[], &[locked.id]).await?;
        tx.commit().await?;
        return Ok(1);
    };
    if let Some(task) = create_next(&mut tx, &last, &members).await? {
        let policy = AccountPolicy { open_tasks: limit, ..AccountPolicy::default() };
        match UnitOfWork::create(task, policy).with_reminders_of(last.id).write(&mut tx).await {
            Err(error) if error.reason() == Reason::QuotaExceeded => {
                drop(tx);
                pause_series(db, &locked, &last).await?;
                return Ok(0);
            }
            created => {
                created?;
            }
        }
    }
    store::timer::mark_fired(&mut tx, &[locked.id], &[]).await?;
    tx.commit().await?;
    Ok(1)
}

/// The task after `last`, with its instance in the series; `None` when the series has ended, or another worker has
/// created it.
async fn create_next(tx: &mut Tx, last: &Task, members: &Memberships) -> Result<Option<Task>> {
    let clock = tx.db().clock().clone();
    let instance = store::series::instance_of(tx, last.id).await?;
    let instance = instance.ok_or_else(|| Error::internal("a recurring task has no instance in its series"))?;
    let recurrence = series::recurrence(last)?.ok_or_else(|| Error::internal("a recurring task has no rule"))?;
    let Some(time) = recurrence.next(instance.starts, instance.falls, clock.now(), &last.skipped_times) else {
        return Ok(None);
    };
    let task_id = clock.new_id();
    let instance = Instance { task_id, nth: instance.nth + 1, falls: time.local, ..instance };
    if !store::series::claim(tx, &instance).await? {
        return Ok(None);
    }
    let is_member = |id: &Uuid| members.get(id).is_some_and(Option::is_some);
    let holder = last.assigned_to.filter(is_member);
    Ok(Some(series::next_task(last, task_id, holder, time, clock.now())))
}

/// Postpones a series that exceeds its creator's quota, and publishes `series.paused` the first time.
async fn pause_series(db: &Db, timer: &LockedTimer, last: &Task) -> Result<()> {
    let mut tx = db.begin(Tenant::account(last.account_id)).await?;
    if store::timer::postpone_instance(&mut tx, timer.id, QUOTA_RETRY_DELAY).await? == Some(1) {
        let series_id = last.series_id.unwrap_or_default();
        tx.publish(events::series_paused(last.account_id, series_id, last.id, last.created_by)).await?;
    }
    tx.commit().await
}
