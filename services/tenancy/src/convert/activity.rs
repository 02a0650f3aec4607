//! Conversions of the activity log: events to entries, and entries to the contract.

use std::{collections::BTreeMap, net::IpAddr};

use baton_errors::{Error, Result};
use baton_proto::{
    baton::{
        api::v1::Via,
        events::v1::Envelope,
        tenancy::v1::{self as proto, ExportFormat},
    },
    convert::{datetime, timestamp, to_struct},
    pool,
};
use chrono::SubsecRound;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};
use uuid::Uuid;

use crate::{
    activity::{Activity, LogEntry},
    export::{Format, to_hex},
};

/// Maximal number of list items that an entry keeps.
const MAX_LIST_ITEMS: usize = 100;

/// Whether a text is a name of the platform's own: nothing else that a message calls a name reaches the log.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The service that acted for the actor, and its cause, for an entry's details.
fn via_details(via: &Via) -> impl Iterator<Item = (String, String)> {
    let name = |name: &str| Some(name).filter(|name| is_name(name)).map(str::to_owned);
    let details = [
        ("via_service", name(&via.service)),
        ("via_kind", name(&via.kind)),
        ("via_id", via.id.parse::<Uuid>().ok().map(|id| id.to_string())),
        ("via_depth", Some(via.depth).filter(|&depth| depth > 0).map(|depth| depth.to_string())),
    ];
    details.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)))
}

/// Converts an event; `None` when it belongs to no account.
///
/// Uses the payload's descriptor, so new event types need no code here. Keeps only field names, ids, enum values
/// and numbers, so no payload can bring free text into the log.
///
/// # Errors
/// INTERNAL when the envelope is malformed.
pub(crate) fn activity(event: &Envelope) -> Result<Option<Activity>> {
    let missing = |what: &str| Error::internal(format!("the event has no {what}"));
    let Ok(account_id) = event.account_id.parse() else { return Ok(None) };
    let (resource_type, verb) = event.r#type.split_once('.').ok_or_else(|| missing("type"))?;
    let resource_id = event.subject_id.parse().map_err(|_| missing("subject"))?;
    let occurred_at = event.occurred_at.as_ref().and_then(datetime).ok_or_else(|| missing("time"))?;
    let origin = event.origin.clone().unwrap_or_default();
    let mut activity = Activity {
        id: event.id.parse().map_err(|_| missing("id"))?,
        account_id,
        actor_id: event.actor_id.parse().ok(),
        action: event.r#type.clone(),
        resource_type: resource_type.to_owned(),
        resource_id,
        changed_fields: Vec::new(),
        details: BTreeMap::new(),
        address: origin.address.parse::<IpAddr>().ok().map(|address| address.to_string()),
        user_agent: Some(origin.user_agent).filter(|text| !text.is_empty()),
        request_id: Some(origin.request_id).filter(|text| !text.is_empty()),
        occurred_at: occurred_at.trunc_subsecs(6),
    };
    if let Some(via) = &event.via {
        activity.details.extend(via_details(via));
    }
    let Some(payload) = &event.payload else { return Ok(Some(activity)) };
    let name = payload.type_url.rsplit('/').next().unwrap_or_default();
    // The payload type is unknown, from a newer version: log the envelope only.
    let Some(of) = pool().get_message_by_name(name) else { return Ok(Some(activity)) };
    let payload = DynamicMessage::decode(of, payload.value.as_slice()).map_err(Error::internal)?;
    for (field, value) in payload.fields() {
        if field.name() == "changed_fields" {
            activity.changed_fields = field_names(value);
        } else if let Some(text) = format_value(&field, value)
            && text != event.subject_id
            && text != verb
        {
            activity.details.insert(field.name().to_owned(), text);
        }
    }
    Ok(Some(activity))
}

impl From<LogEntry> for proto::ActivityLog {
    fn from(row: LogEntry) -> Self {
        let details = row.activity.details.into_iter().map(|(name, value)| (name, value.into())).collect();
        Self {
            id: row.activity.id.to_string(),
            account_id: row.activity.account_id.to_string(),
            // Saturates after 68 events per second for a year in one account.
            sequence: i32::try_from(row.position.seq).unwrap_or(i32::MAX),
            actor_id: row.activity.actor_id.map(|id| id.to_string()),
            action: row.activity.action,
            resource_type: row.activity.resource_type,
            resource_id: row.activity.resource_id.to_string(),
            changed_fields: row.activity.changed_fields,
            details: Some(to_struct(details)),
            address: row.activity.address,
            user_agent: row.activity.user_agent,
            request_id: row.activity.request_id,
            occurred_at: Some(timestamp(row.activity.occurred_at)),
            leaf_hash: to_hex(&row.leaf_hash),
        }
    }
}

/// The format of a request; NDJSON by default.
pub(crate) fn export_format(format: i32) -> Format {
    if format == ExportFormat::Csv as i32 { Format::Csv } else { Format::NdJson }
}

/// The changed fields that an event names. Keeps only the part before the first dot: the rest may be user-written, as
/// in `custom_fields.<name>`.
fn field_names(value: &Value) -> Vec<String> {
    let names = value.as_list().unwrap_or_default().iter().filter_map(Value::as_str);
    let mut names: Vec<_> =
        names.filter_map(|path| path.split('.').next().filter(|name| is_name(name))).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The value of a payload field as text; `None` for types that the log does not keep.
fn format_value(field: &FieldDescriptor, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.parse::<Uuid>().ok().map(|id| id.to_string()),
        Value::EnumNumber(number) => enum_value_name(field, *number),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::I32(number) => Some(number.to_string()),
        Value::I64(number) => Some(number.to_string()),
        Value::U32(number) => Some(number.to_string()),
        Value::U64(number) => Some(number.to_string()),
        Value::List(values) => {
            let texts: Vec<_> =
                values.iter().take(MAX_LIST_ITEMS).filter_map(|value| format_value(field, value)).collect();
            (!texts.is_empty()).then(|| texts.join(","))
        }
        _ => None,
    }
}

/// The API's name of an enum value: lower case, without the prefix.
fn enum_value_name(field: &FieldDescriptor, number: i32) -> Option<String> {
    let Kind::Enum(of) = field.kind() else { return None };
    let zero = of.get_value(0)?;
    let prefix = zero.name().strip_suffix("UNSPECIFIED")?;
    let value = of.get_value(number).filter(|_| number != 0)?;
    Some(value.name().strip_prefix(prefix)?.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
