//! Bulk changes in the contract.

use baton_errors::{Error, Result};
use baton_proto::baton::task::v1::TaskChange;

use super::fields;
use crate::task::{Visibility, action::Update};

/// Fields of recurrence: each task would need its own time zone lookup.
const SINGLE_TASK_FIELDS: [&str; 2] = ["recurrence_rule", "recurrence_timezone"];

/// Sets the given values and clears the fields in `clear`. `default` is the account's default visibility.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn update(
    new: TaskChange,
    clear: Vec<String>,
    (add_tags, remove_tags): (Vec<String>, Vec<String>),
    default: Visibility,
) -> Result<Update> {
    let changes_tags = !add_tags.is_empty() || !remove_tags.is_empty();
    let set_paths = set_paths(&new);
    let alone = |path: &&String| SINGLE_TASK_FIELDS.contains(&path.as_str());
    if let Some(path) = set_paths.iter().chain(&clear).find(alone) {
        return Err(Error::invalid(format!("task.{path}"), "must be changed task by task"));
    }
    if let Some(index) = clear.iter().position(|path| set_paths.contains(path)) {
        return Err(Error::invalid(format!("clear[{index}]"), "must not be set as well"));
    }
    let mask: Vec<String> = set_paths.into_iter().chain(clear).collect();
    if mask.is_empty() && !changes_tags {
        return Err(Error::invalid("task", "must set a field, unless `clear`, `add_tags` or `remove_tags` names one"));
    }
    if changes_tags && mask.iter().any(|path| path == "tags") {
        return Err(Error::invalid("task.tags", "must not be set or cleared with `add_tags` or `remove_tags`"));
    }
    let new = fields::change(&mask, new)?;
    let update = Update { add_tags, remove_tags, ..Update::new(mask, new, default) };
    update.check()?;
    Ok(update)
}

/// Paths of the values that are set, with one path per custom field.
fn set_paths(new: &TaskChange) -> Vec<String> {
    let plain = [
        ("title", !new.title.is_empty()),
        ("description", !new.description.is_empty()),
        ("priority", new.priority != 0),
        ("due_at", new.due_at.is_some()),
        ("tags", !new.tags.is_empty()),
        ("visibility", new.visibility != 0),
        ("estimated_seconds", new.estimated_seconds.is_some()),
        ("parent_task_id", new.parent_task_id.is_some()),
        ("recurrence_rule", new.recurrence_rule.is_some()),
        ("recurrence_timezone", new.recurrence_timezone.is_some()),
    ];
    let members = new.custom_fields.iter().flat_map(|object| object.fields.keys());
    plain
        .into_iter()
        .filter(|(_, is_there)| *is_there)
        .map(|(name, _)| name.to_owned())
        .chain(members.map(|member| format!("custom_fields.{member}")))
        .collect()
}
