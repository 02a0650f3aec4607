//! The documentation's code samples, run in a shell.

use std::{collections::BTreeMap, process::Stdio};

use baton_tests::{PASSWORD, Platform, Team};
use serde_json::{Map, Value, json};
use tokio::process::Command;

/// Reasons for which a well-formed sample may be refused: its mailed or provider token is made up, or it lacks the
/// account's password.
const REFUSALS: &[&str] =
    &["CANCELLATION_INVALID", "LINK_INVALID", "OAUTH_STATE_INVALID", "PASSWORD_TOO_WEAK", "VERIFICATION_INVALID"];

#[tokio::test]
async fn every_sample_is_accepted_by_its_operation() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let api = platform.rest().get("/openapi.json").ok().await;
    let variables = variables(&platform, &team).await;

    let (mut pasted, mut done) = (0, Vec::new());
    let mut operations = operations(&api);
    // Destructive operations come last, and those that end the caller's session at the very end.
    operations.sort_by_key(|(verb, path, _)| (ends_sign_in(path), verb == "delete"));
    for (verb, path, operation) in operations {
        let name = format!("{verb} {path}");
        let sample = operation["x-codeSamples"][0]["source"].as_str().unwrap_or_else(|| panic!("{name} has no sample"));
        assert!(sample.starts_with("curl") && sample.contains(&platform.url()), "{name}: {sample}");
        let (status, body) = paste(sample, &variables).await;
        pasted += 1;
        let reason =
            serde_json::from_str::<Value>(&body).unwrap_or_default()["reason"].as_str().unwrap_or_default().to_owned();
        let understood = match status {
            200..=399 => true,
            400 | 422 => REFUSALS.contains(&reason.as_str()),
            404 => reason != "ROUTE_NOT_FOUND",
            401 | 403 | 409 | 412 => true,
            _ => false,
        };
        assert!(understood, "{name}: {status} {body}\n{sample}");
        if status < 400 {
            done.push(name);
        }
    }
    assert!(pasted > 100, "{pasted}");
    // Most succeed; for the others the team has no resource in the right state.
    assert!(done.len() * 2 > pasted, "only {} of {pasted} succeeded: {done:#?}", done.len());
}

/// The variables that the introduction sets.
#[tokio::test]
async fn introduction_commands_work_when_pasted() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    for title in ["One", "Two"] {
        team.owner.create_task(title).await;
    }
    let api = platform.rest().get("/openapi.json").ok().await;
    let introduction = api["info"]["description"].as_str().unwrap();
    let lines = introduction.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let lines = lines.replace("ada@example.com", &team.owner.email).replace("crate lantern orchid seven", PASSWORD);
    let script = format!("{lines}\necho \"$TOKEN|$ACCOUNT_ID|$USER_ID|$TASK_ID|$OTHER_TASK_ID\"");
    let output = Command::new("sh").arg("-c").arg(&script).output().await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let values: Vec<&str> = printed.trim().split('|').collect();
    assert_eq!(values.len(), 5, "{printed}");
    assert!(values.iter().all(|value| !value.is_empty()), "{printed}\n{script}");
    assert_eq!(values[2], team.owner.id.to_string());
    assert_ne!(values[3], values[4]);
}

fn ends_sign_in(path: &str) -> bool {
    ["/auth/logout", "/auth/sessions", "/users/me/", "/leave", "/transfer", "/suspend", "/privacy/restrictions"]
        .iter()
        .any(|part| path.contains(part))
        || path.ends_with("/users/me")
        || path == "/v1/accounts/{account_id}"
}

/// Shell variables.
pub(crate) type Variables = BTreeMap<&'static str, String>;

/// Path and body of an operation's sample, with variables expanded as by the shell.
pub(crate) fn request_of(operation: &Value, variables: &Variables) -> (String, Option<Map<String, Value>>) {
    let sample = operation["x-codeSamples"][0]["source"].as_str().expect("a sample");
    let expanded = expanded(sample, variables);
    let url = expanded.split('"').nth(1).expect("an address");
    let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).expect("a path");
    let body = match (expanded.split_once("<<JSON\n"), expanded.split_once("--data '")) {
        (Some((_, body)), _) => body.strip_suffix("\nJSON"),
        (_, Some((_, body))) => body.strip_suffix('\''),
        _ => None,
    };
    (path, body.map(|body| serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))))
}

/// Expands `${NAME:-default}` as the shell does.
fn expanded(text: &str, variables: &Variables) -> String {
    let mut pieces = text.split("${");
    let mut expanded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (inner, rest) = piece.split_once('}').expect("a brace");
        let (name, default) = inner.split_once(":-").expect("a default");
        expanded.push_str(variables.get(name).map_or(default, String::as_str));
        expanded.push_str(rest);
    }
    expanded
}

/// Verb, path and operation of every route.
pub(crate) fn operations(api: &Value) -> Vec<(String, String, &Value)> {
    let paths = api["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &'_ Value)| -> Vec<(String, String)> {
        item.as_object().unwrap().keys().map(|verb| (verb.clone(), path.clone())).collect()
    };
    paths.iter().flat_map(of).map(|(verb, path)| (verb.clone(), path.clone(), &api["paths"][&path][&verb])).collect()
}

/// Ids of existing resources.
pub(crate) async fn variables(platform: &Platform, team: &Team) -> Variables {
    let owner = &team.owner;
    let id = |thing: &Value| thing["id"].as_str().unwrap_or_default().to_owned();
    let task = owner.post("/v1/tasks", &json!({"title": "Sample", "due_at": "2031-01-01T00:00:00Z"})).ok().await;
    let other = owner.post("/v1/tasks", &json!({"title": "Another"})).ok().await;
    let under = |name: &str| format!("/v1/tasks/{}/{name}", id(&task));
    let comment = owner.post(&under("comments"), &json!({"body": "A"})).ok().await;
    let reminder = owner.post(&under("reminders"), &json!({"at": "2030-12-31T00:00:00Z"})).ok().await;
    let worked = json!({"started_at": "2026-01-03T08:00:00Z", "ended_at": "2026-01-03T09:00:00Z"});
    let entry = owner.post(&under("time-entries"), &worked).ok().await;
    let view = owner.post("/v1/views", &json!({"name": "A", "source": "my"})).ok().await;
    let field = owner.post("/v1/custom-fields", &json!({"name": "A", "key": "a", "type": "text"})).ok().await;
    let rule = json!({"name": "A", "trigger_type": "task_completed", "trigger_conditions": {},
                      "actions": [{"type": "archive"}]});
    let rule = owner.post("/v1/automations", &rule).ok().await;
    let login = json!({"email": owner.email, "password": PASSWORD});
    let session = platform.rest().post("/v1/auth/login", &login).ok().await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    BTreeMap::from([
        ("TOKEN", text(&session["access_token"])),
        ("REFRESH_TOKEN", text(&session["refresh_token"])),
        ("EMAIL", owner.email.clone()),
        ("PASSWORD", PASSWORD.to_owned()),
        ("ACCOUNT_ID", team.account_id.to_string()),
        ("USER_ID", team.user.id.to_string()),
        ("TASK_ID", id(&task)),
        ("OTHER_TASK_ID", id(&other)),
        ("COMMENT_ID", id(&comment)),
        ("REMINDER_ID", id(&reminder)),
        ("TIME_ENTRY_ID", id(&entry)),
        ("VIEW_ID", id(&view)),
        ("AUTOMATION_ID", id(&rule)),
        ("CUSTOM_FIELD_ID", id(&field)),
    ])
}

/// Runs a sample and returns the status and body of the response.
async fn paste(sample: &str, variables: &Variables) -> (u16, String) {
    let script = format!("curl() {{ command curl -sS -w '\\n%{{http_code}}' \"$@\"; }}\n{sample}\n");
    let output =
        Command::new("sh").arg("-c").arg(&script).envs(variables).stdin(Stdio::null()).output().await.expect("a shell");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = printed.rsplit_once('\n').unwrap_or_else(|| panic!("{output:?}\n{sample}"));
    (status.trim().parse().unwrap_or_else(|_| panic!("{output:?}\n{sample}")), body.to_owned())
}
