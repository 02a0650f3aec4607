//! The gRPC methods: parse, begin, call, publish, commit, reply.

mod api_key;
mod auth;
mod email;
mod identity;
mod internal;
mod mfa;
mod oauth;
mod password;
mod replay;
mod session;
mod user;

use baton_access::MailedTokens;
use baton_sealing::Sealer;
use baton_store::Db;

use crate::{hasher::Hasher, keys::SigningKeys, oauth::Providers, services::Services, throttle::Throttle};

/// What the methods work with. Clones share it.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) keys: SigningKeys,
    pub(crate) services: Services,
    pub(crate) mailed_tokens: MailedTokens,
    pub(crate) hasher: Hasher,
    pub(crate) throttle: Throttle,
    pub(crate) sealer: Sealer,
    pub(crate) providers: Providers,
    /// Of the keyed hashes of requests that hold secrets.
    pub(crate) replay_key: aws_lc_rs::hmac::Key,
}
