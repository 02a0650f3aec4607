#![doc = include_str!("../README.md")]

mod admin;
mod api_key;
mod config;
mod convert;
mod emails;
mod events;
mod key_rotation;
mod mfa;
mod oauth;
mod password;
mod password_hasher;
mod profile;
mod recovery_codes;
mod retention;
mod rpc;
mod service_credentials;
mod sessions;
mod sign_in;
mod signing_keys;
mod store;
mod throttle;
mod totp;
mod user_agent;

use anyhow::Context as _;
use aws_lc_rs::hmac;
use baton_access::{AccessLayer, IdentityCache, MailedTokens, Rules, TokenVerifier};
use baton_events::{Streams, relay};
use baton_mail::Mailer;
use baton_proto::baton::auth::v1::{
    api_key_service_server::ApiKeyServiceServer, auth_service_server::AuthServiceServer,
    email_service_server::EmailServiceServer, identity_service_server::IdentityServiceServer,
    internal_service_server::InternalServiceServer, mfa_service_server::MfaServiceServer,
    o_auth_service_server::OAuthServiceServer, password_service_server::PasswordServiceServer,
    session_service_server::SessionServiceServer, user_service_server::UserServiceServer,
};
use baton_runtime::{Clock, Secret, Shutdown, server};
use baton_sealing::Sealer;
use baton_store::{Db, auto_analyze, jobs};
use chrono::TimeDelta;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower::Layer as _;

pub use config::{AuthConfig, Config};
pub use signing_keys::KeyInfo;
pub use admin::{KeysConfig, signing_keys};
pub use key_rotation::KeyState;

/// The service's schema.
pub const SCHEMA: &str = "auth";
/// Its gRPC services.
pub const SERVICES: &[&str] = &[
    "baton.auth.v1.AuthService",
    "baton.auth.v1.ApiKeyService",
    "baton.auth.v1.InternalService",
    "baton.auth.v1.MfaService",
    "baton.auth.v1.UserService",
    "baton.auth.v1.EmailService",
    "baton.auth.v1.PasswordService",
    "baton.auth.v1.SessionService",
    "baton.auth.v1.OAuthService",
    "baton.auth.v1.IdentityService",
];
/// Its migrations.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/auth");

/// A key of its own, made of one that the service has.
fn replay_key(key: &Secret) -> hmac::Key {
    let of = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&of, b"replay").as_ref())
}

/// Serves on `listener` until `shutdown`, and finishes what was begun.
///
/// # Errors
/// When the configuration does not hold or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { auth: config, mail } = config;
    let db = Db::open(SCHEMA, &config.database_url, &config.system_database_url, config.database_connections, clock)?;
    let streams = Streams::open(&config.redis_url)?;
    let mailed_tokens = MailedTokens::new(&config.mailed_token_key)?;
    let sealer = Sealer::new(&config.sealing_keys).context("BATON_AUTH_SEALING_KEYS")?;
    let service_credentials = service_credentials::ServiceCredentials::new(&config.service_secrets).context("BATON_AUTH_SERVICE_SECRETS")?;
    let every = TimeDelta::days(config.signing_key_days.get().into());
    let keys = signing_keys::SigningKeys::new(db.clone(), sealer.clone(), &config.issuer, every);
    // So that the first call finds keys; without a database there are none yet, and `run` goes on trying.
    if let Err(error) = keys.refresh().await {
        tracing::warn!(%error, "no signing keys yet");
    }
    let hasher = {
        let parameters = password_hasher::parameters(config.hash_memory_kib, config.hash_passes, config.hash_lanes)?;
        password_hasher::PasswordHasher::new(config.hash_threads, parameters)?
    };
    let mailer = Mailer::new(&mail)?;
    let providers = oauth::Providers::new(&config, &mail.link_base)?;
    let (clock, per_address) = (db.clock().clone(), config.attempts_per_address);
    let throttle = throttle::Throttle::new(streams.connection(), &config.mailed_token_key, clock, per_address);

    let tokens = TokenVerifier::new(&config.issuer, keys.clone());
    let directory = IdentityCache::uncached(sessions::LocalSessions(db.clone()));
    let access = AccessLayer::new(Rules::of(SERVICES)?, tokens, directory);
    let rpc = rpc::Rpc {
        db: db.clone(),
        keys: keys.clone(),
        service_credentials,
        mailed_tokens: mailed_tokens.clone(),
        hasher,
        throttle,
        sealer,
        providers,
        replay_key: replay_key(&config.mailed_token_key),
    };
    let routes = Routes::new(access.layer(AuthServiceServer::new(rpc.clone())))
        .add_service(access.layer(ApiKeyServiceServer::new(rpc.clone())))
        .add_service(access.layer(InternalServiceServer::new(rpc.clone())))
        .add_service(access.layer(MfaServiceServer::new(rpc.clone())))
        .add_service(access.layer(SessionServiceServer::new(rpc.clone())))
        .add_service(access.layer(EmailServiceServer::new(rpc.clone())))
        .add_service(access.layer(PasswordServiceServer::new(rpc.clone())))
        .add_service(access.layer(OAuthServiceServer::new(rpc.clone())))
        .add_service(access.layer(IdentityServiceServer::new(rpc.clone())))
        .add_service(access.layer(UserServiceServer::new(rpc)));

    let mails = emails::EmailSender { db: db.clone(), mailer, tokens: mailed_tokens };
    let workers = [
        tokio::spawn(relay::run(db.clone(), streams, shutdown.clone())),
        tokio::spawn(baton_store::retention::run(db.clone(), shutdown.clone())),
        tokio::spawn(auto_analyze::run(db.clone(), shutdown.clone())),
        tokio::spawn(keys.run(shutdown.clone())),
        tokio::spawn(retention::run(db.clone(), shutdown.clone())),
        tokio::spawn(jobs::run(db, shutdown.clone(), move |job| {
            let mails = mails.clone();
            async move { mails.send(job).await }
        })),
    ];
    server::serve(listener, SERVICES, routes, shutdown).await?;
    for worker in workers {
        worker.await?;
    }
    Ok(())
}
