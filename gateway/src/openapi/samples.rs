//! A sample request of each operation, to paste into a shell after the lines of the introduction.
//!
//! It contains the required fields and few others. Ids are shell variables with a made-up default.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::schema::Schemas;
use crate::{
    json::{STRUCT, TIMESTAMP, enums},
    oauth,
    routes::{Body, Route},
};

/// A made-up id.
const ID: &str = "0198c0de-7a1b-7c3d-8e4f-5a6b7c8d9e0f";
/// A second made-up id, for requests with two.
const OTHER_ID: &str = "0198c0de-7a1b-7c3d-8e4f-5a6b7c8d9e10";

/// Optional fields that samples contain, for example because a request needs one of several.
const EXTRA_FIELDS: &[(&str, &[&str])] = &[
    ("AccountChange", &["name"]),
    ("AutomationChange", &["name"]),
    ("BacktestAutomationRequest", &["automation_id"]),
    ("CreateAutomationRequest", &["trigger_conditions"]),
    ("ChangeTasksRequest", &["task_ids", "dry_run"]),
    ("CommentChange", &["body"]),
    ("Correction", &["value"]),
    ("CreateApiKeyRequest", &["scopes", "password"]),
    ("CreateReminderRequest", &["at"]),
    ("CreateTaskRequest", &["priority"]),
    ("CustomFieldChange", &["name"]),
    ("DisableTotpRequest", &["password"]),
    ("EnrollTotpRequest", &["password"]),
    ("GetProofRequest", &["sequence"]),
    ("LinkIdentityRequest", &["password"]),
    ("MemberChange", &["can_reassign_tasks"]),
    ("MoveTaskRequest", &["after_id"]),
    ("OwnMemberChange", &["handle"]),
    ("ReauthenticateRequest", &["password"]),
    ("RenewRecoveryCodesRequest", &["password"]),
    ("SettingsChange", &["timezone"]),
    ("TaskChange", &["title", "priority"]),
    ("TestAutomationRequest", &["automation_id", "task_id"]),
    ("TimeEntryChange", &["note"]),
    ("UserChange", &["company"]),
    ("ViewChange", &["name"]),
];

/// Adds the sample to an operation: as a `curl` command, and as examples of its body and parameters.
pub(super) fn add(route: &Route, operation: &mut Value, schemas: &Schemas, server: &str) -> Result<()> {
    let body = body(route, schemas)?;
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let found = route.path.iter().find(|known| parameter["name"] == known.name.as_str());
        if let Some(field) = found.and_then(|known| known.fields.last()) {
            parameter["example"] = with_defaults(value(route, field, schemas)?);
        }
    }
    let content = operation.get_mut("requestBody").and_then(|body| body["content"].as_object_mut());
    for content in content.into_iter().flat_map(Map::values_mut) {
        content["example"] = body.clone().map(with_defaults).unwrap_or_default();
    }
    let source = curl(route, operation, body, schemas, server)?;
    operation["x-codeSamples"] = json!([{"lang": "Shell", "label": "curl", "source": source}]);
    Ok(())
}

fn curl(route: &Route, operation: &Value, body: Option<Value>, schemas: &Schemas, server: &str) -> Result<String> {
    let mut url = format!("{}{}", server.trim_end_matches('/'), route.template);
    for parameter in &route.path {
        let Some(field) = parameter.fields.last() else { continue };
        let value = value(route, field, schemas)?;
        let text = match variable_of(&value) {
            Some(_) => shell_variable(&value),
            None => form_urlencoded::byte_serialize(value.as_str().unwrap_or_default().as_bytes()).collect(),
        };
        url = url.replace(&format!("{{{}}}", parameter.name), &text);
    }
    let more = extra_fields(&route.method.input());
    let mut query = form_urlencoded::Serializer::new(String::new());
    for field in route.query.parameters().iter().map(|parameter| &parameter.field) {
        if field.name() != oauth::FIELD && (more.contains(&field.name()) || schemas.is_required(field)) {
            let value = value(route, field, schemas)?;
            query.append_pair(field.name(), &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
    }
    let query = query.finish();
    if !query.is_empty() {
        write!(url, "?{query}")?;
    }
    let verb = route.verb.as_str();
    let mut lines =
        vec![format!("curl{} \"{url}\"", if verb == "GET" { String::new() } else { format!(" -X {verb}") })];
    if operation["security"].is_null() {
        lines.push(r#"-H "Authorization: Bearer $TOKEN""#.to_owned());
    }
    let mut heredoc = String::new();
    let media_type = operation["requestBody"]["content"].as_object().and_then(|content| content.keys().next_back());
    if let (Some(body), Some(media_type)) = (body, media_type) {
        lines.push(format!("-H 'Content-Type: {media_type}'"));
        let text = serde_json::to_string_pretty(&replace_variables(body.clone(), &shell_variable))?;
        if has_variable(&body) {
            // A here-document, in which the shell expands variables.
            lines.push("--data @- <<JSON".to_owned());
            heredoc = format!("\n{text}\nJSON");
        } else {
            lines.push(format!("--data '{}'", text.replace('\'', r"'\''")));
        }
    }
    Ok(lines.join(" \\\n  ") + &heredoc)
}

fn body(route: &Route, schemas: &Schemas) -> Result<Option<Value>> {
    let (message, bound): (_, &[&str]) = match &route.body {
        Body::None => return Ok(None),
        Body::Whole => (route.method.input(), &route.url_fields()),
        Body::Field(field) | Body::MergePatch { change: field, .. } => match field.kind() {
            Kind::Message(of) => (of, &[]),
            _ => bail!("{} must be a message", field.full_name()),
        },
    };
    if message.fields().all(|field| bound.contains(&field.name())) {
        return Ok(None);
    }
    object(route, &message, bound, schemas).map(Some)
}

/// Returns the optional fields of a message that its sample contains.
fn extra_fields(of: &MessageDescriptor) -> &'static [&'static str] {
    EXTRA_FIELDS.iter().find(|(name, _)| *name == of.name()).map_or(&[], |(_, fields)| fields)
}

fn object(route: &Route, of: &MessageDescriptor, bound: &[&str], schemas: &Schemas) -> Result<Value> {
    let more = extra_fields(of);
    let mut object = Map::new();
    for field in of.fields().filter(|field| !bound.contains(&field.name())) {
        if more.contains(&field.name()) || schemas.is_required(&field) {
            let value = value(route, &field, schemas)?;
            object.insert(field.name().to_owned(), if field.is_list() { json!([value]) } else { value });
        }
    }
    Ok(object.into())
}

/// Returns a sample value of a field, or of one item of a list. A shell variable is `{"$": name, "or": default}`.
fn value(route: &Route, field: &FieldDescriptor, schemas: &Schemas) -> Result<Value> {
    let variable = |name: &str, default: &str| json!({"$": name, "or": default});
    if let Some(name) = id_variable(route, field) {
        return Ok(variable(name, if name.starts_with("OTHER_") { OTHER_ID } else { ID }));
    }
    Ok(match (field.name(), field.kind()) {
        (_, Kind::Enum(of)) => match of.name() {
            "Permission" => "work_on_tasks".into(),
            "BulkAction" => "archive".into(),
            _ => enums::names(&of).into_iter().next().into(),
        },
        (_, Kind::Bool) => true.into(),
        ("at", _) => "2030-01-31T08:00:00Z".into(),
        ("to", _) if route.method.name() == "BacktestAutomation" => "2026-01-06T09:00:00Z".into(),
        ("ended_at", _) => "2026-01-05T10:30:00Z".into(),
        (_, Kind::Message(of)) => match of.full_name() {
            TIMESTAMP => "2026-01-05T09:00:00Z".into(),
            STRUCT if field.name() == "actions" => json!({"type": "notify", "to": "me", "message": "{{title}}"}),
            STRUCT if field.name() == "trigger_conditions" => json!({"priority": "high"}),
            STRUCT => json!({}),
            _ => object(route, &of, &[], schemas)?,
        },
        ("size_bytes", _) => 6.into(),
        (_, Kind::Int32) => 1.into(),
        ("email", _) if route.method.name() == "Login" => variable("EMAIL", "ada@example.com"),
        ("email", _) => "ada@example.com".into(),
        ("password", _) if route.method.name() == "Register" => "crate lantern orchid seven".into(),
        ("password" | "current_password", _) => variable("PASSWORD", "crate lantern orchid seven"),
        ("new_password", _) => "tide walnut copper eleven".into(),
        ("refresh_token", _) => variable("REFRESH_TOKEN", "the-refresh-token-of-a-sign-in"),
        ("mfa_token", _) => variable("MFA_TOKEN", "the-token-of-a-sign-in"),
        // In a query, where no variable is.
        ("token", _) if route.method.name() == "GetDataExportFile" => "the-token-of-the-url".into(),
        ("token", _) => variable("LINK_TOKEN", "the-token-of-the-link-in-the-mail"),
        ("code" | "state", _) => "123456".into(),
        ("verification_code", _) => "12345678".into(),
        ("cancellation_token", _) => variable("CANCELLATION_TOKEN", "the-token-of-the-link-in-the-mail"),
        ("field", _) => "first_name".into(),
        ("purpose", _) if route.method.name() == "RequestObjection" => "marketing".into(),
        ("value", _) => "Ada".into(),
        ("ground", _) => "File 12/2026".into(),
        ("summary", _) => "A backup was readable by others".into(),
        ("leaf_hash", _) => "0".repeat(64).into(),
        ("pseudonym", _) => "a".repeat(52).into(),
        ("purpose", _) if route.method.name() == "RevealPseudonym" => "research".into(),
        ("sha256", _) => variable("DPA_SHA256", "66285f103b2159ba91ffba777cd7af4d95dd7418d008394f3b0098eb8745f88c"),
        ("id", _) if route.method.name() == "AcceptPolicy" => "privacy".into(),
        ("first_name", _) => "Ada".into(),
        ("last_name", _) => "Lovelace".into(),
        ("title", _) => "Write the report".into(),
        ("name", _) => "Analytical Engines".into(),
        ("company", _) => "Analytical Engines".into(),
        ("handle", _) => "ada".into(),
        ("body" | "note" | "reason", _) => "Waiting for an answer".into(),
        ("key", _) => "cost-centre".into(),
        ("q" | "prefix", _) => "report".into(),
        ("type", Kind::String) => "analytics".into(),
        ("emoji", _) => "👍".into(),
        ("provider", _) => "google".into(),
        ("timezone", _) => "Europe/Berlin".into(),
        ("language", _) => "english".into(),
        ("scopes", _) => "tasks:read".into(),
        ("file_name", _) => "hello.txt".into(),
        ("content_type", _) => "text/plain".into(),
        ("checksum_sha256", _) => "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e746f6be03".into(),
        // A new field may need a line above; the test that runs the samples then fails.
        _ => "sample".into(),
    })
}

/// Returns the shell variable for an id field.
fn id_variable(route: &Route, field: &FieldDescriptor) -> Option<&'static str> {
    Some(match field.name() {
        "id" => match route.method.parent_service().name() {
            "ApiKeyService" => "API_KEY_ID",
            "AutomationService" => "AUTOMATION_ID",
            "DelegationService" => "DELEGATION_ID",
            "CustomFieldService" => "CUSTOM_FIELD_ID",
            "NotificationService" => "NOTIFICATION_ID",
            "PrivacyService" | "MemberPrivacyService" => "PRIVACY_REQUEST_ID",
            "PolicyService" => return None,
            "SessionService" => "SESSION_ID",
            "ViewService" => "VIEW_ID",
            _ => "TASK_ID",
        },
        "account_id" => "ACCOUNT_ID",
        "attachment_id" => "ATTACHMENT_ID",
        "automation_id" => "AUTOMATION_ID",
        "execution_id" => "EXECUTION_ID",
        "comment_id" => "COMMENT_ID",
        "export_id" => "EXPORT_ID",
        "invitation_id" => "INVITATION_ID",
        "reminder_id" => "REMINDER_ID",
        "time_entry_id" => "TIME_ENTRY_ID",
        "task_id" | "task_ids" => "TASK_ID",
        "blocked_by" | "after_id" => "OTHER_TASK_ID",
        "breach_id" => "BREACH_ID",
        "user_id" | "assigned_to" => "USER_ID",
        _ => return None,
    })
}

fn variable_of(value: &Value) -> Option<(&str, &str)> {
    Some((value.get("$")?.as_str()?, value.get("or")?.as_str()?))
}

/// Formats a variable as `${NAME:-default}`.
fn shell_variable(value: &Value) -> String {
    variable_of(value).map(|(name, default)| format!("${{{name}:-{default}}}")).unwrap_or_default()
}

/// Replaces all variables in a value by `change`.
fn replace_variables(value: Value, change: &impl Fn(&Value) -> String) -> Value {
    if variable_of(&value).is_some() {
        return change(&value).into();
    }
    match value {
        Value::Array(items) => items.into_iter().map(|item| replace_variables(item, change)).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, inner)| (name, replace_variables(inner, change))).collect()
        }
        other => other,
    }
}

/// Replaces all variables in a value by their defaults.
fn with_defaults(value: Value) -> Value {
    replace_variables(value, &|variable| {
        variable_of(variable).map(|(_, default)| default.to_owned()).unwrap_or_default()
    })
}

fn has_variable(value: &Value) -> bool {
    with_defaults(value.clone()) != *value
}
