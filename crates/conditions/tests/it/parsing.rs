//! JSON forms, limits, and where errors point.

use baton_conditions::{Condition, MAX_DEPTH, MAX_JSON_LEN, MAX_LEAVES, MAX_SECONDS};
use baton_errors::Error;
use serde_json::{Value, json};

/// The path and the description of an error.
pub(crate) fn violation(error: Error) -> (String, String) {
    let status = tonic::Status::from(error);
    assert_eq!(baton_errors::reason_of(&status), Some(baton_errors::Reason::ValidationFailed));
    let details = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
    let first = details.field_violations.first().unwrap();
    (first.field.clone(), first.description.clone())
}

fn parse(json: &Value) -> Condition {
    Condition::parse(json, "trigger_conditions", &[]).unwrap_or_else(|error| panic!("{json}: {:?}", violation(error)))
}

fn refused(json: &Value) -> (String, String) {
    violation(Condition::parse(json, "trigger_conditions", &["from"]).expect_err(&json.to_string()))
}

#[test]
fn short_form_is_all_of_its_fields() {
    let short = json!({"priority": "high", "tags": "urgent", "custom_fields.region": "eu"});
    let long = json!({"all": [
        {"field": "custom_fields.region", "op": "eq", "value": "eu"},
        {"field": "priority", "op": "eq", "value": "high"},
        {"field": "tags", "op": "contains", "value": "urgent"},
    ]});
    assert_eq!(parse(&short).to_json(), long);
    assert_eq!(parse(&json!({"overdue": true})).to_json(), json!({"field": "overdue", "op": "eq", "value": true}));
    assert_eq!(parse(&json!({})), Condition::ALWAYS);
    assert_eq!(parse(&json!({"not": {}})).to_json(), json!({"not": {"all": []}}));
    assert_eq!(parse(&json!({"any": [short]})).to_json(), json!({"any": [long]}));
}

#[test]
fn values_have_one_canonical_form() {
    let canonical = |field: &str, op: &str, value: Value| {
        parse(&json!({"field": field, "op": op, "value": value})).to_json()["value"].clone()
    };
    assert_eq!(canonical("due_at", "lt", json!("2026-03-01T01:30:00.50+02:00")), "2026-02-28T23:30:00.500Z");
    assert_eq!(canonical("progress", "gte", json!(50.0)), 50);
    assert_eq!(canonical("custom_fields.score", "lt", json!(0.1)), 0.1);
    assert_eq!(canonical("custom_fields.score", "eq", json!(u64::MAX)), 18_446_744_073_709_551_615.0);
    let id = "01890000-0000-7000-8000-00000000000a";
    assert_eq!(canonical("watchers", "contains_any", json!(["me", id.to_uppercase()])), json!(["me", id]));
}

#[test]
fn keys_of_the_trigger_are_ignored_in_the_outermost_object_only() {
    let parse = |json: Value| Condition::parse(&json, "", &["for_seconds", "from"]);
    assert_eq!(parse(json!({"for_seconds": 60, "from": "pending"})).unwrap(), Condition::ALWAYS);
    let leaf = parse(json!({"status": "paused"})).unwrap();
    assert_eq!(parse(json!({"for_seconds": 60, "status": "paused"})).unwrap(), leaf);
    assert_eq!(parse(json!({"field": "status", "op": "eq", "value": "paused", "from": 1})).unwrap(), leaf);
    assert_eq!(parse(json!({"from": 1, "all": [leaf.to_json()]})).unwrap(), Condition::All(vec![leaf]));
    let nested = parse(json!({"not": {"from": "pending"}})).unwrap_err();
    assert_eq!(violation(nested).0, "not.from");
}

#[test]
fn errors_name_the_leaf() {
    let leaf = |field: &str, op: &str, value: Value| json!({"field": field, "op": op, "value": value});
    let good = leaf("status", "eq", json!("paused"));
    let cases = [
        (json!([]), "", "must be an object"),
        (
            json!({"all": [good, good, leaf("status", "eq", json!("done"))]}),
            ".all[2].value",
            "one of pending, in_progress",
        ),
        (json!({"all": {}}), ".all", "must be a list"),
        (json!({"any": []}), ".any", "at least one"),
        (json!({"not": [good]}), ".not", "must be an object"),
        (json!({"not": {"any": [{"not": 1}]}}), ".not.any[0].not", "must be an object"),
        (json!({"all": [], "any": [good]}), ".any", "must not stand beside `all`"),
        (json!({"all": [], "priority": "low"}), ".priority", "must not stand beside `all`"),
        (json!({"field": "status", "op": "eq", "value": "paused", "x": 1}), ".x", "must not stand beside `field`"),
        (json!({"field": "status", "op": "eq"}), ".value", "is required"),
        (json!({"field": "status", "value": "paused"}), ".op", "must be one of eq, ne, in, not_in for this field"),
        (leaf("colour", "eq", json!(1)), ".field", "status, priority"),
        (json!({"colour": 1}), ".colour", "custom_fields.<key>"),
        (json!({"parent.hour": 1}), ".parent.hour", "prefix `parent.`"),
        (json!({"field": 1, "op": "eq", "value": 1}), ".field", "status, priority"),
        (leaf("status", "lt", json!("paused")), ".op", "must be one of eq, ne, in, not_in for this field"),
        (leaf("tags", "in", json!(["a"])), ".op", "eq, ne, is_empty, contains, contains_any, contains_all"),
        (leaf("title", "is", json!("a")), ".op", "eq, ne, in, not_in, is_empty, contains, starts_with"),
        (leaf("title", "contains", json!("")), ".value", "must not be empty"),
        (leaf("assignee", "eq", json!(null)), ".value", "or \"me\"; for no value, use the operator is_empty"),
        (leaf("assignee", "in", json!(["me", "creator"])), ".value[1]", "the id of a user"),
        (leaf("assignee", "in", json!("me")), ".value", "a list of at least one"),
        (leaf("tags", "contains_all", json!([])), ".value", "a list of at least one"),
        (leaf("due_at", "is_empty", json!("yes")), ".value", "true or false"),
        (leaf("due_at", "gt", json!("2026-02-30T00:00:00Z")), ".value", "RFC 3339"),
        (leaf("due_at", "gt", json!("9999-12-31T23:59:59-01:00")), ".value", "RFC 3339"),
        (leaf("due_at", "within_seconds", json!(-1)), ".value", "whole number"),
        (leaf("due_at", "within_seconds", json!(1.5)), ".value", "whole number"),
        (leaf("due_at", "within_seconds", json!(MAX_SECONDS + 1)), ".value", "whole number"),
        (leaf("custom_fields.a", "eq", json!([1])), ".value", "a text, a number, true or false"),
        (leaf("custom_fields.a", "gt", json!("1")), ".value", "must be a number"),
        (leaf("overdue", "eq", json!("true")), ".value", "true or false"),
    ];
    for (json, path, description) in cases {
        let (at, what) = refused(&json);
        assert_eq!(at, format!("trigger_conditions{path}"), "{json}");
        assert!(what.contains(description), "{json}: {what}");
    }
}

#[test]
fn depth_is_limited() {
    let nested = |levels: usize, inner: Value| (0..levels).fold(inner, |json, _| json!({"not": json}));
    let leaf = json!({"status": "paused"});
    let several = json!({"status": "paused", "overdue": true});
    parse(&nested(MAX_DEPTH, leaf.clone()));
    parse(&nested(MAX_DEPTH - 1, several.clone()));
    let deepest = format!("trigger_conditions{}", ".not".repeat(MAX_DEPTH));
    for json in [nested(MAX_DEPTH + 1, leaf), nested(MAX_DEPTH, several), nested(MAX_DEPTH, json!({}))] {
        let (path, description) = refused(&json);
        assert_eq!((path.as_str(), description.contains("5 levels")), (deepest.as_str(), true), "{json}");
    }
}

#[test]
fn leaves_are_limited() {
    let leaves = |count: usize| json!({"any": vec![json!({"not": {"overdue": true}}); count]});
    parse(&leaves(MAX_LEAVES));
    let (path, description) = refused(&leaves(MAX_LEAVES + 1));
    assert_eq!(path, "trigger_conditions.any[50].not.overdue");
    assert!(description.contains("50"), "{description}");
}

#[test]
fn size_is_limited_as_given_and_in_the_canonical_form() {
    let title = |len: usize| json!({"field": "title", "op": "eq", "value": "x".repeat(len)});
    let frame = title(0).to_string().len();
    parse(&title(MAX_JSON_LEN - frame));
    let (path, description) = refused(&title(MAX_JSON_LEN - frame + 1));
    assert_eq!((path.as_str(), description.contains("8192 bytes")), ("trigger_conditions", true));
    // The short form is shorter than the canonical form.
    let short = json!({"title": "x".repeat(MAX_JSON_LEN - frame + 1)});
    assert!(short.to_string().len() < MAX_JSON_LEN);
    assert_eq!(refused(&short).0, "trigger_conditions");
}
