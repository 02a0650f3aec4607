//! Sign-ins at other providers that have begun.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::oauth::flow::{Flow, LASTS};

/// Who links an identity, and the session in which they proved who they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linking {
    pub(crate) user_id: Uuid,
    pub(crate) session_id: Uuid,
}

/// A sign-in that has begun.
pub(crate) struct Begun {
    pub(crate) provider: String,
    pub(crate) redirect: String,
    pub(crate) linking: Option<Linking>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Stores the beginning. Each takes two with it that have expired, so they never pile up.
pub(crate) async fn begin(
    tx: &mut Tx,
    flow: &Flow,
    provider: &str,
    redirect: &str,
    linking: Option<Linking>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "delete from auth.oauth_flows where state_hash in (
             select state_hash from auth.oauth_flows where expires_at < $1
             order by expires_at limit 2 for update skip locked
         )",
        now
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "insert into auth.oauth_flows (state_hash, browser_hash, provider, redirect, user_id, session_id, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        flow.state_hash(),
        flow.browser_hash(),
        provider,
        redirect,
        linking.map(|linking| linking.user_id),
        linking.map(|linking| linking.session_id),
        now + LASTS
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends it: of several callbacks for one beginning, one finds it. Another browser's finds nothing, and leaves it.
pub(crate) async fn take(tx: &mut Tx, flow: &Flow) -> Result<Option<Begun>> {
    let row = sqlx::query!(
        "delete from auth.oauth_flows where state_hash = $1 and browser_hash = $2
         returning provider, redirect, user_id, session_id, expires_at",
        flow.state_hash(),
        flow.browser_hash()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Begun {
        provider: row.provider,
        redirect: row.redirect,
        linking: row.user_id.zip(row.session_id).map(|(user_id, session_id)| Linking { user_id, session_id }),
        expires_at: row.expires_at,
    }))
}
