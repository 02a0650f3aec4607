#![doc = include_str!("../README.md")]

mod account;
mod activity;
mod application;
mod audit_file;
mod billing;
mod clients;
mod config;
mod convert;
mod dpa;
mod emails;
mod events;
mod export;
mod maintenance;
mod member;
mod membership_resolver;
mod rpc;
mod settings;
mod slug;
mod store;
mod tier;
mod usage;

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use baton_access::{IdentityCache, MailedTokens};
use baton_audit::LogKeys;
use baton_mail::{MailConfig, Mailer};
use baton_proto::baton::tenancy::v1::{
    account_service_server::AccountServiceServer, activity_service_server::ActivityServiceServer,
    audit_service_server::AuditServiceServer, billing_service_server::BillingServiceServer,
    dpa_service_server::DpaServiceServer, internal_service_server::InternalServiceServer,
    member_service_server::MemberServiceServer, usage_service_server::UsageServiceServer,
};
use baton_runtime::{Clock, Shutdown};
use baton_service::{Service, Spec};
use chrono::TimeDelta;
use tokio::{net::TcpListener, sync::Notify};

use crate::{
    application::{
        erasure,
        invitation_emails::{EmailJobs, INVITATION_JOB},
        member_email,
    },
    maintenance::{activity_log, checkpoints, expiry, payment_grace},
};

pub use audit_file::{VerifiedLog, verify as verify_audit_file};
pub use config::TenancyConfig;

/// The service.
pub static SPEC: Spec = Spec {
    name: "tenancy",
    port: 50052,
    migrations: &sqlx::migrate!("../../migrations/tenancy"),
    personal_data: include_str!("../../../migrations/tenancy/personal_data.toml"),
    peers: &["auth"],
    generated_keys: &[("BATON_TENANCY_MAILED_TOKEN_KEY", ""), ("BATON_TENANCY_CHECKPOINT_KEYS", "")],
    has_service_secret: true,
    optional: false,
};

/// Its settings: those that all services share, its own, and those of its mails.
pub type Config = baton_service::Config<(TenancyConfig, MailConfig)>;

/// Serves on `listener` until `shutdown`, and finishes the work that has begun.
///
/// # Errors
/// When the configuration is wrong or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let service = Service::open(&SPEC, &config.service, clock, shutdown)?;
    let (config, mail) = config.own;
    ensure!(config.activity_days >= 30, "BATON_TENANCY_ACTIVITY_DAYS must be 30 or more");
    let (db, days) = (service.db(), config.activity_days);
    let erased = db.clone();
    let tiers = tier::Tiers::with(&config.tier_limits)?;
    let mailed_tokens = MailedTokens::new(&config.mailed_token_key)?;
    let auth = clients::auth::AuthClient::new(service.auth()?, service.service_tokens()?);
    let checkpoint_keys = LogKeys::new(&config.checkpoint_name, &config.checkpoint_keys);
    let checkpoint_keys = Arc::new(checkpoint_keys.context("BATON_TENANCY_CHECKPOINT_KEYS")?);
    let rpc = rpc::Rpc {
        checkpoint_keys: checkpoint_keys.clone(),
        db: db.clone(),
        auth: auth.clone(),
        mailed_tokens: mailed_tokens.clone(),
        activity_retention: TimeDelta::days(days.into()),
        tiers,
        stripe_secrets: billing::Secrets::parse(config.stripe_webhook_secrets.as_ref()),
        prices: Arc::new(billing::Prices::parse(&config.stripe_prices)?),
        streams: service.streams(),
    };
    let identities = IdentityCache::new(service.auth()?, membership_resolver::LocalMemberships(db.clone(), tiers));
    let tokens = service.token_verifier()?;
    let mails = EmailJobs { db, mailer: Mailer::new(&mail)?, tokens: mailed_tokens, auth };
    let refresh = mails.clone();
    let partitions = Arc::new(Notify::new());
    let ready = partitions.clone();
    service
        .identify_by(tokens, identities)?
        .rpc(AccountServiceServer::new(rpc.clone()))
        .rpc(ActivityServiceServer::new(rpc.clone()))
        .rpc(AuditServiceServer::new(rpc.clone()))
        .rpc(BillingServiceServer::new(rpc.clone()))
        .rpc(DpaServiceServer::new(rpc.clone()))
        .rpc(InternalServiceServer::new(rpc.clone()))
        .rpc(UsageServiceServer::new(rpc.clone()))
        .rpc(MemberServiceServer::new(rpc))
        .consume_after(async move { ready.notified().await }, events::consume::Handler(tiers))
        .before_erasure(move |subject| erasure::before(erased.clone(), subject))
        .job(INVITATION_JOB, move |_, job| {
            let mails = mails.clone();
            async move { mails.run_job(job).await }
        })
        .job(member_email::REFRESH_JOB, move |_, job| {
            let EmailJobs { db, auth, .. } = refresh.clone();
            async move { member_email::refresh(&db, &auth, &job).await }
        })
        .every("tenancy.activity_log", activity_log::INTERVAL, move |db| {
            activity_log::maintain_partitions(db, days, partitions.clone())
        })
        .every("tenancy.checkpoints", checkpoints::INTERVAL, move |db| checkpoints::sweep(db, checkpoint_keys.clone()))
        .every("tenancy.expiry", expiry::INTERVAL, expiry::sweep)
        .every("tenancy.payment_grace", payment_grace::INTERVAL, payment_grace::sweep)
        .serve(listener)
        .await
}
