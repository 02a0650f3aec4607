//! What rules are made of.

use baton_conditions::{FIELDS, Field, Op, field::Kind};
use baton_proto::baton::automation::v1::{CatalogueField, CatalogueTrigger, GetCatalogueResponse};
use baton_rules::{TriggerType, Verb};

use crate::convert::rule as convert;

/// The triggers, fields, operators and actions.
pub(super) fn get() -> GetCatalogueResponse {
    let triggers = TriggerType::ALL.into_iter().map(|kind| CatalogueTrigger {
        r#type: convert::trigger(kind).into(),
        phrase: kind.phrase().to_owned(),
        has_task: kind.has_task(),
    });
    let fields = FIELDS.iter().map(|field| CatalogueField {
        name: field.name.to_owned(),
        phrase: field.phrase.to_owned(),
        r#type: type_name(field.kind).to_owned(),
        values: match field.kind {
            Kind::Choice { names, .. } => names.iter().map(|&name| name.to_owned()).collect(),
            _ => Vec::new(),
        },
        nullable: field.nullable,
        ops: ops(field.name),
    });
    GetCatalogueResponse {
        triggers: triggers.collect(),
        fields: fields.collect(),
        actions: Verb::NAMES.iter().map(|&name| name.to_owned()).collect(),
    }
}

/// The names of the operators of conditions on a field.
fn ops(name: &str) -> Vec<String> {
    let field = Field::from_name(&name.replace("<key>", "key"));
    let ops = Op::ALL.iter().filter(|op| field.as_ref().is_some_and(|field| op.allows(field)));
    ops.map(|op| op.name().to_owned()).collect()
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Choice { .. } => "choice",
        Kind::Person => "person",
        Kind::People => "people",
        Kind::Texts => "texts",
        Kind::Time => "time",
        Kind::Bool => "bool",
        Kind::Number => "number",
        Kind::Text => "text",
        Kind::Custom => "custom",
    }
}
