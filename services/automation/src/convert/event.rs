//! Events, as far as rules look at them.

use baton_catalog::{EventType, Payload};
use baton_errors::{Error, Result};
use baton_proto::{
    baton::{
        api::v1::Via,
        events::v1::Envelope,
        task::v1::{TaskEvent, TaskPriority, TaskStatus, TaskVisibility},
    },
    convert::datetime,
};
use baton_rules::{Occurrence, TaskState};
use uuid::Uuid;

/// The service's name, in causes.
pub(crate) const SERVICE: &str = "automation";
/// The kind of its causes.
pub(crate) const RULE: &str = "rule";

/// The occurrence of an event that may run rules.
///
/// # Errors
/// INTERNAL when the event is malformed.
pub(crate) fn occurrence(event: &Envelope) -> Result<Occurrence> {
    let malformed = || Error::internal("a malformed event");
    let payload = Payload::decode(event).map_err(Error::internal)?.ok_or_else(malformed)?;
    let kind = payload.event_type();
    let (task_id, task, changed_fields, late) = match &payload {
        Payload::MemberJoined(_) => (None, None, Vec::new(), false),
        Payload::CommentCreated(comment) => (comment.task_id.parse().ok(), None, Vec::new(), false),
        payload => {
            let task = task_event(payload).ok_or_else(malformed)?;
            (
                task.task_id.parse().ok(),
                Some(state(task).ok_or_else(malformed)?),
                task.changed_fields.clone(),
                task.late,
            )
        }
    };
    let via = event.via.as_ref();
    Ok(Occurrence {
        event_id: event.id.parse().map_err(Error::internal)?,
        kind: kind.name().to_owned(),
        occurred_at: event.occurred_at.as_ref().and_then(datetime).ok_or_else(malformed)?,
        actor: event.actor_id.parse().ok(),
        task_id,
        task,
        changed_fields,
        late,
        depth: via.map_or(0, |via| u16::try_from(via.depth).unwrap_or(u16::MAX)),
        rule_id: via.and_then(rule_of),
        in_state_since: None,
    })
}

/// The rule that has caused something.
pub(super) fn rule_of(via: &Via) -> Option<Uuid> {
    (via.service == SERVICE && via.kind == RULE).then(|| via.id.parse().ok())?
}

fn task_event(payload: &Payload) -> Option<&TaskEvent> {
    match payload {
        Payload::TaskCreated(task)
        | Payload::TaskUpdated(task)
        | Payload::TaskStarted(task)
        | Payload::TaskPaused(task)
        | Payload::TaskResumed(task)
        | Payload::TaskCompleted(task)
        | Payload::TaskAssigned(task)
        | Payload::TaskReassigned(task)
        | Payload::TaskAccepted(task)
        | Payload::TaskRejected(task)
        | Payload::TaskArchived(task)
        | Payload::TaskCanceled(task)
        | Payload::TaskReopened(task)
        | Payload::TaskDueSoon(task)
        | Payload::TaskOverdue(task)
        | Payload::TaskUnblocked(task) => Some(task),
        _ => None,
    }
}

fn state(task: &TaskEvent) -> Option<TaskState> {
    Some(TaskState {
        version: task.version,
        status: status(task.status())?.to_owned(),
        previous_status: status(task.previous_status()).map(str::to_owned),
        priority: priority(task.priority()).to_owned(),
        visibility: visibility(task.visibility()).to_owned(),
        creator: task.created_by.parse().ok()?,
        assignee: task.assigned_to.parse().ok(),
        due_at: task.due_at.as_ref().and_then(datetime),
        estimated_seconds: (task.estimated_seconds > 0).then(|| task.estimated_seconds.into()),
        started_at: task.started_at.as_ref().and_then(datetime),
    })
}

/// The name of a status in conditions.
pub(crate) fn status(status: TaskStatus) -> Option<&'static str> {
    Some(match status {
        TaskStatus::Unspecified => return None,
        TaskStatus::Pending => "pending",
        TaskStatus::InProgress => "in_progress",
        TaskStatus::Paused => "paused",
        TaskStatus::Completed => "completed",
        TaskStatus::Archived => "archived",
        TaskStatus::Canceled => "canceled",
    })
}

/// The status with this name in conditions.
pub(crate) fn status_of(name: &str) -> Option<TaskStatus> {
    let all = [
        TaskStatus::Pending,
        TaskStatus::InProgress,
        TaskStatus::Paused,
        TaskStatus::Completed,
        TaskStatus::Archived,
        TaskStatus::Canceled,
    ];
    all.into_iter().find(|known| status(*known) == Some(name))
}

/// The name of a priority in conditions.
pub(crate) fn priority(priority: TaskPriority) -> &'static str {
    match priority {
        TaskPriority::Low => "low",
        TaskPriority::Unspecified | TaskPriority::Medium => "medium",
        TaskPriority::High => "high",
        TaskPriority::Urgent => "urgent",
    }
}

/// The name of a visibility in conditions.
pub(crate) fn visibility(visibility: TaskVisibility) -> &'static str {
    match visibility {
        TaskVisibility::Unspecified | TaskVisibility::Private => "private",
        TaskVisibility::Team => "team",
        TaskVisibility::Account => "account",
    }
}

/// Whether events of the type concern rules: they run some, or end the rights with which some act.
pub(crate) fn is_handled(kind: EventType) -> bool {
    !baton_rules::TriggerType::of_event(kind).is_empty()
        || matches!(kind, EventType::MemberRemoved | EventType::DelegationEnded)
}
