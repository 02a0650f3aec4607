//! What the service is told by its environment.

use std::net::SocketAddr;

use baton_mail::MailConfig;
use baton_runtime::{ConfigError, Env, Secret, Variable};
use url::Url;

baton_runtime::config! {
    /// The tenancy service's own settings.
    pub struct TenancyConfig {
        /// Address to serve gRPC on.
        pub listen: SocketAddr = "BATON_TENANCY_LISTEN", default "127.0.0.1:50052";
        /// Postgres, as the role that serves calls.
        pub database_url: Secret = "BATON_TENANCY_DATABASE_URL";
        /// Postgres, as the role for relays and workers.
        pub system_database_url: Secret = "BATON_TENANCY_SYSTEM_DATABASE_URL";
        /// Connections to Postgres.
        pub database_connections: u32 = "BATON_TENANCY_DATABASE_CONNECTIONS", default "10";
        /// Redis, which carries events.
        pub redis_url: Secret = "BATON_REDIS_URL";
        /// Issuer of access tokens, the same for all services.
        pub issuer: String = "BATON_ISSUER", default "https://baton.localhost";
        /// The auth service.
        pub auth_url: Url = "BATON_AUTH_URL", default "http://127.0.0.1:50051";
        /// Key of the tokens in mailed links: 32 random bytes or more, in base64.
        pub mailed_token_key: Secret = "BATON_TENANCY_MAILED_TOKEN_KEY";
        /// Cells of the table of tiers that differ, separated by commas: `free.users=10`,
        /// `pro.api_requests_per_hour=5000`, `pro.storage_mebibytes=unlimited`.
        pub tier_limits: Vec<String> = "BATON_TENANCY_TIER_LIMITS", default "";
        /// Secrets of Stripe's webhook endpoint (`whsec_...`), separated by commas: several while one is replaced.
        /// Without any, events are not taken in.
        pub stripe_webhook_secrets: Option<Secret> = "BATON_TENANCY_STRIPE_WEBHOOK_SECRETS";
        /// Which of Stripe's prices buys which tier, separated by commas: `price_1=pro`.
        pub stripe_prices: Vec<String> = "BATON_TENANCY_STRIPE_PRICES", default "";
        /// What auth knows the service by, when it asks for people's names: as in `BATON_AUTH_SERVICE_SECRETS`.
        pub service_secret: Secret = "BATON_TENANCY_SERVICE_SECRET";
        /// Days that the activity log is kept, 30 at least. Rows are gone at most a week later.
        pub activity_days: u16 = "BATON_TENANCY_ACTIVITY_DAYS", default "90";
    }
}

/// All settings of the service.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its own.
    pub tenancy: TenancyConfig,
    /// How it sends mail.
    pub mail: MailConfig,
}

impl Config {
    /// Reads and checks them; an error names all that is wrong at once.
    ///
    /// # Errors
    /// When a variable is missing or wrong.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        match (TenancyConfig::from_env(env), MailConfig::from_env(env)) {
            (Ok(tenancy), Ok(mail)) => Ok(Self { tenancy, mail }),
            (tenancy, mail) => Err(ConfigError(
                [tenancy.err(), mail.err()].into_iter().flatten().flat_map(|ConfigError(lines)| lines).collect(),
            )),
        }
    }

    /// The environment variables that they are read from.
    pub fn variables() -> impl Iterator<Item = &'static Variable> {
        TenancyConfig::VARIABLES.iter().chain(MailConfig::VARIABLES)
    }
}
