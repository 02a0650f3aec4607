#![doc = include_str!("../README.md")]

mod config;
mod convert;
mod deletion;
mod events;
mod kind;
mod rpc;
mod store;
mod told;

use baton_access::{AccessLayer, IdentityCache, Rules, TokenVerifier};
use baton_clients::{Auth, Peer, Tenancy};
use baton_events::{Streams, consumer, relay};
use baton_proto::baton::notification::v1::notification_service_server::NotificationServiceServer;
use baton_runtime::{Clock, Shutdown, server};
use baton_store::{Db, auto_analyze, jobs, retention};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower::Layer as _;

pub use config::{Config, NotificationConfig};

/// The service's schema.
pub const SCHEMA: &str = "notification";
/// Its gRPC services.
pub const SERVICES: &[&str] = &["baton.notification.v1.NotificationService"];
/// Its migrations.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/notification");

/// Serves on `listener` until `shutdown`, and finishes what was begun.
///
/// # Errors
/// When the configuration does not hold or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { notification: config } = config;
    let db = Db::open(SCHEMA, &config.database_url, &config.system_database_url, config.database_connections, clock)?;
    let streams = Streams::open(&config.redis_url)?;

    let auth = Auth::new(Peer::connect("auth", &config.auth_url)?);
    let tenancy = Tenancy::new(Peer::connect("tenancy", &config.tenancy_url)?);
    let tokens = TokenVerifier::new(&config.issuer, auth.clone());
    let access = AccessLayer::new(Rules::of(SERVICES)?, tokens, IdentityCache::new(auth, tenancy));
    let routes = Routes::new(access.layer(NotificationServiceServer::new(rpc::Rpc { db: db.clone() })));

    let workers = [
        tokio::spawn(relay::run(db.clone(), streams.clone(), shutdown.clone())),
        tokio::spawn(retention::run(db.clone(), shutdown.clone())),
        tokio::spawn(auto_analyze::run(db.clone(), shutdown.clone())),
        tokio::spawn(consumer::run(db.clone(), streams, events::Handler, shutdown.clone())),
        tokio::spawn(jobs::run(db.clone(), shutdown.clone(), move |job| deletion::work(db.clone(), job))),
    ];
    server::serve(listener, SERVICES, routes, shutdown).await?;
    for worker in workers {
        worker.await?;
    }
    Ok(())
}
