//! The audit file: the activity log of an account with all that is needed to verify it without a server.
//!
//! It is newline-delimited JSON. The first line has the signed checkpoint and what stands for rows that were deleted; every
//! other line is a row. Address and user agent are not in it: since version 2 of the leaves, their salted hash stands for them.

use std::{collections::BTreeMap, io::BufRead};

use anyhow::{Context as _, ensure};
use baton_errors::{Error, Result};
use baton_merkle::{Checkpoint, Frontier, Hash, Verifier};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    activity::{Activity, Leaf, LogEntry, LogPosition, OriginHash},
    export::to_hex,
};

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: u32,
    pub(crate) account_id: Uuid,
    /// The position of the tree's first leaf.
    pub(crate) tree_from: i64,
    /// The tree over the rows before the first line, as [`Frontier::to_bytes`] encodes it, in hexadecimal.
    pub(crate) prefix: String,
    /// The signed note.
    pub(crate) checkpoint: String,
    /// The public keys, in the form of Go's `sumdb/note`.
    pub(crate) keys: Vec<String>,
}

impl Header {
    pub(crate) const FORMAT: u32 = 1;

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        encode(self)
    }
}

/// A row.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    sequence: i64,
    /// In microseconds.
    recorded_at: i64,
    id: Uuid,
    occurred_at: i64,
    actor_id: Option<Uuid>,
    action: String,
    resource_type: String,
    resource_id: Uuid,
    changed_fields: Vec<String>,
    details: BTreeMap<String, String>,
    request_id: Option<String>,
    leaf_version: u8,
    origin_hash: Option<String>,
    /// The leaf hash as the row has it.
    leaf_hash: String,
    /// The leaf hash as the tree has it.
    tree_hash: String,
}

impl Line {
    pub(crate) fn new(entry: &LogEntry, tree_hash: &Hash) -> Self {
        let LogEntry { activity, position, leaf, leaf_hash } = entry;
        let (leaf_version, origin_hash) = match leaf {
            Leaf::V1 => (1, None),
            Leaf::V2(origin) => (2, Some(to_hex(&origin.hash))),
        };
        Self {
            sequence: position.seq,
            recorded_at: position.recorded_at.timestamp_micros(),
            id: activity.id,
            occurred_at: activity.occurred_at.timestamp_micros(),
            actor_id: activity.actor_id,
            action: activity.action.clone(),
            resource_type: activity.resource_type.clone(),
            resource_id: activity.resource_id,
            changed_fields: activity.changed_fields.clone(),
            details: activity.details.clone(),
            request_id: activity.request_id.clone(),
            leaf_version,
            origin_hash,
            leaf_hash: to_hex(leaf_hash),
            tree_hash: to_hex(tree_hash),
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        encode(self)
    }

    /// The leaf hash that follows from the content; `None` for version 1, whose content has address and user agent.
    fn computed_hash(&self, account_id: Uuid) -> anyhow::Result<Option<Hash>> {
        if self.leaf_version == 1 {
            return Ok(None);
        }
        ensure!(self.leaf_version == 2, "it has the unknown version {}", self.leaf_version);
        let hash = from_hex(self.origin_hash.as_deref().context("it has no origin_hash")?)?;
        let time = |micros| DateTime::<Utc>::from_timestamp_micros(micros).context("a time is out of range");
        let activity = Activity {
            id: self.id,
            account_id,
            actor_id: self.actor_id,
            action: self.action.clone(),
            resource_type: self.resource_type.clone(),
            resource_id: self.resource_id,
            changed_fields: self.changed_fields.clone(),
            details: self.details.clone(),
            address: None,
            user_agent: None,
            request_id: self.request_id.clone(),
            occurred_at: time(self.occurred_at)?,
        };
        let position = LogPosition { seq: self.sequence, recorded_at: time(self.recorded_at)? };
        Ok(Some(activity.leaf_hash(position, &Leaf::V2(OriginHash { salt: None, hash }))))
    }
}

/// What a verified file has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedLog {
    /// The account.
    pub account_id: Uuid,
    /// The rows of the tree, of which the first ones may be deleted.
    pub size: u64,
    /// The first and the last row that is in the file; `None` if none is. Rows before are in the tree by their hashes only.
    pub rows: Option<(i64, i64)>,
    /// The last row of version 1, if there is one: that it and those before are in the tree is shown, and their content is not
    /// verified, because it has address and user agent.
    pub unverified_until: Option<i64>,
}

/// Verifies an audit file with these keys, each in the form of Go's `sumdb/note`; with those in the file if there are none.
///
/// # Errors
/// If the checkpoint was signed with another key, or a row was changed, removed or added: the error names it.
pub fn verify(file: impl BufRead, keys: &[String]) -> anyhow::Result<VerifiedLog> {
    let mut lines = file.lines();
    let header = lines.next().context("the file is empty")??;
    let header: Header = serde_json::from_str(&header).context("the first line is not the header of an audit file")?;
    ensure!(header.format == Header::FORMAT, "the file has the unknown format {}", header.format);
    let keys = if keys.is_empty() { &header.keys } else { keys };
    let verifiers = keys.iter().map(|key| key.parse().with_context(|| format!("{key} is no key")));
    let verifiers: Vec<Verifier> = verifiers.collect::<anyhow::Result<_>>()?;
    let origins = verifiers.iter().map(|key| format!("{}/{}", key.name(), header.account_id));
    let checkpoint = origins
        .map(|origin| Checkpoint::open(&header.checkpoint, &origin, &verifiers))
        .reduce(|first, next| first.or(next))
        .context("there is no key")??;
    let prefix = bytes_from_hex(&header.prefix)?;
    let mut tree = Frontier::from_bytes(&prefix).context("the header's prefix is damaged")?;
    let (mut rows, mut unverified_until) = (None, None);
    for line in lines {
        let expected = header.tree_from + i64::try_from(tree.size())?;
        let line = line?;
        if line.trim().is_empty() {
            // As a terminal or an editor may add it.
            continue;
        }
        let line: Line = serde_json::from_str(&line).with_context(|| format!("row {expected} cannot be read"))?;
        ensure!(line.sequence == expected, "row {expected} is missing: row {} follows", line.sequence);
        let name = || format!("row {expected}");
        let in_tree = from_hex(&line.tree_hash).with_context(name)?;
        match line.computed_hash(header.account_id).with_context(name)? {
            Some(computed) => {
                ensure!(computed == in_tree, "row {expected} was changed: the tree has another hash of it");
            }
            // Otherwise whoever changes a row could declare it to be of the version that is not verified.
            None => {
                let is_first = rows.is_none_or(|(first, last)| unverified_until == Some(last) && first <= last);
                ensure!(is_first, "row {expected} was changed: it is of version 1 after rows of version 2");
                unverified_until = Some(expected);
            }
        }
        ensure!(
            from_hex(&line.leaf_hash).with_context(name)? == in_tree,
            "row {expected} was changed: its hash differs"
        );
        let _: Vec<_> = tree.append([in_tree]);
        rows = Some((rows.map_or(expected, |(first, _)| first), expected));
    }
    let size = checkpoint.size();
    ensure!(
        tree.size() == size,
        "the checkpoint is of {size} rows, and the file ends with row {}",
        header.tree_from + i64::try_from(tree.size())? - 1
    );
    ensure!(tree.root() == checkpoint.root(), "the rows do not lead to the root that was signed");
    Ok(VerifiedLog { account_id: header.account_id, size, rows, unverified_until })
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec(value).map_err(Error::internal)?;
    text.push(b'\n');
    Ok(text)
}

fn from_hex(text: &str) -> anyhow::Result<Hash> {
    bytes_from_hex(text)?.try_into().ok().context("a hash does not have 32 bytes")
}

fn bytes_from_hex(text: &str) -> anyhow::Result<Vec<u8>> {
    let digits = text.as_bytes();
    ensure!(digits.len().is_multiple_of(2), "a hash is not in hexadecimal");
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    digits.chunks(2).map(|two| byte(two).context("a hash is not in hexadecimal")).collect()
}

#[cfg(test)]
mod tests;
