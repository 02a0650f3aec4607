//! Second factors: secrets, recovery codes, and sign-ins that wait for them.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::second_factor::SecondFactor;

/// What a person is shown of their second factor.
pub(crate) struct Shown {
    pub(crate) enabled_at: Option<DateTime<Utc>>,
    pub(crate) recovery_codes_left: i32,
}

/// What a person is shown of their second factor.
pub(crate) async fn show(tx: &mut Tx, user_id: Uuid) -> Result<Option<Shown>> {
    let shown = sqlx::query_as!(
        Shown,
        r#"select f.enabled_at,
               (select count(*)::int from auth.recovery_codes c where c.user_id = f.user_id) as "recovery_codes_left!"
           from auth.second_factors f where f.user_id = $1"#,
        user_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(shown)
}

/// Locks a person's second factor: of several calls at once, one goes first.
pub(crate) async fn lock(tx: &mut Tx, user_id: Uuid) -> Result<Option<SecondFactor>> {
    let factor = sqlx::query_as!(
        SecondFactor,
        "select user_id, secret, pending_secret, pending_until, last_step, wrong_codes, blocked_until
         from auth.second_factors where user_id = $1 for update",
        user_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(factor)
}

/// Stores a sealed secret that waits for its first code until `until`. `false` when there is a second factor and it
/// is not to be replaced.
pub(crate) async fn begin(
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
    .execute(&mut **tx)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Puts the secret that waited into force. `step` is that of the code which confirmed it.
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
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Removes a second factor with all that belongs to it.
pub(crate) async fn disable(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    sqlx::query!("delete from auth.mfa_challenges where user_id = $1", user_id).execute(&mut **tx).await?;
    sqlx::query!("delete from auth.second_factors where user_id = $1", user_id).execute(&mut **tx).await?;
    // What was proved by a factor that is gone does not count as proved by it.
    sqlx::query!(
        "update auth.sessions set amr = array_remove(array_remove(amr, 'mfa'), 'otp')
         where user_id = $1 and closed_at is null and 'mfa' = any(amr)",
        user_id
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "update auth.api_keys set amr = array_remove(array_remove(amr, 'mfa'), 'otp')
         where user_id = $1 and 'mfa' = any(amr)",
        user_id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes that the code of a time step was taken, beside the secret, sealed perhaps anew. `false` when that step or a
/// later one had been taken.
pub(crate) async fn use_step(tx: &mut Tx, user_id: Uuid, step: i64, sealed: &[u8]) -> Result<bool> {
    let used = sqlx::query!(
        "update auth.second_factors set last_step = $2, secret = $3, wrong_codes = 0, blocked_until = null
         where user_id = $1 and last_step < $2",
        user_id,
        step,
        sealed
    )
    .execute(&mut **tx)
    .await?;
    Ok(used.rows_affected() == 1)
}

/// Uses a recovery code up. `false` when the person has no such code.
pub(crate) async fn use_recovery_code(tx: &mut Tx, user_id: Uuid, hash: &[u8]) -> Result<bool> {
    let used = sqlx::query!(
        "with used as (delete from auth.recovery_codes where user_id = $1 and hash = $2 returning user_id)
         update auth.second_factors f set wrong_codes = 0, blocked_until = null from used where f.user_id = used.user_id",
        user_id,
        hash
    )
    .execute(&mut **tx)
    .await?;
    Ok(used.rows_affected() == 1)
}

/// Counts a wrong code: `wrong_codes` is their number with it.
pub(crate) async fn count_wrong_code(
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
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Replaces all recovery codes.
pub(crate) async fn replace_recovery_codes(tx: &mut Tx, user_id: Uuid, hashes: &[Vec<u8>]) -> Result<()> {
    sqlx::query!("delete from auth.recovery_codes where user_id = $1", user_id).execute(&mut **tx).await?;
    sqlx::query!(
        "insert into auth.recovery_codes (user_id, hash) select $1, hash from unnest($2::bytea[]) hash",
        user_id,
        hashes
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stores a sign-in that waits for its second factor. `false` when the person has none.
pub(crate) async fn challenge(
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
    .execute(&mut **tx)
    .await?;
    Ok(stored.rows_affected() == 1)
}

/// A sign-in that waits for its second factor.
pub(crate) struct Challenge {
    pub(crate) user_id: Uuid,
    pub(crate) amr: Vec<String>,
    /// When the password was changed, as read with the first factor.
    pub(crate) password_changed_at: Option<DateTime<Utc>>,
}

/// Finds one; `None` when it is too old, or its person was deactivated or has changed the password since.
pub(crate) async fn find_challenge(tx: &mut Tx, hash: &[u8], now: DateTime<Utc>) -> Result<Option<Challenge>> {
    let found = sqlx::query_as!(
        Challenge,
        "select c.user_id, c.amr, c.password_changed_at
         from auth.mfa_challenges c join auth.users u on u.id = c.user_id
         where c.hash = $1 and c.expires_at > $2 and u.deactivated_at is null
             and u.password_changed_at is not distinct from c.password_changed_at",
        hash,
        now
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found)
}

/// Whether the person has a second factor, which stays until the transaction ends.
pub(crate) async fn hold(tx: &mut Tx, user_id: Uuid) -> Result<bool> {
    let held = sqlx::query_scalar!(
        "select user_id from auth.second_factors where user_id = $1 and secret is not null for share",
        user_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(held.is_some())
}

/// Uses a challenge up. `false` when another call has.
pub(crate) async fn use_challenge(tx: &mut Tx, hash: &[u8]) -> Result<bool> {
    let used = sqlx::query!("delete from auth.mfa_challenges where hash = $1", hash).execute(&mut **tx).await?;
    Ok(used.rows_affected() == 1)
}

/// When the person last proved who they are in a session, and how it was opened (RFC 8176).
pub(crate) struct Opened {
    pub(crate) proved_at: DateTime<Utc>,
    pub(crate) amr: Vec<String>,
}

/// How a session was opened.
pub(crate) async fn opened(tx: &mut Tx, session_id: Uuid) -> Result<Option<Opened>> {
    let opened = sqlx::query_as!(
        Opened,
        r#"select coalesce(proved_at, created_at) as "proved_at!", amr from auth.sessions where id = $1"#,
        session_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(opened)
}

/// Notes that the person has proved themselves by the second factor too in this session.
pub(crate) async fn complete_session(tx: &mut Tx, session_id: Uuid, methods: &[String]) -> Result<()> {
    sqlx::query!("update auth.sessions set amr = amr || $2 where id = $1 and not amr @> $2", session_id, methods)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
