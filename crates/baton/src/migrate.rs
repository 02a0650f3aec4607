//! `baton migrate`: the Job before a roll-out.

use std::process::ExitCode;

use anyhow::Context;
use baton_runtime::{Env, Secret};
use baton_store::migrate;

use crate::platform;

baton_runtime::config! {
    /// How to reach the database as the owner of the schemas.
    pub struct MigrateConfig {
        /// Postgres, as the role that owns the schemas and may create roles (or finds them there).
        pub database_url: Secret = "BATON_MIGRATE_DATABASE_URL";
    }
}

pub(crate) async fn run(env: &Env, names: &[String]) -> anyhow::Result<ExitCode> {
    let config = MigrateConfig::from_env(env)?;
    for service in platform::named(names)? {
        if let Some(spec) = service.spec {
            migrate::migrate(config.database_url.expose(), spec.name, spec.migrations)
                .await
                .with_context(|| format!("cannot migrate {}", service.name))?;
            println!("{} is up to date", service.name);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings all schemas up to date, in the database that `url` names.
pub(crate) async fn all(url: &str) -> anyhow::Result<()> {
    for spec in platform::specs() {
        migrate::migrate(url, spec.name, spec.migrations).await?;
    }
    Ok(())
}
