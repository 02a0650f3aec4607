//! The OpenAPI document: valid for a third-party validator, complete, and readable offline.

use std::collections::BTreeSet;

use baton_tests::{Platform, run_node};
use serde_json::{Value, json};

use crate::permissions::{Rule, http_binding, methods};

#[tokio::test]
async fn document_is_valid_and_has_every_route() {
    let platform = Platform::start().await;
    let response = platform.rest().get("/openapi.json").send().await;
    assert_eq!((response.status, response.header("content-type")), (200, "application/json"));
    let document = response.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);

    let file = platform.data().join("openapi.json");
    std::fs::write(&file, &response.text).unwrap();
    let printed = run_node("openapi.mjs", &json!({"document": file})).await;
    assert_eq!(printed, [json!({"valid": true, "version": "3.1", "errors": []})]);

    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for verb in operations.as_object().unwrap().keys() {
            documented.insert((verb.clone(), path.clone()));
        }
    }
    let tags: BTreeSet<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].clone().to_string()).collect();
    for (method, rule) in methods() {
        let Some((verb, path)) = http_binding(&method) else { continue };
        assert!(documented.remove(&(verb.to_owned(), path.clone())), "{verb} {path} is not in the document");
        let operation = &document["paths"][&path][verb];
        let name = format!("{verb} {path}");
        for text in ["operationId", "summary", "description"] {
            assert!(operation[text].as_str().is_some_and(|text| !text.is_empty()), "{name} has no {text}");
        }
        for tag in operation["tags"].as_array().unwrap_or_else(|| panic!("{name} has no tags")) {
            assert!(tags.contains(&tag.to_string()), "{name}: {tag} is not described");
        }
        let security = operation.get("security").unwrap_or(&document["security"]);
        let open = security.as_array().unwrap().is_empty();
        assert_eq!(open, rule == Rule::Public, "{name}: {security}");
        let responses = operation["responses"].as_object().unwrap();
        // Redirecting operations return 302.
        assert!(responses.contains_key("200") || responses.contains_key("302"), "{name}");
        assert!(
            responses.iter().any(|(code, _)| code.starts_with('4') || code == "default"),
            "{name} documents no error"
        );
    }
    assert!(documented.is_empty(), "not in the contract: {documented:?}");
}

/// The validator detects errors; otherwise the test above would prove nothing.
#[tokio::test]
async fn validator_refuses_an_invalid_document() {
    let folder = tempfile::tempdir().unwrap();
    let operation = json!({"responses": {"200": {"description": "Fine"}}});
    let of = |operation: Value| json!({"openapi": "3.1.0", "info": {"title": "A", "version": "1"}, "paths": {"/a": {"get": operation}}});
    for (number, (document, valid)) in [
        (of(operation.clone()), true),
        (of(json!({"responses": {"200": {}}})), false),
        (of(json!({"parameters": [{"name": "a"}], "responses": operation["responses"]})), false),
        (of(json!({"parameters": [{"$ref": "#/components/parameters/Nowhere"}], "responses": operation["responses"]})), false),
    ]
    .into_iter()
    .enumerate()
    {
        let file = folder.path().join(format!("{number}.json"));
        std::fs::write(&file, document.to_string()).unwrap();
        let printed = run_node("openapi.mjs", &json!({"document": file})).await;
        assert_eq!(printed[0]["valid"], valid, "{document}: {printed:?}");
    }
}

/// Enums are named components, so that clients get one type for each. Fields that are always present are not nullable.
#[tokio::test]
async fn enums_are_components_and_responses_use_them() {
    let platform = Platform::start().await;
    let document = platform.rest().get("/openapi.json").ok().await;
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut named = 0;
    for (name, schema) in schemas {
        for (property, value) in schema["properties"].as_object().into_iter().flatten() {
            let items = &value["items"];
            assert!(name == "Problem" || value["enum"].is_null() && items["enum"].is_null(), "{name}.{property}");
        }
        named += usize::from(schema["enum"].is_array());
    }
    assert!(named > 20, "{named}");
    for (message, field) in
        [("Task", "priority"), ("Task", "status"), ("Member", "role"), ("Account", "subscription_tier")]
    {
        let property = &schemas[message]["properties"][field];
        assert!(property["$ref"].is_string(), "{message}.{field}: {property}");
        assert!(schemas[message]["required"].as_array().unwrap().contains(&json!(field)), "{message}.{field}");
    }
}

/// Every operation documents the error reasons that all operations of its kind share.
#[tokio::test]
async fn shared_error_reasons_are_documented_per_operation() {
    let platform = Platform::start().await;
    let document = platform.rest().get("/openapi.json").ok().await;
    let mut lists = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (verb, operation) in operations.as_object().unwrap() {
            let documented_reasons = reasons(&document, operation);
            let has = |reason: &str| {
                assert!(
                    documented_reasons.contains(reason),
                    "{verb} {path} does not document {reason}: {documented_reasons:?}"
                )
            };
            let named = |wanted: &str| {
                let mut all = operation["parameters"].as_array().into_iter().flatten();
                all.any(|one| one["name"] == wanted || one["$ref"].as_str().is_some_and(|name| name.ends_with(wanted)))
            };
            if named("page_token") {
                has("PAGE_TOKEN_INVALID");
                lists += 1;
            }
            if named("/IdempotencyKey") {
                has("IDEMPOTENCY_KEY_REUSED");
            }
            if named("/IfMatch") {
                has("VERSION_MISMATCH");
            }
            if operation["requestBody"].is_object() {
                has("UNSUPPORTED_MEDIA_TYPE");
                has("REQUEST_TOO_LARGE");
            }
            if !operation["security"].is_array() {
                has("TOKEN_INVALID");
            }
            has("UNAVAILABLE");
        }
    }
    assert!(lists > 20, "{lists}");
}

fn reasons(document: &Value, operation: &Value) -> BTreeSet<String> {
    let responses = operation["responses"].as_object().unwrap().values();
    let resolved = responses.map(|response| match response["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => response,
    });
    let listed = resolved.filter_map(|response| response["x-reasons"].as_array()).flatten();
    listed.map(|reason| reason.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn file_response_has_a_documented_media_type() {
    let platform = Platform::start().await;
    let owner = platform.team().await.owner;
    let document = platform.rest().get("/openapi.json").ok().await;
    let content = &document["paths"]["/v1/activity-logs/export"]["get"]["responses"]["200"]["content"];
    for format in ["ndjson", "csv"] {
        let file = owner.get(&format!("/v1/activity-logs/export?format={format}")).send().await;
        let media_type = file.header("content-type").split(';').next().unwrap();
        assert!(file.status == 200 && content[media_type].is_object(), "{media_type} is not in {content}");
    }
    assert_eq!(content.as_object().unwrap().len(), 2, "{content}");
}
