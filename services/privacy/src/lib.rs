#![doc = include_str!("../README.md")]

mod application;
mod config;
mod consent;
mod convert;
mod file_token;
mod maintenance;
mod purpose;
mod request;
mod rpc;
mod store;

use std::sync::Arc;

use anyhow::Context as _;
use baton_clients::{Peer, SubjectDataPeer};
use baton_files::{Files, FilesConfig};
use baton_proto::baton::privacy::v1::{
    consent_service_server::ConsentServiceServer, privacy_service_server::PrivacyServiceServer,
};
use baton_runtime::{Clock, Shutdown};
use baton_service::{Service, Spec};
use baton_store::personal_data::PersonalData;
use tokio::net::TcpListener;

pub use config::PrivacyConfig;

use crate::application::{
    consents::{CONTACT_INTERVAL, Collectors},
    export::{BUILD_JOB, Builder},
};

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
    let sources = sources(&service, &config.sources)?;
    let collectors = Collectors::new(&db, &sources);
    let rpc = rpc::Rpc {
        db: db.clone(),
        files: files.clone(),
        tokens,
        public_url: config.public_url,
        collectors: collectors.clone(),
    };
    let builder =
        Builder { db, files: files.clone(), sources, own_data: Arc::new(PersonalData::parse(SPEC.personal_data)?) };
    let orphans = files.clone();
    let mut service = service;
    for collector in collectors.each() {
        // Each by itself, so that one that is slow does not keep the others from hearing.
        service = service.every("privacy.collectors", CONTACT_INTERVAL, move |_| {
            let collector = collector.clone();
            async move { collector.contact().await }
        });
    }
    service
        .rpc(PrivacyServiceServer::new(rpc.clone()))
        .rpc(ConsentServiceServer::new(rpc))
        .job(BUILD_JOB, move |_, job| {
            let builder = builder.clone();
            async move { builder.run(job).await }
        })
        .every("privacy.stale_consents", maintenance::NOTICE_INTERVAL, maintenance::mark_stale)
        .every("privacy.exports", maintenance::EXPORT_INTERVAL, move |db| maintenance::expire(db, files.clone()))
        .every("privacy.orphans", maintenance::RETENTION_INTERVAL, move |db| {
            maintenance::delete_orphans(db, orphans.clone())
        })
        .every("privacy.retention", maintenance::RETENTION_INTERVAL, maintenance::delete_old)
        .serve(listener)
        .await
}

/// The services that have data of people: those of the product, and further ones of this installation.
fn sources(service: &Service, further: &[String]) -> anyhow::Result<Vec<SubjectDataPeer>> {
    let tokens = service.service_tokens()?;
    let mut sources = Vec::new();
    for name in SOURCES {
        sources.push(SubjectDataPeer::new(service.peer(name)?, tokens.clone()));
    }
    for source in further {
        let (name, url) =
            source.split_once('=').context("BATON_PRIVACY_SOURCES must be name=url, separated by commas")?;
        let url = url.parse().with_context(|| format!("BATON_PRIVACY_SOURCES: the URL of {name} is not one"))?;
        // Names of services live as long as the process.
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        sources.push(SubjectDataPeer::new(Peer::connect(name, &url)?, tokens.clone()));
    }
    Ok(sources)
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
