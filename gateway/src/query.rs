//! Query parameters to fields of the request.

use std::collections::HashSet;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};
use url::form_urlencoded;

use crate::json::{TIMESTAMP, scalar, violations::Violations};

/// The query parameters of a route, in the order of the contract. They are few, so lookup is linear.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<Parameter>);

/// The field that a query parameter sets.
#[derive(Debug)]
pub(crate) struct Parameter {
    /// The flattened message that contains the field; `None` for a field of the request itself.
    pub(crate) parent: Option<FieldDescriptor>,
    /// The field.
    pub(crate) field: FieldDescriptor,
}

impl Query {
    /// Creates parameters for these fields of a request. Messages are flattened by one level: `filter.status` and
    /// `page.page` become `status` and `page`.
    pub(crate) fn of(fields: &[FieldDescriptor]) -> Result<Self, String> {
        let mut query = Self::default();
        for field in fields {
            match field.kind() {
                Kind::Message(of) if of.full_name() != TIMESTAMP => {
                    if field.is_list() {
                        return Err(format!(
                            "{} is a list of messages, which a query cannot express",
                            field.full_name()
                        ));
                    }
                    for inner in of.fields() {
                        query.add(Parameter { parent: Some(field.clone()), field: inner })?;
                    }
                }
                _ => query.add(Parameter { parent: None, field: field.clone() })?,
            }
        }
        Ok(query)
    }

    fn add(&mut self, parameter: Parameter) -> Result<(), String> {
        let field = &parameter.field;
        if matches!(field.kind(), Kind::Message(of) if of.full_name() != TIMESTAMP) {
            return Err(format!("{} is nested too deeply for a query", field.full_name()));
        }
        if self.find(field.name()).is_some() {
            return Err(format!("two query parameters are named {}", field.name()));
        }
        self.0.push(parameter);
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&Parameter> {
        self.0.iter().find(|parameter| parameter.field.name() == name)
    }

    /// All parameters.
    pub(crate) fn parameters(&self) -> &[Parameter] {
        &self.0
    }

    /// Names of the flattened messages.
    pub(crate) fn flattened(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|parameter| parameter.parent.as_ref()).map(FieldDescriptor::name)
    }

    /// Sets the fields of `request` from this query string, and reports invalid parameters.
    pub(crate) fn bind(&self, query: &str, request: &mut DynamicMessage, violations: &mut Violations) {
        let mut seen = HashSet::new();
        for (name, text) in form_urlencoded::parse(query.as_bytes()) {
            let Some(Parameter { parent, field }) = self.find(&name) else {
                violations.unknown(&name);
                continue;
            };
            if !seen.insert(field.name()) && !field.is_list() {
                violations.invalid(&name, "must not be repeated");
                continue;
            }
            // The parser replaces bytes that are not UTF-8 by this character.
            if text.contains(char::REPLACEMENT_CHARACTER) {
                violations.invalid(&name, "must be UTF-8");
                continue;
            }
            match scalar::from_text(&field.kind(), &text) {
                Ok(value) => set(request, parent.as_ref(), field, value),
                Err(error) => violations.invalid(&name, error),
            }
        }
    }
}

fn set(request: &mut DynamicMessage, parent: Option<&FieldDescriptor>, field: &FieldDescriptor, value: Value) {
    let message = match parent {
        None => request,
        Some(parent) => match request.get_field_mut(parent) {
            Value::Message(message) => message,
            _ => return,
        },
    };
    match message.get_field_mut(field) {
        Value::List(list) => list.push(value),
        single => *single = value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{encode::MessageJson, violations::Violation};

    fn bind(request: &str, query: &str) -> Result<serde_json::Value, Vec<Violation>> {
        let of = baton_proto::pool().get_message_by_name(request).expect(request);
        let fields: Vec<_> = of.fields().collect();
        let mut message = DynamicMessage::new(of);
        let mut violations = Violations::default();
        Query::of(&fields).expect("flat").bind(query, &mut message, &mut violations);
        if violations.is_empty() {
            Ok(serde_json::to_value(MessageJson(&message)).expect("JSON"))
        } else {
            Err(violations.into_vec())
        }
    }

    #[test]
    fn filter_and_page_are_flattened_and_lists_repeat() {
        let request = bind(
            "baton.task.v1.ListTasksRequest",
            "status=pending&status=in_progress&search=a+b%26c&due_from=2026-01-01T02%3A00%3A00%2B02%3A00&page=2&per_page=20",
        )
        .expect("valid");
        assert_eq!(request["filter"]["status"], serde_json::json!(["pending", "in_progress"]));
        assert_eq!(request["filter"]["search"], "a b&c");
        assert_eq!(request["filter"]["due_from"], "2026-01-01T00:00:00Z");
        assert_eq!(request["page"]["page"], 2);
        assert_eq!(request["page"]["per_page"], 20);
    }

    #[test]
    fn an_absent_message_stays_absent() {
        let request = bind("baton.task.v1.ListTasksRequest", "page=1").expect("valid");
        assert_eq!(request["filter"], serde_json::Value::Null);
    }

    #[test]
    fn all_invalid_parameters_are_reported() {
        let wrong = bind(
            "baton.task.v1.ListTasksRequest",
            "status=PENDING&page=1&page=2&per_page=many&filter.search=x&search=%ff&sort=&due_to=tomorrow",
        )
        .expect_err("all wrong");
        let fields: Vec<&str> = wrong.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["status", "page", "per_page", "filter.search", "search", "sort", "due_to"]);
    }

    #[test]
    fn two_parameters_with_one_name_are_refused_at_start() {
        let of = |name| baton_proto::pool().get_message_by_name(name).expect(name);
        let page = of("baton.task.v1.ListTasksRequest").get_field_by_name("page").expect("page");
        assert!(Query::of(&[page.clone(), page]).expect_err("twice").contains("page"));
    }
}
