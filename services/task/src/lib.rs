#![doc = include_str!("../README.md")]

mod application;
mod assignee_ranking;
mod assignment_history;
mod clients;
mod config;
mod convert;
mod events;
pub mod maintenance;
mod policy;
mod query;
mod rpc;
mod schedule;
mod store;
mod task;
mod watchers;

use std::sync::Arc;

use baton_files::{Files, FilesConfig};
use baton_proto::baton::task::v1::{
    access_service_server::AccessServiceServer, assignment_service_server::AssignmentServiceServer,
    attachment_service_server::AttachmentServiceServer, board_service_server::BoardServiceServer,
    bulk_service_server::BulkServiceServer, comment_service_server::CommentServiceServer,
    custom_field_service_server::CustomFieldServiceServer, reminder_service_server::ReminderServiceServer,
    search_service_server::SearchServiceServer, structure_service_server::StructureServiceServer,
    tag_service_server::TagServiceServer, task_service_server::TaskServiceServer,
    time_entry_service_server::TimeEntryServiceServer, view_service_server::ViewServiceServer,
    watcher_service_server::WatcherServiceServer,
};
use baton_runtime::{Clock, Shutdown};
use baton_service::{Service, Spec};
use tokio::{net::TcpListener, sync::Notify};

use crate::{
    application::{erasure, reindex, scheduler},
    clients::{internal::InternalDirectory, tenancy::MemberDirectory},
    events::consume,
    maintenance::{attachment_gc, quota_counters, trash_purge},
    task::attachment,
};

pub use config::TaskConfig;

/// The service.
pub static SPEC: Spec = Spec {
    name: "task",
    port: 50053,
    migrations: &sqlx::migrate!("../../migrations/task"),
    personal_data: include_str!("../../../migrations/task/personal_data.toml"),
    peers: &["auth", "tenancy"],
    generated_keys: &[("BATON_TASK_ATTACHMENTS_SIGNING_KEY", "")],
    has_service_secret: true,
    optional: false,
};

/// Its settings: those that all services share, its own, and those of the object store.
pub type Config = baton_service::Config<(TaskConfig, FilesConfig)>;

/// Serves on `listener` until `shutdown`, and finishes the work that has begun.
///
/// # Errors
/// When the configuration is wrong or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let service = Service::open(&SPEC, &config.service, clock.clone(), shutdown.clone())?;
    let (config, files) = config.own;
    let (db, files) = (service.db(), Files::open(&files, clock)?);
    let erased = db.clone();
    let directory = InternalDirectory::new(service.auth()?, service.tenancy()?, service.service_tokens()?);
    let members = MemberDirectory { tenancy: service.tenancy()?, restrictions: service.restrictions() };
    let rpc = rpc::Rpc { db: db.clone(), members, directory: directory.clone() };
    let limits = attachment::Limits {
        max_bytes: i32::try_from(config.attachments_max_bytes).unwrap_or(i32::MAX),
        content_types: config.attachments_content_types,
    };
    let deleted = Arc::new(Notify::new());
    let attachments = rpc::attachment::Rpc { db, files: files.clone(), limits, deleted: deleted.clone() };
    let (content, orphans, mut first) = (files.clone(), files.clone(), true);
    service
        .rpc(TaskServiceServer::new(rpc.clone()))
        .rpc(BoardServiceServer::new(rpc.clone()))
        .rpc(AssignmentServiceServer::new(rpc.clone()))
        .rpc(TimeEntryServiceServer::new(rpc.clone()))
        .rpc(CommentServiceServer::new(rpc.clone()))
        .rpc(WatcherServiceServer::new(rpc.clone()))
        .rpc(ReminderServiceServer::new(rpc.clone()))
        .rpc(AttachmentServiceServer::new(attachments))
        .rpc(StructureServiceServer::new(rpc.clone()))
        .rpc(CustomFieldServiceServer::new(rpc.clone()))
        .rpc(BulkServiceServer::new(rpc.clone()))
        .rpc(TagServiceServer::new(rpc.clone()))
        .rpc(ViewServiceServer::new(rpc.clone()))
        .rpc(SearchServiceServer::new(rpc.clone()))
        .rpc(AccessServiceServer::new(rpc))
        .consume(consume::Handler)
        .before_account_deletion(move |account_id| {
            let files = files.clone();
            async move { attachment_gc::delete_account_content(&files, account_id).await }
        })
        .before_erasure(move |subject| erasure::before(erased.clone(), subject))
        .job(reindex::JOB, reindex::run)
        .every("task.timers", baton_store::timers::POLL_INTERVAL, move |db| scheduler::poll(db, directory.clone()))
        .every("task.trash", trash_purge::INTERVAL, trash_purge::sweep)
        .every("task.quota_counters", quota_counters::INTERVAL, move |db| {
            quota_counters::fold_all(db, shutdown.clone())
        })
        .every_or_notified("task.attachment_gc", attachment_gc::INTERVAL, deleted, move |db| {
            let files = content.clone();
            async move { attachment_gc::sweep(&db, &files).await }
        })
        .every("task.orphaned_content", attachment_gc::ORPHAN_INTERVAL, move |db| {
            attachment_gc::sweep_orphans_later(db, orphans.clone(), std::mem::take(&mut first))
        })
        .serve(listener)
        .await
}
