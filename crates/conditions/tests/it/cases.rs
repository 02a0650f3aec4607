//! Random conditions and facts. The values are few, so that they meet.

use baton_conditions::{
    AssigneeFacts, EventFacts, FIELDS, Facts, Field, Op, Priority, Role, Status, TaskFacts, Visibility,
    field::{Kind, Scope},
};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const TEXTS: &[&str] = &["", "Fix the login", "LOGIN", "über", "Über den Wolken", "the", "\"{{title}}\" 日本"];
const TAGS: &[&str] = &["urgent", "Urgent", "bug", "status"];
const KEYS: &[&str] = &["region", "score", "many"];
const NUMBERS: &[f64] = &[-1.0, 0.0, 0.5, 9.0, 16.0, 50.0, 99.9, 100.0, 3600.0];
const SECONDS: &[i64] = &[0, 1, 60, 3600, 86_400, 604_800];
const ZONES: &[Tz] = &[
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__St_Johns,
    Tz::Asia__Kathmandu,
    Tz::Pacific__Kiritimati,
    Tz::America__Los_Angeles,
];

fn users() -> impl Strategy<Value = Uuid> {
    (1..=4u128).prop_map(Uuid::from_u128)
}

/// Around the switch to summer time in Europe.
fn midnight() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-03-29T00:00:00Z").unwrap().to_utc()
}

fn now() -> impl Strategy<Value = DateTime<Utc>> {
    (0..14 * 48i64).prop_map(|halves| midnight() + TimeDelta::minutes(30 * halves))
}

/// Any time, or one that is near to `now`.
fn time(now: DateTime<Utc>) -> impl Strategy<Value = DateTime<Utc>> {
    let near = (select(SECONDS), any::<bool>())
        .prop_map(move |(seconds, later)| now + TimeDelta::seconds(if later { seconds } else { -seconds }));
    prop_oneof![1 => self::now(), 2 => near]
}

fn texts(from: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(from).prop_map(str::to_owned)
}

fn custom_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        select(NUMBERS).prop_map(Value::from),
        select(TEXTS).prop_map(Value::from),
        select(TEXTS).prop_map(Value::from),
        vec(select(TAGS), 0..3).prop_map(Value::from),
    ]
}

/// A task of which everything is known.
fn task(now: DateTime<Utc>) -> impl Strategy<Value = TaskFacts> {
    let choices = (select(Status::ALL), select(Priority::ALL), select(Visibility::ALL));
    let people = (option::of(users()), users(), option::of(users()), vec(users(), 0..3));
    let times = (option::of(time(now)), time(now), option::of(time(now)));
    let numbers = (option::of(select(SECONDS)), select(SECONDS), option::of(select(&[0, 9, 50, 100][..])));
    let flags = (any::<bool>(), any::<bool>());
    let words = (texts(TEXTS), texts(TEXTS), vec(texts(TAGS), 0..4));
    let custom = vec((select(KEYS).prop_map(str::to_owned), custom_value()), 0..6);
    (choices, people, times, numbers, flags, words, custom).prop_map(
        |(choices, people, times, numbers, flags, words, custom)| TaskFacts {
            status: Some(choices.0),
            priority: Some(choices.1),
            visibility: Some(choices.2),
            assignee: Some(people.0),
            creator: Some(people.1),
            assigned_by: Some(people.2),
            watchers: Some(people.3),
            tags: Some(words.2),
            due_at: Some(times.0),
            overdue: Some(flags.0),
            estimated_seconds: Some(numbers.0),
            actual_seconds: Some(numbers.1),
            blocked: Some(flags.1),
            progress: Some(numbers.2),
            title: Some(words.0),
            description: Some(words.1),
            created_at: Some(times.1),
            started_at: Some(times.2),
            custom_fields: Some(Map::from_iter(custom)),
        },
    )
}

/// Facts of which everything is known.
pub(crate) fn facts() -> impl Strategy<Value = Facts> {
    now().prop_flat_map(facts_at)
}

fn facts_at(now: DateTime<Utc>) -> impl Strategy<Value = Facts> {
    let status = || option::of(select(Status::ALL));
    let event = (option::of(users()), status(), status(), vec(texts(TAGS), 0..3));
    let assignee = (option::of(select(Role::ALL)), option::of(users()));
    let parent = prop_oneof![1 => Just(None), 5 => task(now).prop_map(Some)];
    (users(), select(ZONES), task(now), parent, event, assignee).prop_map(
        move |(me, timezone, task, parent, event, assignee)| Facts {
            me,
            now,
            timezone,
            task,
            parent: Some(parent.map(Box::new)),
            event: EventFacts {
                actor: Some(event.0),
                from: Some(event.1),
                to: Some(event.2),
                changed_fields: Some(event.3),
            },
            assignee: AssigneeFacts { role: Some(assignee.0), manager: Some(assignee.1) },
        },
    )
}

/// Forgets a part of the facts: those whose bits are not set.
pub(crate) fn forget(mut facts: Facts, kept: u64) -> Facts {
    let mut bits = 0..;
    let mut keep = move || bits.next().is_some_and(|bit: u32| kept >> bit & 1 == 1);
    macro_rules! forget {
        ($($fact:expr),+ $(,)?) => {
            $(if !keep() { $fact = None; })+
        };
    }
    macro_rules! forget_task {
        ($($task:tt)+) => {
            forget!(
                $($task)+.status, $($task)+.priority, $($task)+.visibility, $($task)+.assignee, $($task)+.creator,
                $($task)+.assigned_by, $($task)+.watchers, $($task)+.tags, $($task)+.due_at, $($task)+.overdue,
                $($task)+.estimated_seconds, $($task)+.actual_seconds, $($task)+.blocked, $($task)+.progress,
                $($task)+.title, $($task)+.description, $($task)+.created_at, $($task)+.started_at,
                $($task)+.custom_fields,
            );
        };
    }
    forget!(
        facts.event.actor,
        facts.event.from,
        facts.event.to,
        facts.event.changed_fields,
        facts.assignee.role,
        facts.assignee.manager,
        facts.parent,
    );
    forget_task!(facts.task);
    if let Some(Some(parent)) = &mut facts.parent {
        forget_task!(parent);
    }
    facts
}

/// All fields that an operator allows, also of the parent.
fn fields_for(op: Op) -> Vec<(String, Kind)> {
    let own = FIELDS.iter().flat_map(|row| {
        let keys: &[&str] = if row.kind == Kind::Custom { KEYS } else { &[""] };
        keys.iter().map(move |key| (row.name.replace("<key>", key), row))
    });
    let both = own.flat_map(|(name, row)| {
        let parents = (row.scope == Scope::Task).then(|| (format!("parent.{name}"), row.kind));
        [(name, row.kind)].into_iter().chain(parents)
    });
    both.filter(|(name, _)| op.allows(&Field::from_name(name).unwrap())).collect()
}

/// One value for a field of this kind, or one item of its list.
fn scalar(kind: Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::Choice { names, .. } => select(names).prop_map(Value::from).boxed(),
        Kind::Person | Kind::People => {
            prop_oneof![Just(json!("me")), users().prop_map(|id| json!(id.to_string()))].boxed()
        }
        Kind::Texts => select(TAGS).prop_map(Value::from).boxed(),
        Kind::Time => {
            (now(), select(ZONES)).prop_map(|(time, zone)| json!(time.with_timezone(&zone).to_rfc3339())).boxed()
        }
        Kind::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Kind::Number => select(NUMBERS).prop_map(Value::from).boxed(),
        Kind::Text => select(TEXTS).prop_map(Value::from).boxed(),
        Kind::Custom => {
            custom_value().prop_filter("no value of a condition", |v| !v.is_null() && !v.is_array()).boxed()
        }
    }
}

fn value(kind: Kind, op: Op) -> BoxedStrategy<Value> {
    let part = || select(&["LOG", "ü", "the", "Fix", "urgent"][..]).prop_map(Value::from).boxed();
    let list = || vec(scalar(kind), 1..4).prop_map(Value::from).boxed();
    match op {
        Op::IsEmpty => scalar(Kind::Bool),
        Op::WithinSeconds | Op::OlderThanSeconds => select(SECONDS).prop_map(Value::from).boxed(),
        Op::In | Op::NotIn | Op::ContainsAny | Op::ContainsAll => list(),
        Op::Eq | Op::Ne if kind.is_list() => list(),
        Op::Contains | Op::StartsWith if !kind.is_list() => part(),
        Op::Lt | Op::Lte | Op::Gt | Op::Gte if kind == Kind::Custom => scalar(Kind::Number),
        _ => scalar(kind),
    }
}

pub(crate) fn leaf() -> impl Strategy<Value = Value> {
    let pair = select(Op::ALL).prop_flat_map(|op| (Just(op), select(fields_for(op))));
    pair.prop_flat_map(|(op, (field, kind))| {
        value(kind, op).prop_map(move |value| json!({"field": field, "op": op.name(), "value": value}))
    })
}

fn short_form() -> impl Strategy<Value = Value> {
    let entry = select(fields_for(Op::Eq)).prop_flat_map(|(field, kind)| (Just(field), scalar(kind)));
    vec(entry, 0..3).prop_map(|entries| Value::Object(Map::from_iter(entries)))
}

/// The JSON of a condition, in all forms, within the limits.
pub(crate) fn condition() -> impl Strategy<Value = Value> {
    let simple = prop_oneof![6 => leaf(), 1 => short_form()];
    simple.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            2 => vec(inner.clone(), 0..4).prop_map(|parts| json!({"all": parts})),
            2 => vec(inner.clone(), 1..4).prop_map(|parts| json!({"any": parts})),
            1 => inner.prop_map(|part| json!({"not": part})),
        ]
    })
}

/// JSON that resembles a condition.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let names = || {
        let keys = ["all", "any", "not", "field", "op", "value", "tags", "due_at", "custom_fields.a", "parent.x", ""];
        prop_oneof![4 => select(keys.to_vec()).prop_map(str::to_owned), 1 => ".{0,12}"]
    };
    let simple = prop_oneof![
        3 => leaf(),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        2 => names().prop_map(Value::from),
        1 => ".*".prop_map(Value::from),
        1 => select(&["2026-03-29T00:00:60Z", "0000-01-01T00:00:00+23:59", "+10000-01-01T00:00:00Z"][..])
            .prop_map(Value::from),
    ];
    simple.prop_recursive(8, 64, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((names(), inner), 0..5).prop_map(|entries| Value::Object(Map::from_iter(entries))),
        ]
    })
}
