//! The gRPC methods: parse, begin, call, publish, commit, reply.

mod account;
mod activity;
mod analytics;
mod billing;
mod internal;
mod invitation;
mod member;
mod usage;

use std::sync::Arc;

use baton_access::{MailedTokens, Principal};
use baton_errors::{Error, Reason, Result};
use baton_events::Streams;
use baton_store::Db;
use chrono::TimeDelta;
use uuid::Uuid;

use crate::{
    billing::{Prices, Secrets},
    tier::Tiers,
    users::Users,
};

/// What the methods work with. Clones share it.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) users: Users,
    pub(crate) mailed_tokens: MailedTokens,
    /// How long the activity log is kept.
    pub(crate) activity_kept: TimeDelta,
    /// What accounts may use.
    pub(crate) tiers: Tiers,
    /// What signs Stripe's events.
    pub(crate) stripe_secrets: Secrets,
    /// What is for sale.
    pub(crate) prices: Arc<Prices>,
    /// Where gateways count requests.
    pub(crate) streams: Streams,
}

/// The account that the request names: the one that the caller was let into, or none of theirs.
fn account_of(principal: &Principal, named: &str) -> Result<Uuid> {
    let own = principal.account_id();
    let named = named.parse().ok().filter(|&named: &Uuid| named == own);
    named.ok_or_else(|| Error::from(Reason::AccountNotFound))
}
