//! Written fields of tasks in the contract.

use baton_errors::Result;
use baton_proto::{
    baton::task::v1::{CreateTaskRequest, TaskChange},
    convert::to_object,
};

use super::{priority, time, visibility};
use crate::{
    schedule::series::{RULE, RecurrencePatch, TIMEZONE},
    task::fields::{NewValues, id},
};

/// The values of a new task.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn new_task(request: CreateTaskRequest) -> Result<NewValues> {
    Ok(NewValues {
        title: request.title,
        description: request.description,
        priority: priority(request.priority),
        due_at: request.due_at.as_ref().map(|at| time(at, "due_at")).transpose()?,
        tags: request.tags,
        visibility: visibility(request.visibility),
        estimated_seconds: request.estimated_seconds,
        custom_fields: request.custom_fields.map(to_object).unwrap_or_default(),
        parent_task_id: request.parent_task_id.as_deref().map(|parent| id(parent, "parent_task_id")).transpose()?,
    })
}

/// The new values of a task. Those that `mask` does not name may be invalid, and are left out.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn change(mask: &[String], change: TaskChange) -> Result<NewValues> {
    let is_named = |field: &str| mask.iter().any(|path| path == field);
    let due_at = change.due_at.filter(|_| is_named("due_at"));
    let parent_task_id = change.parent_task_id.filter(|_| is_named("parent_task_id"));
    Ok(NewValues {
        title: change.title,
        description: change.description,
        priority: priority(change.priority),
        due_at: due_at.map(|at| time(&at, "task.due_at")).transpose()?,
        tags: change.tags,
        visibility: visibility(change.visibility),
        estimated_seconds: change.estimated_seconds,
        custom_fields: change.custom_fields.map(to_object).unwrap_or_default(),
        parent_task_id: parent_task_id.map(|parent| id(&parent, "task.parent_task_id")).transpose()?,
    })
}

/// The recurrence of a new task.
pub(crate) fn new_recurrence(request: &CreateTaskRequest) -> RecurrencePatch {
    RecurrencePatch {
        rule: request.recurrence_rule.clone().map(Some),
        timezone: request.recurrence_timezone.clone().map(Some),
    }
}

/// The new recurrence of a task. Takes its fields out of `mask`.
pub(crate) fn recurrence_change(mask: &mut Vec<String>, change: &TaskChange) -> RecurrencePatch {
    let mut patch = RecurrencePatch::default();
    mask.retain(|path| {
        match path.as_str() {
            RULE => patch.rule = Some(change.recurrence_rule.clone()),
            TIMEZONE => patch.timezone = Some(change.recurrence_timezone.clone()),
            _ => return true,
        }
        false
    });
    patch
}

#[cfg(test)]
mod tests {
    use baton_proto::convert::to_struct;
    use prost_types::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn refused<T: std::fmt::Debug>(result: Result<T>) -> String {
        let status = tonic::Status::from(result.unwrap_err());
        let details = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
        details.field_violations[0].field.clone()
    }

    #[test]
    fn times_outside_rfc_3339_are_refused_by_name() {
        for due_at in [Timestamp { seconds: i64::MAX, nanos: 0 }, Timestamp { seconds: 0, nanos: -1 }] {
            let request = CreateTaskRequest { due_at: Some(due_at), ..CreateTaskRequest::default() };
            assert_eq!(refused(new_task(request)), "due_at");
            let new = TaskChange { due_at: Some(due_at), ..TaskChange::default() };
            assert_eq!(refused(change(&["due_at".to_owned()], new.clone())), "task.due_at");
            assert_eq!(change(&[], new).unwrap(), NewValues::default(), "what the mask does not name");
        }
    }

    #[test]
    fn due_time_has_the_precision_of_postgres() {
        let new = TaskChange { due_at: Some(Timestamp { seconds: 5, nanos: 1_999 }), ..TaskChange::default() };
        let due_at = change(&["due_at".to_owned()], new).unwrap().due_at.unwrap();
        assert_eq!((due_at.timestamp(), due_at.timestamp_subsec_nanos()), (5, 1_000));
    }

    #[test]
    fn custom_fields_keep_their_members() {
        let Value::Object(given) = json!({"a.b": {"c": [4, null]}, "d": "x"}) else { panic!("an object") };
        let new = TaskChange { custom_fields: Some(to_struct(given.clone())), ..TaskChange::default() };
        assert_eq!(change(&[], new).unwrap().custom_fields, given);
    }
}
