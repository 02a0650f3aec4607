//! Use cases: what combines the rules of the domain with the store, other services and events, in one transaction.
//!
//! RPCs, the event consumer and periodic work call these functions. Rules that need none of that are in the domain
//! modules (`src/member.rs`, `src/account.rs`, ...), and SQL is in `src/store/`.

pub(crate) mod dpa;
pub(crate) mod entitlement;
pub(crate) mod erasure;
pub(crate) mod invitation_emails;
pub(crate) mod invitations;
pub(crate) mod member_email;
pub(crate) mod offboarding;
pub(crate) mod ownership;
pub(crate) mod usage;
