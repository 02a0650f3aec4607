#![doc = include_str!("../README.md")]

mod config;
mod convert;
mod events;
mod list;
mod people;
mod rpc;
mod schedule;
mod store;
mod task;
pub mod upkeep;

use std::{sync::Arc, time::Duration};

use baton_access::{AccessLayer, IdentityCache, Rules, TokenVerifier};
use baton_clients::{Auth, Peer, ServiceTokens, Tenancy};
use baton_events::{Streams, consumer, relay, tail};
use baton_files::Files;
use baton_proto::baton::{
    task::v1::{
        access_service_server::AccessServiceServer, assignment_service_server::AssignmentServiceServer,
        attachment_service_server::AttachmentServiceServer, board_service_server::BoardServiceServer,
        bulk_service_server::BulkServiceServer, comment_service_server::CommentServiceServer,
        custom_field_service_server::CustomFieldServiceServer, reminder_service_server::ReminderServiceServer,
        search_service_server::SearchServiceServer, structure_service_server::StructureServiceServer,
        tag_service_server::TagServiceServer, task_service_server::TaskServiceServer,
        time_entry_service_server::TimeEntryServiceServer, view_service_server::ViewServiceServer,
        watcher_service_server::WatcherServiceServer,
    },
};
use baton_runtime::{Clock, Shutdown, server};
use baton_store::{
    Db, auto_analyze,
    jobs::{self, Job},
    retention,
};
use tokio::{net::TcpListener, sync::Notify};
use tonic::service::Routes;
use tower::Layer as _;

use crate::{
    list::search,
    people::{departures, directory::People, members::Members},
    schedule::scheduler,
    task::attachment,
    upkeep::{deletion, storage, trash, usage},
};

pub use config::{Config, TaskConfig};

/// The service's schema.
pub const SCHEMA: &str = "task";
/// Its gRPC services.
pub const SERVICES: &[&str] = &[
    "baton.task.v1.TaskService",
    "baton.task.v1.BoardService",
    "baton.task.v1.AccessService",
    "baton.task.v1.AssignmentService",
    "baton.task.v1.TimeEntryService",
    "baton.task.v1.CommentService",
    "baton.task.v1.WatcherService",
    "baton.task.v1.ReminderService",
    "baton.task.v1.ViewService",
    "baton.task.v1.SearchService",
    "baton.task.v1.AttachmentService",
    "baton.task.v1.StructureService",
    "baton.task.v1.CustomFieldService",
    "baton.task.v1.BulkService",
    "baton.task.v1.TagService",
];
/// Its migrations.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/task");

/// Serves on `listener` until `shutdown`, and finishes what was begun.
///
/// # Errors
/// When the configuration does not hold or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { task: config, files } = config;
    let files = Files::open(&files, clock.clone())?;
    let db = Db::open(SCHEMA, &config.database_url, &config.system_database_url, config.database_connections, clock)?;
    let streams = Streams::open(&config.redis_url)?;
    let peer = Peer::connect("auth", &config.auth_url)?;
    let service_tokens = ServiceTokens::new(peer.clone(), SCHEMA, config.service_secret.clone());
    let (auth, tenancy) = (Auth::new(peer), Tenancy::new(Peer::connect("tenancy", &config.tenancy_url)?));
    let people = People::new(auth.clone(), tenancy.clone(), service_tokens);

    let tokens = TokenVerifier::new(&config.issuer, auth.clone());
    let directory = IdentityCache::new(auth, tenancy.clone());
    let access = AccessLayer::new(Rules::of(SERVICES)?, tokens, directory);
    let live = rpc::watch::Live {
        access: access.clone(),
        events: tail::start(&streams, &shutdown),
        keepalive: Duration::from_secs(config.watch_keepalive_seconds.get().into()),
        shutdown: shutdown.clone(),
    };
    let rpc = rpc::Rpc { db: db.clone(), members: Members(tenancy), people: people.clone(), live };
    let deleted = Arc::new(Notify::new());
    let limits = attachment::Limits {
        max_bytes: i32::try_from(config.attachments_max_bytes).unwrap_or(i32::MAX),
        content_types: config.attachments_content_types,
    };
    let attachments = rpc::attachment::Rpc { db: db.clone(), files: files.clone(), limits, deleted: deleted.clone() };
    let routes = Routes::new(access.layer(TaskServiceServer::new(rpc.clone())))
        .add_service(access.layer(BoardServiceServer::new(rpc.clone())))
        .add_service(access.layer(AssignmentServiceServer::new(rpc.clone())))
        .add_service(access.layer(TimeEntryServiceServer::new(rpc.clone())))
        .add_service(access.layer(CommentServiceServer::new(rpc.clone())))
        .add_service(access.layer(WatcherServiceServer::new(rpc.clone())))
        .add_service(access.layer(ReminderServiceServer::new(rpc.clone())))
        .add_service(access.layer(AttachmentServiceServer::new(attachments)))
        .add_service(access.layer(StructureServiceServer::new(rpc.clone())))
        .add_service(access.layer(CustomFieldServiceServer::new(rpc.clone())))
        .add_service(access.layer(BulkServiceServer::new(rpc.clone())))
        .add_service(access.layer(TagServiceServer::new(rpc.clone())))
        .add_service(access.layer(ViewServiceServer::new(rpc.clone())))
        .add_service(access.layer(SearchServiceServer::new(rpc.clone())))
        .add_service(access.layer(AccessServiceServer::new(rpc)));

    let workers = [
        tokio::spawn(relay::run(db.clone(), streams.clone(), shutdown.clone())),
        tokio::spawn(retention::run(db.clone(), shutdown.clone())),
        tokio::spawn(auto_analyze::run(db.clone(), shutdown.clone())),
        tokio::spawn(scheduler::run(db.clone(), people, shutdown.clone())),
        tokio::spawn(trash::run(db.clone(), shutdown.clone())),
        tokio::spawn(usage::run(db.clone(), shutdown.clone())),
        tokio::spawn(storage::run(db.clone(), files.clone(), deleted, shutdown.clone())),
        tokio::spawn(consumer::run(db.clone(), streams, departures::Handler, shutdown.clone())),
        tokio::spawn(jobs::run(db.clone(), shutdown.clone(), move |job| work(db.clone(), files.clone(), job))),
    ];
    server::serve(listener, SERVICES, routes, shutdown).await?;
    for worker in workers {
        worker.await?;
    }
    Ok(())
}

/// Does a job of one of the kinds that this service has.
async fn work(db: Db, files: Files, job: Job) -> anyhow::Result<()> {
    match job.kind.as_str() {
        search::REINDEX => search::reindex(db, job).await,
        _ => deletion::work(db, files, job).await,
    }
}
