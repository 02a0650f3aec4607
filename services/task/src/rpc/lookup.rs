//! Reads tasks that the caller sees.

use baton_errors::{Reason, Result};
use baton_store::ReadTx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    policy::visibility::Actor,
    store,
    task::{Task, subtasks::TaskSummary},
};

/// The task, if the caller sees it.
pub(super) async fn get(tx: &mut ReadTx, actor: Actor<'_>, id: &str) -> Result<Task> {
    visible(store::task::get(tx, parse_id(id)?).await?, actor)
}

/// The task with its summary at `now`, if the caller sees it.
pub(super) async fn get_with_summary(
    tx: &mut ReadTx,
    actor: Actor<'_>,
    id: &str,
    now: DateTime<Utc>,
) -> Result<(Task, TaskSummary)> {
    let (task, summary) = store::task::get_with_summary(tx, parse_id(id)?, now).await?.unzip();
    Ok((visible(task, actor)?, summary.unwrap_or_default()))
}

/// The parent task that `field` names, if the caller sees it.
pub(super) async fn parent_of(tx: &mut ReadTx, actor: Actor<'_>, id: Uuid, field: &str) -> Result<Task> {
    let task = store::task::get(tx, id).await?;
    visible(task, actor).map_err(|absent| absent.field(field, "must be a task that the caller sees"))
}

/// An invisible task is indistinguishable from a missing one.
pub(super) fn visible(task: Option<Task>, actor: Actor<'_>) -> Result<Task> {
    task.filter(|task| actor.can_see(task)).ok_or_else(|| Reason::TaskNotFound.into())
}

pub(super) fn parse_id(id: &str) -> Result<Uuid> {
    id.parse().map_err(|_| Reason::TaskNotFound.into())
}
