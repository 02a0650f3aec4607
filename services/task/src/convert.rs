//! Conversion between contract and domain.

pub(crate) mod assignment;
pub(crate) mod attachment;
pub(crate) mod board;
pub(crate) mod bulk;
pub(crate) mod comment;
pub(crate) mod custom_field;
pub(crate) mod dependency;
pub(crate) mod explain;
pub(crate) mod fields;
pub(crate) mod filter;
pub(crate) mod saved_view;
pub(crate) mod search;
pub(crate) mod subtasks;
pub(crate) mod time_entry;

use baton_access::Settings;
use baton_errors::{Error, Result};
use baton_proto::{
    baton::{
        task::v1::{self as proto, TaskEventKind, TaskPriority, TaskStatus, TaskVisibility},
        tenancy::v1 as tenancy,
    },
    convert::{datetime, timestamp, to_struct},
};
use baton_store::via;
use chrono::{DateTime, SubsecRound, Utc};
use prost_types::Timestamp;

use crate::{
    schedule::series,
    task::{
        Priority, Status, Task, Visibility,
        event_kind::EventKind,
        event_log::{StoredEntry, TimelineEntry},
    },
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
pub(crate) fn entry(TimelineEntry { id, via, logged }: TimelineEntry) -> proto::TimelineEntry {
    let StoredEntry { version, kind, actor_id, occurred_at, changes, reason } = logged;
    proto::TimelineEntry {
        id: id.to_string(),
        kind: kind.map_or(TaskEventKind::Unspecified, to_event_kind).into(),
        actor_id: actor_id.to_string(),
        version,
        occurred_at: Some(timestamp(occurred_at)),
        changes: Some(to_struct(changes)),
        reason,
        via: via.map(via::to_proto),
    }
}

/// The kind of an event in the contract.
pub(crate) fn to_event_kind(kind: EventKind) -> TaskEventKind {
    match kind {
        EventKind::Created => TaskEventKind::Created,
        EventKind::Updated => TaskEventKind::Updated,
        EventKind::Deleted => TaskEventKind::Deleted,
        EventKind::Started => TaskEventKind::Started,
        EventKind::Paused => TaskEventKind::Paused,
        EventKind::Resumed => TaskEventKind::Resumed,
        EventKind::Completed => TaskEventKind::Completed,
        EventKind::Assigned => TaskEventKind::Assigned,
        EventKind::Reassigned => TaskEventKind::Reassigned,
        EventKind::Accepted => TaskEventKind::Accepted,
        EventKind::Rejected => TaskEventKind::Rejected,
        EventKind::Archived => TaskEventKind::Archived,
        EventKind::Canceled => TaskEventKind::Canceled,
        EventKind::Reopened => TaskEventKind::Reopened,
        EventKind::Restored => TaskEventKind::Restored,
        EventKind::Moved => TaskEventKind::Moved,
        EventKind::TimeCorrected => TaskEventKind::TimeCorrected,
    }
}

/// A time that RFC 3339 can express, truncated to microseconds as in Postgres. `field` names it in errors.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn time(time: &Timestamp, field: &str) -> Result<DateTime<Utc>> {
    Ok(exact_time(time, field)?.trunc_subsecs(6))
}

/// [`time`] without truncation.
fn exact_time(time: &Timestamp, field: &str) -> Result<DateTime<Utc>> {
    datetime(time).ok_or_else(|| Error::invalid(field, "must be a time in the years 1 to 9999"))
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

/// The priority in the contract.
pub(crate) fn to_priority(priority: Priority) -> TaskPriority {
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

/// The visibility in the contract.
pub(crate) fn to_visibility(visibility: Visibility) -> TaskVisibility {
    match visibility {
        Visibility::Private => TaskVisibility::Private,
        Visibility::Team => TaskVisibility::Team,
        Visibility::Account => TaskVisibility::Account,
    }
}
