#![doc = include_str!("../README.md")]

mod account;
mod activity;
mod billing;
mod config;
mod consumed;
mod convert;
mod endings;
mod events;
mod export;
mod lapse;
mod mails;
mod member;
mod memberships;
mod people;
mod rpc;
mod settings;
mod slug;
mod store;
mod tier;
mod usage;
mod users;

use std::sync::Arc;

use baton_access::{AccessLayer, IdentityCache, MailedTokens, Rules, TokenVerifier};
use baton_clients::{Auth, Peer, ServiceTokens};
use baton_events::{Streams, relay};
use baton_mail::Mailer;
use baton_proto::baton::tenancy::v1::{
        account_service_server::AccountServiceServer, activity_service_server::ActivityServiceServer,
        billing_service_server::BillingServiceServer, internal_service_server::InternalServiceServer,
        member_service_server::MemberServiceServer, usage_service_server::UsageServiceServer,
};
use baton_runtime::{Clock, Shutdown, server};
use baton_store::{Db, auto_analyze, jobs, retention};
use chrono::TimeDelta;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower::Layer as _;

pub use config::{Config, TenancyConfig};

/// The service's schema.
pub const SCHEMA: &str = "tenancy";
/// Its gRPC services.
pub const SERVICES: &[&str] = &[
    "baton.tenancy.v1.AccountService",
    "baton.tenancy.v1.ActivityService",
    "baton.tenancy.v1.BillingService",
    "baton.tenancy.v1.InternalService",
    "baton.tenancy.v1.MemberService",
    "baton.tenancy.v1.UsageService",
];
/// Its migrations.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/tenancy");

/// Serves on `listener` until `shutdown`, and finishes what was begun.
///
/// # Errors
/// When the configuration does not hold or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { tenancy: config, mail } = config;
    let db = Db::open(SCHEMA, &config.database_url, &config.system_database_url, config.database_connections, clock)?;
    let streams = Streams::open(&config.redis_url)?;
    anyhow::ensure!(config.activity_days >= 30, "BATON_TENANCY_ACTIVITY_DAYS must be 30 or more");
    let tiers = tier::Tiers::with(&config.tier_limits)?;
    let mailed_tokens = MailedTokens::new(&config.mailed_token_key)?;
    let mailer = Mailer::new(&mail)?;
    let peer = Peer::connect("auth", &config.auth_url)?;
    let service_tokens = ServiceTokens::new(peer.clone(), SCHEMA, config.service_secret.clone());
    let auth = Auth::new(peer);

    let tokens = TokenVerifier::new(&config.issuer, auth.clone());
    let directory = IdentityCache::new(auth.clone(), memberships::LocalMemberships(db.clone(), tiers));
    let access = AccessLayer::new(Rules::of(SERVICES)?, tokens, directory);
    let users = users::Users::new(auth.clone(), service_tokens);
    let rpc = rpc::Rpc {
        db: db.clone(),
        users: users.clone(),
        mailed_tokens: mailed_tokens.clone(),
        activity_kept: TimeDelta::days(config.activity_days.into()),
        tiers,
        stripe_secrets: billing::Secrets::parse(config.stripe_webhook_secrets.as_ref()),
        prices: Arc::new(billing::Prices::parse(&config.stripe_prices)?),
        streams: streams.clone(),
    };
    let routes = Routes::new(access.layer(AccountServiceServer::new(rpc.clone())))
        .add_service(access.layer(ActivityServiceServer::new(rpc.clone())))
        .add_service(access.layer(BillingServiceServer::new(rpc.clone())))
        .add_service(access.layer(InternalServiceServer::new(rpc.clone())))
        .add_service(access.layer(UsageServiceServer::new(rpc.clone())))
        .add_service(access.layer(MemberServiceServer::new(rpc)));

    let mails = mails::Mails { db: db.clone(), mailer, tokens: mailed_tokens, users: users.clone() };
    let workers = [
        tokio::spawn(relay::run(db.clone(), streams.clone(), shutdown.clone())),
        tokio::spawn(consumed::run(db.clone(), streams, tiers, config.activity_days, shutdown.clone())),
        tokio::spawn(retention::run(db.clone(), shutdown.clone())),
        tokio::spawn(auto_analyze::run(db.clone(), shutdown.clone())),
        tokio::spawn(lapse::run(db.clone(), shutdown.clone())),
        tokio::spawn(endings::run(db.clone(), shutdown.clone())),
        tokio::spawn(jobs::run(db, shutdown.clone(), move |job| {
            let mails = mails.clone();
            async move {
                match job.kind.as_str() {
                    people::REFRESH_EMAIL => people::refresh_email(&mails.db, &mails.users, &job).await,
                    _ => mails.send(job).await,
                }
            }
        })),
    ];
    server::serve(listener, SERVICES, routes, shutdown).await?;
    for worker in workers {
        worker.await?;
    }
    Ok(())
}
