//! The gRPC methods: parse, begin, call, publish, commit, reply.

mod account;
mod invitation;
mod member;

use baton_access::{MailedTokens, Principal};
use baton_errors::{Error, Reason, Result};
use baton_store::Db;
use uuid::Uuid;

use crate::users::Users;

/// What the methods work with. Clones share it.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) users: Users,
    pub(crate) mailed_tokens: MailedTokens,
}

/// The account that the request names: the one that the caller was let into, or none of theirs.
fn account_of(principal: &Principal, named: &str) -> Result<Uuid> {
    let own = principal.account_id();
    let named = named.parse().ok().filter(|&named: &Uuid| named == own);
    named.ok_or_else(|| Error::from(Reason::AccountNotFound))
}
