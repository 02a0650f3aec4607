//! The fields that members write, and their validation.
//!
//! Text was normalized (`baton.text.v1.kind`) when the message was decoded, and the limits that `buf.validate`
//! expresses were checked.

use baton_errors::{Error, Result};
use baton_proto::{
    baton::task::v1::{CreateTaskRequest, TaskChange},
    convert::{datetime, to_object},
};
use baton_store::json::{self, Limits};
use chrono::{DateTime, SubsecRound, Utc};
use prost_types::{Struct, Timestamp};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    convert,
    task::{Priority, Visibility},
};

const MAX_CUSTOM_FIELDS: usize = 50;
const CUSTOM_FIELDS: Limits = Limits { bytes: 16 * 1024, levels: 10 };

/// The writable fields of a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fields {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) priority: Priority,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) tags: Vec<String>,
    pub(crate) visibility: Visibility,
    pub(crate) estimated_seconds: Option<i32>,
    pub(crate) custom_fields: Map<String, Value>,
    pub(crate) parent_task_id: Option<Uuid>,
}

impl Fields {
    /// The fields of a new task. `default` is the account's default visibility.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn new(request: CreateTaskRequest, default: Visibility) -> Result<Self> {
        let custom_fields = request.custom_fields.map(to_object).unwrap_or_default();
        check_custom_fields(&custom_fields, "custom_fields")?;
        Ok(Self {
            title: required(request.title, "title")?,
            description: request.description,
            priority: convert::priority(request.priority).unwrap_or(Priority::Medium),
            due_at: request.due_at.as_ref().map(|time| self::time(time, "due_at")).transpose()?,
            tags: tags(request.tags),
            visibility: convert::visibility(request.visibility).unwrap_or(default),
            estimated_seconds: request.estimated_seconds,
            custom_fields,
            parent_task_id: request.parent_task_id.as_deref().map(|id| self::id(id, "parent_task_id")).transpose()?,
        })
    }

    /// Sets the fields in `mask` from `new`; a field that is absent there is cleared. `default` is the account's
    /// default visibility, which clearing restores.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn change(&mut self, mask: &[String], mut new: TaskChange, default: Visibility) -> Result<()> {
        if mask.is_empty() {
            return Err(Error::invalid("update_mask", "must name a field"));
        }
        let mut custom_fields_changed = false;
        for path in mask {
            match path.as_str() {
                "title" => self.title = required(new.title.clone(), "task.title")?,
                "description" => self.description = std::mem::take(&mut new.description),
                "priority" => self.priority = convert::priority(new.priority).unwrap_or(Priority::Medium),
                "due_at" => self.due_at = new.due_at.as_ref().map(|at| time(at, "task.due_at")).transpose()?,
                "tags" => self.tags = tags(new.tags.clone()),
                "visibility" => {
                    self.visibility = convert::visibility(new.visibility).unwrap_or(default);
                }
                "estimated_seconds" => self.estimated_seconds = new.estimated_seconds,
                "parent_task_id" => {
                    let parent = new.parent_task_id.as_deref();
                    self.parent_task_id = parent.map(|parent| id(parent, "task.parent_task_id")).transpose()?;
                }
                "custom_fields" => {
                    self.custom_fields = new.custom_fields.clone().map(to_object).unwrap_or_default();
                    custom_fields_changed = true;
                }
                path => {
                    let Some(member) = path.strip_prefix("custom_fields.") else {
                        return Err(Error::invalid("update_mask", "must name fields of a task"));
                    };
                    self.change_custom_field(member, new.custom_fields.as_ref());
                    custom_fields_changed = true;
                }
            }
        }
        if custom_fields_changed {
            check_custom_fields(&self.custom_fields, "task.custom_fields")?;
        }
        Ok(())
    }

    fn change_custom_field(&mut self, member: &str, new: Option<&Struct>) {
        match new.and_then(|new| new.fields.get(member)) {
            Some(value) => {
                let one = Struct { fields: [(member.to_owned(), value.clone())].into() };
                self.custom_fields.extend(to_object(one));
            }
            None => {
                self.custom_fields.remove(member);
            }
        }
    }
}

/// Text that Postgres can store: without U+0000.
pub(crate) fn text(text: String, field: &str) -> Result<String> {
    if text.contains('\0') { Err(Error::invalid(field, "must not contain U+0000")) } else { Ok(text) }
}

/// Text that must not be empty. Blank text was refused when the message was decoded.
pub(crate) fn required(given: String, field: &str) -> Result<String> {
    if given.is_empty() { Err(Error::invalid(field, "must not be empty")) } else { Ok(given) }
}

/// A time that RFC 3339 can express, truncated to microseconds as in Postgres.
pub(crate) fn time(time: &Timestamp, field: &str) -> Result<DateTime<Utc>> {
    let time = datetime(time).ok_or_else(|| Error::invalid(field, "must be a time in the years 1 to 9999"))?;
    Ok(time.trunc_subsecs(6))
}

/// Parses an id.
pub(crate) fn id(id: &str, field: &str) -> Result<Uuid> {
    id.parse().map_err(|_| Error::invalid(field, "must be a UUID"))
}

/// Sorts the tags and removes duplicates.
fn tags(mut tags: Vec<String>) -> Vec<String> {
    tags.sort();
    tags.dedup();
    tags
}

fn check_custom_fields(fields: &Map<String, Value>, field: &str) -> Result<()> {
    if fields.len() > MAX_CUSTOM_FIELDS {
        return Err(Error::invalid(field, format!("must have at most {MAX_CUSTOM_FIELDS} members")));
    }
    json::check(fields, field, CUSTOM_FIELDS)
}

#[cfg(test)]
pub(crate) mod tests {
    use baton_proto::{
        baton::task::v1::{TaskPriority, TaskVisibility},
        convert::to_struct,
    };
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    pub(crate) fn fields(title: &str) -> Fields {
        Fields::new(CreateTaskRequest { title: title.to_owned(), ..Default::default() }, Visibility::Private).unwrap()
    }

    fn object(value: Value) -> Struct {
        let Value::Object(fields) = value else { panic!("an object") };
        to_struct(fields)
    }

    fn refused(request: CreateTaskRequest) -> String {
        let status = tonic::Status::from(Fields::new(request, Visibility::Private).unwrap_err());
        let details = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
        details.field_violations[0].field.clone()
    }

    fn change(fields: &mut Fields, mask: &[&str], new: TaskChange) -> Result<()> {
        let mask: Vec<_> = mask.iter().map(|&path| path.to_owned()).collect();
        fields.change(&mask, new, Visibility::Private)
    }

    #[test]
    fn invalid_fields_are_refused_by_name() {
        let plain = || CreateTaskRequest { title: "Sweep".to_owned(), ..Default::default() };
        let deep = object(json!({"a": [{"b\0": 1}]}));
        let many = object((0..51).map(|n| (n.to_string(), json!(n))).collect::<Map<_, _>>().into());
        let long = object(json!({"text": "x".repeat(CUSTOM_FIELDS.bytes)}));
        for (request, field) in [
            (CreateTaskRequest { title: String::new(), ..plain() }, "title"),
            (CreateTaskRequest { due_at: Some(Timestamp { seconds: i64::MAX, nanos: 0 }), ..plain() }, "due_at"),
            (CreateTaskRequest { due_at: Some(Timestamp { seconds: 0, nanos: -1 }), ..plain() }, "due_at"),
            (CreateTaskRequest { custom_fields: Some(deep), ..plain() }, "custom_fields"),
            (CreateTaskRequest { custom_fields: Some(many), ..plain() }, "custom_fields"),
            (CreateTaskRequest { custom_fields: Some(long), ..plain() }, "custom_fields"),
        ] {
            assert_eq!(refused(request), field);
        }
    }

    #[test]
    fn absent_value_in_the_mask_clears() {
        let mut fields = fields("Sweep");
        let new = TaskChange {
            description: "All of it".to_owned(),
            priority: TaskPriority::Urgent as i32,
            due_at: Some(Timestamp { seconds: 5, nanos: 1_999 }),
            visibility: TaskVisibility::Team as i32,
            estimated_seconds: Some(60),
            ..Default::default()
        };
        let mask = ["description", "priority", "due_at", "visibility", "estimated_seconds"];
        change(&mut fields, &mask, new).unwrap();
        assert_eq!((fields.priority, fields.estimated_seconds), (Priority::Urgent, Some(60)));
        assert_eq!(fields.due_at.unwrap().timestamp_subsec_nanos(), 1_000, "what Postgres keeps");
        change(&mut fields, &mask, TaskChange::default()).unwrap();
        assert_eq!(fields, self::fields("Sweep"));
    }

    #[test]
    fn unknown_mask_path_is_refused() {
        for mask in [&[][..], &["status"], &["title", "custom_field.a"], &["TITLE"], &["title.x"], &[""]] {
            let new = TaskChange { title: "New".to_owned(), ..Default::default() };
            assert!(change(&mut fields("Sweep"), mask, new).is_err(), "{mask:?}");
        }
        assert!(change(&mut fields("Sweep"), &["title"], TaskChange::default()).is_err(), "a title stays");
    }

    #[test]
    fn custom_fields_change_as_a_whole_or_by_member() {
        let mut fields = fields("Sweep");
        let new = |value| TaskChange { custom_fields: Some(object(value)), ..Default::default() };
        change(&mut fields, &["custom_fields"], new(json!({"keep": 1, "gone": 2, "a.b": 3}))).unwrap();
        let mask = ["custom_fields.gone", "custom_fields.a.b", "custom_fields.new"];
        change(&mut fields, &mask, new(json!({"a.b": {"c": [4]}, "new": "x", "unnamed": true}))).unwrap();
        assert_eq!(Value::Object(fields.custom_fields.clone()), json!({"keep": 1, "a.b": {"c": [4]}, "new": "x"}));
        change(&mut fields, &["custom_fields"], TaskChange::default()).unwrap();
        assert!(fields.custom_fields.is_empty());
    }

    proptest! {
        #[test]
        fn tags_are_sorted_and_distinct(given in prop::collection::vec("[a-c]{1,3}", 0..20)) {
            let tidy = tags(given.clone());
            prop_assert!(tidy.is_sorted_by(|a, b| a < b));
            prop_assert!(given.iter().all(|tag| tidy.contains(tag)));
        }

        #[test]
        fn setting_equal_values_has_no_effect(title in "[a-z]{1,9}", tags in prop::collection::vec("[a-z]{1,3}", 0..5)) {
            let request = CreateTaskRequest { title: title.clone(), tags: tags.clone(), ..Default::default() };
            let before = Fields::new(request, Visibility::Private).unwrap();
            let mut after = before.clone();
            let mask = ["title", "tags", "priority", "visibility", "due_at", "custom_fields", "parent_task_id"];
            change(&mut after, &mask, TaskChange { title, tags, ..Default::default() }).unwrap();
            prop_assert_eq!(before, after);
        }
    }
}
