//! JSON names of enum values: `TASK_STATUS_IN_PROGRESS` is `in_progress`.

use prost_reflect::{EnumDescriptor, EnumValueDescriptor};

/// Suffix of the zero value, which has no JSON name.
const UNSPECIFIED: &str = "UNSPECIFIED";

/// Returns the JSON names, in the order of the proto, without the unspecified value.
pub(crate) fn names(of: &EnumDescriptor) -> Vec<String> {
    of.values().filter(|value| value.number() != 0).filter_map(|value| name(&value)).collect()
}

/// Returns the JSON name of a value; `None` for the unspecified one.
pub(crate) fn name(value: &EnumValueDescriptor) -> Option<String> {
    if value.number() == 0 {
        return None;
    }
    let prefix = prefix_len(value.parent_enum());
    Some(value.name().get(prefix..)?.to_ascii_lowercase())
}

/// Returns the number of the value with this JSON name.
pub(crate) fn number(of: &EnumDescriptor, name: &str) -> Option<i32> {
    let prefix = prefix_len(of);
    let lower = !name.bytes().any(|b| b.is_ascii_uppercase());
    of.values()
        .filter(|value| lower && value.number() != 0)
        .find(|value| value.name().get(prefix..).is_some_and(|bare| bare.eq_ignore_ascii_case(name)))
        .map(|value| value.number())
}

/// Fails if an enum's values do not have its prefix.
pub(crate) fn check(of: &EnumDescriptor) -> Result<(), String> {
    let prefix = format!("{}_", upper_snake(of.name()));
    if of.default_value().name() != format!("{prefix}{UNSPECIFIED}") {
        return Err(format!("the zero value of {} is not {prefix}{UNSPECIFIED}", of.full_name()));
    }
    match of.values().find(|value| !value.name().starts_with(&prefix)) {
        Some(value) => Err(format!("{} does not begin with {prefix}", value.full_name())),
        None => Ok(()),
    }
}

/// Length of the prefix: [`check`] ensures that the zero value is the prefix and UNSPECIFIED.
fn prefix_len(of: &EnumDescriptor) -> usize {
    of.default_value().name().len() - UNSPECIFIED.len()
}

fn upper_snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for (i, c) in camel.char_indices() {
        if i > 0 && c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_uppercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> EnumDescriptor {
        baton_proto::pool().get_enum_by_name("baton.task.v1.TaskStatus").expect("in the contract")
    }

    #[test]
    fn json_names_are_lower_case_without_prefix() {
        assert_eq!(names(&status()), ["pending", "in_progress", "paused", "completed", "archived", "canceled"]);
        assert_eq!(number(&status(), "in_progress"), Some(2));
        assert_eq!(name(&status().get_value(2).expect("in progress")).as_deref(), Some("in_progress"));
    }

    #[test]
    fn other_spellings_are_refused() {
        for name in ["", "In_Progress", "IN_PROGRESS", "TASK_STATUS_IN_PROGRESS", "unspecified", "2", "in-progress"] {
            assert_eq!(number(&status(), name), None, "{name}");
        }
    }

    #[test]
    fn every_enum_of_the_contract_has_its_prefix() {
        let ours = baton_proto::pool().all_enums().filter(|e| e.package_name().starts_with("baton."));
        for of in ours {
            check(&of).expect("conventional");
        }
    }
}
