//! Inclusion and consistency proofs from stored nodes.

use std::ops::Range;

use crate::{
    Hash, MissingNode, NodeId,
    node::{complete_subtrees, fold},
};

/// The stored nodes that a proof is made of, so that the caller can fetch them with one query.
///
/// Each hash of a proof is the root of a subtree. Only the subtrees at the right edge of the tree are incomplete; their
/// roots are computed from several nodes. A plan has at most 128 nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofPlan {
    nodes: Vec<NodeId>,
    /// For each hash of the proof, how many of the nodes make it up, in the order of `nodes`.
    lengths: Vec<u8>,
}

/// A proof that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofRangeError {
    /// The tree has no such leaf.
    #[error("a tree of {size} leaves has no leaf {index}")]
    IndexOutOfRange {
        /// The leaf.
        index: u64,
        /// Number of leaves.
        size: u64,
    },
    /// The older tree is larger.
    #[error("a tree of {old} leaves is not older than one of {new}")]
    SizesReversed {
        /// Size of the older tree.
        old: u64,
        /// Size of the newer tree.
        new: u64,
    },
}

impl ProofPlan {
    /// The audit path of a leaf in the tree of `size` leaves (RFC 9162, section 2.1.3.1).
    ///
    /// # Errors
    /// [`ProofRangeError::IndexOutOfRange`].
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ProofRangeError> {
        if index >= size {
            return Err(ProofRangeError::IndexOutOfRange { index, size });
        }
        let mut tree = 0..size;
        // From the root down; a proof has them from the leaf up.
        let mut siblings = Vec::new();
        while tree.end - tree.start > 1 {
            let middle = middle(&tree);
            if index < middle {
                siblings.push(middle..tree.end);
                tree.end = middle;
            } else {
                siblings.push(tree.start..middle);
                tree.start = middle;
            }
        }
        Ok(Self::new(siblings.into_iter().rev()))
    }

    /// The proof that the tree of `new` leaves begins with the one of `old` leaves (RFC 9162, section 2.1.4.1).
    ///
    /// It is empty if both are the same, or the older one is empty.
    ///
    /// # Errors
    /// [`ProofRangeError::SizesReversed`].
    pub fn consistency(old: u64, new: u64) -> Result<Self, ProofRangeError> {
        if old > new {
            return Err(ProofRangeError::SizesReversed { old, new });
        }
        let mut subtrees = Vec::new();
        if old > 0 {
            // The subtree in which the older tree ends.
            let mut tree = 0..new;
            while tree.end > old {
                let middle = middle(&tree);
                if old <= middle {
                    subtrees.push(middle..tree.end);
                    tree.end = middle;
                } else {
                    subtrees.push(tree.start..middle);
                    tree.start = middle;
                }
            }
            // The verifier knows the root of the older tree, so it is not part of the proof.
            if tree.start > 0 {
                subtrees.push(tree);
            }
        }
        Ok(Self::new(subtrees.into_iter().rev()))
    }

    fn new(subtrees: impl Iterator<Item = Range<u64>>) -> Self {
        let mut plan = Self { nodes: Vec::new(), lengths: Vec::new() };
        for subtree in subtrees {
            let before = plan.nodes.len();
            plan.nodes.extend(complete_subtrees(subtree));
            plan.lengths.push((plan.nodes.len() - before) as u8);
        }
        plan
    }

    /// The nodes to fetch, each once.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The proof, from the hashes of the nodes.
    ///
    /// # Errors
    /// If `lookup` does not find a node.
    pub fn assemble(&self, mut lookup: impl FnMut(NodeId) -> Option<Hash>) -> Result<Vec<Hash>, MissingNode> {
        let hashes = self.nodes.iter().map(|id| lookup(*id).ok_or(MissingNode(*id)));
        let hashes = hashes.collect::<Result<Vec<_>, _>>()?;
        let mut rest = hashes.as_slice();
        let subtrees = self.lengths.iter().filter_map(|length| {
            let (subtree, after) = rest.split_at_checked(usize::from(*length))?;
            rest = after;
            fold(subtree.iter().rev().copied())
        });
        Ok(subtrees.collect())
    }
}

/// Where a tree of at least two leaves is split: its left side has the largest power of two that is less than its length
/// (RFC 6962, section 2.1).
fn middle(tree: &Range<u64>) -> u64 {
    tree.start + (1 << (tree.end - tree.start - 1).ilog2())
}
