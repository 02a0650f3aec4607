#![doc = include_str!("../README.md")]

mod assignment;
mod config;
mod convert;
mod deletion;
mod departures;
mod events;
mod explain;
mod fields;
mod filter;
mod members;
mod rpc;
mod store;
mod task;
pub mod usage;
mod visibility;

use baton_access::{
    AccessLayer, Directory, Rules, TokenVerifier,
    directory::{RemoteAuth, RemoteTenancy},
};
use baton_events::{Streams, consumer, relay};
use baton_proto::baton::{
    auth::v1::auth_service_client::AuthServiceClient,
    task::v1::{
        access_service_server::AccessServiceServer, board_service_server::BoardServiceServer,
        task_service_server::TaskServiceServer,
    },
    tenancy::v1::member_service_client::MemberServiceClient,
};
use baton_runtime::{Clock, Shutdown, client, server};
use baton_store::{Db, jobs, sweep};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower::Layer as _;

pub use config::{Config, TaskConfig};

/// The service's schema.
pub const SCHEMA: &str = "task";
/// Its gRPC services.
pub const SERVICES: &[&str] =
    &["baton.task.v1.TaskService", "baton.task.v1.BoardService", "baton.task.v1.AccessService"];
/// Its migrations.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/task");

/// Serves on `listener` until `shutdown`, and finishes what was begun.
///
/// # Errors
/// When the configuration does not hold or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { task: config } = config;
    let db = Db::open(SCHEMA, &config.database_url, &config.system_database_url, config.database_connections, clock)?;
    let streams = Streams::open(&config.redis_url)?;
    let auth = RemoteAuth(AuthServiceClient::new(client::channel(&config.auth_url)?));
    let tenancy = MemberServiceClient::new(client::channel(&config.tenancy_url)?);

    let tokens = TokenVerifier::new(&config.issuer, auth.clone());
    let directory = Directory::new(auth, RemoteTenancy(tenancy.clone()));
    let access = AccessLayer::new(Rules::of(SERVICES)?, tokens, directory);
    let rpc = rpc::Rpc { db: db.clone(), members: members::Members(tenancy) };
    let routes = Routes::new(access.layer(TaskServiceServer::new(rpc.clone())))
        .add_service(access.layer(BoardServiceServer::new(rpc.clone())))
        .add_service(access.layer(AccessServiceServer::new(rpc)));

    let workers = [
        tokio::spawn(relay::run(db.clone(), streams.clone(), shutdown.clone())),
        tokio::spawn(sweep::run(db.clone(), shutdown.clone())),
        tokio::spawn(consumer::run(db.clone(), streams, departures::Handler, shutdown.clone())),
        tokio::spawn(jobs::run(db.clone(), shutdown.clone(), move |job| deletion::work(db.clone(), job))),
    ];
    server::serve(listener, SERVICES, routes, shutdown).await?;
    for worker in workers {
        worker.await?;
    }
    Ok(())
}
