//! Verification of proofs (RFC 9162, sections 2.1.3.2 and 2.1.4.2).

use crate::{EMPTY_ROOT, Hash, node_hash};

/// A proof that proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
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
    /// Hashes are missing.
    #[error("the proof has too few hashes")]
    ProofTooShort,
    /// There are more hashes than the sizes need.
    #[error("the proof has too many hashes")]
    ProofTooLong,
    /// The proof leads to another root than that of the older tree.
    #[error("the proof does not lead to the older root")]
    OldRootMismatch,
    /// The proof leads to another root than that of the tree, or of the newer of two trees.
    #[error("the proof does not lead to the root")]
    RootMismatch,
}

/// Verifies that the leaf is at `index` in the tree with this size and root (RFC 9162, section 2.1.3.2).
///
/// Size and root must come from the same signed checkpoint: a root alone does not determine the size.
///
/// # Errors
/// If it is not proven. Any input is permitted.
pub fn verify_inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: Hash) -> Result<(), VerifyError> {
    if index >= size {
        return Err(VerifyError::IndexOutOfRange { index, size });
    }
    let mut path = Path { node: index, last: size - 1 };
    let mut hash = leaf;
    for sibling in proof {
        hash = match path.ascend()? {
            Side::Left => node_hash(*sibling, hash),
            Side::Right => node_hash(hash, *sibling),
        };
    }
    path.finish()?;
    if hash == root { Ok(()) } else { Err(VerifyError::RootMismatch) }
}

/// Verifies that the tree of size `new` begins with the leaves of the tree of size `old` (RFC 9162, section 2.1.4.2).
///
/// Size and root of each tree must come from the same signed checkpoint. Every tree begins with the empty one, so
/// `old == 0` needs an empty proof and [`EMPTY_ROOT`] only.
///
/// # Errors
/// If it is not proven. Any input is permitted.
pub fn verify_consistency(
    old: u64,
    old_root: Hash,
    new: u64,
    new_root: Hash,
    proof: &[Hash],
) -> Result<(), VerifyError> {
    if old > new {
        return Err(VerifyError::SizesReversed { old, new });
    }
    if old == 0 || old == new {
        return verify_without_proof(old, old_root, new, new_root, proof);
    }
    // A complete older tree is a node of the newer one. Its root is known, so the proof does not repeat it.
    let (first, rest) = if old.is_power_of_two() {
        (&old_root, proof)
    } else {
        proof.split_first().ok_or(VerifyError::ProofTooShort)?
    };
    let mut path = Path { node: old - 1, last: new - 1 };
    // The smallest complete subtree at the end of the older tree.
    path.shift(path.node.trailing_ones());
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        match path.ascend()? {
            Side::Left => {
                old_hash = node_hash(*sibling, old_hash);
                new_hash = node_hash(*sibling, new_hash);
            }
            Side::Right => new_hash = node_hash(new_hash, *sibling),
        }
    }
    path.finish()?;
    if old_hash != old_root {
        Err(VerifyError::OldRootMismatch)
    } else if new_hash != new_root {
        Err(VerifyError::RootMismatch)
    } else {
        Ok(())
    }
}

/// The older tree is empty, or both are the same.
fn verify_without_proof(old: u64, old_root: Hash, new: u64, new_root: Hash, proof: &[Hash]) -> Result<(), VerifyError> {
    if !proof.is_empty() {
        Err(VerifyError::ProofTooLong)
    } else if old == 0 && old_root != EMPTY_ROOT {
        Err(VerifyError::OldRootMismatch)
    } else if old == new && old_root != new_root {
        Err(VerifyError::RootMismatch)
    } else {
        Ok(())
    }
}

/// On which side of the node its sibling is.
enum Side {
    Left,
    Right,
}

/// A node and the last node of its level, on the way to the root: `fn` and `sn` of RFC 9162.
struct Path {
    node: u64,
    last: u64,
}

impl Path {
    /// Goes to the parent that the next sibling leads to. Levels on which the node has no sibling are skipped.
    fn ascend(&mut self) -> Result<Side, VerifyError> {
        if self.last == 0 {
            return Err(VerifyError::ProofTooLong);
        }
        if self.node % 2 == 1 || self.node == self.last {
            // The last node of a level has no right sibling, so it moves up until it is a right child. It is not the
            // first one: that is the root, for which `last` is 0.
            self.shift(self.node.trailing_zeros());
            self.shift(1);
            Ok(Side::Left)
        } else {
            self.shift(1);
            Ok(Side::Right)
        }
    }

    fn shift(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }

    /// Checks that the root was reached.
    fn finish(&self) -> Result<(), VerifyError> {
        if self.last == 0 { Ok(()) } else { Err(VerifyError::ProofTooShort) }
    }
}
