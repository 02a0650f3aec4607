//! All SQL of the service, one file per table or entity.

pub(crate) mod api_key;
pub(crate) mod auth_event;
pub(crate) mod contact;
pub(crate) mod delegation;
pub(crate) mod email_link;
pub(crate) mod identity;
pub(crate) mod mfa;
pub(crate) mod oauth_flow;
pub(crate) mod registration;
pub(crate) mod retention;
pub(crate) mod session;
pub(crate) mod signing_key;
pub(crate) mod user;
