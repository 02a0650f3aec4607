//! Tasks, as far as rules look at them, and the requests that change them.

use baton_conditions::{
    TaskFacts,
    choice::{Priority, Status, Visibility},
};
use baton_proto::{
    baton::task::v1::{
        BulkAction, ChangeTasksRequest, CreateTaskRequest, Task, TaskChange, TaskFilter, TaskPriority, TaskVisibility,
    },
    convert::{datetime, timestamp, to_object, to_struct},
};
use baton_rules::{TaskSelection, TaskState};
use chrono::DateTime;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::event;
use crate::plan::{Call, TaskNow};

/// What conditions read of a task as it is now, without its watchers.
pub(crate) fn facts(task: &Task) -> TaskFacts {
    let id = |id: &Option<String>| id.as_deref().and_then(|id| id.parse::<Uuid>().ok());
    let progress = task.progress.as_ref().map(|progress| u8::try_from(progress.percent).unwrap_or(100));
    TaskFacts {
        status: event::status(task.status()).and_then(Status::from_name),
        priority: Priority::from_name(event::priority(task.priority())),
        visibility: Visibility::from_name(event::visibility(task.visibility())),
        assignee: Some(id(&task.assigned_to)),
        creator: task.created_by.parse().ok(),
        assigned_by: Some(id(&task.assigned_by)),
        watchers: None,
        tags: Some(task.tags.clone()),
        due_at: Some(task.due_at.as_ref().and_then(datetime)),
        overdue: Some(task.overdue),
        estimated_seconds: Some(task.estimated_seconds.map(i64::from)),
        actual_seconds: Some(task.actual_seconds.into()),
        blocked: Some(task.blocked),
        progress: Some(progress),
        title: Some(task.title.clone()),
        description: Some(task.description.clone()),
        created_at: task.created_at.as_ref().and_then(datetime),
        started_at: Some(task.started_at.as_ref().and_then(datetime)),
        custom_fields: Some(task.custom_fields.clone().map(to_object).unwrap_or_default()),
    }
}

/// What conditions read of a task as it was: nothing that depends on other tasks.
pub(crate) fn past_facts(task: &Task) -> TaskFacts {
    TaskFacts { blocked: None, progress: None, ..facts(task) }
}

/// The state of a task as an event would say it.
pub(crate) fn state(task: &Task) -> Option<TaskState> {
    Some(TaskState {
        version: task.version,
        status: event::status(task.status())?.to_owned(),
        previous_status: None,
        priority: event::priority(task.priority()).to_owned(),
        visibility: event::visibility(task.visibility()).to_owned(),
        creator: task.created_by.parse().ok()?,
        assignee: task.assigned_to.as_deref().and_then(|id| id.parse().ok()),
        due_at: task.due_at.as_ref().and_then(datetime),
        estimated_seconds: task.estimated_seconds.map(i64::from),
        started_at: task.started_at.as_ref().and_then(datetime),
    })
}

/// The filter of a list.
pub(crate) fn filter(selection: &TaskSelection) -> TaskFilter {
    let status = selection.status.iter().filter_map(|name| event::status_of(name));
    TaskFilter {
        status: status.map(Into::into).collect(),
        priority: selection.priority.iter().map(|name| priority(name).into()).collect(),
        tags: selection.tags.clone(),
        assigned_to: selection.assigned_to.clone(),
        created_by: selection.created_by.clone(),
        overdue: selection.overdue,
        unassigned: selection.unassigned,
        has_due: selection.has_due,
        ..TaskFilter::default()
    }
}

/// What plans read of a task.
pub(crate) fn now(task: &Task) -> Option<TaskNow> {
    Some(TaskNow {
        id: task.id.parse().ok()?,
        status: event::status(task.status()).and_then(Status::from_name)?,
        assignee: task.assigned_to.as_deref().and_then(|id| id.parse().ok()),
        due_at: task.due_at.as_ref().and_then(datetime),
    })
}

/// The request of a call that changes a task; `None` for another call.
pub(crate) fn change(call: &Call, task_id: Uuid) -> Option<ChangeTasksRequest> {
    let mut request = ChangeTasksRequest { task_ids: vec![task_id.to_string()], ..ChangeTasksRequest::default() };
    let action = match call {
        Call::Move { name, reason } => {
            request.reason.clone_from(reason);
            match name.as_str() {
                "start" => BulkAction::Start,
                "pause" => BulkAction::Pause,
                "resume" => BulkAction::Resume,
                "complete" => BulkAction::Complete,
                "cancel" => BulkAction::Cancel,
                "archive" => BulkAction::Archive,
                "reopen" => BulkAction::Reopen,
                _ => return None,
            }
        }
        Call::Assign { to, reassign } => {
            request.assigned_to = Some(to.to_string());
            if *reassign { BulkAction::Reassign } else { BulkAction::Assign }
        }
        Call::Update { set, clear, add_tags, remove_tags } => {
            request.task = Some(values(set)).filter(|_| !set.is_empty());
            request.clear.clone_from(clear);
            request.add_tags.clone_from(add_tags);
            request.remove_tags.clone_from(remove_tags);
            BulkAction::Update
        }
        Call::Comment { .. } | Call::Create { .. } | Call::Tell { .. } | Call::Webhook { .. } => return None,
    };
    request.action = action.into();
    Some(request)
}

/// The new values of fields. They were checked when the rule was saved.
fn values(set: &Map<String, Value>) -> TaskChange {
    let mut change = TaskChange::default();
    let mut custom = Map::new();
    for (field, value) in set {
        let text = || value.as_str().unwrap_or_default().to_owned();
        match field.as_str() {
            "title" => change.title = text(),
            "description" => change.description = text(),
            "priority" => change.priority = priority(&text()).into(),
            "due_at" => {
                let time = DateTime::parse_from_rfc3339(&text()).ok();
                change.due_at = time.map(|time| timestamp(time.to_utc()));
            }
            "visibility" => change.visibility = visibility(&text()).into(),
            "estimated_seconds" => change.estimated_seconds = value.as_f64().map(|seconds| seconds as i32),
            field => {
                let key = field.strip_prefix("custom_fields.").unwrap_or(field);
                custom.insert(key.to_owned(), value.clone());
            }
        }
    }
    change.custom_fields = (!custom.is_empty()).then(|| to_struct(custom));
    change
}

/// The request of a call that creates a task; `None` for another call.
pub(crate) fn creation(call: &Call) -> Option<CreateTaskRequest> {
    let Call::Create { title, description, priority: name, due_at, assigned_to, parent_task_id } = call else {
        return None;
    };
    Some(CreateTaskRequest {
        title: title.clone(),
        description: description.clone(),
        priority: name.as_deref().map_or(TaskPriority::Unspecified, priority).into(),
        due_at: due_at.map(timestamp),
        assigned_to: assigned_to.map(|id| id.to_string()),
        parent_task_id: parent_task_id.map(|id| id.to_string()),
        ..CreateTaskRequest::default()
    })
}

fn priority(name: &str) -> TaskPriority {
    let known = [TaskPriority::Low, TaskPriority::Medium, TaskPriority::High, TaskPriority::Urgent];
    known.into_iter().find(|priority| event::priority(*priority) == name).unwrap_or_default()
}

fn visibility(name: &str) -> TaskVisibility {
    let known = [TaskVisibility::Private, TaskVisibility::Team, TaskVisibility::Account];
    known.into_iter().find(|visibility| event::visibility(*visibility) == name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_set_by_their_fields() {
        let set = json!({"priority": "high", "due_at": "2026-12-01T09:00:00+01:00", "estimated_seconds": 60.0, "custom_fields.site": "A"});
        let change = values(set.as_object().unwrap());
        assert_eq!((change.priority(), change.estimated_seconds), (TaskPriority::High, Some(60)));
        assert_eq!(change.due_at.unwrap().seconds, 1_796_112_000);
        assert_eq!(to_object(change.custom_fields.unwrap()), *json!({"site": "A"}).as_object().unwrap());
    }
}
