//! The tree, its proofs, notes and checkpoints: by the recursion of the RFC, published vectors, and other
//! implementations.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod checkpoints;
mod frontier;
mod interop;
mod log;
mod notes;
mod proofs;
mod rfc;
