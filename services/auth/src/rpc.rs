//! gRPC methods: parse, begin, call, publish, commit, reply.

mod api_key;
mod auth;
mod delegation;
mod email;
mod idempotency;
mod identity;
mod internal;
mod mfa;
mod oauth;
mod password;
mod session;
mod user;

use baton_access::{MailedTokens, TokenVerifier};
use baton_sealing::Sealer;
use baton_store::{Db, Restrictions};

use crate::{
    application::signing_keys::SigningKeys, oauth::Providers, password_hasher::PasswordHasher,
    service_credentials::ServiceCredentials, throttle::Throttle,
};

/// State of the methods. Clones share it.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) keys: SigningKeys,
    pub(crate) service_credentials: ServiceCredentials,
    pub(crate) mailed_tokens: MailedTokens,
    pub(crate) hasher: PasswordHasher,
    pub(crate) throttle: Throttle,
    pub(crate) sealer: Sealer,
    pub(crate) providers: Providers,
    /// Key of the HMACs of idempotent requests that hold secrets.
    pub(crate) replay_key: aws_lc_rs::hmac::Key,
    pub(crate) restrictions: Restrictions,
    /// Verifies the tokens that services exchange.
    pub(crate) tokens: TokenVerifier,
}
