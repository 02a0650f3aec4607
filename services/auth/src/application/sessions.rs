//! Closes sessions, and checks them for the access layer.

use async_trait::async_trait;
use baton_access::{Caller, DelegationSource, KeyGrant, PresentedKey, Sessions};
use baton_errors::{Reason, Result};
use baton_store::{Db, Tenant, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{api_key, delegation};
use crate::{events::publish, store};

/// Closes a user's open sessions, except `except`, publishes an event for each, and returns their number.
pub(crate) async fn close_all(tx: &mut Tx, user_id: Uuid, except: Option<Uuid>, reason: &str) -> Result<usize> {
    let now = tx.db().clock().now();
    let closed = store::session::close_all(tx, user_id, except, reason, now).await?;
    let count = closed.len();
    tx.publish_all(closed.into_iter().map(|id| publish::session_closed(user_id, id))).await?;
    Ok(count)
}

/// Session checks against the service's own tables.
pub(crate) struct LocalSessions(pub(crate) Db);

#[async_trait]
impl Sessions for LocalSessions {
    async fn check(&self, caller: &Caller) -> Result<Option<DateTime<Utc>>> {
        let mut tx = self.0.begin_read(Tenant::user(caller.user_id)).await?;
        let now = self.0.clock().now();
        let proved_at = store::session::proved_at(&mut tx, caller.session_id, caller.user_id, now).await?;
        proved_at.map(Some).ok_or_else(|| Reason::SessionClosed.into())
    }

    async fn api_key(&self, key: &PresentedKey) -> Result<KeyGrant> {
        api_key::resolve(&self.0, &key.hash).await
    }

    async fn delegation(&self, caller: &Caller, source: DelegationSource) -> Result<Vec<String>> {
        delegation::authentication_methods(&self.0, caller.user_id, source).await
    }
}
