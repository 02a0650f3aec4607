//! Postgres, as every service uses it.
//!
//! [`Db`] holds two pools: one whose role is bound to a tenant by row-level security, one for the work
//! that crosses tenants. A transaction is begun for a [`Tenant`] and is the only handle that store functions
//! take: a [`ReadTx`] if they only read, else a [`Tx`]. What follows from a write ([`Event`]s, jobs, the answer to an
//! idempotent call) is written in the same transaction.

pub mod auto_analyze;
pub mod db;
pub mod event;
pub mod idempotency;
pub mod jobs;
pub mod json;
pub mod migrate;
pub mod outbox;
pub mod page;
pub mod page_cache;
pub mod personal_data;
mod precondition;
pub mod restrictions;
pub mod retention;
pub mod row_count;
pub mod subject_data;
pub mod timers;
pub mod via;

pub use db::{Db, ReadTx, Tenant, Tx};
pub use event::{Event, OutboxRows};
pub use idempotency::Idempotency;
pub use page::{Cursor, Page};
pub use precondition::Preconditions;
pub use restrictions::Restrictions;
pub use row_count::RowCount;
