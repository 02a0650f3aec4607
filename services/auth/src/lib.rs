#![doc = include_str!("../README.md")]

mod config;
mod convert;
mod events;
mod hasher;
mod keys;
mod mails;
mod password;
mod rpc;
mod sessions;
mod sign_in;
mod store;

use baton_access::{AccessLayer, Directory, MailedTokens, Rules, TokenVerifier, directory::NoMemberships};
use baton_events::{Streams, relay};
use baton_mail::Mailer;
use baton_proto::baton::auth::v1::{auth_service_server::AuthServiceServer, user_service_server::UserServiceServer};
use baton_runtime::{Clock, Shutdown, server};
use baton_store::{Db, jobs, sweep};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower::Layer as _;

pub use config::{AuthConfig, Config};
pub use keys::{check as check_signing_keys, generate as generate_signing_key};

/// The service's schema.
pub const SCHEMA: &str = "auth";
/// Its gRPC services.
pub const SERVICES: &[&str] = &["baton.auth.v1.AuthService", "baton.auth.v1.UserService"];
/// Its migrations.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/auth");

/// Serves on `listener` until `shutdown`, and finishes what was begun.
///
/// # Errors
/// When the configuration does not hold or the server fails.
pub async fn start(config: Config, clock: Clock, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { auth: config, mail } = config;
    let db = Db::open(SCHEMA, &config.database_url, &config.system_database_url, config.database_connections, clock)?;
    let streams = Streams::open(&config.redis_url)?;
    let keys = keys::SigningKeys::new(&config.signing_keys, &config.issuer)?;
    let mailed_tokens = MailedTokens::new(&config.mailed_token_key)?;
    let hasher = hasher::Hasher::new(config.hash_threads)?;
    let mailer = Mailer::new(&mail)?;

    let tokens = TokenVerifier::new(&config.issuer, keys.clone());
    let directory = Directory::new(sessions::LocalSessions(db.clone()), NoMemberships);
    let access = AccessLayer::new(Rules::of(SERVICES)?, tokens, directory);
    let rpc = rpc::Rpc { db: db.clone(), keys, mailed_tokens: mailed_tokens.clone(), hasher };
    let routes = Routes::new(access.layer(AuthServiceServer::new(rpc.clone())))
        .add_service(access.layer(UserServiceServer::new(rpc)));

    let mails = mails::Mails { db: db.clone(), mailer, tokens: mailed_tokens };
    let workers = [
        tokio::spawn(relay::run(db.clone(), streams, shutdown.clone())),
        tokio::spawn(sweep::run(db.clone(), shutdown.clone())),
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
