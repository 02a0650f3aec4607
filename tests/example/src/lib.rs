#![doc = include_str!("../README.md")]

mod convert;
mod events;
mod greeting;
mod rpc;
mod store;
mod stream;
mod visits;

use std::time::Duration;

use baton_proto::baton::example::v1::example_service_server::ExampleServiceServer;
use baton_runtime::{Clock, Shutdown};
use baton_service::{Service, Spec};
use tokio::{net::TcpListener, sync::broadcast};

const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);

/// News that a stream may be behind with before it reads everything again.
const NEWS: usize = 64;

/// The service.
pub static SPEC: Spec =
    Spec::new("example", 50099, &sqlx::migrate!(), include_str!("../migrations/personal_data.toml"));

/// Its settings: those that all services share.
pub type Config = baton_service::Config<()>;

/// Serves on `listener` until `shutdown`, and finishes the work that has begun.
///
/// # Errors
/// When the configuration is wrong or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let service = Service::open(&SPEC, &config.service, clock.clone(), shutdown.clone())?;
    let news = broadcast::Sender::new(NEWS);
    let rpc = rpc::Rpc { db: service.db(), news: news.clone() };
    let events = baton_events::tail::start(&service.streams(), &clock, &shutdown, Duration::ZERO);
    service
        .rpc(ExampleServiceServer::new(rpc))
        .consume(events::Handler)
        .collects(&visits::PURPOSES, visits::delete)
        .run(stream::tell(events, news))
        .every("example.expiry", EXPIRY_INTERVAL, store::delete_expired)
        .serve(listener)
        .await
}
