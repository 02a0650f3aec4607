//! How tasks hang together, and custom fields, in the contract.

use baton_proto::{
    baton::task::v1::{self as proto, CustomFieldType, DueConflictKind},
    convert::timestamp,
};
use chrono::{DateTime, Utc};

use super::to_status;
use crate::{
    people::visibility::Who,
    store::parts::Around,
    task::{
        Task,
        custom_field::{Choice, CustomField, Form},
        dependency::{Conflict, Linked, conflicts},
        parts::Progress,
    },
};

/// The task as it stands at `now`, with what stands around it.
pub(crate) fn task(task: Task, around: Around, now: DateTime<Utc>) -> proto::Task {
    let progress = around.progress.map(progress);
    proto::Task { progress, blocked: around.blocked, ..super::task(task, now) }
}

/// What waits for what around a task; `who` sees it, and perhaps not all that it is linked with.
pub(crate) fn dependencies(
    task: &Task,
    linked: Vec<Linked>,
    who: Who<'_>,
    now: DateTime<Utc>,
) -> proto::TaskDependencies {
    let mut answer = proto::TaskDependencies::default();
    let own = (task.status, task.fields.due_at);
    for other in linked {
        let seen = who.sees_one_of(other.created_by, other.assigned_to, other.visibility);
        let (task_id, other_id) = (Some(task.id.to_string()), seen.then(|| other.id.to_string()));
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
        answer.conflicts.extend(found);
        answer.blocked |= !other.waits && other.status.is_open();
        let links = if other.waits { &mut answer.blocks } else { &mut answer.blocked_by };
        links.push(proto::LinkedTask {
            task_id: other_id,
            title: seen.then_some(other.title),
            status: to_status(other.status).into(),
            due_at: other.due_at.map(timestamp),
            linked_at: Some(timestamp(other.linked_at)),
        });
    }
    answer
}

/// The definition of a custom field.
pub(crate) fn custom_field(field: CustomField) -> proto::CustomField {
    proto::CustomField {
        id: field.id.to_string(),
        account_id: field.account_id.to_string(),
        key: field.key,
        name: field.name,
        r#type: to_form(field.form).into(),
        options: field.options.into_iter().map(|Choice { id, name }| proto::CustomFieldOption { id, name }).collect(),
        required: field.required,
        version: field.version,
        created_at: Some(timestamp(field.created_at)),
        updated_at: Some(timestamp(field.updated_at)),
    }
}

/// The form of the contract; `None` for unspecified or unknown.
pub(crate) fn form(form: i32) -> Option<Form> {
    Form::ALL.into_iter().find(|&known| to_form(known) as i32 == form)
}

/// The options of the contract.
pub(crate) fn options(options: Vec<proto::CustomFieldOption>) -> Vec<Choice> {
    options.into_iter().map(|proto::CustomFieldOption { id, name }| Choice { id, name }).collect()
}

fn progress(progress: Progress) -> proto::TaskProgress {
    proto::TaskProgress {
        total: progress.total,
        completed: progress.completed,
        percent: progress.percent(),
        estimated_seconds: progress.estimated_seconds,
        actual_seconds: progress.actual_seconds,
    }
}

fn conflict(conflict: Conflict) -> DueConflictKind {
    match conflict {
        Conflict::DueBeforeBlocker => DueConflictKind::DueBeforeBlocker,
        Conflict::BlockerOverdue => DueConflictKind::BlockerOverdue,
    }
}

fn to_form(form: Form) -> CustomFieldType {
    match form {
        Form::Text => CustomFieldType::Text,
        Form::Number => CustomFieldType::Number,
        Form::Date => CustomFieldType::Date,
        Form::Checkbox => CustomFieldType::Checkbox,
        Form::Select => CustomFieldType::Select,
        Form::MultiSelect => CustomFieldType::MultiSelect,
        Form::Person => CustomFieldType::Person,
        Form::Url => CustomFieldType::Url,
    }
}
