//! Summaries of subtasks, parents that the caller does not see, and checks of a new parent.

use std::collections::HashMap;

use baton_errors::Result;
use baton_store::Tx;
use uuid::Uuid;

use super::mutation::parent_of;
use crate::{
    policy::visibility::Actor,
    store::{self, subtasks::TaskSummary, timeline::Entry},
    task::{Task, subtasks::ParentCheck},
};

/// The field of timeline entries that holds a task's parent.
const PARENT: &str = "parent_task_id";

/// What stands around these tasks now.
pub(super) async fn summaries(tx: &mut Tx, tasks: &[Task]) -> Result<HashMap<Uuid, TaskSummary>> {
    if tasks.is_empty() {
        return Ok(HashMap::new());
    }
    let (ids, now): (Vec<Uuid>, _) = (tasks.iter().map(|task| task.id).collect(), tx.db().clock().now());
    store::subtasks::summaries(tx, &ids, now).await
}

/// Takes out of tasks what they are parts of, where the caller does not see it: it is as absent as what never was.
pub(super) async fn hide_parents(tx: &mut Tx, actor: Actor<'_>, tasks: &mut [Task]) -> Result<()> {
    let mut parents = tasks.iter_mut().map(|task| &mut task.fields.parent_task_id).collect::<Vec<_>>();
    hide_invisible(tx, actor, &mut parents).await
}

/// The same in lines of a timeline.
pub(super) async fn hide_logged_parents(tx: &mut Tx, actor: Actor<'_>, entries: &mut [Entry]) -> Result<()> {
    let logged = |entry: &Entry| entry.changes.get(PARENT).and_then(|parent| parent.as_str()?.parse().ok());
    let mut parents: Vec<Option<Uuid>> = entries.iter().map(logged).collect();
    hide_invisible(tx, actor, &mut parents.iter_mut().collect::<Vec<_>>()).await?;
    for (entry, parent) in entries.iter_mut().zip(parents) {
        if parent.is_none()
            && let Some(logged) = entry.changes.get_mut(PARENT)
        {
            *logged = serde_json::Value::Null;
        }
    }
    Ok(())
}

async fn hide_invisible(tx: &mut Tx, actor: Actor<'_>, tasks: &mut [&mut Option<Uuid>]) -> Result<()> {
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

/// Where tasks would be as parts of `parent`, which the caller sees. The hierarchy is held already.
///
/// # Errors
/// TASK_NOT_FOUND, at `field`.
pub(super) async fn parent_check(
    tx: &mut Tx,
    actor: Actor<'_>,
    moved: &[Uuid],
    parent: Uuid,
    field: &str,
) -> Result<ParentCheck> {
    parent_of(tx, actor, parent, field).await?;
    let ancestors = store::subtasks::ancestors(tx, parent).await?;
    let levels = if moved.is_empty() { HashMap::new() } else { store::subtasks::levels(tx, moved).await? };
    Ok(ParentCheck { ancestors, levels })
}
