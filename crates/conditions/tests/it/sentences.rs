//! Conditions in English.

use baton_conditions::Condition;
use serde_json::{Value, json};

fn sentence(json: Value) -> String {
    Condition::parse(&json, "", &[]).unwrap().sentence()
}

fn leaf(field: &str, op: &str, value: Value) -> String {
    sentence(json!({"field": field, "op": op, "value": value}))
}

#[test]
fn leaves_are_read_aloud() {
    let id = "01890000-0000-7000-8000-00000000000a";
    let cases = [
        (leaf("priority", "eq", json!("high")), "the priority is high"),
        (leaf("status", "ne", json!("in_progress")), "the status is not in progress"),
        (leaf("status", "in", json!(["paused", "in_progress"])), "the status is one of paused, in progress"),
        (leaf("visibility", "not_in", json!(["team"])), "the visibility is none of team"),
        (leaf("priority", "gte", json!("high")), "the priority is at least high"),
        (leaf("parent.priority", "lt", json!("high")), "the parent's priority is below high"),
        (leaf("assignee", "eq", json!(id)), "the assignee is @01890000-0000-7000-8000-00000000000a"),
        (leaf("parent.creator", "eq", json!("me")), "the parent's creator is you"),
        (leaf("assignee", "is_empty", json!(true)), "the assignee is empty"),
        (leaf("tags", "is_empty", json!(false)), "the tags are not empty"),
        (leaf("tags", "contains", json!("a \"b\"")), r#"the tags include "a \"b\"""#),
        (leaf("watchers", "contains_any", json!(["me"])), "the watchers include one of you"),
        (leaf("tags", "contains_all", json!(["a", "b"])), r#"the tags include all of "a", "b""#),
        (leaf("tags", "ne", json!(["a", "b"])), r#"the tags are not exactly "a", "b""#),
        (leaf("title", "starts_with", json!("Bug")), r#"the title starts with "Bug""#),
        (leaf("due_at", "within_seconds", json!(7200)), "the due date is within the next 2 hours"),
        (leaf("created_at", "older_than_seconds", json!(86_400)), "the time of creation is more than 1 day ago"),
        (leaf("due_at", "within_seconds", json!(90)), "the due date is within the next 90 seconds"),
        (leaf("due_at", "lte", json!("2026-01-02T03:04:05Z")), "the due date is not after 2026-01-02T03:04:05Z"),
        (leaf("weekday", "lt", json!("friday")), "the weekday is before friday"),
        (leaf("actual_seconds", "gt", json!(3600)), "the working time in seconds is more than 3600"),
        (leaf("custom_fields.region", "eq", json!("EU")), r#"the custom field region is "EU""#),
        (leaf("overdue", "eq", json!(true)), "the task is overdue"),
        (leaf("parent.blocked", "ne", json!(true)), "the parent is not blocked"),
        (leaf("working_hours", "eq", json!(false)), "it is not within working hours"),
        (leaf("parent.overdue", "is_empty", json!(true)), "whether the parent is overdue is empty"),
        (leaf("event.to", "eq", json!("completed")), "the new status is completed"),
        (leaf("assignee.role", "gt", json!("manager")), "the assignee's role is above manager"),
    ];
    for (sentence, expected) in cases {
        assert_eq!(sentence, expected);
    }
}

#[test]
fn parentheses_are_where_all_and_any_mix() {
    let (a, b) = (json!({"priority": "high"}), json!({"overdue": true}));
    assert_eq!(
        sentence(json!({"all": [a, {"any": [b, {"all": [a, b]}]}, {"not": a}]})),
        "the priority is high and (the task is overdue or (the priority is high and the task is overdue)) and not (the \
         priority is high)"
    );
    assert_eq!(sentence(json!({"any": [{"all": [{"any": [a]}]}, b]})), "the priority is high or the task is overdue");
    assert_eq!(sentence(json!({"not": {"any": [a, b]}})), "not (the priority is high or the task is overdue)");
    assert_eq!(sentence(json!({"not": {"not": {}}})), "not (not (always))");
}
