//! The stored nodes: roots of complete subtrees.

use std::{fmt, ops::Range};

use crate::{Hash, node_hash};

/// The place of a complete subtree: it has `2^level` leaves, the first of which is `index * 2^level`.
///
/// The entry at position `n` of the log is the leaf `(0, n)`; positions begin at 0. Ids sort by level, then index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Height above the leaves, at most 63.
    pub level: u8,
    /// Position among the nodes of this level.
    pub index: u64,
}

impl NodeId {
    /// The node of a leaf.
    pub const fn leaf(index: u64) -> Self {
        Self { level: 0, index }
    }

    /// The leaves below this node, the last of which completes it. Empty for an id that no tree has.
    pub fn leaves(self) -> Range<u64> {
        let bound = |index: u64| index.checked_mul(1u64.checked_shl(self.level.into())?);
        let end = self.index.checked_add(1).and_then(bound);
        bound(self.index).zip(end).map_or(0..0, |(start, end)| start..end)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of level {}", self.index, self.level)
    }
}

/// A node with its hash: a row of the caller's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The place.
    pub id: NodeId,
    /// The hash of the leaf, or of both children.
    pub hash: Hash,
}

/// A node that is needed was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not stored")]
pub struct MissingNode(pub NodeId);

/// The complete subtrees that together have the leaves of `range`, from left to right.
///
/// `range` must be a subtree of the recursion of RFC 6962, section 2.1: its start is a multiple of the smallest power of
/// two that is not less than its length. Then each subtree is complete and at most half as large as the one before.
pub(crate) fn complete_subtrees(range: Range<u64>) -> impl Iterator<Item = NodeId> {
    let (mut start, mut length) = (range.start, range.end - range.start);
    std::iter::from_fn(move || {
        let level = length.checked_ilog2()?;
        let id = NodeId { level: level as u8, index: start >> level };
        start += 1 << level;
        length -= 1 << level;
        Some(id)
    })
}

/// The hash of a subtree from those of its complete subtrees, in order from right to left. `None` without any.
pub(crate) fn fold(mut from_right: impl Iterator<Item = Hash>) -> Option<Hash> {
    let last = from_right.next()?;
    Some(from_right.fold(last, |right, left| node_hash(left, right)))
}
