//! The gRPC methods: parse, begin, call, publish, commit, reply.

mod auth;
mod user;

use baton_access::MailedTokens;
use baton_store::Db;

use crate::{hasher::Hasher, keys::SigningKeys};

/// What the methods work with. Clones share it.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) keys: SigningKeys,
    pub(crate) mailed_tokens: MailedTokens,
    pub(crate) hasher: Hasher,
}
