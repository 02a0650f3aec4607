//! Calls from one service to another.
//!
//! A [`Peer`] is another service behind a deadline, retries and a circuit breaker. [`Auth`] and [`Tenancy`] are the
//! peers with a method per question that services ask. A caller's request keeps the caller's rights
//! ([`baton_access::on_behalf_of`]); a request on the service's own behalf carries a service token ([`ServiceTokens`]).

mod auth;
mod delegations;
pub mod notifications;
mod peer;
mod subject_data;
mod tenancy;
mod tokens;

pub use auth::Auth;
pub use delegations::{ActingCredentials, Delegations, is_access_revoked};
pub use notifications::Notifications;
pub use peer::{Peer, Transport};
pub use subject_data::SubjectDataPeer;
pub use tenancy::{Member, MemberProfile, Tenancy};
pub use tokens::ServiceTokens;
