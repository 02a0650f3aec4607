//! Actions of rules.

use baton_conditions::{
    Field, Template,
    choice::{Priority, Status},
};
use baton_errors::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::people::To;

/// Characters of a message to people.
pub const MAX_NOTICE_LEN: usize = 500;

/// Fields that a webhook sends.
const MAX_WEBHOOK_FIELDS: usize = 20;

/// Fields of a task that `set_field` sets.
const SETTABLE: [&str; 6] = ["title", "description", "priority", "due_at", "visibility", "estimated_seconds"];
/// The prefix of custom fields.
const CUSTOM: &str = "custom_fields.";

/// An action, as it is stored: what it does, and whether those after it run although it failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// What it does.
    #[serde(flatten)]
    pub verb: Verb,
    /// Whether the actions after it run although it failed.
    #[serde(default, rename = "continue", skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Verb {
    /// Sends a message.
    Notify {
        /// The recipients.
        to: To,
        /// The message, a template.
        message: String,
    },
    /// Assigns the task.
    Assign {
        /// The new assignee.
        to: To,
    },
    /// Sets a field of the task.
    SetField {
        /// The name of the field.
        field: String,
        /// Its new value; null clears it.
        value: Value,
    },
    /// Brings the task into a status, by at most two moves.
    SetStatus {
        /// The name of the status.
        status: String,
    },
    /// Adds a tag.
    AddTag {
        /// The tag.
        tag: String,
    },
    /// Removes a tag.
    RemoveTag {
        /// The tag.
        tag: String,
    },
    /// Comments on the task.
    AddComment {
        /// The comment, a template.
        message: String,
    },
    /// Creates a task.
    CreateTask {
        /// Its title, a template.
        title: String,
        /// Its description, a template.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// The name of its priority.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<String>,
        /// Time from the run until it is due, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due_in_seconds: Option<i32>,
        /// Its assignee.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<To>,
        /// Whether it is a subtask of the event's task.
        #[serde(default)]
        subtask: bool,
    },
    /// Archives the task.
    Archive,
    /// Cancels the task.
    Cancel {
        /// The reason, a template.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// Calls a URL, signed by Standard Webhooks.
    CallWebhook {
        /// The URL.
        url: String,
        /// The secret that signs, when the action is saved. It is stored sealed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<String>,
        /// The sealed secret, in base64, in stored actions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sealed_secret: Option<String>,
        /// Names of the fields that are sent.
        #[serde(default)]
        fields: Vec<String>,
    },
}

impl Verb {
    /// The names of all types.
    pub const NAMES: [&'static str; 11] = [
        "notify",
        "assign",
        "set_field",
        "set_status",
        "add_tag",
        "remove_tag",
        "add_comment",
        "create_task",
        "archive",
        "cancel",
        "call_webhook",
    ];
}

impl Action {
    /// The action of a short form: `notify:manager`.
    ///
    /// # Errors
    /// VALIDATION_FAILED, naming `path`.
    pub fn of_short(short: &str, path: &str) -> Result<Self> {
        let (verb, object) = short.split_once(':').unwrap_or((short, ""));
        let object = object.to_owned();
        let to = || To::try_from(object.clone()).map_err(|wrong| Error::invalid(path, wrong));
        let verb = match verb {
            "notify" => Verb::Notify { to: to()?, message: "{{title}}".to_owned() },
            "assign" => Verb::Assign { to: to()? },
            "set_status" => Verb::SetStatus { status: object },
            "add_tag" => Verb::AddTag { tag: object },
            "remove_tag" => Verb::RemoveTag { tag: object },
            "add_comment" => Verb::AddComment { message: object },
            "create_task" => Verb::CreateTask {
                title: object,
                message: None,
                priority: None,
                due_in_seconds: None,
                to: None,
                subtask: false,
            },
            "archive" => Verb::Archive,
            "cancel" => Verb::Cancel { message: Some(object).filter(|reason| !reason.is_empty()) },
            other => match other.strip_prefix("set_") {
                Some(field) if SETTABLE.contains(&field) => {
                    let number = object.parse::<i64>().ok().filter(|_| field == "estimated_seconds");
                    Verb::SetField { field: field.to_owned(), value: number.map_or(object.into(), Value::from) }
                }
                _ => return Err(Error::invalid(path, "must begin with a type of action")),
            },
        };
        Ok(Self { verb, continues: false })
    }

    /// The type's name.
    pub fn type_name(&self) -> &'static str {
        match &self.verb {
            Verb::Notify { .. } => "notify",
            Verb::Assign { .. } => "assign",
            Verb::SetField { .. } => "set_field",
            Verb::SetStatus { .. } => "set_status",
            Verb::AddTag { .. } => "add_tag",
            Verb::RemoveTag { .. } => "remove_tag",
            Verb::AddComment { .. } => "add_comment",
            Verb::CreateTask { .. } => "create_task",
            Verb::Archive => "archive",
            Verb::Cancel { .. } => "cancel",
            Verb::CallWebhook { .. } => "call_webhook",
        }
    }

    /// Checks what the contract's rules cannot: values by their field, people by the type, texts, and that the action has a
    /// task to act on.
    ///
    /// # Errors
    /// VALIDATION_FAILED, naming the member: `actions[2].to`.
    pub fn check(&self, has_task: bool, path: &str) -> Result<()> {
        let member = |name: &str| format!("{path}.{name}");
        let text = |text: &str, name: &str| {
            if text.trim().is_empty() {
                return Err(Error::invalid(member(name), "must not be empty"));
            }
            Template::parse(text, &member(name)).map(drop)
        };
        match &self.verb {
            Verb::Notify { to, message } => {
                if *to == To::Suggested {
                    return Err(Error::invalid(
                        member("to"),
                        "must not be suggested: nobody is notified of suggestions",
                    ));
                }
                if message.chars().count() > MAX_NOTICE_LEN {
                    return Err(Error::invalid(
                        member("message"),
                        format!("must have at most {MAX_NOTICE_LEN} characters"),
                    ));
                }
                text(message, "message")?;
                let needs_task = !matches!(to, To::Me | To::Handle(_));
                self.require_task(has_task || !needs_task, &member("to"))
            }
            Verb::Assign { to } => {
                if matches!(to, To::Assignee | To::Watchers) {
                    return Err(Error::invalid(
                        member("to"),
                        "must be one person: me, manager, creator, suggested or @handle",
                    ));
                }
                self.require_task(has_task, path)
            }
            Verb::SetField { field, value } => {
                check_value(field, value, &member("field"), &member("value"))?;
                if let (true, Some(value)) = (is_template(field), value.as_str()) {
                    text(value, "value")?;
                }
                self.require_task(has_task, path)
            }
            Verb::SetStatus { status } => {
                let known = Status::from_name(status).filter(|status| *status != Status::Pending);
                known.ok_or_else(|| {
                    Error::invalid(member("status"), "must be a status that tasks can be brought into")
                })?;
                self.require_task(has_task, path)
            }
            Verb::AddTag { tag } | Verb::RemoveTag { tag } => {
                if tag.is_empty() || tag.chars().count() > 50 {
                    return Err(Error::invalid(member("tag"), "must have 1 to 50 characters"));
                }
                self.require_task(has_task, path)
            }
            Verb::AddComment { message } => {
                text(message, "message")?;
                self.require_task(has_task, path)
            }
            Verb::CreateTask { title, message, priority, to, subtask, .. } => {
                text(title, "title")?;
                message.iter().try_for_each(|message| text(message, "message"))?;
                if priority.as_ref().is_some_and(|name| Priority::from_name(name).is_none()) {
                    return Err(Error::invalid(member("priority"), "must be low, medium, high or urgent"));
                }
                if matches!(to, Some(To::Suggested | To::Watchers)) {
                    return Err(Error::invalid(
                        member("to"),
                        "must be one person: me, assignee, manager, creator or @handle",
                    ));
                }
                let needs_task = *subtask || matches!(to, Some(To::Assignee | To::Manager | To::Creator));
                self.require_task(has_task || !needs_task, path)
            }
            // Whoever saves it checks the URL and the secret: they depend on the configuration.
            Verb::CallWebhook { fields, .. } => {
                if fields.len() > MAX_WEBHOOK_FIELDS {
                    let problem = format!("must have at most {MAX_WEBHOOK_FIELDS} names of fields");
                    return Err(Error::invalid(member("fields"), problem));
                }
                match fields.iter().find(|name| Field::from_name(name).is_none()) {
                    Some(name) => Err(Error::invalid(member("fields"), format!("`{name}` is no field"))),
                    None => Ok(()),
                }
            }
            Verb::Archive => self.require_task(has_task, path),
            Verb::Cancel { message } => {
                message.iter().try_for_each(|message| text(message, "message"))?;
                self.require_task(has_task, path)
            }
        }
    }

    fn require_task(&self, has_task: bool, path: &str) -> Result<()> {
        if has_task { Ok(()) } else { Err(Error::invalid(path, "needs a task, and the trigger has none")) }
    }

    /// In the rule's sentence.
    pub fn sentence(&self) -> String {
        match &self.verb {
            Verb::Notify { to, message } => format!("notify {} “{message}”", to.phrase()),
            Verb::Assign { to } => format!("assign it to {}", to.phrase()),
            Verb::SetField { field, value: Value::Null } => format!("clear {field}"),
            Verb::SetField { field, value: Value::String(text) } => format!("set {field} to “{text}”"),
            Verb::SetField { field, value } => format!("set {field} to {value}"),
            Verb::SetStatus { status } => format!("bring it into the status {status}"),
            Verb::AddTag { tag } => format!("add the tag “{tag}”"),
            Verb::RemoveTag { tag } => format!("remove the tag “{tag}”"),
            Verb::AddComment { message } => format!("comment “{message}”"),
            Verb::CreateTask { title, subtask: true, .. } => format!("create the subtask “{title}”"),
            Verb::CreateTask { title, .. } => format!("create the task “{title}”"),
            Verb::Archive => "archive it".to_owned(),
            Verb::Cancel { .. } => "cancel it".to_owned(),
            // Its path may be a secret.
            Verb::CallWebhook { url, .. } => {
                let host = url.split_once("://").map_or("", |(_, rest)| rest).split(['/', '?', '#']).next();
                format!("call {}", host.unwrap_or_default())
            }
        }
    }
}

/// Whether a value of the field that `set_field` sets is a template.
pub fn is_template(field: &str) -> bool {
    matches!(field, "title" | "description")
}

/// Checks the value of a field that `set_field` sets. Null clears the field.
fn check_value(field: &str, value: &Value, field_path: &str, value_path: &str) -> Result<()> {
    let wrong = |must: &str| Err(Error::invalid(value_path, must));
    if let Some(key) = field.strip_prefix(CUSTOM) {
        if key.is_empty() {
            return Err(Error::invalid(field_path, "must name the custom field: custom_fields.<key>"));
        }
        return if value.is_object() || value.is_array() {
            wrong("must be a text, a number, a flag or null")
        } else {
            Ok(())
        };
    }
    let text = value.as_str();
    match field {
        "title" if text.is_none_or(str::is_empty) => wrong("must be a text"),
        "priority" if text.and_then(Priority::from_name).is_none() => wrong("must be low, medium, high or urgent"),
        "visibility" if !matches!(text, Some("private" | "team" | "account")) => {
            wrong("must be private, team or account")
        }
        "description" if text.is_none() && !value.is_null() => wrong("must be a text or null"),
        "due_at" if !value.is_null() && text.is_none_or(|at| chrono::DateTime::parse_from_rfc3339(at).is_err()) => {
            wrong("must be a time (RFC 3339) or null")
        }
        "estimated_seconds"
            if !value.is_null() && value.as_f64().is_none_or(|n| n.fract() != 0.0 || !(0.0..=1e9).contains(&n)) =>
        {
            wrong("must be a whole number of seconds or null")
        }
        field if SETTABLE.contains(&field) => Ok(()),
        _ => Err(Error::invalid(field_path, format!("must be {} or custom_fields.<key>", SETTABLE.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn action(json: Value) -> Action {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn stored_form_is_that_of_rest() {
        for json in [
            json!({"type": "notify", "to": "manager", "message": "{{title}} is paused"}),
            json!({"type": "assign", "to": "@ada", "continue": true}),
            json!({"type": "set_field", "field": "priority", "value": "high"}),
            json!({"type": "create_task", "title": "Call", "due_in_seconds": 3600, "to": "me", "subtask": true}),
            json!({"type": "archive"}),
        ] {
            let action = action(json.clone());
            action.check(true, "actions[0]").unwrap();
            assert_eq!(serde_json::to_value(&action).unwrap(), json);
        }
    }

    #[test]
    fn short_forms_are_expanded() {
        let expand = |short| serde_json::to_value(Action::of_short(short, "actions[0].short").unwrap()).unwrap();
        assert_eq!(expand("notify:manager"), json!({"type": "notify", "to": "manager", "message": "{{title}}"}));
        assert_eq!(expand("assign:@Ada"), json!({"type": "assign", "to": "@ada"}));
        assert_eq!(expand("set_priority:high"), json!({"type": "set_field", "field": "priority", "value": "high"}));
        assert_eq!(expand("set_estimated_seconds:60")["value"], json!(60));
        assert_eq!(expand("archive:"), json!({"type": "archive"}));
        for wrong in ["notify:somebody", "set_owner:ada", "explode:now", "assign:"] {
            assert!(Action::of_short(wrong, "actions[0].short").is_err(), "{wrong}");
        }
    }

    #[test]
    fn wrong_members_are_named() {
        for (json, member) in [
            (json!({"type": "notify", "to": "suggested", "message": "x"}), "actions[0].to"),
            (json!({"type": "notify", "to": "me", "message": "x".repeat(501)}), "actions[0].message"),
            (json!({"type": "notify", "to": "me", "message": "{{secret}}"}), "actions[0].message"),
            (json!({"type": "assign", "to": "watchers"}), "actions[0].to"),
            (json!({"type": "set_field", "field": "rank", "value": "a"}), "actions[0].field"),
            (json!({"type": "set_field", "field": "priority", "value": "hot"}), "actions[0].value"),
            (json!({"type": "set_field", "field": "due_at", "value": "tomorrow"}), "actions[0].value"),
            (json!({"type": "set_field", "field": "custom_fields.site", "value": {}}), "actions[0].value"),
            (json!({"type": "set_status", "status": "pending"}), "actions[0].status"),
        ] {
            let refused = action(json.clone()).check(true, "actions[0]").unwrap_err();
            assert!(format!("{refused:?}").contains(member), "{json}: {refused:?}");
        }
    }

    #[test]
    fn action_on_a_task_needs_a_trigger_with_one() {
        for json in [json!({"type": "archive"}), json!({"type": "notify", "to": "assignee", "message": "x"})] {
            assert!(action(json.clone()).check(false, "actions[0]").is_err(), "{json}");
        }
        action(json!({"type": "notify", "to": "me", "message": "x"})).check(false, "actions[0]").unwrap();
        action(json!({"type": "create_task", "title": "Welcome"})).check(false, "actions[0]").unwrap();
    }
}
