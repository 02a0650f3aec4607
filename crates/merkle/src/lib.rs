//! A Merkle tree over an append-only log (RFC 6962, section 2.1), its proofs (RFC 9162, section 2.1) and signed
//! checkpoints (C2SP [tlog-checkpoint] and [signed-note]).
//!
//! The crate does no I/O; `crates/audit` stores trees in Postgres. Per log that takes two things:
//!
//! - [`Node`]s: the roots of complete subtrees, by level and index, or those of some levels, from which the others follow. A
//!   node never changes. A log of `n` entries has fewer than `2 n`;
//! - one [`Frontier`]: at most 64 hashes, from which the next nodes and the root follow.
//!
//! | operation | steps |
//! |---|---|
//! | append entries | lock the frontier's row, [`Frontier::append`], insert the nodes that it returns |
//! | sign the tree's state | [`Frontier::root`], [`Checkpoint::new`], [`Checkpoint::sign`] |
//! | root at an earlier size | select [`Frontier::nodes`], [`Frontier::from_nodes`], [`Frontier::root`] |
//! | prove that an entry is in the log | [`ProofPlan::inclusion`], select [`ProofPlan::nodes`], [`ProofPlan::assemble`] |
//! | prove that the log only grew | [`ProofPlan::consistency`], then the same |
//! | verify | [`Checkpoint::open`], [`verify_inclusion`], [`verify_consistency`] |
//!
//! ```
//! use baton_merkle::{Frontier, ProofPlan, leaf_hash, verify_inclusion};
//! use std::collections::HashMap;
//!
//! let entries = ["created", "assigned", "paused", "resumed", "done"];
//! let mut frontier = Frontier::default();
//! let nodes = frontier.append(entries.iter().map(|entry| leaf_hash(entry.as_bytes())));
//! let stored: HashMap<_, _> = nodes.into_iter().map(|node| (node.id, node.hash)).collect();
//!
//! let plan = ProofPlan::inclusion(2, frontier.size())?;
//! assert_eq!(plan.nodes().len(), 3);
//! let proof = plan.assemble(|id| stored.get(&id).copied())?;
//! verify_inclusion(leaf_hash(b"paused"), 2, frontier.size(), &proof, frontier.root())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [tlog-checkpoint]: https://c2sp.org/tlog-checkpoint
//! [signed-note]: https://c2sp.org/signed-note

mod checkpoint;
mod frontier;
mod hash;
mod key;
mod node;
mod note;
mod proof;
mod verify;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use frontier::{Frontier, FrontierError};
pub use hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};
pub use key::{KeyError, Signer, Verifier};
pub use node::{MissingNode, Node, NodeId};
pub use note::{NoteError, Signature, SignedNote};
pub use proof::{ProofPlan, ProofRangeError};
pub use verify::{VerifyError, verify_consistency, verify_inclusion};
