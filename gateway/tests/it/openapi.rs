//! The OpenAPI document and the page that shows it.

use std::collections::BTreeSet;

use baton_errors::Reason;
use serde_json::{Value, json};

use crate::fixture::{Fixture, header, json as get_json};

fn document() -> Value {
    baton_gateway::openapi().expect("the contract has a REST form")
}

/// Returns all operations with verb and path.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (verb, operation) in item.as_object().expect("operations") {
            found.push((verb.clone(), path.clone(), operation));
        }
    }
    found
}

fn operation<'d>(document: &'d Value, id: &str) -> &'d Value {
    let mut operations = operations(document).into_iter().map(|(_, _, operation)| operation);
    operations.find(|operation| operation["operationId"] == id).expect(id)
}

/// Visits every value of the document.
fn walk<'d>(value: &'d Value, visit: &mut impl FnMut(&'d Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(members) => members.values().for_each(|member| walk(member, visit)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_served_with_an_etag() {
    let fixture = Fixture::start_with(|config| config.public_url = Some("https://api.example.com".to_owned())).await;
    let (status, served) = get_json(fixture.get("/openapi.json")).await;
    assert_eq!((status.as_u16(), &served["servers"]), (200, &json!([{"url": "https://api.example.com"}])));
    let paths = document()["paths"].to_string().replace("http://127.0.0.1:8080", "https://api.example.com");
    assert_eq!(served["paths"].to_string(), paths, "equal except for the server of samples");
    let response = fixture.get("/openapi.json").send().await.expect("a response");
    let etag = header(&response, "etag").expect("an ETag").to_owned();
    let again = fixture.get("/openapi.json").header("if-none-match", etag).send().await.expect("a response");
    assert_eq!(again.status(), 304);
}

#[test]
fn every_annotated_rpc_is_a_documented_operation() {
    let document = document();
    let http = baton_proto::pool().get_extension_by_name("google.api.http").expect("in the contract");
    let methods = baton_proto::pool().services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let annotated = methods.filter(|method| method.options().has_extension(&http));
    let expected: BTreeSet<String> =
        annotated.map(|method| format!("{}_{}", method.parent_service().name(), method.name())).collect();
    let operations = operations(&document);
    let ids = operations.iter().map(|(_, _, operation)| operation["operationId"].as_str().expect("an id").to_owned());
    assert_eq!(ids.collect::<BTreeSet<_>>(), expected);
    assert_eq!(operations.len(), expected.len());
    for (verb, path, operation) in operations {
        for words in ["summary", "description"] {
            assert!(operation[words].as_str().is_some_and(|text| !text.is_empty()), "{verb} {path} lacks a {words}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|p| p.get("$ref").is_none()) {
            assert!(
                parameter["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{verb} {path}: {parameter}"
            );
        }
    }
}

#[test]
fn references_resolve_and_paths_declare_their_parameters() {
    let document = document();
    walk(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let target = document.pointer(reference.trim_start_matches('#'));
            assert!(target.is_some_and(|target| !target.is_null()), "{reference}");
        }
    });
    for (verb, path, operation) in operations(&document) {
        let in_template: BTreeSet<&str> =
            path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')).collect();
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let declared = parameters.filter(|parameter| parameter["in"] == "path");
        let declared: BTreeSet<&str> = declared.map(|parameter| parameter["name"].as_str().expect("a name")).collect();
        assert_eq!(declared, in_template, "{verb} {path}");
    }
}

#[test]
fn access_rules_are_documented() {
    let document = document();
    let login = operation(&document, "AuthService_Login");
    assert_eq!(login["security"], json!([]));
    assert!(login["responses"].get("401").is_some(), "CREDENTIALS_INVALID stands in its comment");
    let pause = operation(&document, "TaskService_PauseTask");
    assert_eq!(pause.get("security"), None);
    assert!(pause["description"].as_str().expect("words").contains("`work_on_tasks`"));
    let conflicts = pause["responses"]["409"]["x-reasons"].as_array().expect("reasons");
    assert!(conflicts.contains(&json!("TASK_WRONG_STATE")), "{conflicts:?}");
}

#[test]
fn schemas_of_requests_and_responses_are_complete() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let task = &schemas["Task"]["properties"];
    assert_eq!(task["id"]["type"], "string");
    assert_eq!(task["assigned_to"]["type"], json!(["string", "null"]));
    assert_eq!(task["due_at"]["format"], "date-time");
    assert_eq!(task["status"]["$ref"], "#/components/schemas/TaskStatus");
    assert_eq!(
        schemas["TaskStatus"]["enum"],
        json!(["pending", "in_progress", "paused", "completed", "archived", "canceled"])
    );
    assert_eq!(task["estimated_seconds"]["format"], "int32");

    let create = &schemas["CreateTaskRequest"];
    assert_eq!((&create["required"], &create["additionalProperties"]), (&json!(["title"]), &json!(false)));
    let title = &create["properties"]["title"];
    assert_eq!((&title["minLength"], &title["maxLength"], &title["type"]), (&json!(1), &json!(200), &json!("string")));
    assert_eq!(create["properties"]["tags"]["maxItems"], 20);
    assert_eq!(create["properties"]["tags"]["items"]["maxLength"], 50);
    assert_eq!(create["properties"]["assigned_to"]["format"], "uuid");
    assert_eq!(create["properties"]["estimated_seconds"]["minimum"], 0);
    assert_eq!(schemas["PauseTaskRequest"]["properties"].get("id"), None, "it is in the path");

    let update = operation(&document, "TaskService_UpdateTask");
    let patch = &update["requestBody"]["content"]["application/merge-patch+json"]["schema"];
    assert_eq!(patch["$ref"], "#/components/schemas/TaskChange");
    assert_eq!(schemas["TaskChange"].get("required"), None);
    assert_eq!(schemas["TaskChange"]["minProperties"], 1);
    assert_eq!(schemas["TaskChange"]["properties"]["title"]["type"], "string", "it cannot be cleared");
    assert_eq!(schemas["TaskChange"]["properties"]["due_at"]["type"], json!(["string", "null"]));
    assert_eq!(operation(&document, "TaskService_StartTask").get("requestBody"), None);
}

#[test]
fn schemas_of_parameters_are_complete() {
    let document = document();
    let list = operation(&document, "TaskService_ListTasks")["parameters"].as_array().expect("parameters");
    let of = |name: &str| list.iter().find(|parameter| parameter["name"] == name).expect(name);
    assert_eq!(of("status")["schema"]["items"]["$ref"], "#/components/schemas/TaskStatus");
    assert_eq!(of("sort")["schema"]["$ref"], "#/components/schemas/TaskSort");
    assert_eq!((&of("per_page")["schema"]["maximum"], &of("per_page")["required"]), (&json!(100), &json!(false)));
    let headers = |id: &str| {
        let parameters = operation(&document, id)["parameters"].as_array().cloned().unwrap_or_default();
        let refs = parameters.iter().filter_map(|p| p["$ref"].as_str());
        refs.map(|name| name.trim_start_matches("#/components/parameters/").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(headers("TaskService_CreateTask"), ["AccountId", "IdempotencyKey"]);
    assert_eq!(headers("TaskService_StartTask"), ["AccountId", "IdempotencyKey", "IfMatch"]);
    assert_eq!(headers("TaskService_DeleteTask"), ["AccountId", "IfMatch"]);
    assert_eq!(headers("TaskService_GetTask"), ["AccountId", "IfNoneMatch"]);
    assert_eq!(headers("MemberService_InviteMember"), ["IdempotencyKey"]);
    assert_eq!(headers("MemberService_UpdateMember"), ["IfMatch"]);
    assert_eq!(headers("AuthService_Login"), ["BatonSession"]);
    assert_eq!(headers("AuthService_VerifyEmail"), [""; 0]);
}

#[test]
fn every_reason_is_listed() {
    let document = document();
    let listed = &document["components"]["schemas"]["Problem"]["properties"]["reason"]["enum"];
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(*listed, json!(reasons));
}

#[tokio::test]
async fn the_page_loads_nothing_from_other_hosts() {
    let fixture = Fixture::start().await;
    for path in [
        "/docs",
        "/docs/style.css",
        "/docs/script.js",
        "/docs/icon.svg",
        "/docs/swagger-ui.css",
        "/docs/swagger-ui-bundle.js",
    ] {
        let response = fixture.get(path).send().await.expect("a response");
        assert_eq!(response.status(), 200, "{path}");
        let policy = header(&response, "content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(header(&response, "content-type").is_some_and(|kind| !kind.contains("octet")), "{path}");
        let text = response.text().await.expect("text").replace("http://www.w3.org/2000/svg", "");
        let named = text.matches("http://").count() + text.matches("https://").count();
        assert!(path.contains("swagger-ui") || named == 0, "{path} names another host");
        assert!(!text.is_empty(), "{path}");
    }
}
