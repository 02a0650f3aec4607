#![doc = include_str!("../README.md")]

mod convert;
mod events;
mod notification;
mod notification_type;
mod routing;
mod rpc;
mod store;

use baton_proto::baton::notification::v1::{
    internal_service_server::InternalServiceServer, notification_service_server::NotificationServiceServer,
};
use baton_runtime::{Clock, Shutdown};
use baton_service::{Service, Spec};
use tokio::net::TcpListener;

/// The service.
pub static SPEC: Spec = Spec::new(
    "notification",
    50054,
    &sqlx::migrate!("../../migrations/notification"),
    include_str!("../../../migrations/notification/personal_data.toml"),
);

/// Its settings: those that all services share.
pub type Config = baton_service::Config<()>;

/// Serves on `listener` until `shutdown`, and finishes the work that has begun.
///
/// # Errors
/// When the configuration is wrong or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let service = Service::open(&SPEC, &config.service, clock, shutdown)?;
    let restrictions = service.restrictions();
    let rpc = rpc::Rpc { db: service.db(), streams: service.streams(), restrictions: restrictions.clone() };
    let service = service.rpc(NotificationServiceServer::new(rpc.clone())).rpc(InternalServiceServer::new(rpc));
    service.consume(events::Handler { restrictions }).serve(listener).await
}
