//! What every process of Baton runs on: configuration, telemetry, the gRPC server, shutdown, time.
//!
//! A service's `main` is: read its [`config!`] struct from the [`Env`], start [`telemetry`], bind, and
//! hand the listener and a [`Shutdown`] to the service's `start`, which ends in [`server::serve`].

use mimalloc::MiMalloc;

/// Every process answers calls on several threads, each with hundreds of small allocations that another thread may
/// free; glibc's allocator spends a tenth of a call's time on that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

pub mod client;
pub mod clock;
pub mod config;
pub mod host;
mod message_size;
pub mod origin;
pub mod periodic;
pub mod permanent;
pub mod process;
pub mod propagation;
pub mod random;
pub mod reflection;
pub mod server;
pub mod shares;
pub mod shutdown;
pub mod telemetry;
pub mod unstoppable;
pub mod via;

pub use clock::Clock;
pub use config::{ConfigError, Env, Secret, Settings, Variable};
pub use origin::Origin;
pub use periodic::{Next, periodic, periodic_or_notified};
pub use permanent::Permanent;
pub use shutdown::Shutdown;
pub use unstoppable::unstoppable;
pub use via::{Cause, Via};
