//! The activity log: entries, read access, and leaf hashes for a Merkle tree.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use baton_access::{
    Membership, Role,
    relation_policy::{ACTIVITY, Relation, allows},
};
use baton_runtime::random;
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
    pub(crate) fn leaf_hash(&self, position: LogPosition, leaf: &Leaf) -> [u8; 32] {
        Sha256::new().chain_update([0]).chain_update(self.canonical(position, leaf)).finalize().into()
    }

    /// The canonical encoding: all fields in a fixed order, numbers as 64-bit big-endian, times in microseconds, ids as
    /// 16 bytes (nil for none), texts (empty for none) and lists prefixed with their length. It is injective, and no
    /// encoding is one of another version. Existing hashes depend on it, so it must never change: a change is a new
    /// version.
    fn canonical(&self, position: LogPosition, leaf: &Leaf) -> Vec<u8> {
        let mut bytes = match leaf {
            Leaf::V1 => b"baton activity 1\n".to_vec(),
            Leaf::V2(_) => b"baton activity 2\n".to_vec(),
        };
        let number = |bytes: &mut Vec<u8>, number: i64| bytes.extend(number.to_be_bytes());
        bytes.extend(self.account_id.as_bytes());
        number(&mut bytes, position.seq);
        number(&mut bytes, position.recorded_at.timestamp_micros());
        bytes.extend(self.id.as_bytes());
        number(&mut bytes, self.occurred_at.timestamp_micros());
        bytes.extend(self.actor_id.unwrap_or_default().as_bytes());
        push_text(&mut bytes, &self.action);
        push_text(&mut bytes, &self.resource_type);
        bytes.extend(self.resource_id.as_bytes());
        number(&mut bytes, self.changed_fields.len() as i64);
        self.changed_fields.iter().for_each(|name| push_text(&mut bytes, name));
        number(&mut bytes, self.details.len() as i64);
        for (name, value) in &self.details {
            push_text(&mut bytes, name);
            push_text(&mut bytes, value);
        }
        match leaf {
            Leaf::V1 => bytes.extend(self.canonical_origin()),
            Leaf::V2(origin) => bytes.extend(origin.hash),
        }
        push_text(&mut bytes, self.request_id.as_deref().unwrap_or_default());
        bytes
    }

    /// The canonical encoding of address and user agent.
    fn canonical_origin(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in [&self.address, &self.user_agent] {
            push_text(&mut bytes, text.as_deref().unwrap_or_default());
        }
        bytes
    }
}

/// Appends a text after its length.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_be_bytes());
    bytes.extend(text.as_bytes());
}

/// The version of an entry's canonical encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// Address and user agent are encoded in clear, so the leaf hash is not valid without them.
    V1,
    /// A salted hash of them is encoded instead, so they can be erased.
    V2(OriginHash),
}

/// A commitment to an entry's address and user agent. The encoding contains only `hash`, so the leaf hash is valid with
/// and without the salt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OriginHash {
    /// Random for every entry: without a salt, trying all addresses would find the one behind a hash. `None` once
    /// address and user agent were erased; until then, `hash` follows from the three.
    pub(crate) salt: Option<[u8; 32]>,
    /// HMAC-SHA-256 under the salt, over the canonical encoding of both.
    pub(crate) hash: [u8; 32],
}

impl OriginHash {
    fn new(activity: &Activity, salt: [u8; 32]) -> Self {
        let mut message = b"baton activity origin 2\n".to_vec();
        message.extend(activity.canonical_origin());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salt), &message);
        let mut hash = [0; 32];
        hash.copy_from_slice(tag.as_ref());
        Self { salt: Some(salt), hash }
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
    pub(crate) leaf: Leaf,
    pub(crate) leaf_hash: [u8; 32],
}

impl LogEntry {
    /// A new entry, of the latest version.
    pub(crate) fn new(activity: Activity, position: LogPosition) -> Self {
        Self::with_salt(activity, position, random::bytes())
    }

    fn with_salt(activity: Activity, position: LogPosition, salt: [u8; 32]) -> Self {
        let leaf = Leaf::V2(OriginHash::new(&activity, salt));
        let leaf_hash = activity.leaf_hash(position, &leaf);
        Self { activity, position, leaf, leaf_hash }
    }

    /// The sort key for pagination: lists are ordered by time, then by position.
    pub(crate) fn cursor(&self) -> (DateTime<Utc>, i64) {
        (self.activity.occurred_at, self.position.seq)
    }

    /// The entry without address and user agent, for readers who may not see them.
    pub(crate) fn without_origin(mut self) -> Self {
        (self.activity.address, self.activity.user_agent) = (None, None);
        if let Leaf::V2(origin) = &mut self.leaf {
            origin.salt = None;
        }
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
