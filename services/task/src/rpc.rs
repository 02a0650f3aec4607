//! The gRPC methods: parse, begin, call, publish, commit, reply.

mod access;
mod board;
mod change;
mod list;
mod task;

use baton_store::Db;

use crate::members::Members;

/// What the methods work with. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) members: Members,
}
