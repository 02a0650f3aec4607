#![doc = include_str!("../README.md")]

mod admin;
mod api_key;
mod application;
mod auth_event;
mod config;
mod convert;
mod delegation;
mod emails;
mod events;
mod identity;
mod key_rotation;
mod maintenance;
mod mfa;
mod oauth;
mod password;
mod password_hasher;
mod profile;
mod recovery_codes;
mod registration;
mod rpc;
mod service_credentials;
mod sessions;
mod store;
mod throttle;
mod totp;
mod user;
mod user_agent;

use anyhow::Context as _;
use aws_lc_rs::hmac;
use baton_access::{IdentityCache, MailedTokens, TokenVerifier};
use baton_mail::{MailConfig, Mailer};
use baton_proto::baton::auth::v1::{
    api_key_service_server::ApiKeyServiceServer, auth_service_server::AuthServiceServer,
    delegation_service_server::DelegationServiceServer, email_service_server::EmailServiceServer,
    identity_service_server::IdentityServiceServer, internal_service_server::InternalServiceServer,
    mfa_service_server::MfaServiceServer, o_auth_service_server::OAuthServiceServer,
    password_service_server::PasswordServiceServer, session_service_server::SessionServiceServer,
    user_service_server::UserServiceServer,
};
use baton_runtime::{Clock, Secret, Shutdown};
use baton_sealing::Sealer;
use baton_service::{Service, Spec};
use chrono::TimeDelta;
use tokio::net::TcpListener;

use crate::{
    application::{erasure, sessions::LocalSessions, signing_keys::SigningKeys},
    maintenance::{deactivated_people, unconfirmed_people},
};

pub use admin::{KeysConfig, signing_keys};
pub use application::signing_keys::KeyInfo;
pub use config::AuthConfig;
pub use key_rotation::KeyState;

/// The service.
pub static SPEC: Spec = Spec {
    name: "auth",
    port: 50051,
    migrations: &sqlx::migrate!("../../migrations/auth"),
    personal_data: include_str!("../../../migrations/auth/personal_data.toml"),
    peers: &[],
    generated_keys: &[("BATON_AUTH_MAILED_TOKEN_KEY", ""), ("BATON_AUTH_SEALING_KEYS", "first:")],
    has_service_secret: false,
    optional: false,
};

/// Its settings: those that all services share, its own, and those of its mails.
pub type Config = baton_service::Config<(AuthConfig, MailConfig)>;

/// A key of its own, made of one that the service has.
fn replay_key(key: &Secret) -> hmac::Key {
    let of = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&of, b"replay").as_ref())
}

/// Serves on `listener` until `shutdown`, and finishes the work that has begun.
///
/// # Errors
/// When the configuration is wrong or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let service = Service::open(&SPEC, &config.service, clock.clone(), shutdown)?;
    let (issuer, (config, mail)) = (config.service.issuer, config.own);
    let db = service.db();
    let erased = db.clone();
    let mailed_tokens = MailedTokens::new(&config.mailed_token_key)?;
    let sealer = Sealer::new(&config.sealing_keys).context("BATON_AUTH_SEALING_KEYS")?;
    let every = TimeDelta::days(config.signing_key_days.get().into());
    let keys = SigningKeys::new(db.clone(), sealer.clone(), &issuer, every);
    // So that the first call finds keys. Without a database there are none yet, and the worker tries again.
    if let Err(error) = keys.refresh().await {
        tracing::warn!(%error, "no signing keys yet");
    }
    let tokens = TokenVerifier::new(&issuer, keys.clone());
    let hash_parameters = password_hasher::parameters(config.hash_memory_kib, config.hash_passes, config.hash_lanes)?;
    let per_address = config.attempts_per_address;
    let rpc = rpc::Rpc {
        db: db.clone(),
        keys: keys.clone(),
        service_credentials: service_credentials::ServiceCredentials::new(&config.service_secrets)
            .context("BATON_AUTH_SERVICE_SECRETS")?,
        mailed_tokens: mailed_tokens.clone(),
        hasher: password_hasher::PasswordHasher::new(config.hash_threads, hash_parameters)?,
        throttle: throttle::Throttle::new(service.streams().connection(), &config.mailed_token_key, clock, per_address),
        sealer,
        providers: oauth::Providers::new(&config, &mail.link_base)?,
        replay_key: replay_key(&config.mailed_token_key),
        restrictions: service.restrictions(),
        tokens: tokens.clone(),
    };
    let mails = emails::EmailSender { db: db.clone(), mailer: Mailer::new(&mail)?, tokens: mailed_tokens };
    service
        .identify_by(tokens, IdentityCache::uncached(LocalSessions(db)))?
        .rpc(AuthServiceServer::new(rpc.clone()))
        .rpc(ApiKeyServiceServer::new(rpc.clone()))
        .rpc(DelegationServiceServer::new(rpc.clone()))
        .rpc(InternalServiceServer::new(rpc.clone()))
        .rpc(MfaServiceServer::new(rpc.clone()))
        .rpc(SessionServiceServer::new(rpc.clone()))
        .rpc(EmailServiceServer::new(rpc.clone()))
        .rpc(PasswordServiceServer::new(rpc.clone()))
        .rpc(OAuthServiceServer::new(rpc.clone()))
        .rpc(IdentityServiceServer::new(rpc.clone()))
        .rpc(UserServiceServer::new(rpc))
        .before_erasure(move |subject| erasure::before(erased.clone(), subject))
        .job("mail.", move |_, job| {
            let mails = mails.clone();
            async move { mails.send(job).await }
        })
        .every("auth.signing_keys", maintenance::signing_keys::INTERVAL, move |_| {
            maintenance::signing_keys::maintain(keys.clone())
        })
        .every("auth.deactivated_people", deactivated_people::INTERVAL, deactivated_people::sweep)
        .every("auth.unconfirmed_people", unconfirmed_people::INTERVAL, unconfirmed_people::sweep)
        .serve(listener)
        .await
}
