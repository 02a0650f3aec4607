//! Sessions: how long they last, and the refresh tokens that carry them on.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_access::{Caller, Sessions};
use baton_errors::{Reason, Result};
use baton_store::{Db, Tenant};
use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use crate::store;

/// A session ends when it has not been refreshed for this long.
pub(crate) const IDLE: TimeDelta = TimeDelta::days(30);

/// A refresh token: what the client gets, and what is stored.
pub(crate) struct RefreshToken {
    pub(crate) text: String,
    pub(crate) hash: Vec<u8>,
}

impl RefreshToken {
    /// 256 random bits.
    pub(crate) fn new() -> Self {
        let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let hash = hash(&text);
        Self { text, hash }
    }
}

/// What is stored of a refresh token. It has 256 random bits, so a fast hash is enough.
pub(crate) fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

/// Open sessions, read from the service's own tables.
pub(crate) struct LocalSessions(pub(crate) Db);

#[async_trait]
impl Sessions for LocalSessions {
    async fn check(&self, caller: &Caller) -> Result<()> {
        let mut tx = self.0.begin(Tenant::user(caller.user_id)).await?;
        let now = self.0.clock().now();
        if store::session::is_open(&mut tx, caller.session_id, caller.user_id, now).await? {
            Ok(())
        } else {
            Err(Reason::SessionClosed.into())
        }
    }
}
