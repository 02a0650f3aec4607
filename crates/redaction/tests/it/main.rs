//! The crate as its callers see it.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod properties;
mod recall;
