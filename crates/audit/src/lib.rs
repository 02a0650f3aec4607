//! Merkle trees (RFC 6962) over logs that a service stores in Postgres, with signed checkpoints (C2SP tlog-checkpoint).
//!
//! A log is a sequence of leaf hashes under an id: the activity log of an account, the answers to consents. The service
//! appends to its log as before; a few seconds later [`Batch`] adds the hashes to the tree and signs its root. So appending
//! costs nothing more, and what was signed once cannot be changed without notice.
//!
//! Hashes are stored as tiles of 256 (C2SP tlog-tiles): 32 bytes per leaf. They stay when the rows of the log are deleted, so
//! proofs for the rows that remain stay valid. Both tables are in `migrations/platform/0007_audit_trees.sql`, in the schema of
//! each service.

mod batch;
mod keys;
mod reader;
mod tile;

pub use batch::Batch;
pub use keys::LogKeys;
pub use reader::{Proof, Reader, Tree};
