//! The activity log: entries, read access, and leaf hashes for a Merkle tree.

use std::collections::BTreeMap;

use baton_access::{
    Membership, Role,
    relation_policy::{ACTIVITY, Relation, allows},
};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

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

#[cfg(test)]
pub(crate) mod tests;
