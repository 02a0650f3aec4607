//! The right edge of a tree, to which leaves are appended.

use crate::{
    EMPTY_ROOT, Hash, MissingNode, Node, NodeId,
    node::{complete_subtrees, fold},
    node_hash,
};

/// The largest size that is read: positions are `bigint` in Postgres.
const MAX_SIZE: u64 = i64::MAX as u64;
/// Length of the size before the hashes.
const SIZE_BYTES: usize = 8;

/// The size of a tree, and the roots of the complete subtrees that it consists of.
///
/// There is one root for each bit that is set in the size. This is all that appending and the tree's root need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// From the largest subtree to the smallest.
    roots: Vec<Hash>,
}

/// A frontier that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// The hashes are not those of a tree of this size.
    #[error("a frontier of {size} leaves has {expected} bytes, not {actual}")]
    Length {
        /// The size that the bytes begin with; 0 if they are too short for one.
        size: u64,
        /// Bytes of a frontier of this size.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// The size does not fit a `bigint`.
    #[error("a tree of {0} leaves is too large")]
    TooLarge(u64),
    /// A node is not stored.
    #[error(transparent)]
    Missing(#[from] MissingNode),
}

impl Frontier {
    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root hash (RFC 6962, section 2.1).
    pub fn root(&self) -> Hash {
        fold(self.roots.iter().rev().copied()).unwrap_or(EMPTY_ROOT)
    }

    /// Appends leaves, and returns the nodes to store: each leaf, followed by the parents that it completes, upwards.
    ///
    /// The result is the same in one batch or many.
    #[must_use = "the nodes must be stored"]
    pub fn append(&mut self, leaves: impl IntoIterator<Item = Hash>) -> Vec<Node> {
        let leaves = leaves.into_iter();
        let expected = leaves.size_hint().0;
        // A tree of n leaves has fewer than 2 n nodes; a batch also completes at most one more on each level.
        let mut completed = Vec::with_capacity(expected.saturating_mul(2).saturating_add(64).min(1 << 20));
        for leaf in leaves {
            self.push(leaf, &mut completed);
        }
        completed
    }

    /// Appends one leaf, and adds the nodes to store to `completed`.
    pub(crate) fn push(&mut self, leaf: Hash, completed: &mut Vec<Node>) {
        let mut node = Node { id: NodeId::leaf(self.size), hash: leaf };
        completed.push(node);
        // A node with an odd index is a right child, whose left sibling is the smallest subtree so far.
        while node.id.index % 2 == 1
            && let Some(left) = self.roots.pop()
        {
            node.id = NodeId { level: node.id.level + 1, index: node.id.index / 2 };
            node.hash = node_hash(left, node.hash);
            completed.push(node);
        }
        self.roots.push(node.hash);
        // Cannot overflow: the size begins at `i64::MAX` at most, and nobody computes 2^63 hashes.
        self.size += 1;
    }

    /// The stored nodes that are the frontier of the tree of `size` leaves, from left to right: at most 64.
    pub fn nodes(size: u64) -> Vec<NodeId> {
        complete_subtrees(0..size).collect()
    }

    /// The frontier of the tree at `size`, from the stored nodes that [`Frontier::nodes`] names.
    ///
    /// # Errors
    /// If `lookup` does not find one of them, or the size is larger than `i64::MAX`.
    pub fn from_nodes(size: u64, mut lookup: impl FnMut(NodeId) -> Option<Hash>) -> Result<Self, FrontierError> {
        check_size(size)?;
        let roots = complete_subtrees(0..size).map(|id| lookup(id).ok_or(MissingNode(id)));
        Ok(Self { size, roots: roots.collect::<Result<_, _>>()? })
    }

    /// The size in 8 bytes, big-endian, and the roots from the largest subtree to the smallest.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SIZE_BYTES + 32 * self.roots.len());
        bytes.extend(self.size.to_be_bytes());
        bytes.extend(self.roots.as_flattened());
        bytes
    }

    /// Reads what [`Frontier::to_bytes`] returns.
    ///
    /// # Errors
    /// If the length does not follow from the size, or the size is larger than `i64::MAX`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrontierError> {
        let too_short = FrontierError::Length { size: 0, expected: SIZE_BYTES, actual: bytes.len() };
        let (size, roots) = bytes.split_first_chunk::<SIZE_BYTES>().ok_or(too_short)?;
        let size = u64::from_be_bytes(*size);
        check_size(size)?;
        let (roots, rest) = roots.as_chunks::<32>();
        let expected = size.count_ones() as usize;
        if roots.len() != expected || !rest.is_empty() {
            let expected = SIZE_BYTES + 32 * expected;
            return Err(FrontierError::Length { size, expected, actual: bytes.len() });
        }
        Ok(Self { size, roots: roots.to_vec() })
    }
}

fn check_size(size: u64) -> Result<(), FrontierError> {
    if size > MAX_SIZE { Err(FrontierError::TooLarge(size)) } else { Ok(()) }
}
