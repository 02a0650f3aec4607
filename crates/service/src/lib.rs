//! The service kit: what every service does, done once.
//!
//! A service describes itself with a [`Spec`] and wires itself with a [`Service`]:
//!
//! ```ignore
//! pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
//!     let service = Service::open(&SPEC, &config.service, clock, shutdown)?;
//!     let rpc = rpc::Rpc { db: service.db() };
//!     service.rpc(NotificationServiceServer::new(rpc)).consume(Handler).serve(listener).await
//! }
//! ```
//!
//! The kit opens the database, the event streams and the access layer, and mounts the RPC services behind it. It runs the
//! relay of the outbox, the retention of the platform's tables, the analysis of tables that grow, the deletion of accounts,
//! the jobs, and the periodic work. It serves health, reflection and metrics until the process stops.

mod account_deletion;
mod builder;
mod config;
mod restored;
mod spec;
mod subject_data;

pub use builder::Service;
pub use config::{Config, ServiceConfig};
pub use spec::Spec;
pub use subject_data::{describe, retention_rules, subject_count};
