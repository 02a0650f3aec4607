//! The gRPC methods: parse, begin, call, commit, reply.

mod notification;

use baton_store::Db;

/// What the methods work with. Clones share it.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
}
