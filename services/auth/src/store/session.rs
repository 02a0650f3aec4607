//! Sessions and refresh tokens.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Opens a session that ends at `expires_at` unless it is refreshed.
pub(crate) async fn open(
    tx: &mut Tx,
    id: Uuid,
    user_id: Uuid,
    amr: &[String],
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into auth.sessions (id, user_id, created_at, last_used_at, expires_at, amr)
         values ($1, $2, $3, $3, $4, $5)",
        id,
        user_id,
        now,
        expires_at,
        amr
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether a session of this user is open.
pub(crate) async fn is_open(tx: &mut Tx, id: Uuid, user_id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let open = sqlx::query_scalar!(
        r#"select exists (
               select from auth.sessions where id = $1 and user_id = $2 and closed_at is null and expires_at > $3
           ) as "open!""#,
        id,
        user_id,
        now
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(open)
}

/// Adds a refresh token to a session.
pub(crate) async fn add_refresh_token(tx: &mut Tx, session_id: Uuid, hash: &[u8], now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "insert into auth.refresh_tokens (hash, session_id, created_at) values ($1, $2, $3)",
        hash,
        session_id,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A refresh token and its session.
pub(crate) struct Presented {
    pub(crate) session_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) used_at: Option<DateTime<Utc>>,
    pub(crate) closed_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) amr: Vec<String>,
}

/// Finds a refresh token and locks its session: of several calls at once, one goes first.
pub(crate) async fn present(tx: &mut Tx, hash: &[u8]) -> Result<Option<Presented>> {
    sqlx::query_scalar!(
        "select s.id from auth.sessions s join auth.refresh_tokens t on t.session_id = s.id
         where t.hash = $1 for update of s",
        hash
    )
    .fetch_optional(&mut **tx)
    .await?;
    // Read only now: the lock may have waited for one who used the token.
    let presented = sqlx::query_as!(
        Presented,
        "select t.session_id, s.user_id, t.used_at, s.closed_at, s.expires_at, s.amr
         from auth.refresh_tokens t join auth.sessions s on s.id = t.session_id where t.hash = $1",
        hash
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(presented)
}

/// Notes that a refresh token was used, which keeps its session alive.
pub(crate) async fn use_refresh_token(
    tx: &mut Tx,
    session_id: Uuid,
    hash: &[u8],
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!("update auth.refresh_tokens set used_at = $2 where hash = $1", hash, now).execute(&mut **tx).await?;
    sqlx::query!(
        "update auth.sessions set last_used_at = $2, expires_at = $3 where id = $1",
        session_id,
        now,
        expires_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Closes a session; `false` when it was closed before.
pub(crate) async fn close(tx: &mut Tx, id: Uuid, reason: &str, now: DateTime<Utc>) -> Result<bool> {
    let closed = sqlx::query!(
        "update auth.sessions set closed_at = $3, close_reason = $2 where id = $1 and closed_at is null",
        id,
        reason,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(closed.rows_affected() == 1)
}
