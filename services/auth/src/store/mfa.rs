//! Second factors, recovery codes, and challenges of sign-ins.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::mfa::SecondFactor;

/// State of a second factor, as shown to its user.
pub(crate) struct MfaStatus {
    pub(crate) enabled_at: Option<DateTime<Utc>>,
    pub(crate) recovery_codes_left: i32,
}

/// Returns the state of a user's second factor.
pub(crate) async fn status(tx: &mut ReadTx, user_id: Uuid) -> Result<Option<MfaStatus>> {
    let status = sqlx::query_as!(
        MfaStatus,
        r#"select f.enabled_at,
               (select count(*)::int from auth.recovery_codes c where c.user_id = f.user_id) as "recovery_codes_left!"
           from auth.second_factors f where f.user_id = $1"#,
        user_id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(status)
}

/// Locks and returns a user's second factor.
pub(crate) async fn lock(tx: &mut Tx, user_id: Uuid) -> Result<Option<SecondFactor>> {
    let factor = sqlx::query_as!(
        SecondFactor,
        "select user_id, secret, pending_secret, pending_until, last_step, wrong_codes, blocked_until
         from auth.second_factors where user_id = $1 for update",
        user_id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(factor)
}

/// Stores a sealed secret that awaits its first code until `until`. Returns `false` when a second factor is enabled and
/// `replace` is not set.
pub(crate) async fn save_pending_secret(
    tx: &mut Tx,
    user_id: Uuid,
    sealed: &[u8],
    until: DateTime<Utc>,
    replace: bool,
) -> Result<bool> {
    let begun = sqlx::query!(
        "insert into auth.second_factors (user_id, pending_secret, pending_until) values ($1, $2, $3)
         on conflict (user_id) do update
         set pending_secret = excluded.pending_secret, pending_until = excluded.pending_until
         where second_factors.secret is null or $4",
        user_id,
        sealed,
        until,
        replace
    )
    .execute(tx.connection())
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Enables the pending secret. `step` is the time step of the code that confirmed it.
pub(crate) async fn enable(tx: &mut Tx, user_id: Uuid, step: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update auth.second_factors
         set secret = pending_secret, enabled_at = $3, pending_secret = null, pending_until = null,
             last_step = $2, wrong_codes = 0, blocked_until = null
         where user_id = $1",
        user_id,
        step,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes a second factor, its challenges, and its methods in sessions, API keys and grants.
pub(crate) async fn disable(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    sqlx::query!("delete from auth.mfa_challenges where user_id = $1", user_id).execute(tx.connection()).await?;
    sqlx::query!("delete from auth.second_factors where user_id = $1", user_id).execute(tx.connection()).await?;
    // A proof by a deleted factor no longer counts.
    sqlx::query!(
        "update auth.sessions set amr = array_remove(array_remove(amr, 'mfa'), 'otp')
         where user_id = $1 and closed_at is null and 'mfa' = any(amr)",
        user_id
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "update auth.api_keys set amr = array_remove(array_remove(amr, 'mfa'), 'otp')
         where user_id = $1 and 'mfa' = any(amr)",
        user_id
    )
    .execute(tx.connection())
    .await?;
    // After the sessions, which a new grant locks: it is either seen here or has the methods that are left.
    sqlx::query!(
        "update auth.delegations set amr = array_remove(array_remove(amr, 'mfa'), 'otp')
         where user_id = $1 and 'mfa' = any(amr)",
        user_id
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Records the time step of a used code, and the secret, which may be sealed anew. Returns `false` when that step or a
/// later one was used before.
pub(crate) async fn consume_step(tx: &mut Tx, user_id: Uuid, step: i64, sealed: &[u8]) -> Result<bool> {
    let used = sqlx::query!(
        "update auth.second_factors set last_step = $2, secret = $3, wrong_codes = 0, blocked_until = null
         where user_id = $1 and last_step < $2",
        user_id,
        step,
        sealed
    )
    .execute(tx.connection())
    .await?;
    Ok(used.rows_affected() == 1)
}

/// Deletes a recovery code. Returns `false` when the user has no such code.
pub(crate) async fn consume_recovery_code(tx: &mut Tx, user_id: Uuid, hash: &[u8]) -> Result<bool> {
    let used = sqlx::query!(
        "with used as (delete from auth.recovery_codes where user_id = $1 and hash = $2 returning user_id)
         update auth.second_factors f set wrong_codes = 0, blocked_until = null from used where f.user_id = used.user_id",
        user_id,
        hash
    )
    .execute(tx.connection())
    .await?;
    Ok(used.rows_affected() == 1)
}

/// Records a wrong code. `wrong_codes` is the new count.
pub(crate) async fn record_wrong_code(
    tx: &mut Tx,
    user_id: Uuid,
    wrong_codes: i32,
    blocked_until: Option<DateTime<Utc>>,
) -> Result<()> {
    sqlx::query!(
        "update auth.second_factors set wrong_codes = $2, blocked_until = $3 where user_id = $1",
        user_id,
        wrong_codes,
        blocked_until
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Replaces all recovery codes.
pub(crate) async fn replace_recovery_codes(tx: &mut Tx, user_id: Uuid, hashes: &[Vec<u8>]) -> Result<()> {
    sqlx::query!("delete from auth.recovery_codes where user_id = $1", user_id).execute(tx.connection()).await?;
    sqlx::query!(
        "insert into auth.recovery_codes (user_id, hash) select $1, hash from unnest($2::bytea[]) hash",
        user_id,
        hashes
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Inserts a challenge. Returns `false` when the user has no second factor.
pub(crate) async fn insert_challenge(
    tx: &mut Tx,
    challenge: &Challenge,
    hash: &[u8],
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<bool> {
    let stored = sqlx::query!(
        "with expired as (delete from auth.mfa_challenges where user_id = $1 and expires_at <= $5)
         insert into auth.mfa_challenges (hash, user_id, amr, password_changed_at, expires_at)
         select $2, user_id, $3, $4, $6 from auth.second_factors where user_id = $1 and secret is not null",
        challenge.user_id,
        hash,
        &challenge.amr,
        challenge.password_changed_at,
        now,
        expires_at
    )
    .execute(tx.connection())
    .await?;
    Ok(stored.rows_affected() == 1)
}

/// A sign-in that awaits its second factor.
pub(crate) struct Challenge {
    pub(crate) user_id: Uuid,
    pub(crate) amr: Vec<String>,
    /// Time of the password change, as read with the first factor.
    pub(crate) password_changed_at: Option<DateTime<Utc>>,
}

/// Finds a challenge; `None` when it has expired, or its user was deactivated or has changed the password since.
pub(crate) async fn find_challenge(tx: &mut ReadTx, hash: &[u8], now: DateTime<Utc>) -> Result<Option<Challenge>> {
    let found = sqlx::query_as!(
        Challenge,
        "select c.user_id, c.amr, c.password_changed_at
         from auth.mfa_challenges c join auth.users u on u.id = c.user_id
         where c.hash = $1 and c.expires_at > $2 and u.deactivated_at is null
             and u.password_changed_at is not distinct from c.password_changed_at",
        hash,
        now
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(found)
}

/// Whether the user has a second factor. The row stays locked until the transaction ends.
pub(crate) async fn lock_enabled(tx: &mut Tx, user_id: Uuid) -> Result<bool> {
    let held = sqlx::query_scalar!(
        "select user_id from auth.second_factors where user_id = $1 and secret is not null for share",
        user_id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(held.is_some())
}

/// Deletes a challenge. Returns `false` when another call has.
pub(crate) async fn consume_challenge(tx: &mut Tx, hash: &[u8]) -> Result<bool> {
    let used = sqlx::query!("delete from auth.mfa_challenges where hash = $1", hash).execute(tx.connection()).await?;
    Ok(used.rows_affected() == 1)
}

/// The last proof of identity in a session, and the methods that opened the session (RFC 8176).
pub(crate) struct SessionProof {
    pub(crate) proved_at: DateTime<Utc>,
    pub(crate) amr: Vec<String>,
}

/// Returns the last proof of identity in a session.
pub(crate) async fn session_proof(tx: &mut ReadTx, session_id: Uuid) -> Result<Option<SessionProof>> {
    let proof = sqlx::query_as!(
        SessionProof,
        r#"select coalesce(proved_at, created_at) as "proved_at!", amr from auth.sessions where id = $1"#,
        session_id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(proof)
}

/// Adds authentication methods to a session.
pub(crate) async fn add_session_methods(tx: &mut Tx, session_id: Uuid, methods: &[String]) -> Result<()> {
    sqlx::query!("update auth.sessions set amr = amr || $2 where id = $1 and not amr @> $2", session_id, methods)
        .execute(tx.connection())
        .await?;
    Ok(())
}
