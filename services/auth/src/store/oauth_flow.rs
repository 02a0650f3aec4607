//! Started sign-ins at other providers.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::oauth::flow::{FLOW_TTL, Flow};

/// The user who links an identity, and the session in which they proved their identity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkRequest {
    pub(crate) user_id: Uuid,
    pub(crate) session_id: Uuid,
}

/// A started flow.
pub(crate) struct StoredFlow {
    pub(crate) provider: String,
    pub(crate) redirect: String,
    pub(crate) link_request: Option<LinkRequest>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Inserts a flow, and deletes two expired ones, so that they never accumulate.
pub(crate) async fn insert(
    tx: &mut Tx,
    flow: &Flow,
    provider: &str,
    redirect: &str,
    link_request: Option<LinkRequest>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "delete from auth.oauth_flows where state_hash in (
             select state_hash from auth.oauth_flows where expires_at < $1
             order by expires_at limit 2 for update skip locked
         )",
        now
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "insert into auth.oauth_flows (state_hash, browser_hash, provider, redirect, user_id, session_id, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        flow.state_hash(),
        flow.browser_hash(),
        provider,
        redirect,
        link_request.map(|link_request| link_request.user_id),
        link_request.map(|link_request| link_request.session_id),
        now + FLOW_TTL
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes and returns a flow. Of concurrent callbacks, one gets it. Another browser gets nothing and deletes nothing.
pub(crate) async fn consume(tx: &mut Tx, flow: &Flow) -> Result<Option<StoredFlow>> {
    let row = sqlx::query!(
        "delete from auth.oauth_flows where state_hash = $1 and browser_hash = $2
         returning provider, redirect, user_id, session_id, expires_at",
        flow.state_hash(),
        flow.browser_hash()
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| StoredFlow {
        provider: row.provider,
        redirect: row.redirect,
        link_request: row.user_id.zip(row.session_id).map(|(user_id, session_id)| LinkRequest { user_id, session_id }),
        expires_at: row.expires_at,
    }))
}
