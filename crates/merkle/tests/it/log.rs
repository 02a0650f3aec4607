//! A log with its stored nodes.

use std::collections::HashMap;

use baton_merkle::{Frontier, Hash, NodeId, ProofPlan, leaf_hash};

#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) leaves: Vec<Hash>,
    pub(crate) stored: HashMap<NodeId, Hash>,
    pub(crate) frontier: Frontier,
}

impl Log {
    pub(crate) fn new(leaves: Vec<Hash>) -> Self {
        let mut frontier = Frontier::default();
        let stored = frontier.append(leaves.iter().copied()).into_iter().map(|node| (node.id, node.hash)).collect();
        Self { leaves, stored, frontier }
    }

    /// A log of `size` different entries.
    pub(crate) fn of_size(size: u64) -> Self {
        Self::new((0..size).map(leaf).collect())
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<Hash> {
        self.stored.get(&id).copied()
    }

    pub(crate) fn frontier_at(&self, size: u64) -> Frontier {
        Frontier::from_nodes(size, |id| self.node(id)).unwrap()
    }

    pub(crate) fn root_at(&self, size: u64) -> Hash {
        self.frontier_at(size).root()
    }

    pub(crate) fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        ProofPlan::inclusion(index, size).unwrap().assemble(|id| self.node(id)).unwrap()
    }

    pub(crate) fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        ProofPlan::consistency(old, new).unwrap().assemble(|id| self.node(id)).unwrap()
    }
}

/// The leaf hash of the entry at `index`.
pub(crate) fn leaf(index: u64) -> Hash {
    leaf_hash(&entry(index))
}

/// An entry: no two are the same, and lengths differ.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}{}", "!".repeat(index as usize % 7)).into_bytes()
}

/// With one bit changed. Bits are counted from the first byte.
pub(crate) fn flip(mut hash: Hash, bit: usize) -> Hash {
    hash[bit / 8 % 32] ^= 1 << (bit % 8);
    hash
}
