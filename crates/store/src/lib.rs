//! Postgres, as every service uses it.
//!
//! [`Db`] holds two pools: one whose role is bound to a tenant by row-level security, one for the work
//! that crosses tenants. A [`Tx`] is begun for a [`Tenant`] and is the only handle that store functions
//! take; what follows from a write ([`Event`]s, jobs, the answer to an idempotent call) is written in
//! the same transaction.

pub mod db;
pub mod deep;
pub mod event;
pub mod idempotency;
pub mod jobs;
pub mod json;
pub mod migrate;
pub mod outbox;
pub mod page;
mod precondition;
pub mod statistics;
pub mod sweep;
pub mod total;

pub use db::{Db, Tenant, Tx};
pub use event::Event;
pub use idempotency::Idempotency;
pub use page::{Cursor, Page};
pub use precondition::Preconditions;
pub use total::Total;
