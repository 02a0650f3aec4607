//! Custom fields: the account's definitions, and validation of `custom_fields` of tasks. Only values that a call writes
//! are validated, so changing or deleting a definition does not invalidate stored tasks.

use std::collections::HashSet;

use baton_errors::{Error, Result};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

/// Maximum number of definitions per account.
pub(crate) const MAX_DEFINITIONS: i64 = 50;
/// Maximum length of a text or URL, in characters.
const MAX_VALUE_LEN: usize = 2_000;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldType {
    Text,
    Number,
    Date,
    Checkbox,
    Select,
    MultiSelect,
    Person,
    Url,
}

impl FieldType {
    pub(crate) const ALL: [Self; 8] = [
        Self::Text,
        Self::Number,
        Self::Date,
        Self::Checkbox,
        Self::Select,
        Self::MultiSelect,
        Self::Person,
        Self::Url,
    ];

    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Date => "date",
            Self::Checkbox => "checkbox",
            Self::Select => "select",
            Self::MultiSelect => "multi_select",
            Self::Person => "person",
            Self::Url => "url",
        }
    }

    /// The type with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field_type| field_type.name() == name)
    }

    fn has_options(self) -> bool {
        matches!(self, Self::Select | Self::MultiSelect)
    }
}

/// An option of a select field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Choice {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// The definition of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CustomField {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) field_type: FieldType,
    pub(crate) options: Vec<Choice>,
    pub(crate) required: bool,
    pub(crate) version: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl CustomField {
    /// Checks that the definition is consistent. `under` prefixes field names in errors.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn check(&self, under: &str) -> Result<()> {
        let invalid = |field: &str, violation: &str| Err(Error::invalid(format!("{under}{field}"), violation));
        if self.name.is_empty() {
            return invalid("name", "must not be empty");
        }
        if self.field_type.has_options() == self.options.is_empty() {
            return invalid("options", "are for select and multi_select, which need at least one");
        }
        let ids: HashSet<_> = self.options.iter().map(|option| &option.id).collect();
        if ids.len() < self.options.len() {
            return invalid("options", "must not contain an id twice");
        }
        Ok(())
    }

    /// Names of the fields that differ from `before`.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<String> {
        let fields = [
            ("name", self.name != before.name),
            ("options", self.options != before.options),
            ("required", self.required != before.required),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
    }

    /// Describes why the value violates the definition; `None` if it does not.
    fn violation(&self, value: &Value) -> Option<String> {
        let needs = |what: &str| Some(format!("must be {what}"));
        let offered = |value: &Value| value.as_str().is_some_and(|id| self.options.iter().any(|it| it.id == id));
        let short = |text: &&str| text.chars().count() <= MAX_VALUE_LEN;
        let text = value.as_str();
        match self.field_type {
            FieldType::Text if text.filter(short).is_none() => needs("a text of at most 2,000 characters"),
            FieldType::Number if !value.is_number() => needs("a number"),
            FieldType::Date if text.and_then(date).is_none() => needs("a date such as 2026-11-22"),
            FieldType::Checkbox if !value.is_boolean() => needs("true or false"),
            FieldType::Select if !offered(value) => needs("the id of an option"),
            FieldType::MultiSelect => {
                let chosen = value.as_array().filter(|chosen| chosen.iter().all(offered));
                let each_once = chosen
                    .filter(|ids| ids.iter().filter_map(Value::as_str).collect::<HashSet<_>>().len() == ids.len());
                if each_once.is_none() { needs("a list of distinct option ids") } else { None }
            }
            FieldType::Person if text.and_then(|id| Uuid::try_parse(id).ok()).is_none() => needs("a UUID"),
            FieldType::Url if text.filter(short).filter(|text| is_address(text)).is_none() => {
                needs("an http:// or https:// URL of at most 2,000 characters")
            }
            _ => None,
        }
    }
}

/// Validates the custom fields that a call writes. `before` are the old values, `None` for a new task; unchanged values
/// are not validated. The error lists all violations, at `field`.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn check(
    definitions: &[CustomField],
    before: Option<&Map<String, Value>>,
    after: &Map<String, Value>,
    field: &str,
) -> Result<()> {
    let mut invalid: Option<Error> = None;
    for definition in definitions {
        let key = definition.key.as_str();
        let value = after.get(key);
        if before.is_some_and(|before| before.get(key) == value) {
            continue;
        }
        let violation = match value {
            None | Some(Value::Null) => definition.required.then(|| "is required".to_owned()),
            Some(value) => definition.violation(value),
        };
        if let Some(violation) = violation {
            let at = format!("{field}.{key}");
            invalid = Some(match invalid {
                None => Error::invalid(at, violation),
                Some(error) => error.field(at, violation),
            });
        }
    }
    invalid.map_or(Ok(()), Err)
}

/// A full-date of RFC 3339; chrono alone would accept `2026-1-2`.
fn date(text: &str) -> Option<NaiveDate> {
    let fits = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    let written = text.len() == 10 && text.bytes().enumerate().all(fits);
    written.then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()).flatten()
}

fn is_address(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::task::tests::at;

    fn field(key: &str, field_type: FieldType, options: &[&str]) -> CustomField {
        let option = |id: &&str| Choice { id: (*id).to_owned(), name: id.to_uppercase() };
        CustomField {
            id: Uuid::nil(),
            account_id: Uuid::nil(),
            key: key.to_owned(),
            name: "Field".to_owned(),
            field_type,
            options: options.iter().map(option).collect(),
            required: false,
            version: 1,
            created_at: at(0),
            updated_at: at(0),
        }
    }

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("an object") };
        object
    }

    fn takes(field: &CustomField, value: Value) -> bool {
        check(std::slice::from_ref(field), None, &object(json!({"it": value})), "custom_fields").is_ok()
    }

    #[test]
    fn every_type_accepts_its_own_values_only() {
        let person = Uuid::from_u128(7).to_string();
        let (long, long_url) = ("x".repeat(2_001), format!("https://example.com/{}", "x".repeat(2_000)));
        for (field_type, good, bad) in [
            (FieldType::Text, vec![json!("a"), json!("")], vec![json!(1), json!(long), json!(["a"])]),
            (FieldType::Number, vec![json!(1), json!(-2.5)], vec![json!("1"), json!(true)]),
            (
                FieldType::Date,
                vec![json!("2026-11-22"), json!("2028-02-29")],
                vec![json!("2026-1-2"), json!("2026-02-29"), json!("+02026-1-2"), json!("22.11.2026"), json!(20261122)],
            ),
            (FieldType::Checkbox, vec![json!(true), json!(false)], vec![json!("true"), json!(1)]),
            (FieldType::Select, vec![json!("low")], vec![json!("LOW"), json!("other"), json!(["low"]), json!("")]),
            (
                FieldType::MultiSelect,
                vec![json!([]), json!(["high", "low"])],
                vec![json!("low"), json!(["low", "low"]), json!(["low", "other"]), json!([1])],
            ),
            (FieldType::Person, vec![json!(person)], vec![json!("ada"), json!(7)]),
            (
                FieldType::Url,
                vec![json!("https://example.com/a?b=c"), json!("http://localhost:8080")],
                vec![json!("example.com"), json!("javascript:alert(1)"), json!("ftp://example.com"), json!(long_url)],
            ),
        ] {
            let options: &[&str] = if field_type.has_options() { &["low", "high"] } else { &[] };
            let field = field("it", field_type, options);
            field.check("").unwrap();
            for value in good.into_iter().chain([Value::Null]) {
                assert!(takes(&field, value.clone()), "{field_type:?} refuses {value}");
            }
            for value in bad {
                assert!(!takes(&field, value.clone()), "{field_type:?} takes {value}");
            }
        }
    }

    #[test]
    fn every_violation_is_reported_by_key() {
        let mut must = field("must", FieldType::Text, &[]);
        must.required = true;
        let definitions = [must, field("cost", FieldType::Number, &[]), field("on", FieldType::Date, &[])];
        let given = object(json!({"cost": "much", "on": "2026-11-22", "free": {"any": ["thing"]}}));
        let status = tonic::Status::from(check(&definitions, None, &given, "custom_fields").unwrap_err());
        let details = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
        let named: Vec<_> = details.field_violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, ["custom_fields.must", "custom_fields.cost"]);
    }

    #[test]
    fn values_stored_before_the_definition_are_kept() {
        let mut cost = field("cost", FieldType::Number, &[]);
        cost.required = true;
        let check =
            |before: Value, after: Value| check(&[cost.clone()], Some(&object(before)), &object(after), "f").is_ok();
        assert!(check(json!({"cost": "much"}), json!({"cost": "much", "other": 1})));
        assert!(check(json!({}), json!({"other": 1})), "tasks from before may lack it");
        assert!(!check(json!({"cost": "much"}), json!({"cost": "more"})));
        assert!(!check(json!({"cost": 5}), json!({})) && !check(json!({"cost": 5}), json!({"cost": null})));
        assert!(check(json!({"cost": "much"}), json!({"cost": 5})));
    }

    #[test]
    fn options_require_a_select_type_and_distinct_ids() {
        for (field_type, options, fine) in [
            (FieldType::Select, &["a", "b"][..], true),
            (FieldType::Select, &[], false),
            (FieldType::MultiSelect, &["a", "a"], false),
            (FieldType::Text, &["a"], false),
            (FieldType::Text, &[], true),
        ] {
            assert_eq!(field("it", field_type, options).check("").is_ok(), fine, "{field_type:?} {options:?}");
        }
        assert!(CustomField { name: String::new(), ..field("it", FieldType::Text, &[]) }.check("").is_err());
    }

    proptest! {
        #[test]
        fn changed_definitions_do_not_invalidate_stored_values(
            stored in prop::collection::btree_map("[a-d]", any::<i8>(), 0..4),
            forms in prop::collection::vec((prop::sample::select(FieldType::ALL.to_vec()), any::<bool>()), 4),
        ) {
            let stored: Map<String, Value> = stored.into_iter().map(|(key, value)| (key, json!(value))).collect();
            let definitions: Vec<_> = forms.into_iter().zip(["a", "b", "c", "d"]).map(|((field_type, required), key)| {
                CustomField { required, ..field(key, field_type, &[]) }
            }).collect();
            prop_assert!(check(&definitions, Some(&stored), &stored, "custom_fields").is_ok());
        }
    }
}
