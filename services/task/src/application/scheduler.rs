//! Fires timers: notifies of due dates and reminders, and continues series.
//!
//! Any number of schedulers may run. They find the same timers, but the transaction that fires one locks it and marks
//! it as fired: of several workers, and of one that crashes and restarts, one fires it, once. A timer that is fired
//! late says so.

use std::collections::{HashMap, HashSet};

use baton_access::Membership;
use baton_catalog::Payload;
use baton_errors::{Error, Reason, Result};
use baton_runtime::Next;
use baton_store::{
    Db, Event, Tenant, Tx,
    timers::{self, DueTimer},
};
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
        timer::{Concerned, LockedTimer},
    },
    task::{Task, change::AccountPolicy},
};

/// Delay before a series that exceeds its creator's quota is retried.
const QUOTA_RETRY_DELAY: TimeDelta = TimeDelta::hours(1);

/// Memberships of the people whom timers concern; `None` for former members.
type Memberships = HashMap<Uuid, Option<Membership>>;

/// Fires due timers and returns the time of the next poll.
///
/// # Errors
/// Those of the database.
pub(crate) async fn poll(db: Db, directory: InternalDirectory) -> Result<Next> {
    let mut settled = 0;
    for (account_id, due) in timers::due(&db).await? {
        let span = info_span!("timers", otel.name = "timers", account.id = %account_id);
        settled += fire(&db, &directory, account_id, &due).instrument(span).await;
    }
    Ok(timers::next_poll(&db, settled).await)
}

/// Fires timers of one account and returns the number of settled ones.
async fn fire(db: &Db, directory: &InternalDirectory, account_id: Uuid, due: &[DueTimer]) -> usize {
    let all: Vec<Uuid> = due.iter().map(|timer| timer.id).collect();
    let concerned = match store::timer::concerned(db, &all).await {
        Ok(concerned) => concerned,
        Err(error) => return timers::attempt(db, &all, async { Err(error) }).await,
    };
    let is_instance = |timer: &&DueTimer| timer.kind == TimerKind::NextInstance.name();
    let (instances, notices): (Vec<&DueTimer>, Vec<_>) = due.iter().partition(is_instance);
    let notices: Vec<Uuid> = notices.iter().map(|timer| timer.id).collect();
    let mut settled = timers::attempt(db, &notices, notify(db, directory, account_id, &notices, &concerned)).await;
    // One by one, so that a failing series does not delay others.
    for timer in instances {
        // Its task is deleted, and so is the timer.
        let Some(people) = concerned.get(&timer.id) else { continue };
        let work = continue_series(db, directory, account_id, timer.id, people);
        settled += timers::attempt(db, &[timer.id], work).await;
    }
    settled
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
async fn notify(
    db: &Db,
    directory: &InternalDirectory,
    account_id: Uuid,
    ids: &[Uuid],
    concerned: &HashMap<Uuid, Concerned>,
) -> Result<usize> {
    if ids.is_empty() {
        return Ok(0);
    }
    let reminded = ids.iter().filter_map(|id| concerned.get(id)?.reminds).collect();
    let members = members(directory, account_id, reminded).await?;
    let mut tx = db.begin(Tenant::account(account_id)).await?;
    let timers = store::timer::lock(&mut tx, ids).await?;
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
    timers::mark_fired(&mut tx, &fired, &dropped).await?;
    tx.commit().await?;
    Ok(fired.len() + dropped.len())
}

/// The event that the timer publishes for the current task; `None` if it is obsolete.
fn event_for(timer: &LockedTimer, task: &Task, members: &Memberships, now: DateTime<Utc>) -> Option<Event> {
    let applies = task.is_open() && (timer.due_at.is_none() || timer.due_at == task.fields.due_at);
    let late = now - timer.fires_at > timers::LATE_AFTER;
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
async fn continue_series(
    db: &Db,
    directory: &InternalDirectory,
    account_id: Uuid,
    timer: Uuid,
    people: &Concerned,
) -> Result<usize> {
    let creator = people.created_by;
    let people = [creator].into_iter().chain(people.assigned_to).collect();
    let members = members(directory, account_id, people).await?;
    let limit = members.get(&creator).and_then(Option::as_ref).and_then(|member| member.limits.open_tasks_per_user);
    // The creator of a series is the creator of its instances.
    let mut tx = db.begin(Tenant { account_id, user_id: creator }).await?;
    let Some(locked) = store::timer::lock(&mut tx, &[timer]).await?.pop() else { return Ok(0) };
    let last = store::task::lock(&mut tx, locked.task_id).await?;
    let Some(last) = last.filter(|last| !last.is_open() && last.recurrence_rule.is_some()) else {
        // Reopened, deleted or no longer recurring. Closing it again sets another timer.
        timers::mark_fired(&mut tx, &[], &[locked.id]).await?;
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
    timers::mark_fired(&mut tx, &[locked.id], &[]).await?;
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
