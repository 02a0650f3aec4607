//! Periodic work: people whose time is over, and the rotation of signing keys.

pub(crate) mod deactivated_people;
pub(crate) mod signing_keys;
pub(crate) mod unconfirmed_people;
