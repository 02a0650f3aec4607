//! The gRPC methods: parse, begin, call, commit, reply.

mod internal;
mod notification;

use baton_events::Streams;
use baton_store::{Db, Restrictions};

/// Dependencies of the RPC methods. Clones share them.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) streams: Streams,
    /// People who are told nothing: their data is only stored.
    pub(crate) restrictions: Restrictions,
}
