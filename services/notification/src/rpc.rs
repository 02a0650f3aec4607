//! The gRPC methods: parse, begin, call, commit, reply.

mod notification;

use baton_store::Db;

/// Dependencies of the RPC methods. Clones share them.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
}
