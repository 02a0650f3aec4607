//! What the service is told by its environment.

use std::net::SocketAddr;

use baton_mail::MailConfig;
use baton_runtime::{ConfigError, Env, Secret, Variable};

baton_runtime::config! {
    /// The auth service's own settings.
    pub struct AuthConfig {
        /// Address to serve gRPC on.
        pub listen: SocketAddr = "BATON_AUTH_LISTEN", default "127.0.0.1:50051";
        /// Postgres, as the role that serves calls.
        pub database_url: Secret = "BATON_AUTH_DATABASE_URL";
        /// Postgres, as the role for relays and workers.
        pub system_database_url: Secret = "BATON_AUTH_SYSTEM_DATABASE_URL";
        /// Connections to Postgres.
        pub database_connections: u32 = "BATON_AUTH_DATABASE_CONNECTIONS", default "10";
        /// Redis, which carries events.
        pub redis_url: Secret = "BATON_REDIS_URL";
        /// Issuer of access tokens, the same for all services.
        pub issuer: String = "BATON_ISSUER", default "https://baton.localhost";
        /// Ed25519 keys (PKCS#8 DER in base64), separated by commas. The first signs, all verify.
        pub signing_keys: Secret = "BATON_AUTH_SIGNING_KEYS";
        /// Key of the tokens in mailed links: 32 random bytes or more, in base64.
        pub mailed_token_key: Secret = "BATON_AUTH_MAILED_TOKEN_KEY";
        /// Password hashes that run at a time; each takes a core and 19 MiB.
        pub hash_threads: usize = "BATON_AUTH_HASH_THREADS", default "2";
    }
}

/// All settings of the service.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its own.
    pub auth: AuthConfig,
    /// How it sends mail.
    pub mail: MailConfig,
}

impl Config {
    /// Reads and checks them; an error names all that is wrong at once.
    ///
    /// # Errors
    /// When a variable is missing or wrong.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        match (AuthConfig::from_env(env), MailConfig::from_env(env)) {
            (Ok(auth), Ok(mail)) => Ok(Self { auth, mail }),
            (auth, mail) => Err(ConfigError(
                [auth.err(), mail.err()].into_iter().flatten().flat_map(|ConfigError(lines)| lines).collect(),
            )),
        }
    }

    /// The environment variables that they are read from.
    pub fn variables() -> impl Iterator<Item = &'static Variable> {
        AuthConfig::VARIABLES.iter().chain(MailConfig::VARIABLES)
    }
}
