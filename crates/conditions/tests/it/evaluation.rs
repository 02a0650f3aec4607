//! Verdicts: each operator, null, unknown facts, the parent, and the time.

use baton_conditions::{Condition, Facts, LeafVerdict, Needs, Op, Priority, Status, TaskFacts};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

const ME: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn nothing_known() -> Facts {
    Facts::new(ME, time("2026-07-01T12:00:00Z"), chrono_tz::UTC)
}

fn facts() -> Facts {
    let mut facts = nothing_known();
    facts.task.status = Some(Status::Paused);
    facts.task.priority = Some(Priority::High);
    facts.task.assignee = Some(None);
    facts.task.creator = Some(ME);
    facts.task.watchers = Some(vec![ME, OTHER]);
    facts.task.tags = Some(vec!["a".to_owned(), "B".to_owned()]);
    facts.task.due_at = Some(Some(time("2026-07-01T13:00:00Z")));
    facts.task.created_at = Some(time("2026-07-01T11:00:00Z"));
    facts.task.started_at = Some(None);
    facts.task.overdue = Some(false);
    facts.task.progress = Some(Some(50));
    facts.task.title = Some("Fix the ÜBERSICHT".to_owned());
    facts.task.description = Some(String::new());
    facts.task.custom_fields =
        json!({"region": "EU", "score": 1.5, "flag": true, "no": null, "many": ["x", "y"], "none": []})
            .as_object()
            .cloned();
    facts.parent = Some(None);
    facts
}

fn parse(json: &Value) -> Condition {
    Condition::parse(json, "", &[]).unwrap_or_else(|error| panic!("{json}: {error:?}"))
}

fn check(facts: &Facts, field: &str, op: &str, value: Value) -> Option<bool> {
    parse(&json!({"field": field, "op": op, "value": value})).evaluate(facts)
}

#[track_caller]
fn holds(held: bool, cases: &[(&str, &str, Value)]) {
    for (field, op, value) in cases {
        assert_eq!(check(&facts(), field, op, value.clone()), Some(held), "{field} {op} {value}");
    }
}

#[test]
fn operators_hold() {
    holds(
        true,
        &[
            ("status", "eq", json!("paused")),
            ("status", "in", json!(["pending", "paused"])),
            ("priority", "gt", json!("medium")),
            ("priority", "lte", json!("high")),
            ("creator", "eq", json!("me")),
            ("creator", "ne", json!(OTHER)),
            ("watchers", "contains", json!("me")),
            ("watchers", "eq", json!([OTHER, "me", ME])),
            ("tags", "eq", json!(["B", "a", "a"])),
            ("tags", "ne", json!(["a"])),
            ("tags", "ne", json!(["a", "B", "c"])),
            ("tags", "contains_any", json!(["c", "a"])),
            ("tags", "contains_all", json!(["B", "a"])),
            ("tags", "is_empty", json!(false)),
            ("due_at", "eq", json!("2026-07-01T15:00:00+02:00")),
            ("due_at", "gt", json!("2026-07-01T12:59:59.999Z")),
            ("due_at", "within_seconds", json!(3600)),
            ("created_at", "older_than_seconds", json!(3599)),
            ("overdue", "eq", json!(false)),
            ("progress", "gte", json!(50)),
            ("title", "contains", json!("übersi")),
            ("title", "starts_with", json!("fix THE")),
            ("description", "is_empty", json!(true)),
            ("custom_fields.region", "starts_with", json!("e")),
            ("custom_fields.score", "lt", json!(2)),
            ("custom_fields.flag", "eq", json!(true)),
            ("custom_fields.many", "contains", json!("y")),
            ("custom_fields.many", "ne", json!("y")),
            ("custom_fields.none", "is_empty", json!(true)),
        ],
    );
}

#[test]
fn operators_do_not_hold() {
    holds(
        false,
        &[
            ("status", "ne", json!("paused")),
            ("status", "not_in", json!(["paused"])),
            ("priority", "lt", json!("high")),
            ("tags", "contains", json!("b")),
            ("tags", "eq", json!(["a"])),
            ("tags", "contains_all", json!(["a", "c"])),
            ("due_at", "within_seconds", json!(3599)),
            ("created_at", "within_seconds", json!(7200)),
            ("created_at", "older_than_seconds", json!(3600)),
            ("due_at", "older_than_seconds", json!(0)),
            ("title", "eq", json!("fix the übersicht")),
            ("title", "starts_with", json!("the")),
            // Values of other types.
            ("custom_fields.region", "lt", json!(5)),
            ("custom_fields.score", "eq", json!("1.5")),
            ("custom_fields.score", "contains", json!("1")),
            ("custom_fields.flag", "is_empty", json!(true)),
        ],
    );
}

#[test]
fn null_is_empty_and_differs_from_every_value() {
    holds(
        true,
        &[
            ("assignee", "is_empty", json!(true)),
            ("assignee", "ne", json!("me")),
            ("assignee", "not_in", json!(["me"])),
            ("custom_fields.no", "is_empty", json!(true)),
            ("custom_fields.absent", "is_empty", json!(true)),
            ("custom_fields.absent", "ne", json!(1)),
        ],
    );
    holds(
        false,
        &[
            ("assignee", "eq", json!("me")),
            ("started_at", "gt", json!("2000-01-01T00:00:00Z")),
            ("started_at", "lt", json!("2100-01-01T00:00:00Z")),
            ("started_at", "older_than_seconds", json!(0)),
            ("custom_fields.absent", "eq", json!(false)),
            ("custom_fields.absent", "contains", json!("a")),
        ],
    );
}

#[test]
fn of_a_missing_parent_only_is_empty_holds() {
    holds(true, &[("parent.status", "is_empty", json!(true)), ("parent.custom_fields.a", "is_empty", json!(true))]);
    holds(
        false,
        &[
            ("parent.status", "is_empty", json!(false)),
            ("parent.status", "ne", json!("paused")),
            ("parent.assignee", "not_in", json!(["me"])),
            ("parent.tags", "ne", json!(["a"])),
            ("parent.overdue", "eq", json!(false)),
        ],
    );
    let mut facts = facts();
    let parent = TaskFacts { status: Some(Status::Completed), ..TaskFacts::default() };
    facts.parent = Some(Some(Box::new(parent)));
    assert_eq!(check(&facts, "parent.status", "ne", json!("paused")), Some(true));
    assert_eq!(check(&facts, "parent.status", "is_empty", json!(true)), Some(false));
    assert_eq!(check(&facts, "parent.priority", "eq", json!("low")), None);
}

#[test]
fn unknown_facts_decide_only_where_they_do_not_matter() {
    let (yes, no, unknown) = (json!({"status": "paused"}), json!({"status": "pending"}), json!({"blocked": true}));
    let verdict = |json: Value| parse(&json).evaluate(&facts());
    assert_eq!(verdict(unknown.clone()), None);
    assert_eq!(verdict(json!({"not": unknown})), None);
    assert_eq!(verdict(json!({"all": [unknown, yes]})), None);
    assert_eq!(verdict(json!({"all": [unknown, no]})), Some(false));
    assert_eq!(verdict(json!({"any": [unknown, yes]})), Some(true));
    assert_eq!(verdict(json!({"any": [unknown, no]})), None);
    assert_eq!(verdict(json!({"all": []})), Some(true));
    assert_eq!(check(&nothing_known(), "parent.status", "is_empty", json!(true)), None);
}

#[test]
fn time_fields_are_in_the_timezone_of_the_rule() {
    // The first and the last second of working hours, and those around them, in New York.
    let cases = [
        ("2026-07-03T12:59:59Z", "friday", 8, false),
        ("2026-07-03T13:00:00Z", "friday", 9, true),
        ("2026-07-03T20:59:59Z", "friday", 16, true),
        ("2026-07-03T21:00:00Z", "friday", 17, false),
        ("2026-07-04T03:59:59Z", "friday", 23, false),
        ("2026-07-04T04:00:00Z", "saturday", 0, false),
        ("2026-07-04T14:00:00Z", "saturday", 10, false),
        ("2026-07-06T14:00:00Z", "monday", 10, true),
        // In winter the offset is another.
        ("2026-01-05T13:30:00Z", "monday", 8, false),
    ];
    for (now, weekday, hour, working) in cases {
        let facts = Facts::new(ME, time(now), chrono_tz::America::New_York);
        let condition = parse(&json!({"weekday": weekday, "hour": hour, "working_hours": working}));
        assert_eq!(condition.evaluate(&facts), Some(true), "{now}: {:?}", condition.explain(&facts));
    }
    assert_eq!(check(&facts(), "weekday", "lt", json!("thursday")), Some(true));
}

#[test]
fn within_seconds_begins_now() {
    let at = |milliseconds: i64| {
        let mut facts = facts();
        facts.task.due_at = Some(Some(facts.now + TimeDelta::milliseconds(milliseconds)));
        check(&facts, "due_at", "within_seconds", json!(1))
    };
    assert_eq!([-1, 0, 1000, 1001].map(at), [Some(false), Some(true), Some(true), Some(false)]);
}

#[test]
fn explanation_has_every_leaf_with_its_value() {
    let condition = parse(&json!({"any": [
        {"status": "paused"},
        {"not": {"all": [{"field": "due_at", "op": "lt", "value": "2026-01-01T00:00:00+01:00"}, {"blocked": true}]}},
    ]}));
    let leaf = |path: &str, field: &str, op, value, actual, held| LeafVerdict {
        path: path.to_owned(),
        field: field.to_owned(),
        op,
        value,
        actual,
        held,
    };
    let (value, actual) = (json!("2025-12-31T23:00:00Z"), json!("2026-07-01T13:00:00Z"));
    let expected = [
        leaf("any[0]", "status", Op::Eq, json!("paused"), json!("paused"), Some(true)),
        leaf("any[1].not.all[0]", "due_at", Op::Lt, value, actual, Some(false)),
        leaf("any[1].not.all[1]", "blocked", Op::Eq, json!(true), json!(null), None),
    ];
    assert_eq!(condition.explain(&facts()), expected);
    assert_eq!(parse(&json!({"overdue": true})).explain(&facts())[0].path, "");
}

#[test]
fn needs_are_those_of_all_leaves() {
    let needs = |json: Value| parse(&json).needs();
    assert_eq!(needs(json!({})), Needs::NONE);
    assert_eq!(
        needs(json!({"not": {"any": [{"tags": "a"}, {"custom_fields.a": 1}]}})),
        Needs::TAGS | Needs::CUSTOM_FIELDS
    );
    assert_eq!(needs(json!({"overdue": true})), Needs::TASK | Needs::CLOCK);
    let within = json!({"field": "parent.due_at", "op": "within_seconds", "value": 1});
    assert!(needs(within.clone()).contains(Needs::PARENT | Needs::CLOCK));
    assert_eq!(needs(within).of_parent(), Needs::TASK);
    let older = json!({"field": "created_at", "op": "older_than_seconds", "value": 1});
    assert_eq!(needs(older), Needs::TASK | Needs::CLOCK);
    assert!(!needs(json!({"due_at": "2026-01-01T00:00:00Z"})).contains(Needs::CLOCK));
}
