//! The activity log: what an event is worth as a row, who may read whose rows, and the hash that will make
//! the log provable.

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

/// Most ids of one list that a row keeps.
const LONGEST_LIST: usize = 100;

/// What an event says, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activity {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    /// Who did it; `None` when the platform did.
    pub(crate) actor_id: Option<Uuid>,
    /// The type of the event.
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
    /// In microseconds, which is what Postgres keeps.
    pub(crate) occurred_at: DateTime<Utc>,
}

impl Activity {
    /// The row of an event; `None` for one that belongs to no account.
    ///
    /// It works by the payload's descriptor, so an event that is new is logged without a line here, and no
    /// payload can bring a text into the log: of its fields only names, ids, states and numbers are taken.
    ///
    /// # Errors
    /// INTERNAL for an envelope that is none of ours.
    pub(crate) fn of(event: &Envelope) -> Result<Option<Self>> {
        let wrong = |what: &str| Error::internal(format!("the event has no {what}"));
        let Ok(account_id) = event.account_id.parse() else { return Ok(None) };
        let (resource_type, happened) = event.r#type.split_once('.').ok_or_else(|| wrong("type"))?;
        let resource_id = event.subject_id.parse().map_err(|_| wrong("subject"))?;
        let occurred_at = event.occurred_at.as_ref().and_then(datetime).ok_or_else(|| wrong("time"))?;
        let origin = event.origin.clone().unwrap_or_default();
        let mut activity = Self {
            id: event.id.parse().map_err(|_| wrong("id"))?,
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
        // A message of a newer version: what the envelope says is logged all the same.
        let Some(of) = pool().get_message_by_name(name) else { return Ok(Some(activity)) };
        let payload = DynamicMessage::decode(of, payload.value.as_slice()).map_err(Error::internal)?;
        for (field, value) in payload.fields() {
            if field.name() == "changed_fields" {
                activity.changed_fields = field_names(value);
            } else if let Some(text) = detail(&field, value)
                && text != event.subject_id
                && text != happened
            {
                activity.details.insert(field.name().to_owned(), text);
            }
        }
        Ok(Some(activity))
    }

    /// RFC 6962, section 2.1: the hash of this row as a leaf of a Merkle tree over the account's log.
    pub(crate) fn leaf_hash(&self, place: Place) -> [u8; 32] {
        Sha256::new().chain_update([0]).chain_update(self.canonical(place)).finalize().into()
    }

    /// The one way to write the row as bytes: all fields in a fixed order, numbers big-endian in 64 bits,
    /// times in microseconds, ids as their 16 bytes (nil for none), texts and lists behind their lengths. Two
    /// rows that differ have other bytes. What it gives must stay the same for good: it is version 1.
    fn canonical(&self, place: Place) -> Vec<u8> {
        let mut bytes = b"baton activity 1\n".to_vec();
        let number = |bytes: &mut Vec<u8>, number: i64| bytes.extend(number.to_be_bytes());
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        };
        bytes.extend(self.account_id.as_bytes());
        number(&mut bytes, place.seq);
        number(&mut bytes, place.recorded_at.timestamp_micros());
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

/// A place in an account's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) seq: i64,
    pub(crate) recorded_at: DateTime<Utc>,
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) activity: Activity,
    pub(crate) place: Place,
    pub(crate) leaf_hash: Vec<u8>,
}

impl Logged {
    /// Where lists go on after it: they are sorted by time, and by place within it.
    pub(crate) fn cursor(&self) -> (DateTime<Utc>, i64) {
        (self.activity.occurred_at, self.place.seq)
    }

    /// The row for one who may know what happened, and not from where.
    pub(crate) fn without_origin(mut self) -> Self {
        (self.activity.address, self.activity.user_agent) = (None, None);
        self
    }
}

/// How this member stands to the person whose rows they want to read; `None` when those are out of reach.
/// Whoever is reached as another is so by the right to read the account's whole log.
pub(crate) fn reach(member: &Membership, user_id: Uuid, person: Uuid) -> Option<Relation> {
    let relation = if user_id == person {
        Relation::Own
    } else if member.reports.contains(&person) {
        Relation::Report
    } else {
        Relation::Other
    };
    // The person's own role makes no difference in this table.
    allows(ACTIVITY, member.role, Role::User, relation).then_some(relation)
}

/// The fields that the event names. Below the first dot a name may be a person's own word, as in
/// `custom_fields.<name>`: it is cut there.
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

/// What a field of a payload says, if it is of the kind that the log keeps.
fn detail(field: &FieldDescriptor, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.parse::<Uuid>().ok().map(|id| id.to_string()),
        Value::EnumNumber(number) => state(field, *number),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::I32(number) => Some(number.to_string()),
        Value::I64(number) => Some(number.to_string()),
        Value::U32(number) => Some(number.to_string()),
        Value::U64(number) => Some(number.to_string()),
        Value::List(values) => {
            let texts: Vec<_> = values.iter().take(LONGEST_LIST).filter_map(|value| detail(field, value)).collect();
            (!texts.is_empty()).then(|| texts.join(","))
        }
        _ => None,
    }
}

/// The name of an enum's value as the API has it: in lower case, without the prefix.
fn state(field: &FieldDescriptor, number: i32) -> Option<String> {
    let Kind::Enum(of) = field.kind() else { return None };
    let zero = of.get_value(0)?;
    let prefix = zero.name().strip_suffix("UNSPECIFIED")?;
    let value = of.get_value(number).filter(|_| number != 0)?;
    Some(value.name().strip_prefix(prefix)?.to_ascii_lowercase())
}

#[cfg(test)]
pub(crate) mod tests;
