//! Compares verdicts with json-rules-engine of npm, which `scripts/setup --tests` installs.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use baton_conditions::{
    Condition, FIELDS, Facts, Field, Op, TaskFacts,
    field::{Kind, Scope},
};
use chrono::{DateTime, Utc};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::cases;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients");
const CASES: usize = 10_000;

/// json-rules-engine's verdict about each line.
fn verdicts(lines: &str) -> Vec<bool> {
    let installed = Path::new(CLIENTS).join("node_modules/json-rules-engine");
    assert!(installed.is_dir(), "the npm packages are missing; run scripts/setup --tests");
    let script = format!("{CLIENTS}/conditions.mjs");
    let pipes = (Stdio::piped(), Stdio::piped());
    let mut node = Command::new("node").arg(script).stdin(pipes.0).stdout(pipes.1).spawn().expect("node on the PATH");
    let mut stdin = node.stdin.take().unwrap();
    let lines = lines.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "conditions.mjs: {}", output.status);
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

/// A condition of ours as one of json-rules-engine. It has no users but ids, no times but microseconds, and no order of
/// names but that of their ranks.
fn translated(json: &Value, me: Uuid) -> Value {
    let list = |parts: &Value| parts.as_array().unwrap().iter().map(|part| translated(part, me)).collect::<Value>();
    let object = json.as_object().unwrap();
    if let Some(parts) = object.get("all") {
        json!({"all": list(parts)})
    } else if let Some(parts) = object.get("any") {
        json!({"any": list(parts)})
    } else if let Some(part) = object.get("not") {
        json!({"not": translated(part, me)})
    } else if object.contains_key("field") {
        let text = |key: &str| object[key].as_str().unwrap();
        comparison(text("field"), text("op"), &object["value"], me)
    } else {
        let short = |(field, value): (&String, &Value)| {
            let op = if kind_of(field).is_list() { "contains" } else { "eq" };
            comparison(field, op, value, me)
        };
        json!({"all": object.iter().map(short).collect::<Value>()})
    }
}

fn kind_of(field: &str) -> Kind {
    Field::from_name(field).unwrap().definition().kind
}

fn micros(time: DateTime<Utc>) -> Value {
    time.timestamp_micros().into()
}

fn operand(kind: Kind, value: &Value, me: Uuid) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| operand(kind, item, me)).collect(),
        Value::String(text) if text == "me" && matches!(kind, Kind::Person | Kind::People) => me.to_string().into(),
        Value::String(text) if kind == Kind::Time => micros(DateTime::parse_from_rfc3339(text).unwrap().to_utc()),
        other => other.clone(),
    }
}

fn comparison(field: &str, op: &str, value: &Value, me: Uuid) -> Value {
    let kind = kind_of(field);
    let test = |operator: &str, value: Value| json!({"fact": field, "operator": operator, "value": value});
    let order = |operator: &str| match kind {
        Kind::Choice { names, .. } => {
            let rank = names.iter().position(|name| value == name).unwrap();
            json!({"fact": format!("{field}#rank"), "operator": operator, "value": rank})
        }
        Kind::Custom => json!({"all": [test("isNumber", json!(true)), test(operator, value.clone())]}),
        _ => test(operator, operand(kind, value, me)),
    };
    let is_null = || test("equal", Value::Null);
    let given = operand(kind, value, me);
    let is_list = kind.is_list();
    let own = match op {
        "eq" if is_list => test("sameSet", given),
        "ne" if is_list => json!({"not": test("sameSet", given)}),
        "eq" => test("equal", given),
        "ne" => test("notEqual", given),
        "in" => test("in", given),
        "not_in" => test("notIn", given),
        "is_empty" => {
            let empty = json!({"any": [is_null(), test("equal", json!("")), test("isEmptyList", Value::Null)]});
            if *value == true { empty } else { json!({"not": empty}) }
        }
        "lt" => order("lessThan"),
        "lte" => order("lessThanInclusive"),
        "gt" => order("greaterThan"),
        "gte" => order("greaterThanInclusive"),
        "contains" if is_list => test("contains", given),
        "contains" => json!({"any": [test("contains", given.clone()), test("textContains", given)]}),
        "starts_with" => test("textStartsWith", given),
        "contains_any" => test("someValue:contains", given),
        "contains_all" => test("everyValue:contains", given),
        // A value may be another fact. These facts of the time are added to those of the task.
        "within_seconds" => json!({"all": [
            test("greaterThanInclusive", json!({"fact": "now"})),
            test("lessThanInclusive", json!({"fact": format!("now+{value}")})),
        ]}),
        "older_than_seconds" => test("lessThan", json!({"fact": format!("now-{value}")})),
        other => panic!("{other} is not compared"),
    };
    let has_parent = |expected: bool| json!({"fact": "has_parent", "operator": "equal", "value": expected});
    match field.starts_with("parent.") {
        true if op == "is_empty" && *value == true => json!({"any": [has_parent(false), own]}),
        true => json!({"all": [has_parent(true), own]}),
        false => own,
    }
}

fn insert_task(facts: &mut Map<String, Value>, prefix: &str, task: &TaskFacts) {
    let id = |id: Uuid| id.to_string();
    let person = |fact: Option<Option<Uuid>>| json!(fact.unwrap().map(id));
    let time = |fact: Option<Option<DateTime<Utc>>>| fact.unwrap().map_or(Value::Null, micros);
    let own = json!({
        "status": task.status.unwrap().name(),
        "priority": task.priority.unwrap().name(),
        "priority#rank": task.priority.unwrap() as u8,
        "visibility": task.visibility.unwrap().name(),
        "assignee": person(task.assignee),
        "creator": id(task.creator.unwrap()),
        "assigned_by": person(task.assigned_by),
        "watchers": task.watchers.as_ref().unwrap(),
        "tags": task.tags.as_ref().unwrap(),
        "due_at": time(task.due_at),
        "overdue": task.overdue.unwrap(),
        "estimated_seconds": task.estimated_seconds.unwrap(),
        "actual_seconds": task.actual_seconds.unwrap(),
        "blocked": task.blocked.unwrap(),
        "progress": task.progress.unwrap(),
        "title": task.title.as_ref().unwrap(),
        "description": task.description.as_ref().unwrap(),
        "created_at": micros(task.created_at.unwrap()),
        "started_at": time(task.started_at),
    });
    let custom = task.custom_fields.as_ref().unwrap();
    let custom = custom.iter().map(|(key, value)| (format!("custom_fields.{key}"), value.clone()));
    let all = own.as_object().unwrap().clone().into_iter().chain(custom);
    facts.extend(all.map(|(name, value)| (format!("{prefix}{name}"), value)));
}

fn facts_json(facts: &Facts, used: &Value) -> Value {
    let mut all = Map::new();
    // Whatever a condition names is a fact: null, if nothing else follows.
    collect_facts(used, &mut |name| {
        all.insert(name.to_owned(), Value::Null);
        if let Some(seconds) = name.strip_prefix("now").filter(|rest| !rest.is_empty()) {
            let shifted = facts.now.timestamp_micros() + seconds.parse::<i64>().unwrap() * 1_000_000;
            all.insert(name.to_owned(), shifted.into());
        }
    });
    insert_task(&mut all, "", &facts.task);
    let parent = facts.parent.as_ref().unwrap();
    if let Some(parent) = parent {
        insert_task(&mut all, "parent.", parent);
    }
    let (event, assignee) = (&facts.event, &facts.assignee);
    let role = assignee.role.unwrap();
    let others = json!({
        "has_parent": parent.is_some(),
        "now": micros(facts.now),
        "timezone": facts.timezone.name(),
        "event.actor": event.actor.unwrap(),
        "event.from": event.from.unwrap().map(|status| status.name()),
        "event.to": event.to.unwrap().map(|status| status.name()),
        "event.changed_fields": event.changed_fields.as_ref().unwrap(),
        "assignee.role": role.map(|role| role.name()),
        "assignee.role#rank": role.map(|role| role as u8),
        "assignee.manager": assignee.manager.unwrap(),
    });
    all.extend(others.as_object().unwrap().clone());
    Value::Object(all)
}

fn collect_facts(condition: &Value, see: &mut impl FnMut(&str)) {
    match condition {
        Value::Array(items) => items.iter().for_each(|item| collect_facts(item, see)),
        Value::Object(members) => members.iter().for_each(|(key, value)| match value.as_str() {
            Some(name) if key == "fact" => see(name),
            _ => collect_facts(value, see),
        }),
        _ => {}
    }
}

/// A seed: BATON_TEST_SEED, or another at each run.
fn seed() -> u128 {
    let given = env::var("BATON_TEST_SEED").ok().map(|seed| seed.parse().expect("BATON_TEST_SEED is a number"));
    given.unwrap_or_else(|| Uuid::new_v4().as_u128())
}

#[test]
fn json_rules_engine_has_the_same_verdicts() {
    let seed = seed();
    println!("BATON_TEST_SEED={seed}");
    let bytes = [seed.to_le_bytes(), [0; 16]].concat();
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    // Half of them single comparisons, so that each operator decides many verdicts.
    let strategy = (proptest::prop_oneof![cases::leaf(), cases::condition()], cases::facts());
    let cases: Vec<_> = (0..CASES).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();

    let line = |(json, facts): &(Value, Facts)| {
        let condition = translated(json, facts.me);
        let facts = facts_json(facts, &condition);
        json!({"condition": condition, "facts": facts}).to_string() + "\n"
    };
    let lines: Vec<_> = cases.iter().map(line).collect();
    let theirs = verdicts(&lines.concat());
    assert_eq!(theirs.len(), CASES);

    let mut of_leaves: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let mut held = 0;
    for (((json, facts), line), theirs) in cases.iter().zip(&lines).zip(theirs) {
        let condition = Condition::parse(json, "conditions", &[]).unwrap();
        let ours = condition.evaluate(facts);
        assert_eq!(ours, Some(theirs), "seed {seed}: {json}\n{line}{:#?}", condition.explain(facts));
        held += usize::from(theirs);
        if let Condition::Leaf(leaf) = condition {
            of_leaves.entry(leaf.op().name()).or_default()[usize::from(theirs)] += 1;
        }
    }
    // Otherwise the comparison would show little.
    assert!((CASES / 5..CASES * 4 / 5).contains(&held), "{held} of {CASES} hold");
    assert_eq!(of_leaves.len(), Op::ALL.len(), "{of_leaves:?}");
    assert!(of_leaves.values().flatten().all(|count| *count > 0), "{of_leaves:?}");
}

/// Otherwise a field could be left out of the comparison.
#[test]
fn every_field_is_a_fact_of_the_comparison() {
    let mut runner = TestRunner::deterministic();
    let mut facts = cases::facts().new_tree(&mut runner).unwrap().current();
    facts.parent = Some(Some(Box::new(facts.task.clone())));
    let json = facts_json(&facts, &Value::Null);
    let script = fs::read_to_string(format!("{CLIENTS}/conditions.mjs")).unwrap();
    for row in FIELDS.iter().filter(|row| row.kind != Kind::Custom) {
        let of_the_script = row.scope == Scope::Clock && script.contains(row.name);
        assert!(json.get(row.name).is_some() || of_the_script, "{}", row.name);
        assert!(row.scope != Scope::Task || json.get(format!("parent.{}", row.name)).is_some(), "parent.{}", row.name);
    }
}
