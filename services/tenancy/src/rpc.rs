//! The gRPC methods: parse, begin, call, publish, commit, reply.

mod account;
mod activity;
mod analytics;
mod audit;
mod billing;
mod dpa;
mod internal;
mod invitation;
mod member;
mod usage;

use std::sync::Arc;

use baton_access::{MailedTokens, Principal};
use baton_audit::LogKeys;
use baton_errors::{Error, Reason, Result};
use baton_events::Streams;
use baton_store::Db;
use chrono::TimeDelta;
use uuid::Uuid;

use crate::{
    billing::{Prices, Secrets},
    clients::auth::AuthClient,
    tier::Tiers,
};

/// Dependencies of the RPC methods. Clones share them.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    /// Keys of the activity logs' checkpoints.
    pub(crate) checkpoint_keys: Arc<LogKeys>,
    pub(crate) auth: AuthClient,
    pub(crate) mailed_tokens: MailedTokens,
    /// Retention of the activity log.
    pub(crate) activity_retention: TimeDelta,
    /// Limits per tier.
    pub(crate) tiers: Tiers,
    /// Secrets that sign Stripe's events.
    pub(crate) stripe_secrets: Secrets,
    /// Tiers of Stripe's prices.
    pub(crate) prices: Arc<Prices>,
    /// Redis, where gateways count requests.
    pub(crate) streams: Streams,
}

/// Parses the account id of a request. It must equal the account of the caller's membership.
///
/// # Errors
/// ACCOUNT_NOT_FOUND.
fn parse_account_id(principal: &Principal, named: &str) -> Result<Uuid> {
    let own = principal.account_id();
    let named = named.parse().ok().filter(|&named: &Uuid| named == own);
    named.ok_or_else(|| Error::from(Reason::AccountNotFound))
}
