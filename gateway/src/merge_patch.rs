//! JSON Merge Patch (RFC 7396) to a message with the new values and its `update_mask`.

use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};

use crate::json::{
    STRUCT, TIMESTAMP, decode,
    value::{Json, Members},
    violations::{Path, Violations},
};

/// Decodes a patch of a message of type `of`: the new values, and the paths of all fields in the patch. A null adds the
/// path and leaves the field at its default.
///
/// A `google.protobuf.Struct` is merged member by member: the path is `custom_fields.<member>`, where the member's name
/// is the text after the first dot. An object inside a member replaces it as a whole.
pub(crate) fn decode(
    of: &MessageDescriptor,
    patch: Members<'_>,
    bound: &[&str],
    violations: &mut Violations,
) -> (DynamicMessage, Vec<String>) {
    let mut mask = Vec::new();
    let change = merge(of, patch, bound, &Path::Root, &mut mask, violations);
    (change, mask)
}

fn merge(
    of: &MessageDescriptor,
    patch: Members<'_>,
    bound: &[&str],
    at: &Path<'_>,
    mask: &mut Vec<String>,
    violations: &mut Violations,
) -> DynamicMessage {
    let mut change = DynamicMessage::new(of.clone());
    for (name, json) in patch {
        let here = Path::Member(at, &name);
        let Some(field) = decode::find_field(of, &name, bound) else {
            violations.unknown(here);
            continue;
        };
        let below = decode::nested_paths(bound, &name);
        match (field.kind(), json) {
            (_, Json::Null) => mask.push(here.to_string()),
            (Kind::Message(of), Json::Object(members)) if of.full_name() == STRUCT => {
                mask.extend(members.iter().map(|(member, _)| Path::Member(&here, member).to_string()));
                let set: Members<'_> = members.into_iter().filter(|(_, json)| *json != Json::Null).collect();
                if !set.is_empty() {
                    let members = decode::struct_message(&of, set, &here, decode::MAX_STRUCT_DEPTH, violations);
                    change.set_field(&field, Value::Message(members));
                }
            }
            (Kind::Message(of), Json::Object(members)) if !field.is_list() && of.full_name() != TIMESTAMP => {
                let inner = merge(&of, members, &below, &here, mask, violations);
                change.set_field(&field, Value::Message(inner));
            }
            (_, json) => {
                if let Some(value) = decode::value(&field, json, &below, &here, violations) {
                    change.set_field(&field, value);
                }
                mask.push(here.to_string());
            }
        }
    }
    change
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value as Plain, json};

    use super::*;
    use crate::json::{
        tests::{Sample, any_sample, descriptor, to_json},
        value,
    };

    fn patch(text: &str) -> Result<(Plain, Vec<String>), Vec<String>> {
        let Ok(Json::Object(members)) = value::parse(text.as_bytes()) else { panic!("an object") };
        let mut violations = Violations::default();
        let (change, mask) = decode(&descriptor("baton.task.v1.TaskChange"), members, &[], &mut violations);
        let wrong: Vec<String> = violations.into_vec().into_iter().map(|v| v.field).collect();
        if wrong.is_empty() { Ok((to_json(&change), mask)) } else { Err(wrong) }
    }

    #[test]
    fn keys_become_the_mask_and_null_clears() {
        let (change, mask) = patch(r#"{"title": "new", "due_at": null, "tags": []}"#).expect("valid");
        assert_eq!(mask, ["title", "due_at", "tags"]);
        assert_eq!(change["title"], "new");
        assert_eq!(change["due_at"], json!(null));
    }

    #[test]
    fn struct_fields_are_merged_member_by_member() {
        let (change, mask) =
            patch(r#"{"custom_fields": {"keep.dots": 1, "gone": null, "deep": {"a": null, "b": 2}}}"#).expect("valid");
        assert_eq!(mask, ["custom_fields.keep.dots", "custom_fields.gone", "custom_fields.deep"]);
        assert_eq!(change["custom_fields"], json!({"keep.dots": 1, "deep": {"a": null, "b": 2}}));
    }

    #[test]
    fn an_empty_object_changes_nothing_and_null_clears_all() {
        assert_eq!(patch(r#"{"custom_fields": {}}"#).expect("valid").1, Vec::<String>::new());
        assert_eq!(patch(r#"{"custom_fields": null}"#).expect("valid").1, ["custom_fields"]);
        assert_eq!(patch("{}").expect("valid").1, Vec::<String>::new());
    }

    #[test]
    fn invalid_fields_are_reported() {
        let wrong = patch(r#"{"title": 1, "status": "paused", "custom_fields": 3, "tags": {"0": "a"}}"#);
        assert_eq!(wrong.expect_err("all wrong"), ["title", "status", "custom_fields", "tags"]);
    }

    /// The algorithm of RFC 7396, section 2, to the depth that the gateway merges.
    fn rfc_7396(target: &mut Map<String, Plain>, patch: &Map<String, Plain>, levels: usize) {
        for (key, value) in patch {
            match value {
                Plain::Null => drop(target.remove(key)),
                Plain::Object(inner) if levels > 1 => {
                    let below = target.entry(key).or_insert_with(|| json!({}));
                    if !below.is_object() {
                        *below = json!({});
                    }
                    rfc_7396(below.as_object_mut().expect("an object"), inner, levels - 1);
                }
                value => drop(target.insert(key.clone(), value.clone())),
            }
        }
    }

    /// Applies a change by its mask, as a service does, on JSON.
    fn by_mask(target: &mut Map<String, Plain>, change: &Plain, mask: &[String]) {
        for path in mask {
            let (field, member) = path.split_once('.').map_or((path.as_str(), None), |(f, m)| (f, Some(m)));
            let new = |value: &Plain, key: &str| value.get(key).cloned().filter(|value| !value.is_null());
            let (into, key, value) = match member {
                None => (&mut *target, field, new(change, field)),
                Some(member) => {
                    let object = target.entry(field).or_insert_with(|| json!({}));
                    (object.as_object_mut().expect("an object"), member, change[field].get(member).cloned())
                }
            };
            match value {
                Some(value) => drop(into.insert(key.to_owned(), value)),
                None => drop(into.remove(key)),
            }
        }
    }

    fn bare(message: &DynamicMessage) -> Map<String, Plain> {
        let mut object = to_json(message).as_object().cloned().expect("an object");
        object.retain(|_, value| !value.is_null());
        object
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        /// Applying mask and values equals applying the patch to the task's JSON.
        #[test]
        fn mask_and_values_equal_the_patch(
            Sample(target) in any_sample("baton.task.v1.TaskChange"),
            Sample(source) in any_sample("baton.task.v1.TaskChange"),
            cleared in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut merge = bare(&source);
            let keys: Vec<String> = merge.keys().cloned().collect();
            for index in cleared {
                if !keys.is_empty() {
                    merge.insert(index.get(&keys).clone(), Plain::Null);
                }
            }
            let (change, mask) = patch(&Plain::Object(merge.clone()).to_string()).expect("valid");
            let (mut expected, mut got) = (bare(&target), bare(&target));
            rfc_7396(&mut expected, &merge, 2);
            by_mask(&mut got, &change, &mask);
            // The RFC creates an empty object where none was; a service does not.
            if merge.get("custom_fields") == Some(&json!({})) && got.get("custom_fields").is_none() {
                expected.remove("custom_fields");
            }
            // For a field without presence, cleared and empty are the same.
            let emptied = |object: &mut Map<String, Plain>| object.retain(|_, value| ![json!(""), json!([])].contains(value));
            emptied(&mut got);
            emptied(&mut expected);
            prop_assert_eq!(got, expected);
        }
    }
}
