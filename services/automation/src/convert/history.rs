//! The past of tasks, for tests and backtests.

use baton_catalog::EventType;
use baton_errors::{Error, Result};
use baton_proto::{
    baton::task::v1::{Task, TaskEventKind, TaskHistoryEvent},
    convert::datetime,
};
use baton_rules::{Occurrence, TaskState};

use super::{event, task};
use crate::{backtest::PastEvent, state_timer::StateChange};

/// An event of the past of a task.
///
/// # Errors
/// INTERNAL when it is malformed.
pub(crate) fn past_event(past: &TaskHistoryEvent, before: Option<&Task>) -> Result<PastEvent> {
    let malformed = || Error::internal("a malformed event");
    let after = past.after.as_ref().ok_or_else(malformed)?;
    let occurred_at = past.occurred_at.as_ref().and_then(datetime).ok_or_else(malformed)?;
    let task_id = after.id.parse().map_err(Error::internal)?;
    let state = task::state(after).ok_or_else(malformed)?;
    let (status, assignee, due_at) = (state.status, state.assignee, state.due_at);
    Ok(PastEvent {
        task_id,
        occurred_at,
        occurrences: occurrences(past, before)?,
        before: before.map(task::past_facts),
        after: task::past_facts(after),
        change: Some(StateChange { task_id, status, assignee, due_at, occurred_at }),
    })
}

/// The type of an event of a task's timeline; `None` for one that no rule runs on.
fn event_type(kind: TaskEventKind) -> Option<EventType> {
    Some(match kind {
        TaskEventKind::Created => EventType::TaskCreated,
        TaskEventKind::Updated => EventType::TaskUpdated,
        TaskEventKind::Started => EventType::TaskStarted,
        TaskEventKind::Paused => EventType::TaskPaused,
        TaskEventKind::Resumed => EventType::TaskResumed,
        TaskEventKind::Completed => EventType::TaskCompleted,
        TaskEventKind::Assigned => EventType::TaskAssigned,
        TaskEventKind::Reassigned => EventType::TaskReassigned,
        TaskEventKind::Accepted => EventType::TaskAccepted,
        TaskEventKind::Rejected => EventType::TaskRejected,
        TaskEventKind::Archived => EventType::TaskArchived,
        TaskEventKind::Canceled => EventType::TaskCanceled,
        TaskEventKind::Reopened => EventType::TaskReopened,
        TaskEventKind::Unspecified
        | TaskEventKind::Deleted
        | TaskEventKind::Restored
        | TaskEventKind::Moved
        | TaskEventKind::TimeCorrected => return None,
    })
}

/// The occurrences of an event of a task's past, as the task service has published them.
///
/// # Errors
/// INTERNAL when the event is malformed.
fn occurrences(past: &TaskHistoryEvent, before: Option<&Task>) -> Result<Vec<Occurrence>> {
    let malformed = || Error::internal("a malformed event");
    let Some(kind) = event_type(past.kind()) else { return Ok(Vec::new()) };
    let after = past.after.as_ref().ok_or_else(malformed)?;
    let state = task::state(after).ok_or_else(malformed)?;
    let previous_status = before.and_then(|before| event::status(before.status())).map(str::to_owned);
    let occurrence = Occurrence {
        event_id: past.id.parse().map_err(Error::internal)?,
        kind: kind.name().to_owned(),
        occurred_at: past.occurred_at.as_ref().and_then(datetime).ok_or_else(malformed)?,
        actor: past.actor_id.parse().ok(),
        task_id: after.id.parse().ok(),
        task: Some(TaskState { previous_status, ..state }),
        changed_fields: past.changed_fields.clone(),
        late: false,
        depth: past.via.as_ref().map_or(0, |via| u16::try_from(via.depth).unwrap_or(u16::MAX)),
        rule_id: past.via.as_ref().and_then(event::rule_of),
        in_state_since: None,
    };
    if kind == EventType::TaskCreated && after.assigned_by.is_some() {
        // One entry, but two events.
        let kind = EventType::TaskAssigned.name().to_owned();
        let changed_fields = vec!["assigned_to".to_owned(), "assigned_by".to_owned()];
        let assigned = Occurrence { kind, changed_fields, ..occurrence.clone() };
        return Ok(vec![occurrence, assigned]);
    }
    Ok(vec![occurrence])
}
