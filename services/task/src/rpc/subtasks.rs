//! Summaries of tasks, parents that the caller does not see, and checks of a new parent.

use std::collections::HashMap;

use baton_errors::Result;
use baton_store::ReadTx;
use uuid::Uuid;

use super::lookup::parent_of;
use crate::{
    policy::visibility::Actor,
    store,
    task::{
        Task,
        event_log::TimelineEntry,
        subtasks::{ParentCheck, TaskSummary},
    },
};

/// The field of timeline entries that holds a task's parent.
const PARENT: &str = "parent_task_id";

/// Current summaries of these tasks.
pub(super) async fn summaries(tx: &mut ReadTx, tasks: &[Task]) -> Result<HashMap<Uuid, TaskSummary>> {
    if tasks.is_empty() {
        return Ok(HashMap::new());
    }
    let (ids, now): (Vec<Uuid>, _) = (tasks.iter().map(|task| task.id).collect(), tx.db().clock().now());
    store::subtasks::summaries(tx, &ids, now).await
}

/// Clears parents that the caller does not see: an invisible task is indistinguishable from a missing one.
pub(super) async fn hide_parents(tx: &mut ReadTx, actor: Actor<'_>, tasks: &mut [Task]) -> Result<()> {
    let mut parents = tasks.iter_mut().map(|task| &mut task.fields.parent_task_id).collect::<Vec<_>>();
    hide_invisible(tx, actor, &mut parents).await
}

/// Clears invisible parents in timeline entries.
pub(super) async fn hide_logged_parents(
    tx: &mut ReadTx,
    actor: Actor<'_>,
    entries: &mut [TimelineEntry],
) -> Result<()> {
    let logged =
        |entry: &TimelineEntry| entry.logged.changes.get(PARENT).and_then(|parent| parent.as_str()?.parse().ok());
    let mut parents: Vec<Option<Uuid>> = entries.iter().map(logged).collect();
    hide_invisible(tx, actor, &mut parents.iter_mut().collect::<Vec<_>>()).await?;
    for (entry, parent) in entries.iter_mut().zip(parents) {
        if parent.is_none()
            && let Some(logged) = entry.logged.changes.get_mut(PARENT)
        {
            *logged = serde_json::Value::Null;
        }
    }
    Ok(())
}

async fn hide_invisible(tx: &mut ReadTx, actor: Actor<'_>, tasks: &mut [&mut Option<Uuid>]) -> Result<()> {
    let ids: Vec<Uuid> = tasks.iter().filter_map(|task| **task).collect();
    if ids.is_empty() || actor.is_account_admin() {
        return Ok(());
    }
    let visible = store::subtasks::visible(tx, actor, &ids).await?;
    for task in tasks {
        **task = task.filter(|id| visible.contains(id));
    }
    Ok(())
}

/// The check for moving tasks below `parent`, which the caller must see. The caller holds the hierarchy's lock.
///
/// # Errors
/// TASK_NOT_FOUND, at `field`.
pub(super) async fn parent_check(
    tx: &mut ReadTx,
    actor: Actor<'_>,
    moved: &[Uuid],
    parent: Uuid,
    field: &str,
) -> Result<ParentCheck> {
    parent_of(tx, actor, parent, field).await?;
    let ancestors = store::subtasks::ancestors(tx, parent).await?;
    let heights = if moved.is_empty() { HashMap::new() } else { store::subtasks::heights(tx, moved).await? };
    Ok(ParentCheck { ancestors, heights })
}
