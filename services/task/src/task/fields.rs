//! The fields that members write, and their validation.
//!
//! Text was normalized (`baton.text.v1.kind`) when the message was decoded, and the limits that `buf.validate`
//! expresses were checked.

use baton_errors::{Error, Result};
use baton_store::json::{self, Limits};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::task::{Priority, Visibility};

const MAX_CUSTOM_FIELDS: usize = 50;
/// Maximum number of tags. The contract has it too.
const MAX_TAGS: usize = 20;
const CUSTOM_FIELDS: Limits = Limits { bytes: 16 * 1024, levels: 10 };

/// The writable fields of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fields {
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) priority: Priority,
    pub(crate) due_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    pub(crate) visibility: Visibility,
    pub(crate) estimated_seconds: Option<i32>,
    #[serde(default)]
    pub(crate) custom_fields: Map<String, Value>,
    pub(crate) parent_task_id: Option<Uuid>,
}

/// New values of fields. A value that is absent is the default of a new task, and clears the field of an existing one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NewValues {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) priority: Option<Priority>,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) tags: Vec<String>,
    pub(crate) visibility: Option<Visibility>,
    pub(crate) estimated_seconds: Option<i32>,
    pub(crate) custom_fields: Map<String, Value>,
    pub(crate) parent_task_id: Option<Uuid>,
}

impl Fields {
    /// The fields of a new task. `default` is the account's default visibility.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn new(new: NewValues, default: Visibility) -> Result<Self> {
        check_custom_fields(&new.custom_fields, "custom_fields")?;
        Ok(Self {
            title: required(new.title, "title")?,
            description: new.description,
            priority: new.priority.unwrap_or(Priority::Medium),
            due_at: new.due_at,
            tags: tags(new.tags),
            visibility: new.visibility.unwrap_or(default),
            estimated_seconds: new.estimated_seconds,
            custom_fields: new.custom_fields,
            parent_task_id: new.parent_task_id,
        })
    }

    /// Sets the fields in `mask` from `new`. `default` is the account's default visibility, which clearing restores.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn change(&mut self, mask: &[String], new: &NewValues, default: Visibility) -> Result<()> {
        if mask.is_empty() {
            return Err(Error::invalid("update_mask", "must name a field"));
        }
        let mut custom_fields_changed = false;
        for path in mask {
            match path.as_str() {
                "title" => self.title = required(new.title.clone(), "task.title")?,
                "description" => self.description.clone_from(&new.description),
                "priority" => self.priority = new.priority.unwrap_or(Priority::Medium),
                "due_at" => self.due_at = new.due_at,
                "tags" => self.tags = tags(new.tags.clone()),
                "visibility" => self.visibility = new.visibility.unwrap_or(default),
                "estimated_seconds" => self.estimated_seconds = new.estimated_seconds,
                "parent_task_id" => self.parent_task_id = new.parent_task_id,
                "custom_fields" => {
                    self.custom_fields.clone_from(&new.custom_fields);
                    custom_fields_changed = true;
                }
                path => {
                    let Some(member) = path.strip_prefix("custom_fields.") else {
                        return Err(Error::invalid("update_mask", "must name fields of a task"));
                    };
                    match new.custom_fields.get(member) {
                        Some(value) => self.custom_fields.insert(member.to_owned(), value.clone()),
                        None => self.custom_fields.remove(member),
                    };
                    custom_fields_changed = true;
                }
            }
        }
        if custom_fields_changed {
            check_custom_fields(&self.custom_fields, "task.custom_fields")?;
        }
        Ok(())
    }

    /// Adds tags and removes others. One that is in both lists is removed.
    ///
    /// # Errors
    /// VALIDATION_FAILED when it would have too many tags.
    pub(crate) fn change_tags(&mut self, add: &[String], remove: &[String]) -> Result<()> {
        let changed = self.tags.iter().chain(add).filter(|tag| !remove.contains(tag)).cloned();
        let changed = tags(changed.collect());
        if changed.len() > MAX_TAGS && changed.len() > self.tags.len() {
            return Err(Error::invalid("add_tags", format!("must leave the task with at most {MAX_TAGS} tags")));
        }
        self.tags = changed;
        Ok(())
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
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    pub(crate) fn fields(title: &str) -> Fields {
        Fields::new(NewValues { title: title.to_owned(), ..NewValues::default() }, Visibility::Private).unwrap()
    }

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(fields) = value else { panic!("an object") };
        fields
    }

    fn refused(new: NewValues) -> String {
        let status = tonic::Status::from(Fields::new(new, Visibility::Private).unwrap_err());
        let details = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
        details.field_violations[0].field.clone()
    }

    fn change(fields: &mut Fields, mask: &[&str], new: &NewValues) -> Result<()> {
        let mask: Vec<_> = mask.iter().map(|&path| path.to_owned()).collect();
        fields.change(&mask, new, Visibility::Private)
    }

    #[test]
    fn invalid_fields_are_refused_by_name() {
        let plain = || NewValues { title: "Sweep".to_owned(), ..NewValues::default() };
        let deep = object(json!({"a": [{"b\0": 1}]}));
        let many = (0..51).map(|n| (n.to_string(), json!(n))).collect();
        let long = object(json!({"text": "x".repeat(CUSTOM_FIELDS.bytes)}));
        for (new, field) in [
            (NewValues { title: String::new(), ..plain() }, "title"),
            (NewValues { custom_fields: deep, ..plain() }, "custom_fields"),
            (NewValues { custom_fields: many, ..plain() }, "custom_fields"),
            (NewValues { custom_fields: long, ..plain() }, "custom_fields"),
        ] {
            assert_eq!(refused(new), field);
        }
    }

    #[test]
    fn absent_value_in_the_mask_clears() {
        let mut fields = fields("Sweep");
        let new = NewValues {
            description: "All of it".to_owned(),
            priority: Some(Priority::Urgent),
            due_at: Some(DateTime::UNIX_EPOCH),
            visibility: Some(Visibility::Team),
            estimated_seconds: Some(60),
            ..NewValues::default()
        };
        let mask = ["description", "priority", "due_at", "visibility", "estimated_seconds"];
        change(&mut fields, &mask, &new).unwrap();
        assert_eq!((fields.priority, fields.estimated_seconds), (Priority::Urgent, Some(60)));
        assert_eq!((fields.due_at, fields.visibility), (new.due_at, Visibility::Team));
        change(&mut fields, &mask, &NewValues::default()).unwrap();
        assert_eq!(fields, self::fields("Sweep"));
    }

    #[test]
    fn unknown_mask_path_is_refused() {
        for mask in [&[][..], &["status"], &["title", "custom_field.a"], &["TITLE"], &["title.x"], &[""]] {
            let new = NewValues { title: "New".to_owned(), ..NewValues::default() };
            assert!(change(&mut fields("Sweep"), mask, &new).is_err(), "{mask:?}");
        }
        assert!(change(&mut fields("Sweep"), &["title"], &NewValues::default()).is_err(), "a title stays");
    }

    #[test]
    fn custom_fields_change_as_a_whole_or_by_member() {
        let mut fields = fields("Sweep");
        let new = |value| NewValues { custom_fields: object(value), ..NewValues::default() };
        change(&mut fields, &["custom_fields"], &new(json!({"keep": 1, "gone": 2, "a.b": 3}))).unwrap();
        let mask = ["custom_fields.gone", "custom_fields.a.b", "custom_fields.new"];
        change(&mut fields, &mask, &new(json!({"a.b": {"c": [4]}, "new": "x", "unnamed": true}))).unwrap();
        assert_eq!(Value::Object(fields.custom_fields.clone()), json!({"keep": 1, "a.b": {"c": [4]}, "new": "x"}));
        change(&mut fields, &["custom_fields"], &NewValues::default()).unwrap();
        assert!(fields.custom_fields.is_empty());
    }

    #[test]
    fn tags_are_added_and_removed_up_to_the_limit() {
        let owned = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
        let mut fields = fields("Ship it");
        fields.change_tags(&owned(&["b", "a", "a"]), &[]).unwrap();
        fields.change_tags(&owned(&["c"]), &owned(&["a", "never there"])).unwrap();
        assert_eq!(fields.tags, ["b", "c"]);
        let many: Vec<String> = (0..MAX_TAGS - 1).map(|n| format!("t{n}")).collect();
        assert!(fields.change_tags(&many, &[]).is_err());
        assert_eq!(fields.tags, ["b", "c"]);
        fields.change_tags(&many, &owned(&["b"])).unwrap();
        assert_eq!(fields.tags.len(), MAX_TAGS);
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
            let new = NewValues { title, tags, ..NewValues::default() };
            let before = Fields::new(new.clone(), Visibility::Private).unwrap();
            let mut after = before.clone();
            let mask = ["title", "tags", "priority", "visibility", "due_at", "custom_fields", "parent_task_id"];
            change(&mut after, &mask, &new).unwrap();
            prop_assert_eq!(before, after);
        }
    }
}
