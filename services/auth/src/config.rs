//! What the service is told by its environment.

use std::{net::SocketAddr, num::NonZeroU32};

use baton_mail::MailConfig;
use baton_runtime::{ConfigError, Env, Secret, Variable};
use url::Url;

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
        /// Days after which another key signs tokens. Signing keys are made and kept by the service itself.
        pub signing_key_days: NonZeroU32 = "BATON_AUTH_SIGNING_KEY_DAYS", default "30";
        /// Secrets of the services that call `service_only` RPCs, as `name:secret` separated by commas, each of 32
        /// characters or more. While one is replaced, its name comes twice.
        pub service_secrets: Secret = "BATON_AUTH_SERVICE_SECRETS";
        /// Key of the tokens in mailed links: 32 random bytes or more, in base64.
        pub mailed_token_key: Secret = "BATON_AUTH_MAILED_TOKEN_KEY";
        /// Keys that seal secrets at rest, as `id:key` with 32 random bytes in base64, separated by commas. The first
        /// seals, all open.
        pub sealing_keys: Secret = "BATON_AUTH_SEALING_KEYS";
        /// Attempts (to sign in, to register, ...) from one network that need no wait between them; right passwords
        /// do not count. Raise it where many people share an address.
        pub attempts_per_address: u32 = "BATON_AUTH_ATTEMPTS_PER_ADDRESS", default "100";
        /// Password hashes that run at a time; each takes a core and the memory below.
        pub hash_threads: usize = "BATON_AUTH_HASH_THREADS", default "2";
        /// Memory of one password hash (Argon2id), in KiB. Whoever signs in gets a hash by the present parameters;
        /// weaker ones than OWASP recommends are refused at start.
        pub hash_memory_kib: u32 = "BATON_AUTH_HASH_MEMORY_KIB", default "19456";
        /// Passes of one password hash over its memory.
        pub hash_passes: u32 = "BATON_AUTH_HASH_PASSES", default "2";
        /// Lanes of one password hash.
        pub hash_lanes: u32 = "BATON_AUTH_HASH_LANES", default "1";
        /// Other providers of identities that people can sign in by, as a JSON list (this service's README shows one);
        /// none when absent. It holds client secrets.
        pub providers: Option<Secret> = "BATON_AUTH_PROVIDERS";
        /// Origins beside that of the web app where a sign-in by a provider may go on, separated by commas.
        pub redirect_origins: Vec<String> = "BATON_AUTH_REDIRECT_ORIGINS", default "";
        /// Where browsers reach the gateway, and so the callback that a provider sends them to; the address of the web
        /// app when absent.
        pub gateway_public_url: Option<Url> = "BATON_GATEWAY_PUBLIC_URL";
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
