//! What the service is told by its environment.

use std::{net::SocketAddr, num::NonZeroU32};

use baton_files::FilesConfig;
use baton_runtime::{ConfigError, Env, Secret, Variable};
use url::Url;

baton_runtime::config! {
    /// The task service's own settings.
    pub struct TaskConfig {
        /// Address to serve gRPC on.
        pub listen: SocketAddr = "BATON_TASK_LISTEN", default "127.0.0.1:50053";
        /// Postgres, as the role that serves calls.
        pub database_url: Secret = "BATON_TASK_DATABASE_URL";
        /// Postgres, as the role for relays and workers.
        pub system_database_url: Secret = "BATON_TASK_SYSTEM_DATABASE_URL";
        /// Connections to Postgres.
        pub database_connections: u32 = "BATON_TASK_DATABASE_CONNECTIONS", default "10";
        /// Redis, which carries events.
        pub redis_url: Secret = "BATON_REDIS_URL";
        /// Issuer of access tokens, the same for all services.
        pub issuer: String = "BATON_ISSUER", default "https://baton.localhost";
        /// The auth service, which knows sessions and keys.
        pub auth_url: Url = "BATON_AUTH_URL";
        /// The tenancy service, which knows members.
        pub tenancy_url: Url = "BATON_TENANCY_URL";
        /// What auth knows the service by, when it works without a caller: as in `BATON_AUTH_SERVICE_SECRETS`.
        pub service_secret: Secret = "BATON_TASK_SERVICE_SECRET";
        /// Largest file that can be attached to a task, in bytes.
        pub attachments_max_bytes: u32 = "BATON_TASK_ATTACHMENTS_MAX_BYTES", default "26214400";
        /// Media types of files that can be attached (`image/png`), separated by commas; when empty, images, audio,
        /// video, PDF, office documents, text and archives. Others than those are served as `application/octet-stream`.
        pub attachments_content_types: Vec<String> = "BATON_TASK_ATTACHMENTS_CONTENT_TYPES", default "";
        /// How often those who watch a board are told that the watch goes on, and it is asked whether it may, in
        /// seconds: less than what proxies on the way let a stream be silent.
        pub watch_keepalive_seconds: NonZeroU32 = "BATON_TASK_WATCH_KEEPALIVE_SECONDS", default "30";
    }
}

/// All settings of the service.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its own.
    pub task: TaskConfig,
    /// Those of the object store.
    pub files: FilesConfig,
}

impl Config {
    /// Reads and checks them; an error names all that is wrong at once.
    ///
    /// # Errors
    /// When a variable is missing or wrong.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        match (TaskConfig::from_env(env), FilesConfig::from_env(env)) {
            (Ok(task), Ok(files)) => Ok(Self { task, files }),
            (task, files) => {
                let wrong = [task.err(), files.err()].into_iter().flatten().flat_map(|ConfigError(lines)| lines);
                Err(ConfigError(wrong.collect()))
            }
        }
    }

    /// The environment variables that they are read from.
    pub fn variables() -> impl Iterator<Item = &'static Variable> {
        TaskConfig::VARIABLES.iter().chain(FilesConfig::VARIABLES)
    }
}
