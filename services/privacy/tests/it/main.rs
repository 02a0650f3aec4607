//! The privacy service on a real Postgres, Redis and vault, with the real auth and tenancy services.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod budgets;
mod fixture;
mod pseudonyms;
