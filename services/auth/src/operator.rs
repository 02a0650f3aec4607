//! What `baton keys` does: the signing keys, from outside of the service.

use anyhow::Context as _;
use baton_runtime::{Clock, Secret};
use baton_sealing::Sealer;
use baton_store::Db;
use chrono::TimeDelta;

use crate::{
    SCHEMA,
    keys::{KeyInfo, SigningKeys},
};

baton_runtime::config! {
    /// What it takes to reach the signing keys.
    pub struct KeysConfig {
        /// Postgres, as the role that serves calls.
        pub database_url: Secret = "BATON_AUTH_DATABASE_URL";
        /// Keys that seal secrets at rest, as the service has them.
        pub sealing_keys: Secret = "BATON_AUTH_SEALING_KEYS";
    }
}

/// The signing keys, in the order in which they sign; with `rotate` after making another, unless one waits already.
/// It signs when everybody knows it, so nobody is signed out.
///
/// # Errors
/// When the database does not answer, or the keys in it were sealed with others.
pub async fn signing_keys(config: &KeysConfig, rotate: bool) -> anyhow::Result<Vec<KeyInfo>> {
    let sealer = Sealer::new(&config.sealing_keys).context("BATON_AUTH_SEALING_KEYS")?;
    let db = Db::open(SCHEMA, &config.database_url, &config.database_url, 1, Clock::system())?;
    let keys = SigningKeys::new(db, sealer, "", TimeDelta::zero());
    if rotate {
        keys.rotate().await?;
    }
    Ok(keys.list().await?)
}
