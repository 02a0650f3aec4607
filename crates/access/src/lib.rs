//! Who calls, and may they.
//!
//! [`AccessLayer`] stands before every RPC of a service: token → session → membership → [`Principal`] →
//! the rule that the RPC's proto option demands. Rules are data: [`rules`] reads them from the
//! descriptors, [`matrix`] is the one table of which role holds which permission. What a role may do *to
//! which rows* is a domain rule beside the data, and not here.
//!
//! Unknown means no: an RPC without a rule keeps its service from starting, and whatever cannot be
//! established about a caller counts against the call.

mod api_key;
mod board;
mod change;
pub mod identity_cache;
mod layer;
pub mod limits;
pub mod mailed_token;
pub mod matrix;
mod principal;
pub mod relation_policy;
pub mod rules;
pub mod scopes;
pub mod token;

pub use api_key::{ApiKey, PresentedKey};
pub use board::{Board, BoardChange};
pub use change::{AccessChange, REAUTHORIZE_INTERVAL, SETTLE_TIME};
pub use identity_cache::{IdentityCache, Memberships, Sessions};
pub use layer::AccessLayer;
pub use limits::Limits;
pub use mailed_token::MailedTokens;
pub use principal::{
    Caller, Credential, FRESH_FOR, KeyGrant, Membership, Principal, Role, ServiceCaller, Settings, caller, is_fresh,
    on_behalf_of, principal, service,
};
pub use rules::{Rule, Rules};
pub use scopes::{KeyScope, SCOPES};
pub use token::{Claims, TokenVerifier};

/// The metadata that names the account of a call.
pub const ACCOUNT_HEADER: &str = "x-account-id";
