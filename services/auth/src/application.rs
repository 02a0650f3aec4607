//! Use cases: what combines the rules of the domain with the store, e-mails and events, in one transaction.
//!
//! RPCs, periodic work and `baton keys` call these functions. Rules that need none of that are in the domain modules
//! (`src/sessions.rs`, `src/key_rotation.rs`, ...), and SQL is in `src/store/`.

pub(crate) mod api_key;
pub(crate) mod delegation;
pub(crate) mod erasure;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod signing_keys;
