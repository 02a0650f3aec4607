//! A marker in every text that a person can write: all of them are found before the erasure, and afterwards only where the
//! catalogue says that the account's work stays.

use std::{cell::RefCell, collections::BTreeSet, fs, path::Path};

use baton_proto::baton::auth::v1::{CreateDelegationRequest, delegation_service_client::DelegationServiceClient};
use baton_tests::{PASSWORD, Platform, Team};
use chrono::{TimeDelta, Utc};
use prost_reflect::{ExtensionDescriptor, Kind, MessageDescriptor};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{
    distributed_trace::Collector,
    erasure::{canaries, complete, end_grace_period, request_erasure_because},
};

/// Texts that stay: what the account works with.
const KEPT: [&str; 19] = [
    "CreateAttachmentRequest.file_name",
    "CreateCommentRequest.body",
    "CommentChange.body",
    "CustomFieldOption.name",
    "CustomFieldChange.name",
    "CreateCustomFieldRequest.name",
    "CreateTaskRequest.title",
    "CreateTaskRequest.description",
    "CreateTaskRequest.tags",
    "ChangeTasksRequest.add_tags",
    "CreateTaskRequest.custom_fields",
    "TaskChange.title",
    "TaskChange.description",
    "TaskChange.tags",
    "CreateAccountRequest.name",
    "AccountChange.name",
    "InviteMemberRequest.email",
    "Invitation.email",
    "attachment.content",
];

/// Texts that are stored nowhere in clear: searches, what only operators write, and what is sealed with the person's key.
const NEVER_STORED: [&str; 11] = [
    "ConsentAnswer.purpose",
    "SearchTasksRequest.q",
    "ListTagsRequest.prefix",
    "TaskFilter.search",
    "ConfirmPasswordResetRequest.keep_identities",
    "PlaceLegalHoldRequest.ground",
    "RevealPseudonymRequest.reason",
    "RecordBreachRequest.summary",
    "UpdateBreachRequest.exemption",
    "TaskFilter.tags",
    "ChangeTasksRequest.remove_tags",
];

/// Addresses: all of them are the person's.
const ADDRESSES: [&str; 4] = [
    "RegisterRequest.email",
    "LoginRequest.email",
    "ResendVerificationRequest.email",
    "RequestPasswordResetRequest.email",
];

/// The markers, by the field that they were written into.
#[derive(Default)]
struct Markers(RefCell<BTreeSet<String>>);

impl Markers {
    /// The marker of a field.
    fn of(&self, field: &str) -> String {
        self.0.borrow_mut().insert(field.to_owned());
        format!("canary-{}", field.to_lowercase().replace(['.', '_'], "-"))
    }

    fn written(&self) -> BTreeSet<String> {
        self.0.borrow().clone()
    }
}

/// The fields of requests that people write text into: `CreateTaskRequest.title`.
fn text_fields() -> BTreeSet<String> {
    fn collect(
        message: &MessageDescriptor,
        kind: &ExtensionDescriptor,
        seen: &mut BTreeSet<String>,
        found: &mut BTreeSet<String>,
    ) {
        if !message.package_name().starts_with("baton.") || !seen.insert(message.full_name().to_owned()) {
            return;
        }
        for field in message.fields() {
            match field.kind() {
                Kind::Message(inner) => collect(&inner, kind, seen, found),
                Kind::String if field.options().has_extension(kind) => {
                    found.insert(format!("{}.{}", message.name(), field.name()));
                }
                _ => {}
            }
        }
    }
    let kind = baton_proto::pool().get_extension_by_name("baton.text.v1.kind").unwrap();
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    for service in baton_proto::pool().services().filter(|service| service.full_name().starts_with("baton.")) {
        for method in service.methods() {
            collect(&method.input(), &kind, &mut seen, &mut found);
        }
    }
    found
}

/// Writes a marker into every text that a person can write.
async fn write_everywhere(platform: &Platform, markers: &Markers, team: &Team) {
    let (mark, me) = (|field: &str| markers.of(field), &team.super_manager);
    let user = json!({
        "first_name": mark("UserChange.first_name"),
        "last_name": mark("UserChange.last_name"),
        "mobile": "+4366012345678",
        "company": mark("UserChange.company"),
        "job_role": mark("UserChange.job_role"),
        "avatar_url": format!("https://example.com/{}.png", mark("UserChange.avatar_url")),
        "preferences": {"note": mark("UserChange.preferences")},
    });
    mark("UserChange.mobile");
    me.patch("/v1/users/me", &user).ok().await;
    me.post("/v1/api-keys", &json!({"name": mark("CreateApiKeyRequest.name")})).ok().await;
    let grant = CreateDelegationRequest {
        service: "task".to_owned(),
        account_id: team.account_id.to_string(),
        scopes: vec!["tasks:read".to_owned()],
        purpose: mark("CreateDelegationRequest.purpose"),
    };
    DelegationServiceClient::new(platform.grpc()).create_delegation(me.grpc(None, grant)).await.unwrap();
    // Rules: one as it was created, and one that was changed since.
    let rule = json!({"name": mark("CreateAutomationRequest.name"), "trigger_type": "task_completed",
                      "description": mark("CreateAutomationRequest.description"),
                      "trigger_conditions": {"title": mark("CreateAutomationRequest.trigger_conditions")},
                      "actions": [{"type": "add_comment", "message": mark("CreateAutomationRequest.actions")}]});
    me.post("/v1/automations", &rule).ok().await;
    let rule = me.post("/v1/automations", &rule).ok().await;
    let change = json!({"name": mark("AutomationChange.name"), "description": mark("AutomationChange.description")});
    me.patch(&format!("/v1/automations/{}", rule["id"].as_str().unwrap()), &change).ok().await;
    // A message of theirs to somebody else. As one that a rule sends.
    let insert = "insert into notification.notifications
                      (id, account_id, user_id, type, actor_id, source_event_id, created_at, text)
                  values (gen_random_uuid(), $1, $2, 'message', $3, gen_random_uuid(), now(), $4)";
    let mut conn = PgConnection::connect(platform.database_url()).await.unwrap();
    let insert = sqlx::query(insert).bind(team.account_id).bind(team.owner.id).bind(me.id);
    insert.bind(mark("TellRequest.text")).execute(&mut conn).await.unwrap();
    let consent = json!({"type": "research", "given": true, "method": "settings", "version": 1,
                         "purpose": mark("ConsentAnswer.purpose")});
    let consented = me.post("/v1/privacy/consents", &json!({"consents": [consent]}));
    consented.header("user-agent", &mark("header.user_agent")).ok().await;
    let other = json!({"email": format!("{}@example.com", mark("ChangeEmailRequest.email")), "password": PASSWORD});
    me.post("/v1/users/me/change-email", &other).ok().await;

    // Tasks and what belongs to them.
    let field = json!({"key": "marked", "name": mark("CreateCustomFieldRequest.name"), "type": "select",
                       "options": [{"id": "a", "name": mark("CustomFieldOption.name")}]});
    let field = me.post("/v1/custom-fields", &field).ok().await;
    let field = format!("/v1/custom-fields/{}", field["id"].as_str().unwrap());
    me.patch(&field, &json!({"name": mark("CustomFieldChange.name")})).ok().await;
    let text = json!({"key": "text", "name": "Text", "type": "text"});
    me.post("/v1/custom-fields", &text).ok().await;
    let task = json!({
        "title": mark("CreateTaskRequest.title"),
        "description": mark("CreateTaskRequest.description"),
        "tags": [mark("CreateTaskRequest.tags")],
        "custom_fields": {"text": mark("CreateTaskRequest.custom_fields")},
        "visibility": "account",
    });
    let task_id = me.post("/v1/tasks", &task).ok().await["id"].as_str().unwrap().to_owned();
    let task = format!("/v1/tasks/{task_id}");
    let reminder = json!({"frequency": "weekly", "message": mark("CreateRecurringReminderRequest.message")});
    // Of a task that stays open: with another one, the reminder would end.
    let open = me.post("/v1/tasks", &json!({"title": "Open"})).ok().await;
    me.post(&format!("/v1/tasks/{}/recurring-reminders", open["id"].as_str().unwrap()), &reminder).ok().await;
    let change = json!({"title": mark("TaskChange.title"), "description": mark("TaskChange.description"),
                        "tags": [mark("TaskChange.tags")]});
    me.patch(&task, &change).ok().await;
    me.post(&format!("{task}/start"), &json!({})).ok().await;
    me.post(&format!("{task}/pause"), &json!({"reason": mark("PauseTaskRequest.reason")})).ok().await;
    me.post(&format!("{task}/cancel"), &json!({"reason": mark("CancelTaskRequest.reason")})).ok().await;
    me.post(&format!("{task}/reopen"), &json!({"reason": mark("ReopenTaskRequest.reason")})).ok().await;
    let bulk = json!({"action": "cancel", "task_ids": [task_id], "reason": mark("ChangeTasksRequest.reason")});
    me.post("/v1/tasks/bulk", &bulk).ok().await;
    let bulk = json!({"action": "update", "task_ids": [task_id], "add_tags": [mark("ChangeTasksRequest.add_tags")],
                      "remove_tags": [mark("ChangeTasksRequest.remove_tags")]});
    me.post("/v1/tasks/bulk", &bulk).ok().await;
    let comment = json!({"body": mark("CreateCommentRequest.body")});
    let comment = me.post(&format!("{task}/comments"), &comment).ok().await;
    let comment = format!("/v1/comments/{}", comment["id"].as_str().unwrap());
    me.patch(&comment, &json!({"body": mark("CommentChange.body")})).ok().await;
    let hours_ago = |hours: i64| json!((Utc::now() - TimeDelta::hours(hours)).to_rfc3339());
    let worked =
        json!({"started_at": hours_ago(3), "ended_at": hours_ago(2), "note": mark("CreateTimeEntryRequest.note")});
    let entry = me.post(&format!("{task}/time-entries"), &worked).ok().await;
    let entry = format!("/v1/time-entries/{}", entry["id"].as_str().unwrap());
    me.patch(&entry, &json!({"note": mark("TimeEntryChange.note")})).ok().await;
    let content = mark("attachment.content");
    let name = format!("{}.txt", mark("CreateAttachmentRequest.file_name"));
    me.attach(task_id.parse().unwrap(), &name, "text/plain", content.as_bytes()).await;
    let weekly = json!({"title": "Weekly", "due_at": hours_ago(-24), "recurrence_rule": "FREQ=WEEKLY"});
    let weekly = me.post("/v1/tasks", &weekly).ok().await["id"].as_str().unwrap().to_owned();
    me.post(&format!("/v1/tasks/{weekly}/skip"), &json!({"reason": mark("SkipTaskRequest.reason")})).ok().await;
    let given = team.owner.post("/v1/tasks", &json!({"title": "Given", "assigned_to": me.id})).ok().await;
    let reject = format!("/v1/tasks/{}/reject", given["id"].as_str().unwrap());
    me.post(&reject, &json!({"reason": mark("RejectTaskRequest.reason")})).ok().await;
    let view = json!({"name": mark("CreateViewRequest.name"), "source": "list",
                      "filter": {"tags": [mark("TaskFilter.tags")]}});
    let view = me.post("/v1/views", &view).ok().await["id"].as_str().unwrap().to_owned();
    me.patch(&format!("/v1/views/{view}"), &json!({"name": mark("ViewChange.name")})).ok().await;
    for (field, path) in [
        ("SearchTasksRequest.q", "/v1/tasks/search?q="),
        ("ListTagsRequest.prefix", "/v1/tags?prefix="),
        ("TaskFilter.search", "/v1/tasks?filter.search="),
    ] {
        me.get(&format!("{path}{}", mark(field))).send().await;
    }

    // An account of their own, and invitations.
    let own = me.create_account(&mark("CreateAccountRequest.name")).await;
    let change = json!({"name": mark("AccountChange.name")});
    me.at(own).patch(&format!("/v1/accounts/{own}"), &change).ok().await;
    let members = format!("/v1/accounts/{}/members", team.account_id);
    let invited = json!({"email": format!("{}@example.com", mark("InviteMemberRequest.email")), "role": "user"});
    me.post(&members, &invited).ok().await;
    let invited = json!({"email": format!("{}@example.com", mark("Invitation.email")), "role": "user"});
    me.post(&format!("{members}/bulk"), &json!({"invitations": [invited]})).ok().await;
}

/// All files below a folder that contain the text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if text.is_empty()
            || fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

/// All keys and values of its Redis, as text.
async fn redis_dump(platform: &Platform) -> String {
    let client = redis::Client::open(platform.redis_url()).unwrap();
    let mut conn = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut conn).await.unwrap();
    let mut dump = String::new();
    for key in &keys {
        let kind: String = redis::cmd("TYPE").arg(key).query_async(&mut conn).await.unwrap();
        let read = match kind.as_str() {
            "string" => redis::cmd("GET").arg(key).to_owned(),
            "hash" => redis::cmd("HGETALL").arg(key).to_owned(),
            "stream" => redis::cmd("XRANGE").arg(key).arg("-").arg("+").to_owned(),
            "list" => redis::cmd("LRANGE").arg(key).arg(0).arg(-1).to_owned(),
            "set" => redis::cmd("SMEMBERS").arg(key).to_owned(),
            "zset" => redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).to_owned(),
            other => panic!("{key} is a {other}"),
        };
        let value: redis::Value = read.query_async(&mut conn).await.unwrap();
        dump += &format!("{key} {}\n", text_of(&value));
    }
    assert!(keys.len() > 3, "{keys:?}");
    dump
}

fn text_of(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::Array(values) | redis::Value::Set(values) => {
            values.iter().map(|value| format!("{} ", text_of(value))).collect()
        }
        redis::Value::Map(pairs) => {
            pairs.iter().map(|(key, value)| format!("{} {} ", text_of(key), text_of(value))).collect()
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn every_text_of_an_erased_person_is_gone_unless_it_is_kept() {
    let collector = Collector::default();
    let endpoint = collector.serve().await;
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "200")];
    let platform = Platform::start_with(&variables).await;
    let team = platform.team().await;
    let me = &team.super_manager;
    let markers = Markers::default();
    write_everywhere(&platform, &markers, &team).await;
    let request = request_erasure_because(&platform, me, &markers.of("RequestErasureRequest.reason")).await;
    // A correction is possible until the end.
    let correction = json!([{"field": "job_role", "value": markers.of("Correction.value")}]);
    me.post("/v1/privacy/rectifications", &json!({"corrections": correction})).ok().await;

    // Every text field of the contract has a marker, and each marker is found where it is stored.
    let written = markers.written();
    let with_marker = |field: &String| {
        written.contains(field) || NEVER_STORED.contains(&field.as_str()) || ADDRESSES.contains(&field.as_str())
    };
    let registered = ["RegisterRequest.first_name", "RegisterRequest.last_name"];
    let missing: Vec<String> = text_fields()
        .into_iter()
        .filter(|field| !with_marker(field) && !registered.contains(&field.as_str()))
        .collect();
    assert!(missing.is_empty(), "these texts have no marker: {missing:?}");
    let marker = |field: &str| format!("canary-{}", field.to_lowercase().replace(['.', '_'], "-"));
    // Texts that another one has replaced since.
    let replaced = [
        "CreateAccountRequest.name",
        "CreateCommentRequest.body",
        "CreateCustomFieldRequest.name",
        "CreateTimeEntryRequest.note",
        "CreateViewRequest.name",
        "UserChange.job_role",
    ];
    for field in written.iter().filter(|field| !NEVER_STORED.contains(&field.as_str())) {
        if *field == "UserChange.mobile" || replaced.contains(&field.as_str()) {
            continue;
        }
        let in_files = files_with(&platform.data(), &marker(field));
        let in_tables = canaries(&platform, &[&marker(field)]).await;
        assert!(!in_files.is_empty() || !in_tables.is_empty(), "{field} is stored nowhere");
    }

    end_grace_period(&platform, &request).await;
    complete(&platform, &request).await;

    let gone: Vec<String> = written
        .iter()
        .filter(|field| !KEPT.contains(&field.as_str()))
        .map(|field| if field == "UserChange.mobile" { "+4366012345678".to_owned() } else { marker(field) })
        .chain([me.email.clone()])
        .collect();
    let texts: Vec<&str> = gone.iter().map(String::as_str).collect();
    // Events name the program that caused them. They are kept for three days, and the grace period is thirty; here no time
    // has passed.
    let expiring = marker("header.user_agent");
    let is_left = |place: &String| !(place.starts_with(&expiring) && place.ends_with(".outbox"));
    let left: Vec<String> = canaries(&platform, &texts).await.into_iter().filter(is_left).collect();
    assert_eq!(left, Vec::<String>::new());
    let (redis, printed, spans) = (redis_dump(&platform).await, platform.output(), collector.dump());
    assert!(spans.contains("baton.privacy.v1.ErasureService/RequestErasure"), "spans arrive");
    for text in written.iter().map(|field| marker(field)).chain(gone) {
        assert!(!redis.contains(&text) || text == expiring, "{text} is in Redis");
        assert!(!printed.contains(&text), "{text} is in the log");
        assert!(!spans.contains(&text), "{text} is in a span");
        if text != marker("attachment.content") {
            assert_eq!(files_with(&platform.data(), &text), Vec::<String>::new(), "{text}");
        }
    }
    // What stays, stays in columns that say so.
    let kept: Vec<String> = KEPT.iter().map(|field| marker(field)).collect();
    let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
    let places = canaries(&platform, &kept).await;
    assert!(places.len() >= 10, "{places:?}");
    let mut conn = PgConnection::connect(platform.database_url()).await.unwrap();
    let ids: Vec<String> = sqlx::query_scalar(AssertSqlSafe("select id::text from auth.users".to_owned()))
        .fetch_all(&mut conn)
        .await
        .unwrap();
    assert!(!ids.contains(&me.id.to_string()));

    // Every key and file has a line in a catalogue, as every table has.
    let catalogue = include_str!("../../migrations/elsewhere.toml").parse::<toml::Table>().unwrap();
    let mut redis =
        redis::Client::open(platform.redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let keys = async |redis: &mut redis::aio::MultiplexedConnection| -> Vec<String> {
        redis::cmd("KEYS").arg("*").query_async(redis).await.unwrap()
    };
    let names = |files: Vec<String>| -> Vec<String> {
        let folder = format!("{}/", platform.data().display());
        files.into_iter().map(|file| file.trim_start_matches(&folder).to_owned()).collect()
    };
    assert_eq!(without_line(&catalogue, "redis", keys(&mut redis).await), Vec::<String>::new());
    assert_eq!(without_line(&catalogue, "files", names(files_with(&platform.data(), ""))), Vec::<String>::new());

    // The search finds what a forgotten table, key or file would have.
    let forgotten = "create table task.forgotten as select 'canary-forgotten'::text as note";
    sqlx::query(forgotten).execute(&mut conn).await.unwrap();
    assert_eq!(canaries(&platform, &["canary-forgotten"]).await, ["canary-forgotten is in task.forgotten"]);
    redis::cmd("SET").arg("forgotten").arg("canary-forgotten").exec_async(&mut redis).await.unwrap();
    assert!(redis_dump(&platform).await.contains("canary-forgotten"));
    assert_eq!(without_line(&catalogue, "redis", keys(&mut redis).await), ["forgotten"]);
    fs::write(platform.data().join("forgotten"), "canary-forgotten").unwrap();
    let files = names(files_with(&platform.data(), "canary-forgotten"));
    assert_eq!(without_line(&catalogue, "files", files), ["forgotten"]);
}

/// Those of these names that no line of a section of the catalogue is about.
fn without_line(catalogue: &toml::Table, section: &str, names: Vec<String>) -> Vec<String> {
    let lines = catalogue[section].as_table().unwrap();
    for (pattern, line) in lines {
        let is_complete = line["class"].as_str() == Some("none")
            || ["why", "retention", "erase"].iter().all(|field| line.get(field).is_some_and(toml::Value::is_str));
        assert!(is_complete, "{section}.{pattern}");
    }
    names.into_iter().filter(|name| !lines.keys().any(|pattern| matches(pattern, name))).collect()
}

/// Whether a name has the form of a pattern, in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let found = if parts.peek().is_none() && rest.ends_with(part) {
            Some(rest.len() - part.len())
        } else {
            rest.find(part)
        };
        let Some(at) = found else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}
