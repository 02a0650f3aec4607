//! Sessions and refresh tokens.

use std::net::IpAddr;

use baton_errors::Result;
use baton_runtime::Origin;
use baton_store::{Page, ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::mfa::SessionProof;
use crate::sessions::{Generation, Session};

fn ip_text(address: Option<IpAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}

/// Inserts a session with the origin of the current call, and its first refresh token. Returns `true` when none of the
/// user's stored sessions has this device and network.
pub(crate) async fn open(tx: &mut Tx, user_id: Uuid, session: &Session, refresh_hash: &[u8]) -> Result<bool> {
    let network = ip_text(Origin::current().network());
    let is_new = sqlx::query_scalar!(
        r#"select not exists (
               select from auth.sessions where user_id = $1 and device = $2 and network is not distinct from $3
           ) as "new!""#,
        user_id,
        session.device,
        network
    )
    .fetch_one(tx.connection())
    .await?;
    let generation = Generation::first(session.created_at);
    sqlx::query!(
        "with opened as (
             insert into auth.sessions (id, user_id, created_at, last_used_at, expires_at, amr, device, address, network,
                                        generation, generation_at, generation_tokens)
             values ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $3, $10) returning id)
         insert into auth.refresh_tokens (hash, session_id, created_at, generation) select $11, id, $3, $9 from opened",
        session.id,
        user_id,
        session.created_at,
        session.expires_at,
        &session.amr,
        session.device,
        session.address,
        network,
        generation.number,
        generation.tokens,
        refresh_hash
    )
    .execute(tx.connection())
    .await?;
    Ok(is_new)
}

/// Returns when the user last proved their identity in an open session; `None` when the session is not open.
pub(crate) async fn proved_at(
    tx: &mut ReadTx,
    id: Uuid,
    user_id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    let proved_at = sqlx::query_scalar!(
        r#"select coalesce(proved_at, created_at) as "proved_at!" from auth.sessions
           where id = $1 and user_id = $2 and closed_at is null and expires_at > $3"#,
        id,
        user_id,
        now
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(proved_at)
}

/// Records a proof of identity. Returns `false` when the session is not open.
pub(crate) async fn record_proof(tx: &mut Tx, id: Uuid, user_id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "update auth.sessions set proved_at = $3
         where id = $1 and user_id = $2 and closed_at is null and expires_at > $3",
        id,
        user_id,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Locks and returns an open session, which stays open until the transaction ends.
pub(crate) async fn lock_open(
    tx: &mut Tx,
    id: Uuid,
    user_id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<SessionProof>> {
    // Calls that close sessions lock the user first. The same order prevents a deadlock.
    sqlx::query!("select id from auth.users where id = $1 for no key update", user_id)
        .fetch_optional(tx.connection())
        .await?;
    let proof = sqlx::query_as!(
        SessionProof,
        r#"select coalesce(proved_at, created_at) as "proved_at!", amr from auth.sessions
           where id = $1 and user_id = $2 and closed_at is null and expires_at > $3 for share"#,
        id,
        user_id,
        now
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(proof)
}

/// Returns a page of a user's open sessions, newest first, and the total.
pub(crate) async fn list(
    tx: &mut ReadTx,
    user_id: Uuid,
    now: DateTime<Utc>,
    page: &Page,
) -> Result<(Vec<Session>, i64)> {
    let sessions = sqlx::query_as!(
        Session,
        "select id, device, address, amr, created_at, last_used_at, expires_at from auth.sessions
         where user_id = $1 and closed_at is null and expires_at > $2 and id < $3
         order by id desc limit $4 offset $5",
        user_id,
        now,
        page.before(),
        page.limit(),
        page.offset()
    )
    .fetch_all(tx.connection())
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from auth.sessions
           where user_id = $1 and closed_at is null and expires_at > $2"#,
        user_id,
        now
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((sessions, total))
}

/// A refresh token and its session.
pub(crate) struct PresentedToken {
    pub(crate) session_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) generation: i32,
    pub(crate) newest: Generation,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) closed_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) amr: Vec<String>,
}

/// Finds a refresh token and locks its session.
pub(crate) async fn lock_by_refresh_token(tx: &mut Tx, hash: &[u8]) -> Result<Option<PresentedToken>> {
    // After waiting for the lock the session row is current. A token's generation never changes.
    let row = sqlx::query!(
        "select t.session_id, t.generation, s.user_id, s.generation as newest, s.generation_at, s.generation_tokens,
                s.created_at, s.closed_at, s.expires_at, s.amr
         from auth.refresh_tokens t join auth.sessions s on s.id = t.session_id where t.hash = $1 for update of s",
        hash
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| PresentedToken {
        session_id: row.session_id,
        user_id: row.user_id,
        generation: row.generation,
        newest: Generation { number: row.newest, started_at: row.generation_at, tokens: row.generation_tokens },
        created_at: row.created_at,
        closed_at: row.closed_at,
        expires_at: row.expires_at,
        amr: row.amr,
    }))
}

/// Inserts the next refresh token and extends the session.
pub(crate) async fn rotate_refresh_token(
    tx: &mut Tx,
    presented_hash: &[u8],
    next_hash: &[u8],
    session_id: Uuid,
    generation: Generation,
    (now, expires_at): (DateTime<Utc>, DateTime<Utc>),
) -> Result<()> {
    sqlx::query!(
        "with used as (update auth.refresh_tokens set used_at = $5 where hash = $1 and used_at is null),
              kept as (update auth.sessions set last_used_at = $5, expires_at = $6, address = coalesce($7, address),
                              generation = $4, generation_at = $8, generation_tokens = $9
                       where id = $3)
         insert into auth.refresh_tokens (hash, session_id, created_at, generation) values ($2, $3, $5, $4)",
        presented_hash,
        next_hash,
        session_id,
        generation.number,
        now,
        expires_at,
        ip_text(Origin::current().address),
        generation.started_at,
        generation.tokens
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Closes a session. Returns `false` when it was closed before.
pub(crate) async fn close(tx: &mut Tx, id: Uuid, reason: &str, now: DateTime<Utc>) -> Result<bool> {
    let closed = sqlx::query!(
        "update auth.sessions set closed_at = $3, close_reason = $2 where id = $1 and closed_at is null",
        id,
        reason,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(closed.rows_affected() == 1)
}

/// Returns a user's session, open or closed.
pub(crate) async fn get(tx: &mut ReadTx, id: Uuid, user_id: Uuid) -> Result<Option<Session>> {
    let session = sqlx::query_as!(
        Session,
        "select id, device, address, amr, created_at, last_used_at, expires_at from auth.sessions
         where id = $1 and user_id = $2",
        id,
        user_id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(session)
}

/// Closes a user's open sessions, except `except`, and returns their ids.
pub(crate) async fn close_all(
    tx: &mut Tx,
    user_id: Uuid,
    except: Option<Uuid>,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>> {
    let closed = sqlx::query_scalar!(
        "update auth.sessions set closed_at = $4, close_reason = $3
         where user_id = $1 and closed_at is null and expires_at > $4 and ($2::uuid is null or id <> $2) returning id",
        user_id,
        except,
        reason,
        now
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(closed)
}
