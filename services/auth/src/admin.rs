//! Access to the signing keys from outside the service: the implementation of `baton keys`.

use anyhow::Context as _;
use baton_runtime::{Clock, Secret};
use baton_sealing::Sealer;
use baton_store::Db;
use chrono::TimeDelta;

use crate::{
    SPEC,
    application::signing_keys::{KeyInfo, SigningKeys},
};

baton_runtime::config! {
    /// Settings needed to reach the signing keys.
    pub struct KeysConfig {
        /// Postgres, as the role that serves calls.
        pub database_url: Secret = "BATON_AUTH_DATABASE_URL";
        /// Keys that seal secrets at rest, the same as the service's.
        pub sealing_keys: Secret = "BATON_AUTH_SEALING_KEYS";
    }
}

/// Returns the signing keys in the order in which they sign. With `rotate` it creates the next key first, unless one is
/// already waiting. That key signs only after every service has fetched it, so a rotation signs nobody out.
///
/// # Errors
/// When the database is unreachable, or the stored keys were sealed with other sealing keys.
pub async fn signing_keys(config: &KeysConfig, rotate: bool) -> anyhow::Result<Vec<KeyInfo>> {
    let sealer = Sealer::new(&config.sealing_keys).context("BATON_AUTH_SEALING_KEYS")?;
    let db = Db::open(SPEC.name, &config.database_url, &config.database_url, 1, Clock::system())?;
    let keys = SigningKeys::new(db, sealer, "", TimeDelta::zero());
    if rotate {
        keys.rotate().await?;
    }
    Ok(keys.list().await?)
}
