//! The API's description: valid by a validator that is not ours, complete, and readable without the internet.

use std::collections::BTreeSet;

use baton_tests::{Platform, run_node};
use serde_json::{Value, json};

use crate::permissions::{Rule, http_binding, methods};

#[tokio::test]
async fn the_document_is_valid_and_has_every_route() {
    let platform = Platform::start().await;
    let answer = platform.rest().get("/openapi.json").send().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let document = answer.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);

    let file = platform.data().join("openapi.json");
    std::fs::write(&file, &answer.text).unwrap();
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
        let answers = operation["responses"].as_object().unwrap();
        // What sends a browser elsewhere answers 302.
        assert!(answers.contains_key("200") || answers.contains_key("302"), "{name}");
        assert!(
            answers.iter().any(|(code, _)| code.starts_with('4') || code == "default"),
            "{name} tells of no refusal"
        );
    }
    assert!(documented.is_empty(), "not in the contract: {documented:?}");
}

/// The validator finds what is wrong: otherwise the test above would say nothing.
#[tokio::test]
async fn the_validator_refuses_a_broken_document() {
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

#[tokio::test]
async fn the_docs_need_no_internet() {
    let platform = Platform::start().await;
    let page = platform.rest().get("/docs").send().await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("http"), "{policy}");

    let mut texts = vec![("/docs".to_owned(), page.text.clone())];
    let mut links = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        links.extend(page.text.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert!(links.len() >= 2, "{links:?}");
    for link in links.iter().filter(|link| !link.starts_with('#')) {
        assert!(link.starts_with('/') && !link.starts_with("//"), "{link} leads elsewhere");
        let part = platform.rest().get(link).send().await;
        assert_eq!(part.status, 200, "{link}: {}", part.text);
        texts.push((link.clone(), part.text));
    }
    for (link, text) in texts.iter().filter(|(link, _)| link != "/openapi.json") {
        // The name of a namespace looks like an address, and nobody fetches it.
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for address in ["http://", "https://", "src=\"//", "url(//", "@import"] {
            assert!(!text.contains(address), "{link} has {address}");
        }
    }
}
