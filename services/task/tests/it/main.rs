//! The task service as its callers meet it: real Postgres, Redis, auth and tenancy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod assigning;
mod boards;
mod changing;
mod deleted_accounts;
mod departures;
mod desk;
mod explaining;
mod finding;
mod quota;
mod retrying;
mod seeing;
mod tenants;
mod working;
