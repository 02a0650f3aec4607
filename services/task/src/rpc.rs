//! The gRPC methods: parse, begin, call, publish, commit, reply.

mod assignment;
pub(crate) mod attachment;
mod board;
mod bulk;
mod comment;
mod custom_field;
mod explain;
mod history;
mod list;
mod lookup;
mod mutation;
mod rank;
mod reminder;
mod search;
mod series;
mod structure;
mod subtasks;
mod tag;
mod task;
mod time_entry;
mod view;
mod watcher;

use baton_store::Db;

use crate::clients::{internal::InternalDirectory, tenancy::MemberDirectory};

/// State of the methods. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) members: MemberDirectory,
    pub(crate) directory: InternalDirectory,
}
