//! The platform follows the OpenAPI document for requests: required fields and `Idempotency-Key`.

use baton_tests::{Call, Platform, Rest, RestResponse};
use reqwest::Method;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::docs_samples::{operations, request_of, variables};

/// Operations that need one of several alternative fields, which `required` cannot express.
const ALTERNATIVES: &[&str] =
    &["BulkService_ChangeTasks", "AutomationService_TestAutomation", "AutomationService_BacktestAutomation"];

/// Operations whose sample cannot succeed here, because its token, code or provider is made up.
const CANNOT_SUCCEED: &[&str] = &[
    "ExecutionService_RetryExecution",
    "MfaService_ConfirmTotp",
    "MfaService_RenewRecoveryCodes",
    "TaskService_AcceptTask",
    "TaskService_RejectTask",
    "TaskService_SkipTask",
    "TaskService_UnskipTask",
    // Of operators.
    "AccountabilityService_RecordBreach",
];

/// The transitions of a task, in an order in which each is valid.
const LIFE: &[&str] =
    &["Assign", "Reassign", "Start", "Pause", "Resume", "Complete", "Archive", "Reopen", "Restore", "Cancel"];

#[tokio::test]
async fn exactly_the_documented_fields_are_required() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let api = platform.rest().get("/openapi.json").ok().await;
    let mut variables = variables(&platform, &team).await;
    // A wrong password is refused after field validation and changes nothing.
    variables.insert("PASSWORD", "crate lantern orchid seven".to_owned());
    let (mut complete, mut without) = (0, 0);
    for (verb, path, operation) in operations(&api) {
        let name = operation["operationId"].as_str().unwrap();
        // One refuses everybody who is no operator, before it looks at the body; the other refuses everything afterwards.
        if operation["description"].to_string().contains("For operators") || name == "RightsService_RequestRestriction"
        {
            continue;
        }
        let content = operation["requestBody"]["content"].as_object().and_then(|content| content.values().next());
        let Some(reference) = content.and_then(|content| content["schema"]["$ref"].as_str()) else { continue };
        let schema = api.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference}"));
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (url, sample) = request_of(operation, &variables);
        let sample = sample.unwrap_or_else(|| panic!("{name} has no sample of its body"));
        let some = schema["minProperties"].as_u64().unwrap_or_default() > 0;
        let body: Map<String, Value> =
            sample.into_iter().filter(|(field, _)| some || required.contains(&field.as_str())).collect();
        for field in &required {
            assert!(body.contains_key(*field), "the sample of {name} lacks {field}");
        }
        let send = async |body: &Map<String, Value>| -> RestResponse {
            let caller: Rest = if operation["security"].is_array() { platform.rest() } else { (*team.owner).clone() };
            let method = Method::from_bytes(verb.to_uppercase().as_bytes()).unwrap();
            caller.call(method, &url).json(&Value::from(body.clone())).send().await
        };
        // First those that are refused: the others may change what the caller may do.
        for field in &required {
            let mut less = body.clone();
            less.remove(*field);
            let problem = send(&less).await.refused(400, "VALIDATION_FAILED");
            let fields: Vec<_> =
                problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
            assert!(fields.contains(field), "{name} without {field}: {problem}");
            without += 1;
        }
        if !ALTERNATIVES.contains(&name) {
            let response = send(&body).await;
            assert!(
                response.status < 500 && response.status != 401 || operation["security"].is_array(),
                "{name}: {}",
                response.text
            );
            let reason = if response.status < 400 { Value::Null } else { response.json()["reason"].clone() };
            for refused in ["VALIDATION_FAILED", "UNKNOWN_FIELD", "MALFORMED_REQUEST", "UNSUPPORTED_MEDIA_TYPE"] {
                assert_ne!(reason, refused, "{verb} {path} with its required fields: {}", response.text);
            }
            complete += 1;
        }
    }
    assert!(complete > 40 && without > 40, "{complete} complete, {without} without a field");
}

#[tokio::test]
async fn idempotency_key_replays_the_first_response_where_documented() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let api = platform.rest().get("/openapi.json").ok().await;
    let mut variables = variables(&platform, &team).await;
    // The caller is the assignee, so all transitions are allowed.
    let fresh = team.owner.create_task("A life").await;
    let mut documented: Vec<_> =
        operations(&api).into_iter().filter(|(_, _, operation)| takes_key(operation)).collect();
    documented.sort_by_key(|(_, _, operation)| place(operation["operationId"].as_str().unwrap()));
    let (mut tried, mut done) = (0, 0);
    for (verb, path, operation) in documented {
        assert_eq!(verb, "post", "{path}");
        let name = operation["operationId"].as_str().unwrap();
        if LIFE.iter().any(|step| name == format!("TaskService_{step}Task")) {
            variables.insert("TASK_ID", fresh.to_string());
            // Assigned to another user, then back to the caller, who makes the other transitions.
            let assignee = if name.contains("_Assign") { team.user.id } else { team.owner.id };
            variables.insert("USER_ID", assignee.to_string());
        }
        if name.contains("Transfer") {
            variables.insert("USER_ID", team.user.id.to_string());
        }
        if name == "TaskService_RestoreTask" {
            // Restored from the trash.
            team.owner.call(Method::DELETE, &format!("/v1/tasks/{fresh}")).send().await;
        }
        let (url, body) = request_of(operation, &variables);
        let key = Uuid::new_v4().to_string();
        let call = || -> Call {
            let call = team.owner.call(Method::POST, &url).header("idempotency-key", &key);
            match &body {
                Some(body) => call.json(&Value::from(body.clone())),
                None => call,
            }
        };
        let (first, second) = (call().send().await, call().send().await);
        tried += 1;
        if first.status == 200 && name.contains("Transfer") && second.status == 403 {
            // The caller is no owner any more, which the service may know for up to a second later.
            second.refused(403, "PERMISSION_MISSING");
            done += 1;
        } else if first.status == 200 {
            assert_eq!((second.status, second.json()), (200, first.json()), "{name} again under its key");
            done += 1;
        } else {
            assert!(CANNOT_SUCCEED.contains(&name), "{name} did not succeed: {}", first.text);
            assert_eq!(second.status, first.status, "{name}: {}", second.text);
        }
    }
    assert!(tried > 30 && done + CANNOT_SUCCEED.len() >= tried, "{done} of {tried}");
}

fn takes_key(operation: &Value) -> bool {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters.filter_map(|parameter| parameter["$ref"].as_str()).any(|name| name.ends_with("/IdempotencyKey"))
}

/// Sorts destructive operations last.
fn place(name: &str) -> usize {
    let step = LIFE.iter().position(|step| name == format!("TaskService_{step}Task"));
    let last = ["Transfer", "Password"].iter().position(|word| name.contains(word));
    match (step, last) {
        (Some(step), _) => 100 + step,
        (_, Some(last)) => 200 + last,
        _ => 0,
    }
}
