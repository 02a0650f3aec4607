#![doc = include_str!("../README.md")]

mod application;
mod config;
mod convert;
mod file_token;
mod maintenance;
mod request;
mod rpc;
mod store;

use std::sync::Arc;

use anyhow::Context as _;
use baton_clients::SubjectDataPeer;
use baton_files::{Files, FilesConfig};
use baton_proto::baton::privacy::v1::privacy_service_server::PrivacyServiceServer;
use baton_runtime::{Clock, Shutdown};
use baton_service::{Service, Spec};
use baton_store::personal_data::PersonalData;
use tokio::net::TcpListener;

pub use config::PrivacyConfig;

use crate::application::export::{BUILD_JOB, Builder};

/// The services that have data of people, besides this one.
const SOURCES: [&str; 4] = ["auth", "tenancy", "task", "notification"];

/// The service.
pub static SPEC: Spec = Spec {
    name: "privacy",
    port: 50055,
    migrations: &sqlx::migrate!("../../migrations/privacy"),
    personal_data: include_str!("../../../migrations/privacy/personal_data.toml"),
    peers: &SOURCES,
    generated_keys: &[("BATON_PRIVACY_SIGNING_KEY", "")],
    has_service_secret: true,
    optional: true,
};

/// Its settings: those that all services share, and its own.
pub type Config = baton_service::Config<PrivacyConfig>;

/// Serves on `listener` until `shutdown`, and finishes the work that has begun.
///
/// # Errors
/// When the configuration is wrong or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let service = Service::open(&SPEC, &config.service, clock.clone(), shutdown)?;
    let config = config.own;
    let files = open_files(&config, clock).context("BATON_PRIVACY_EXPORTS_URL")?;
    let tokens = file_token::FileTokens::new(&config.signing_key);
    let db = service.db();
    let rpc = rpc::Rpc { db: db.clone(), files: files.clone(), tokens, public_url: config.public_url };
    let tokens = service.service_tokens()?;
    let sources = SOURCES.into_iter().map(|name| Ok(SubjectDataPeer::new(service.peer(name)?, tokens.clone())));
    let builder = Builder {
        db,
        files: files.clone(),
        sources: sources.collect::<anyhow::Result<_>>()?,
        own_data: Arc::new(PersonalData::parse(SPEC.personal_data)?),
    };
    service
        .rpc(PrivacyServiceServer::new(rpc))
        .job(BUILD_JOB, move |_, job| {
            let builder = builder.clone();
            async move { builder.run(job).await }
        })
        .every("privacy.exports", maintenance::EXPORT_INTERVAL, move |db| maintenance::expire(db, files.clone()))
        .every("privacy.retention", maintenance::RETENTION_INTERVAL, maintenance::delete_old)
        .serve(listener)
        .await
}

/// The store of exports. Its files are served by this service, so it signs no URLs.
fn open_files(config: &PrivacyConfig, clock: Clock) -> anyhow::Result<Files> {
    let config = FilesConfig {
        url: config.exports_url.clone(),
        endpoint: config.exports_endpoint.clone(),
        region: config.exports_region.clone(),
        access_key: config.exports_access_key.clone(),
        secret_key: config.exports_secret_key.clone(),
        signing_key: Some(config.signing_key.clone()),
        public_url: Some(config.public_url.clone()),
    };
    Files::open(&config, clock)
}
