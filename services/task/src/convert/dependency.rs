//! Dependencies in the contract.

use baton_proto::{
    baton::task::v1::{self as proto, DueConflictKind},
    convert::timestamp,
};
use chrono::{DateTime, Utc};

use super::to_status;
use crate::{
    policy::visibility::Actor,
    task::{
        Task,
        dependency::{Conflict, LinkedTask, conflicts},
    },
};

/// The links of a task. `actor` sees the task; a linked task that they do not see has neither id nor title.
pub(crate) fn dependencies(
    task: &Task,
    linked: Vec<LinkedTask>,
    actor: Actor<'_>,
    now: DateTime<Utc>,
) -> proto::TaskDependencies {
    let mut dependencies = proto::TaskDependencies::default();
    let own = (task.status, task.fields.due_at);
    for other in linked {
        let visible = actor.can_see_task_of(other.created_by, other.assigned_to, other.visibility);
        let (task_id, other_id) = (Some(task.id.to_string()), visible.then(|| other.id.to_string()));
        let its = (other.status, other.due_at);
        let ((waiting, waiting_id), (blocker, blocker_id)) = if other.waits {
            ((its, other_id.clone()), (own, task_id))
        } else {
            ((own, task_id), (its, other_id.clone()))
        };
        let found = conflicts(waiting, blocker, now).into_iter().map(|kind| proto::DueConflict {
            kind: conflict(kind).into(),
            task_id: waiting_id.clone(),
            blocked_by: blocker_id.clone(),
            due_at: waiting.1.map(timestamp),
            blocker_due_at: blocker.1.map(timestamp),
        });
        dependencies.conflicts.extend(found);
        dependencies.blocked |= !other.waits && other.status.is_open();
        let links = if other.waits { &mut dependencies.blocks } else { &mut dependencies.blocked_by };
        links.push(proto::LinkedTask {
            task_id: other_id,
            title: visible.then_some(other.title),
            status: to_status(other.status).into(),
            due_at: other.due_at.map(timestamp),
            linked_at: Some(timestamp(other.linked_at)),
        });
    }
    dependencies
}

fn conflict(conflict: Conflict) -> DueConflictKind {
    match conflict {
        Conflict::DueBeforeBlocker => DueConflictKind::DueBeforeBlocker,
        Conflict::BlockerOverdue => DueConflictKind::BlockerOverdue,
    }
}
