//! The activity log: conversion of events to entries, read access, and leaf hashes for a Merkle tree.

use std::{collections::BTreeMap, net::IpAddr};

use baton_access::{
    Membership, Role,
    relation_policy::{ACTIVITY, Relation, allows},
};
use baton_errors::{Error, Result};
use baton_proto::{baton::events::v1::Envelope, convert::datetime, pool};
use chrono::{DateTime, SubsecRound, Utc};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Maximal number of list items that an entry keeps.
const MAX_LIST_ITEMS: usize = 100;

/// An event in the form that the log stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activity {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    /// The user who caused the event; `None` for the platform.
    pub(crate) actor_id: Option<Uuid>,
    /// The event type.
    pub(crate) action: String,
    pub(crate) resource_type: String,
    pub(crate) resource_id: Uuid,
    /// Names of fields.
    pub(crate) changed_fields: Vec<String>,
    /// Ids, states and numbers by name.
    pub(crate) details: BTreeMap<String, String>,
    pub(crate) address: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) request_id: Option<String>,
    /// Truncated to microseconds, the precision of Postgres.
    pub(crate) occurred_at: DateTime<Utc>,
}

impl Activity {
    /// Converts an event; `None` when it belongs to no account.
    ///
    /// Uses the payload's descriptor, so new event types need no code here. Keeps only field names, ids, enum values
    /// and numbers, so no payload can bring free text into the log.
    ///
    /// # Errors
    /// INTERNAL when the envelope is malformed.
    pub(crate) fn from_event(event: &Envelope) -> Result<Option<Self>> {
        let missing = |what: &str| Error::internal(format!("the event has no {what}"));
        let Ok(account_id) = event.account_id.parse() else { return Ok(None) };
        let (resource_type, verb) = event.r#type.split_once('.').ok_or_else(|| missing("type"))?;
        let resource_id = event.subject_id.parse().map_err(|_| missing("subject"))?;
        let occurred_at = event.occurred_at.as_ref().and_then(datetime).ok_or_else(|| missing("time"))?;
        let origin = event.origin.clone().unwrap_or_default();
        let mut activity = Self {
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

    /// The hash of this entry as a leaf of a Merkle tree over the account's log (RFC 6962, section 2.1).
    pub(crate) fn leaf_hash(&self, position: LogPosition) -> [u8; 32] {
        Sha256::new().chain_update([0]).chain_update(self.canonical(position)).finalize().into()
    }

    /// The canonical encoding, version 1: all fields in a fixed order, numbers as 64-bit big-endian, times in
    /// microseconds, ids as 16 bytes (nil for none), texts and lists prefixed with their length. It is injective.
    /// Existing hashes depend on it, so it must never change.
    fn canonical(&self, position: LogPosition) -> Vec<u8> {
        let mut bytes = b"baton activity 1\n".to_vec();
        let number = |bytes: &mut Vec<u8>, number: i64| bytes.extend(number.to_be_bytes());
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        };
        bytes.extend(self.account_id.as_bytes());
        number(&mut bytes, position.seq);
        number(&mut bytes, position.recorded_at.timestamp_micros());
        bytes.extend(self.id.as_bytes());
        number(&mut bytes, self.occurred_at.timestamp_micros());
        bytes.extend(self.actor_id.unwrap_or_default().as_bytes());
        text(&mut bytes, &self.action);
        text(&mut bytes, &self.resource_type);
        bytes.extend(self.resource_id.as_bytes());
        number(&mut bytes, self.changed_fields.len() as i64);
        self.changed_fields.iter().for_each(|name| text(&mut bytes, name));
        number(&mut bytes, self.details.len() as i64);
        for (name, value) in &self.details {
            text(&mut bytes, name);
            text(&mut bytes, value);
        }
        for origin in [&self.address, &self.user_agent, &self.request_id] {
            text(&mut bytes, origin.as_deref().unwrap_or_default());
        }
        bytes
    }
}

/// The position of an entry in its account's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPosition {
    pub(crate) seq: i64,
    pub(crate) recorded_at: DateTime<Utc>,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) activity: Activity,
    pub(crate) position: LogPosition,
    pub(crate) leaf_hash: Vec<u8>,
}

impl LogEntry {
    /// The sort key for pagination: lists are ordered by time, then by position.
    pub(crate) fn cursor(&self) -> (DateTime<Utc>, i64) {
        (self.activity.occurred_at, self.position.seq)
    }

    /// The entry without address and user agent, for readers who may not see them.
    pub(crate) fn without_origin(mut self) -> Self {
        (self.activity.address, self.activity.user_agent) = (None, None);
        self
    }
}

/// The relation by which a member may read a person's entries; `None` when they may not. [`Relation::Other`] requires
/// the permission to read the whole log.
pub(crate) fn readable_relation(member: &Membership, user_id: Uuid, person: Uuid) -> Option<Relation> {
    let relation = if user_id == person {
        Relation::Own
    } else if member.reports.contains(&person) {
        Relation::Report
    } else {
        Relation::Other
    };
    // This policy ignores the person's role.
    allows(ACTIVITY, member.role, Role::User, relation).then_some(relation)
}

/// The changed fields that an event names. Keeps only the part before the first dot: the rest may be user-written, as
/// in `custom_fields.<name>`.
fn field_names(value: &Value) -> Vec<String> {
    let is_name = |name: &&str| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let names = value.as_list().unwrap_or_default().iter().filter_map(Value::as_str);
    let mut names: Vec<_> =
        names.filter_map(|path| path.split('.').next().filter(is_name)).map(str::to_owned).collect();
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
pub(crate) mod tests;
