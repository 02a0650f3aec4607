//! Conversion between contract and domain.

pub(crate) mod attachment;
pub(crate) mod comment;
pub(crate) mod custom_field;
pub(crate) mod dependency;
pub(crate) mod subtasks;
pub(crate) mod time_entry;

use baton_access::Settings;
use baton_proto::{
    baton::{
        task::v1::{self as proto, TaskPriority, TaskStatus, TaskVisibility},
        tenancy::v1 as tenancy,
    },
    convert::{timestamp, to_struct},
};
use baton_store::RowCount;
use chrono::{DateTime, Utc};

use crate::{
    schedule::series,
    store::timeline::Entry,
    task::{Priority, Status, Task, Visibility, event_kind::EventKind},
};

/// The task as of `now`.
pub(crate) fn task(task: Task, now: DateTime<Utc>) -> proto::Task {
    let (actual_seconds, overdue) = (task.worked_seconds(now), task.is_overdue(now));
    let skipped_times = series::skipped_times(&task).into_iter().map(timestamp).collect();
    let fields = task.fields;
    proto::Task {
        id: task.id.to_string(),
        account_id: task.account_id.to_string(),
        title: fields.title,
        description: fields.description,
        status: to_status(task.status).into(),
        priority: to_priority(fields.priority).into(),
        due_at: fields.due_at.map(timestamp),
        tags: fields.tags,
        created_by: task.created_by.to_string(),
        assigned_to: task.assigned_to.map(|id| id.to_string()),
        assigned_by: task.assigned_by.map(|id| id.to_string()),
        accepted_at: task.accepted_at.map(timestamp),
        visibility: to_visibility(fields.visibility).into(),
        estimated_seconds: fields.estimated_seconds,
        actual_seconds,
        custom_fields: Some(to_struct(fields.custom_fields)),
        parent_task_id: fields.parent_task_id.map(|id| id.to_string()),
        version: task.version,
        created_at: Some(timestamp(task.created_at)),
        updated_at: Some(timestamp(task.updated_at)),
        started_at: task.started_at.map(timestamp),
        completed_at: task.completed_at.map(timestamp),
        pause_reason: task.pause_reason,
        overdue,
        archived_at: task.archived_at.map(timestamp),
        canceled_at: task.canceled_at.map(timestamp),
        deleted_at: task.deleted_at.map(timestamp),
        reassignment_count: task.reassignment_count,
        rank: task.rank.unwrap_or_default(),
        recurrence_rule: task.recurrence_rule,
        recurrence_timezone: task.recurrence_timezone,
        series_id: task.series_id.map(|id| id.to_string()),
        skipped_times,
        // Set by readers that know the task's subtasks and blockers.
        progress: None,
        blocked: false,
    }
}

/// An entry of a timeline.
pub(crate) fn entry(entry: Entry) -> proto::TimelineEntry {
    proto::TimelineEntry {
        id: entry.id.to_string(),
        kind: EventKind::from_name(&entry.kind).map_or(proto::TaskEventKind::Unspecified, EventKind::to_proto).into(),
        actor_id: entry.actor_id.to_string(),
        version: entry.version,
        occurred_at: Some(timestamp(entry.occurred_at)),
        changes: Some(to_struct(entry.changes.0)),
        reason: entry.reason,
    }
}

/// A column of a board.
pub(crate) fn column((status, total): (Status, RowCount)) -> proto::BoardColumn {
    proto::BoardColumn {
        status: to_status(status).into(),
        count: i32::try_from(total.count).unwrap_or(i32::MAX),
        count_is_estimate: total.is_estimate,
    }
}

/// The state in the contract.
pub(crate) fn to_status(status: Status) -> TaskStatus {
    match status {
        Status::Pending => TaskStatus::Pending,
        Status::InProgress => TaskStatus::InProgress,
        Status::Paused => TaskStatus::Paused,
        Status::Completed => TaskStatus::Completed,
        Status::Canceled => TaskStatus::Canceled,
        Status::Archived => TaskStatus::Archived,
    }
}

/// The state of the contract; `None` for unspecified or unknown.
pub(crate) fn status(status: i32) -> Option<Status> {
    Status::ALL.into_iter().find(|&known| to_status(known) as i32 == status)
}

/// The priority of the contract; `None` for unspecified or unknown.
pub(crate) fn priority(priority: i32) -> Option<Priority> {
    Priority::ALL.into_iter().find(|&known| to_priority(known) as i32 == priority)
}

/// The visibility of the contract; `None` for unspecified or unknown.
pub(crate) fn visibility(visibility: i32) -> Option<Visibility> {
    Visibility::ALL.into_iter().find(|&known| to_visibility(known) as i32 == visibility)
}

fn to_priority(priority: Priority) -> TaskPriority {
    match priority {
        Priority::Low => TaskPriority::Low,
        Priority::Medium => TaskPriority::Medium,
        Priority::High => TaskPriority::High,
        Priority::Urgent => TaskPriority::Urgent,
    }
}

/// The default visibility in the account's settings.
pub(crate) fn default_visibility(settings: &Settings) -> Visibility {
    match settings.default_visibility {
        tenancy::Visibility::Account => Visibility::Account,
        tenancy::Visibility::Team => Visibility::Team,
        tenancy::Visibility::Private | tenancy::Visibility::Unspecified => Visibility::Private,
    }
}

fn to_visibility(visibility: Visibility) -> TaskVisibility {
    match visibility {
        Visibility::Private => TaskVisibility::Private,
        Visibility::Team => TaskVisibility::Team,
        Visibility::Account => TaskVisibility::Account,
    }
}
