//! Sessions and refresh tokens.

use std::net::IpAddr;

use baton_errors::Result;
use baton_runtime::Origin;
use baton_store::{Page, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::mfa::Opened;
use crate::sessions::Generation;

/// A session, as its person sees it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    pub(crate) device: String,
    pub(crate) address: Option<String>,
    pub(crate) amr: Vec<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) last_used_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

fn text(address: Option<IpAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}

/// Opens a session from where the current call comes from, with its first refresh token. `true` when no session that
/// is kept of the person was opened with such a device from this network.
pub(crate) async fn open(tx: &mut Tx, user_id: Uuid, session: &Session, refresh_hash: &[u8]) -> Result<bool> {
    let network = text(Origin::current().network());
    let is_new = sqlx::query_scalar!(
        r#"select not exists (
               select from auth.sessions where user_id = $1 and device = $2 and network is not distinct from $3
           ) as "new!""#,
        user_id,
        session.device,
        network
    )
    .fetch_one(&mut **tx)
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
    .execute(&mut **tx)
    .await?;
    Ok(is_new)
}

/// When the person last proved who they are in a session of theirs that is open; `None` when it is not.
pub(crate) async fn proved_at(
    tx: &mut Tx,
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
    .fetch_optional(&mut **tx)
    .await?;
    Ok(proved_at)
}

/// Notes that the person has proved anew who they are in a session; `false` when it is not open.
pub(crate) async fn prove(tx: &mut Tx, id: Uuid, user_id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "update auth.sessions set proved_at = $3
         where id = $1 and user_id = $2 and closed_at is null and expires_at > $3",
        id,
        user_id,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A session of this user, if it is open: it stays open until the transaction ends, and as it is.
pub(crate) async fn hold(tx: &mut Tx, id: Uuid, user_id: Uuid, now: DateTime<Utc>) -> Result<Option<Opened>> {
    // Whoever closes sessions has locked their person before: the other way round, the two would wait for each other.
    sqlx::query!("select id from auth.users where id = $1 for no key update", user_id)
        .fetch_optional(&mut **tx)
        .await?;
    let held = sqlx::query_as!(
        Opened,
        r#"select coalesce(proved_at, created_at) as "proved_at!", amr from auth.sessions
           where id = $1 and user_id = $2 and closed_at is null and expires_at > $3 for share"#,
        id,
        user_id,
        now
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(held)
}

/// A page of a person's open sessions, newest first, and how many there are in all.
pub(crate) async fn list(tx: &mut Tx, user_id: Uuid, now: DateTime<Utc>, page: &Page) -> Result<(Vec<Session>, i64)> {
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
    .fetch_all(&mut **tx)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from auth.sessions
           where user_id = $1 and closed_at is null and expires_at > $2"#,
        user_id,
        now
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((sessions, total))
}

/// A refresh token and its session.
pub(crate) struct Presented {
    pub(crate) session_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) generation: i32,
    pub(crate) newest: Generation,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) closed_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) amr: Vec<String>,
}

/// Finds a refresh token and locks its session: of several calls at once, one goes first.
pub(crate) async fn present(tx: &mut Tx, hash: &[u8]) -> Result<Option<Presented>> {
    // The lock waits for whoever uses the token, and the row is as they left it. A token's generation never changes.
    let row = sqlx::query!(
        "select t.session_id, t.generation, s.user_id, s.generation as newest, s.generation_at, s.generation_tokens,
                s.created_at, s.closed_at, s.expires_at, s.amr
         from auth.refresh_tokens t join auth.sessions s on s.id = t.session_id where t.hash = $1 for update of s",
        hash
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Presented {
        session_id: row.session_id,
        user_id: row.user_id,
        generation: row.generation,
        newest: Generation { number: row.newest, begun_at: row.generation_at, tokens: row.generation_tokens },
        created_at: row.created_at,
        closed_at: row.closed_at,
        expires_at: row.expires_at,
        amr: row.amr,
    }))
}

/// Exchanges a refresh token for the next one, which keeps its session alive.
pub(crate) async fn exchange(
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
        text(Origin::current().address),
        generation.begun_at,
        generation.tokens
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

/// A session of a person, open or not.
pub(crate) async fn get(tx: &mut Tx, id: Uuid, user_id: Uuid) -> Result<Option<Session>> {
    let session = sqlx::query_as!(
        Session,
        "select id, device, address, amr, created_at, last_used_at, expires_at from auth.sessions
         where id = $1 and user_id = $2",
        id,
        user_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(session)
}

/// Closes the open sessions of a person, but not `except`. Answers those that it closed.
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
    .fetch_all(&mut **tx)
    .await?;
    Ok(closed)
}
