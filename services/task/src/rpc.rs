//! The gRPC methods: parse, begin, call, publish, commit, reply.

mod access;
mod assignment;
pub(crate) mod attachment;
mod board;
mod bulk;
mod change;
mod comment;
mod custom_field;
mod list;
mod order;
mod reminder;
mod search;
mod series;
mod structure;
mod tag;
mod task;
mod time_entry;
mod view;
pub(crate) mod watch;
mod watcher;

use baton_store::Db;

use crate::people::{directory::People, members::Members};

/// What the methods work with. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) members: Members,
    pub(crate) people: People,
    pub(crate) live: watch::Live,
}
