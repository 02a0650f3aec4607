//! Tests of decoding and encoding together.

use std::collections::HashMap;

use proptest::{collection::vec, option, prelude::*};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use serde_json::json;

use super::{
    decode,
    encode::MessageJson,
    value::{self, Json},
    violations::{Path, Violations},
    *,
};

pub(crate) fn descriptor(name: &str) -> MessageDescriptor {
    baton_proto::pool().get_message_by_name(name).expect(name)
}

pub(crate) fn to_json(message: &DynamicMessage) -> serde_json::Value {
    serde_json::to_value(MessageJson(message)).expect("JSON")
}

fn read(of: &str, text: &str, bound: &[&str]) -> Result<DynamicMessage, (Vec<String>, bool)> {
    let Ok(Json::Object(members)) = value::parse(text.as_bytes()) else { panic!("an object") };
    let mut violations = Violations::default();
    let message = decode::message(&descriptor(of), members, bound, &Path::Root, &mut violations);
    let any_unknown = violations.any_unknown();
    let fields: Vec<String> = violations.into_vec().into_iter().map(|v| v.field).collect();
    if fields.is_empty() { Ok(message) } else { Err((fields, any_unknown)) }
}

/// A message with a short `Debug`: that of `DynamicMessage` prints all descriptors.
#[derive(Clone)]
pub(crate) struct Sample(pub(crate) DynamicMessage);

impl std::fmt::Debug for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", to_json(&self.0))
    }
}

/// Any message of this type.
pub(crate) fn any_sample(of: &str) -> BoxedStrategy<Sample> {
    any_message(&descriptor(of)).prop_map(Sample).boxed()
}

/// Any message of this type that has a JSON form.
fn any_message(of: &MessageDescriptor) -> BoxedStrategy<DynamicMessage> {
    let message = DynamicMessage::new(of.clone());
    of.fields().fold(Just(message).boxed(), |message, field| {
        (message, option::of(any_value(&field)))
            .prop_map(move |(mut message, value)| {
                if let Some(value) = value {
                    message.set_field(&field, value);
                }
                message
            })
            .boxed()
    })
}

fn any_value(field: &FieldDescriptor) -> BoxedStrategy<Value> {
    let single = any_single(&field.kind());
    if field.is_list() { vec(single, 0..4).prop_map(Value::List).boxed() } else { single }
}

fn any_single(kind: &Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Int32 => any::<i32>().prop_map(Value::I32).boxed(),
        Kind::String => ".{0,12}".prop_map(Value::String).boxed(),
        Kind::Enum(of) => {
            let numbers: Vec<i32> = of.values().map(|value| value.number()).filter(|n| *n != 0).collect();
            proptest::sample::select(numbers).prop_map(Value::EnumNumber).boxed()
        }
        Kind::Message(of) if of.full_name() == TIMESTAMP => any_time(of),
        Kind::Message(of) if of.full_name() == STRUCT => any_struct(of).prop_map(Value::Message).boxed(),
        Kind::Message(of) => any_message(of).prop_map(Value::Message).boxed(),
        kind => panic!("no {kind:?} in the contract"),
    }
}

fn any_time(of: &MessageDescriptor) -> BoxedStrategy<Value> {
    let of = of.clone();
    (-62_135_596_800..253_402_300_800_i64, 0..1_000_000_000)
        .prop_map(move |(seconds, nanos)| {
            let mut time = DynamicMessage::new(of.clone());
            time.set_field_by_name("seconds", Value::I64(seconds));
            time.set_field_by_name("nanos", Value::I32(nanos));
            Value::Message(time)
        })
        .boxed()
}

fn any_struct(of: &MessageDescriptor) -> BoxedStrategy<DynamicMessage> {
    let value_of = descriptor("google.protobuf.Value");
    let list_of = descriptor("google.protobuf.ListValue");
    let wrap = move |field: &str, value| {
        let mut message = DynamicMessage::new(value_of.clone());
        message.set_field_by_name(field, value);
        Value::Message(message)
    };
    let object = {
        let of = of.clone();
        move |members: HashMap<String, Value>| {
            let mut object = DynamicMessage::new(of.clone());
            let members = members.into_iter().map(|(key, value)| (MapKey::String(key), value)).collect();
            object.set_field_by_name("fields", Value::Map(members));
            object
        }
    };
    let leaf = prop_oneof![
        Just(("null_value", Value::EnumNumber(0))),
        any::<bool>().prop_map(|b| ("bool_value", Value::Bool(b))),
        (-1e12..1e12_f64).prop_map(|n| ("number_value", Value::F64(n))),
        any::<i32>().prop_map(|n| ("number_value", Value::F64(n.into()))),
        ".{0,6}".prop_map(|text| ("string_value", Value::String(text))),
    ];
    let leaf = {
        let wrap = wrap.clone();
        leaf.prop_map(move |(field, value)| wrap(field, value))
    };
    let value = {
        let object = object.clone();
        leaf.prop_recursive(3, 12, 3, move |inner| {
            let (wrap, wrap_too, object, list_of) = (wrap.clone(), wrap.clone(), object.clone(), list_of.clone());
            prop_oneof![
                vec(inner.clone(), 0..3).prop_map(move |items| {
                    let mut list = DynamicMessage::new(list_of.clone());
                    list.set_field_by_name("values", Value::List(items));
                    wrap("list_value", Value::Message(list))
                }),
                proptest::collection::hash_map(".{0,4}", inner, 0..3)
                    .prop_map(move |members| wrap_too("struct_value", Value::Message(object(members)))),
            ]
        })
    };
    proptest::collection::hash_map(".{0,4}", value, 0..4).prop_map(object).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Encoding and decoding loses nothing.
    #[test]
    fn every_message_survives_the_round_trip(
        Sample(message) in prop_oneof![
            any_sample("baton.task.v1.ListTasksResponse"),
            any_sample("baton.task.v1.CreateTaskRequest"),
            any_sample("baton.task.v1.GetTimelineResponse"),
            any_sample("baton.tenancy.v1.ListMembersResponse"),
        ],
    ) {
        let text = serde_json::to_string(&MessageJson(&message)).expect("JSON");
        let back = read(prost_reflect::ReflectMessage::descriptor(&message).full_name(), &text, &[]);
        prop_assert_eq!(back.map(|back| to_json(&back)), Ok(to_json(&message)));
    }
}

#[test]
fn all_fields_are_encoded_and_absent_ones_are_null() {
    let task = to_json(&DynamicMessage::new(descriptor("baton.task.v1.Task")));
    assert_eq!(task["title"], "");
    assert_eq!(task["version"], 0);
    assert_eq!(task["tags"], json!([]));
    assert_eq!(task["overdue"], false);
    for absent in ["status", "due_at", "assigned_to", "custom_fields"] {
        assert_eq!(task.get(absent), Some(&json!(null)), "{absent}");
    }
}

#[test]
fn all_violations_are_reported_with_their_paths() {
    let text = r#"{"title": 1, "priority": "HIGH", "tags": ["a", 2, null], "due_at": "tomorrow",
        "estimated_seconds": 1.5, "custom_fields": [], "dueAt": null, "tasks": {}}"#;
    let (fields, any_unknown) = read("baton.task.v1.CreateTaskRequest", text, &[]).expect_err("all wrong");
    assert_eq!(
        fields,
        ["title", "priority", "tags[1]", "tags[2]", "due_at", "estimated_seconds", "custom_fields", "dueAt", "tasks"]
    );
    assert!(any_unknown);
}

#[test]
fn nested_violations_have_their_paths() {
    let text = r#"{"tasks": [{}, {"status": "done", "x": 1}], "meta": {"page": "1"}}"#;
    let (fields, _) = read("baton.task.v1.ListTasksResponse", text, &[]).expect_err("wrong");
    assert_eq!(fields, ["tasks[1].status", "tasks[1].x", "meta.page"]);
}

#[test]
fn fields_of_the_path_are_unknown_in_the_body() {
    let text = r#"{"id": "other", "reason": "lunch"}"#;
    let (fields, any_unknown) = read("baton.task.v1.PauseTaskRequest", text, &["id"]).expect_err("bound");
    assert_eq!((fields, any_unknown), (vec!["id".to_owned()], true));
    let text = r#"{"task": {"title": "other", "version": 1}}"#;
    let (fields, _) = read("baton.task.v1.GetTaskResponse", text, &["task.title"]).expect_err("bound");
    assert_eq!(fields, ["task.title"]);
}

#[test]
fn null_is_absent() {
    let request = read("baton.task.v1.CreateTaskRequest", r#"{"title": "a", "assigned_to": null, "tags": null}"#, &[]);
    assert_eq!(to_json(&request.expect("valid"))["assigned_to"], json!(null));
}

#[test]
fn two_fields_of_a_oneof_are_refused() {
    let (fields, _) = read("baton.access.v1.Rule", r#"{"public": true, "authenticated": true}"#, &[]).expect_err("two");
    assert_eq!(fields, ["authenticated"]);
}

#[test]
fn struct_values_are_exact_or_refused() {
    let keep =
        |fields: &str| read("baton.task.v1.CreateTaskRequest", &format!(r#"{{"custom_fields": {fields}}}"#), &[]);
    let kept =
        to_json(&keep(r#"{"n": 9007199254740992, "f": 1.5, "deep": {"list": [1, null, {"a": "b"}]}}"#).expect("kept"));
    assert_eq!(
        kept["custom_fields"],
        json!({"n": 9007199254740992_i64, "f": 1.5, "deep": {"list": [1, null, {"a": "b"}]}})
    );
    let (fields, _) = keep(r#"{"n": [9007199254740993]}"#).expect_err("loses its last digit");
    assert_eq!(fields, ["custom_fields.n[0]"]);
    let deep = |levels| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    keep(&deep(30)).expect("deep enough");
    assert!(keep(&deep(31)).is_err());
}

/// A service can decode the deepest Struct that the gateway accepts.
#[test]
fn the_deepest_struct_is_within_the_limit_of_protobuf_decoders() {
    use prost::Message as _;
    let text = format!(r#"{{"custom_fields": {}1{}}}"#, r#"{"a":"#.repeat(30), "}".repeat(30));
    let bytes = read("baton.task.v1.CreateTaskRequest", &text, &[]).expect("valid").encode_to_vec();
    baton_proto::baton::task::v1::CreateTaskRequest::decode(bytes.as_slice()).expect("within the limit");
}
