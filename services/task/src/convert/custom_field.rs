//! Custom fields in the contract.

use baton_proto::{
    baton::task::v1::{self as proto, CustomFieldType},
    convert::timestamp,
};

use crate::task::custom_field::{Choice, CustomField, FieldType};

/// The definition of a custom field.
pub(crate) fn custom_field(field: CustomField) -> proto::CustomField {
    proto::CustomField {
        id: field.id.to_string(),
        account_id: field.account_id.to_string(),
        key: field.key,
        name: field.name,
        r#type: to_field_type(field.field_type).into(),
        options: field.options.into_iter().map(|Choice { id, name }| proto::CustomFieldOption { id, name }).collect(),
        required: field.required,
        version: field.version,
        created_at: Some(timestamp(field.created_at)),
        updated_at: Some(timestamp(field.updated_at)),
    }
}

/// The type of the contract; `None` for unspecified or unknown.
pub(crate) fn field_type(field_type: i32) -> Option<FieldType> {
    FieldType::ALL.into_iter().find(|&known| to_field_type(known) as i32 == field_type)
}

/// The options of the contract.
pub(crate) fn options(options: Vec<proto::CustomFieldOption>) -> Vec<Choice> {
    options.into_iter().map(|proto::CustomFieldOption { id, name }| Choice { id, name }).collect()
}

fn to_field_type(field_type: FieldType) -> CustomFieldType {
    match field_type {
        FieldType::Text => CustomFieldType::Text,
        FieldType::Number => CustomFieldType::Number,
        FieldType::Date => CustomFieldType::Date,
        FieldType::Checkbox => CustomFieldType::Checkbox,
        FieldType::Select => CustomFieldType::Select,
        FieldType::MultiSelect => CustomFieldType::MultiSelect,
        FieldType::Person => CustomFieldType::Person,
        FieldType::Url => CustomFieldType::Url,
    }
}
