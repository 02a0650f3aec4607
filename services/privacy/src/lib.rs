#![doc = include_str!("../README.md")]

mod application;
mod cancellation;
mod config;
mod consent;
mod convert;
mod emails;
mod erasure;
mod events;
mod file_token;
mod maintenance;
mod policy;
mod purpose;
mod receipt;
mod request;
mod rpc;
mod store;

use std::sync::Arc;

use anyhow::Context as _;
use baton_access::MailedTokens;
use baton_audit::LogKeys;
use baton_clients::{Peer, SubjectDataPeer};
use baton_files::{Files, FilesConfig};
use baton_mail::{MailConfig, Mailer};
use baton_proto::baton::privacy::v1::{
    accountability_service_server::AccountabilityServiceServer,
    anonymization_service_server::AnonymizationServiceServer, consent_service_server::ConsentServiceServer,
    erasure_service_server::ErasureServiceServer, member_privacy_service_server::MemberPrivacyServiceServer,
    operator_service_server::OperatorServiceServer, policy_service_server::PolicyServiceServer,
    privacy_service_server::PrivacyServiceServer, rights_service_server::RightsServiceServer,
    transparency_service_server::TransparencyServiceServer,
};
use baton_runtime::{Clock, Shutdown};
use baton_service::{Service, Spec};
use baton_store::personal_data::PersonalData;
use baton_vault::{Vault, VaultConfig};
use tokio::net::TcpListener;

pub use config::PrivacyConfig;
pub use receipt::{Receipt, ReceiptLine, verify as verify_receipt};

use crate::{
    application::{
        consents::{CONTACT_INTERVAL, Collectors},
        erasure::Eraser,
        export::{BUILD_JOB, BUILD_MEMBER_JOB, Builder},
        profiles::Profiles,
        pseudonyms::Names,
        transparency,
        withdrawals::Withdrawals,
    },
    cancellation::CancellationTokens,
    emails::EmailSender,
    erasure::{COUNT_JOB, COUNT_MEMBER_JOB, ERASE_JOB, ERASE_MEMBER_JOB, RESTRICT_JOB},
    events::consume,
    receipt::ReceiptKeys,
};

/// The services that have data of people, besides this one.
const SOURCES: [&str; 5] = ["auth", "tenancy", "task", "notification", "automation"];

/// The service.
pub static SPEC: Spec = Spec {
    name: "privacy",
    port: 50055,
    migrations: &sqlx::migrate!("../../migrations/privacy"),
    personal_data: include_str!("../../../migrations/privacy/personal_data.toml"),
    peers: &SOURCES,
    generated_keys: &[
        ("BATON_PRIVACY_SIGNING_KEY", ""),
        ("BATON_PRIVACY_RECEIPT_KEYS", ""),
        ("BATON_PRIVACY_PSEUDONYM_KEY", ""),
        ("BATON_PRIVACY_CHECKPOINT_KEYS", ""),
        ("BATON_VAULT_KEYS", "1:"),
    ],
    has_service_secret: true,
    optional: true,
};

/// Its settings: those that all services share, its own, and those of its mails and its vault.
pub type Config = baton_service::Config<(PrivacyConfig, (MailConfig, VaultConfig))>;

/// Serves on `listener` until `shutdown`, and finishes the work that has begun.
///
/// # Errors
/// When the configuration is wrong or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut service = Service::open(&SPEC, &config.service, clock.clone(), shutdown.clone())?;
    let (config, (mail, vault)) = config.own;
    let names = Names::new(&config.pseudonym_key, Vault::open(&vault)?)?;
    let (db, files) = (service.db(), open_files(&config, clock)?);
    let sources = sources(&service, &config.sources)?;
    let collectors = Collectors::new(&db, &sources);
    let own_data = Arc::new(PersonalData::parse(SPEC.personal_data)?);
    let receipt_keys = receipt_keys(&config)?;
    let cancellations = CancellationTokens(MailedTokens::new(&config.signing_key)?);
    let checkpoint_keys = LogKeys::new(&config.checkpoint_name, &config.checkpoint_keys);
    let checkpoint_keys = Arc::new(checkpoint_keys.context("BATON_PRIVACY_CHECKPOINT_KEYS")?);
    let stores = (files.clone(), names.clone());
    let eraser = Eraser::new(&service, stores, receipt_keys.clone(), sources.clone(), own_data.clone());
    let mails = EmailSender {
        db: db.clone(),
        auth: service.auth()?,
        service_tokens: service.service_tokens()?,
        mailer: Mailer::new(&mail)?,
        tokens: cancellations.clone(),
    };
    let withdrawals = Withdrawals::new(db.clone(), service.ledger());
    let rpc = rpc::Rpc {
        db: db.clone(),
        files: files.clone(),
        tokens: file_token::FileTokens::new(&config.signing_key),
        public_url: config.public_url,
        collectors: collectors.clone(),
        eraser: eraser.clone(),
        cancellations,
        receipt_keys,
        withdrawals: withdrawals.clone(),
        auth: service.auth()?,
        sources: sources.clone(),
        names: names.clone(),
        profiles: Profiles {
            db: db.clone(),
            auth: service.auth()?,
            tenancy: service.tenancy()?,
            tokens: service.service_tokens()?,
            names: names.clone(),
        },
        checkpoint_keys: checkpoint_keys.clone(),
        subprocessors: policy::subprocessors(&config.subprocessors)?.into(),
    };
    let builder = Builder { db, files: files.clone(), sources, own_data, vault: names.vault().clone() };
    for collector in collectors.each() {
        // Each by itself, so that one that is slow does not keep the others from hearing.
        service = service.every("privacy.collectors", CONTACT_INTERVAL, move |_| {
            let collector = collector.clone();
            async move { collector.contact().await }
        });
    }
    let orphans = files.clone();
    let (building_of_members, erasing_members, counting_members) = (builder.clone(), eraser.clone(), eraser.clone());
    let (restricting, erasing, counting) = (eraser.clone(), eraser.clone(), eraser.clone());
    let (adopting, due) = (eraser.clone(), eraser);
    service
        .rpc(PrivacyServiceServer::new(rpc.clone()))
        .rpc(ErasureServiceServer::new(rpc.clone()))
        .rpc(OperatorServiceServer::new(rpc.clone()))
        .rpc(RightsServiceServer::new(rpc.clone()))
        .rpc(MemberPrivacyServiceServer::new(rpc.clone()))
        .rpc(PolicyServiceServer::new(rpc.clone()))
        .rpc(TransparencyServiceServer::new(rpc.clone()))
        .rpc(AccountabilityServiceServer::new(rpc.clone()))
        .rpc(AnonymizationServiceServer::new(rpc.clone()))
        .rpc(ConsentServiceServer::new(rpc))
        .ready_after(withdrawals.known())
        .consume(consume::Handler)
        .job(BUILD_JOB, move |_, job| {
            let builder = builder.clone();
            async move { builder.run(job).await }
        })
        .job(BUILD_MEMBER_JOB, move |_, job| {
            let builder = building_of_members.clone();
            async move { builder.run(job).await }
        })
        .job("mail.", move |_, job| {
            let mails = mails.clone();
            async move { mails.send(job).await }
        })
        .job(RESTRICT_JOB, move |_, job| {
            let eraser = restricting.clone();
            async move { eraser.restrict(job).await }
        })
        .job(ERASE_JOB, move |_, job| {
            let eraser = erasing.clone();
            async move { eraser.erase(job).await }
        })
        .job(COUNT_JOB, move |_, job| {
            let eraser = counting.clone();
            async move { eraser.count(job).await }
        })
        .job(ERASE_MEMBER_JOB, move |_, job| {
            let eraser = erasing_members.clone();
            async move { eraser.erase(job).await }
        })
        .job(COUNT_MEMBER_JOB, move |_, job| {
            let eraser = counting_members.clone();
            async move { eraser.count(job).await }
        })
        .run(async move {
            // The ledger may not answer yet.
            while let Err(error) = adopting.adopt().await {
                tracing::warn!(%error, "cannot read which erasures have begun");
                tokio::select! {
                    () = shutdown.stop().cancelled() => return,
                    () = tokio::time::sleep(CONTACT_INTERVAL) => {}
                }
            }
        })
        .every("privacy.erasures", maintenance::ERASURE_INTERVAL, move |_| due.clone().sweep())
        .every("privacy.checkpoints", transparency::INTERVAL, move |db| {
            transparency::advance(db, checkpoint_keys.clone())
        })
        .every("privacy.stale_consents", maintenance::NOTICE_INTERVAL, maintenance::mark_stale)
        .every("privacy.exports", maintenance::EXPORT_INTERVAL, move |db| maintenance::expire(db, files.clone()))
        .every("privacy.orphans", maintenance::ORPHAN_INTERVAL, move |db| {
            maintenance::delete_orphans(db, orphans.clone())
        })
        .serve(listener)
        .await
}

/// Repeats every erasure of the ledger in every service, with the environment of this one, and tells `report` of each. Then services whose database was restored from a backup become ready. Safe to repeat; the services
/// have to run.
///
/// # Errors
/// When a service does not answer, or rows remain.
pub async fn replay(config: Config, report: impl Fn(&str)) -> anyhow::Result<()> {
    let service = Service::open(&SPEC, &config.service, Clock::system(), Shutdown::new())?;
    let (config, (_, vault)) = config.own;
    let names = Names::new(&config.pseudonym_key, Vault::open(&vault)?)?;
    let files = open_files(&config, Clock::system())?;
    let sources = sources(&service, &config.sources)?;
    let own_data = Arc::new(PersonalData::parse(SPEC.personal_data)?);
    let eraser = Eraser::new(&service, (files, names), receipt_keys(&config)?, sources, own_data);
    application::replay::run(&eraser, report).await
}

/// The keys of receipts.
fn receipt_keys(config: &PrivacyConfig) -> anyhow::Result<ReceiptKeys> {
    ReceiptKeys::new(&config.receipt_keys).context("BATON_PRIVACY_RECEIPT_KEYS")
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
    Files::open(&config, clock).context("BATON_PRIVACY_EXPORTS_URL")
}
