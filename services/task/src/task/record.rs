//! What every change of tasks leaves behind, in the transaction that makes it: the rows, a line in each timeline, the
//! events, and the counters of open tasks.

use std::collections::BTreeMap;

use baton_access::{Membership, limits};
use baton_errors::{Error, Reason, Result};
use baton_store::{Event, Tx};
use uuid::Uuid;

use crate::{
    events::{self, Kind},
    people::{
        departures,
        hands::{How, Passing},
        watching::Audience,
    },
    schedule::ahead::Ahead,
    store,
    task::{
        Task,
        history::{self, Happened},
        time_entry::Turn,
    },
};

/// The quota, as errors name it.
const QUOTA: &str = "open_tasks_per_user";

/// What the account lets its members do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms {
    /// How many open tasks one may have made; `None` for any number.
    pub(crate) open_tasks: Option<i32>,
    /// Whether nobody works on two tasks at once.
    pub(crate) one_running_timer: bool,
}

impl Terms {
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
    pub(crate) kind: Kind,
    pub(crate) reason: Option<String>,
}

/// Stores a new task, with the first line of its timeline. It is to be counted as well, by [`tell`], which
/// publishes the events that are answered.
pub(crate) async fn create(tx: &mut Tx, task: &Task) -> Result<Vec<Event>> {
    let changes = task.first_values();
    let changed = changes.keys().cloned().collect();
    store::task::insert(tx, task).await?;
    let happened = Happened { kind: Kind::Created, changes, reason: None, after: task.clone() };
    store::timeline::append(tx, &[happened]).await?;
    let passing = Passing::of(None, task, Kind::Created, tx.tenant().user_id, None);
    store::hands::record(tx, passing).await?;
    let mut ahead = Ahead::default();
    ahead.follow(None, task, task.created_at)?;
    ahead.keep(tx).await?;
    let mut told = vec![events::task(Kind::Created, None, task, changed, &[])];
    if task.assigned_by.is_some() {
        // One version, so one line in the timeline; but two things for those who listen.
        let changed = vec!["assigned_to".to_owned(), "assigned_by".to_owned()];
        told.push(events::task(Kind::Assigned, None, task, changed, &[]));
    }
    Ok(told)
}

/// Stores what was made of a task; see [`save_all`].
pub(crate) async fn save(tx: &mut Tx, changed: Changed, terms: Terms) -> Result<Task> {
    one(save_all(tx, vec![changed], terms).await?)
}

/// The task of a change of one.
pub(crate) fn one(mut tasks: Vec<Task>) -> Result<Task> {
    tasks.pop().ok_or_else(|| Error::internal("a change without a task"))
}

/// Stores what was made of tasks, and answers them in their new versions. A change that changes nothing leaves
/// everything as it is.
///
/// # Errors
/// QUOTA_EXCEEDED when it opens more tasks than their creators may have; TIMER_ALREADY_RUNNING.
pub(crate) async fn save_all(tx: &mut Tx, changed: Vec<Changed>, terms: Terms) -> Result<Vec<Task>> {
    keep_all(tx, changed, terms, None, &Audience::default()).await
}

/// The same where those who watch are told, and where tasks may be opened whose people have left: these change hands
/// in a version of their own. Then [`store::hand_over::hold`] comes before.
pub(crate) async fn save_and_tell(
    tx: &mut Tx,
    changed: Vec<Changed>,
    terms: Terms,
    audience: &Audience,
) -> Result<Vec<Task>> {
    let opens_again = changed.iter().any(|change| change.kind.opens_again());
    let tasks = keep_all(tx, changed, terms, None, audience).await?;
    if opens_again { departures::catch_up(tx, tasks).await } else { Ok(tasks) }
}

/// The same for tasks whose worker has left the account. Nothing is opened or begun by it, so there is nothing to be
/// allowed.
pub(crate) async fn hand_over(tx: &mut Tx, changed: Vec<Changed>) -> Result<Vec<Task>> {
    keep_all(tx, changed, Terms::default(), Some(How::HandedOver), &Audience::default()).await
}

/// `how` says how tasks come into other hands where the change itself does not tell.
async fn keep_all(
    tx: &mut Tx,
    changed: Vec<Changed>,
    terms: Terms,
    how: Option<How>,
    audience: &Audience,
) -> Result<Vec<Task>> {
    let (now, actor) = (tx.db().clock().now(), tx.tenant().user_id);
    let (mut tasks, mut happened, mut told) = (Vec::with_capacity(changed.len()), Vec::new(), Vec::new());
    let (mut hands, mut ahead) = (Vec::new(), Ahead::default());
    let mut counts = BTreeMap::new();
    let (mut starts, mut turns) = (Vec::new(), Vec::new());
    for Changed { before, mut after, kind, reason } in changed {
        let (at, turn) = Turn::of(&before, &mut after, now);
        let Some(it) = history::next(&before, &after, kind, reason, at) else {
            tasks.push(after);
            continue;
        };
        let after = &it.after;
        turns.extend(turn);
        hands.extend(
            Passing::of(Some(&before), after, kind, actor, it.reason.as_deref()).map(|passing| passing.by(how)),
        );
        ahead.follow(Some(&before), after, at)?;
        if before.is_open() != after.is_open() {
            *counts.entry(after.created_by).or_insert(0) += if after.is_open() { 1 } else { -1 };
        }
        if before.running_since.is_none() && after.running_since.is_some() {
            starts.push((after.worker(), after.id));
        }
        let watchers = if kind.tells_watchers() { audience.of(after) } else { Vec::new() };
        told.push(events::task(kind, Some(&before), after, it.changes.keys().cloned().collect(), &watchers));
        tasks.push(after.clone());
        happened.push(it);
    }
    if happened.is_empty() {
        return Ok(tasks);
    }
    if terms.one_running_timer {
        nobody_works_twice(tx, &starts).await?;
    }
    store::task::save_all(tx, happened.iter().map(|it| &it.after)).await?;
    store::time_entry::turn(tx, &turns).await?;
    store::timeline::append(tx, &happened).await?;
    store::hands::record(tx, hands).await?;
    ahead.keep(tx).await?;
    tell(tx, told, &counts, terms.open_tasks).await?;
    Ok(tasks)
}

/// Tells of everything, and counts so many tasks more, or less, as open that these members have made. Last in a
/// transaction: where there is a limit, all who open tasks of the same person wait for each other from here to the
/// commit, and of many who want the last place one gets it.
///
/// # Errors
/// QUOTA_EXCEEDED when one of them has opened more than `limit`.
pub(crate) async fn tell(
    tx: &mut Tx,
    told: Vec<Event>,
    counts: &BTreeMap<Uuid, i32>,
    limit: Option<i32>,
) -> Result<()> {
    store::usage::count(tx, counts).await?;
    tx.publish_all(told).await?;
    let opened: Vec<Uuid> = counts.iter().filter(|&(_, &count)| count > 0).map(|(&user, _)| user).collect();
    let Some(limit) = limit.filter(|_| !opened.is_empty()) else { return Ok(()) };
    let used = store::usage::hold(tx, &opened).await?;
    match used.into_iter().find(|&(_, used)| used > limit) {
        Some((user, used)) => Err(limits::exceeded(QUOTA, limit, (used - counts[&user]).into())),
        None => Ok(()),
    }
}

/// Refuses to let anybody work on two tasks at once; `starts` are workers and what they begin. Who starts one waits
/// for others who start one of the same person's, so of many at once one is first.
async fn nobody_works_twice(tx: &mut Tx, starts: &[(Uuid, Uuid)]) -> Result<()> {
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
