//! Authentication and authorization of callers.
//!
//! [`AccessLayer`] runs before every RPC of a service: token → session → membership → [`Principal`] → the rule of the
//! RPC's proto option. Rules are data: [`rules`] reads them from the descriptors, and [`matrix`] is the only table of
//! roles and permissions. Which *rows* a role may act on is a domain rule next to the data, and not part of this crate.
//!
//! The default is to refuse: a service with an RPC without a rule does not start, and a caller about whom something
//! cannot be established is refused.

mod api_key;
mod board;
mod hierarchy;
pub mod identity_cache;
mod layer;
pub mod limits;
pub mod mailed_token;
pub mod matrix;
mod principal;
pub mod relation_policy;
pub mod rules;
pub mod scopes;
mod task_visibility;
pub mod token;

pub use baton_proto::baton::access::v1::Permission;

pub use api_key::{ApiKey, PresentedKey};
pub use board::{Board, BoardChange, BoardName};
pub use hierarchy::{Hierarchy, Place};
pub use identity_cache::{IdentityCache, Memberships, Sessions};
pub use layer::AccessLayer;
pub use limits::Limits;
pub use mailed_token::MailedTokens;
pub use principal::{
    Caller, Credential, Delegation, FRESH_FOR, KeyGrant, Membership, Principal, Role, ServiceCaller, Settings, caller,
    is_fresh, on_behalf_of, principal, service,
};
pub use rules::{Rule, Rules};
pub use scopes::{DELEGATE, KeyScope, SCOPES};
pub use task_visibility::{TaskAudience, TaskVisibility};
pub use token::{Claims, DelegatedClaims, DelegationSource, TokenVerifier, UserToken};

/// The metadata key of a call's account.
pub const ACCOUNT_HEADER: &str = "x-account-id";
