//! What every process of Baton runs on: configuration, telemetry, the gRPC server, shutdown, time.
//!
//! A service's `main` is: read its [`config!`] struct from the [`Env`], start [`telemetry`], bind, and
//! hand the listener and a [`Shutdown`] to the service's `start`, which ends in [`server::serve`].

pub mod client;
pub mod clock;
pub mod config;
pub mod origin;
pub mod process;
pub mod propagation;
pub mod server;
pub mod shutdown;
pub mod telemetry;

pub use clock::Clock;
pub use config::{ConfigError, Env, Secret, Variable};
pub use origin::Origin;
pub use shutdown::Shutdown;
