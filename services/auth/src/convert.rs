//! Conversions between contract and domain types.

mod api_key;
mod auth_event;
mod delegation;
mod identity;
mod session;
mod user;

pub(crate) use session::session;
pub(crate) use user::{introduced, merge_user, registered};
