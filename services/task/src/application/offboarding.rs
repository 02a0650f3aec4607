//! Offboarding: reassigns the open tasks of departed members to their successors, and later those that are reopened.

use std::collections::{BTreeSet, HashMap};

use baton_errors::Result;
use baton_store::Tx;
use uuid::Uuid;

use crate::{
    application::writer,
    policy::assignment,
    store,
    task::{
        Task,
        change::{AccountPolicy, AppliedChange},
    },
    watchers::Audience,
};

/// Tasks per statement.
const BATCH: i64 = 500;

/// Reassigns the open tasks of a member who has left to `to`, in batches, and removes what only the member used:
/// watches and private views.
///
/// All batches are one transaction, and so is the inbox row of the event: no task is reassigned twice, and none is left
/// out.
///
/// # Errors
/// Those of the database.
pub(crate) async fn offboard(tx: &mut Tx, from: Uuid, to: Uuid) -> Result<()> {
    store::offboarding::record_departure(tx, from, to).await?;
    store::watcher::delete_member(tx, from).await?;
    store::saved_view::delete_private(tx, from).await?;
    let mut after = Uuid::nil();
    while let Some(last) = reassign_batch(tx, from, to, after).await? {
        after = last;
    }
    Ok(())
}

/// Reassigns the next tasks and returns the id of the last one, or `None` when there are no more.
async fn reassign_batch(tx: &mut Tx, from: Uuid, to: Uuid, after: Uuid) -> Result<Option<Uuid>> {
    let now = tx.db().clock().now();
    let tasks = store::offboarding::lock_tasks(tx, from, after, BATCH).await?;
    let last = tasks.last().map(|task| task.id);
    let reassigned = tasks.into_iter().map(|before| {
        let mut after = before.clone();
        let kind = assignment::take_over(&mut after, from, to, now);
        AppliedChange { before, after, kind, reason: None }
    });
    writer::save_reassigned(tx, reassigned.collect()).await?;
    Ok(last)
}

/// Stores changes with notified watchers, as [`writer::save_for`]. Tasks that are reopened are also reassigned from departed members, in a
/// version of their own; the caller holds [`store::offboarding::lock_departures_shared`].
pub(crate) async fn save_and_publish(
    tx: &mut Tx,
    changed: Vec<AppliedChange>,
    policy: AccountPolicy,
    audience: &Audience,
) -> Result<Vec<Task>> {
    let reopens = changed.iter().any(|change| change.kind.reopens());
    let tasks = writer::save_for(tx, changed, policy, audience).await?;
    if reopens { reassign_from_departed(tx, tasks).await } else { Ok(tasks) }
}

/// Reassigns reopened tasks of departed members to their successors and returns all tasks in their latest versions. The
/// caller holds [`store::offboarding::lock_departures_shared`].
async fn reassign_from_departed(tx: &mut Tx, mut tasks: Vec<Task>) -> Result<Vec<Task>> {
    let people: BTreeSet<Uuid> = tasks.iter().flat_map(required_people).flatten().collect();
    let people: Vec<Uuid> = people.into_iter().collect();
    let successors = store::offboarding::successors(tx, &people).await?;
    let now = tx.db().clock().now();
    let reassigned = tasks.iter().filter_map(|before| {
        let (from, to) =
            required_people(before).into_iter().flatten().find_map(|from| Some((from, *successors.get(&from)?)))?;
        let mut after = before.clone();
        let kind = assignment::take_over(&mut after, from, to, now);
        Some(AppliedChange { before: before.clone(), after, kind, reason: None })
    });
    let reassigned = writer::save_reassigned(tx, reassigned.collect()).await?.into_iter();
    let mut reassigned: HashMap<Uuid, Task> = reassigned.map(|task| (task.id, task)).collect();
    for task in &mut tasks {
        if let Some(reassigned) = reassigned.remove(&task.id) {
            *task = reassigned;
        }
    }
    Ok(tasks)
}

/// People that an open task depends on: its worker, and the assigner to whom an unaccepted task can return.
fn required_people(task: &Task) -> [Option<Uuid>; 2] {
    let offered_by = task.assigned_by.filter(|_| task.accepted_at.is_none());
    if task.is_open() { [Some(task.worker()), offered_by] } else { [None, None] }
}
