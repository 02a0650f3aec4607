//! The newest link of each purpose that was mailed to a person.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::user::email_key;

/// What a link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Sets a new password.
    PasswordReset,
    /// Confirms a new address.
    EmailChange,
    /// None: it keeps the address before, until that is told of the new one.
    EmailChanged,
    /// Takes a deactivation back.
    Reactivation,
}

impl Purpose {
    /// As it is stored, and as mailed tokens name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PasswordReset => "password_reset",
            Self::EmailChange => "email_change",
            Self::EmailChanged => "email_changed",
            Self::Reactivation => "reactivation",
        }
    }
}

/// A link.
pub(crate) struct Link {
    pub(crate) nonce: Uuid,
    /// An address that is not the person's present one; see the migration.
    pub(crate) email: Option<String>,
}

/// Makes a person's newest link; the one before ends.
pub(crate) async fn renew(
    tx: &mut Tx,
    user_id: Uuid,
    purpose: Purpose,
    email: Option<&str>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into auth.links (user_id, purpose, nonce, email, expires_at) values ($1, $2, $3, $4, $5)
         on conflict (user_id, purpose) do update
             set nonce = excluded.nonce, email = excluded.email, expires_at = excluded.expires_at",
        user_id,
        purpose.name(),
        Uuid::new_v4(),
        email,
        expires_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Makes a person's newest link, unless there is one that works past `past`: that one stays, and the answer is
/// `false`.
pub(crate) async fn renew_ended(
    tx: &mut Tx,
    user_id: Uuid,
    purpose: Purpose,
    email: Option<&str>,
    expires_at: DateTime<Utc>,
    past: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        "insert into auth.links (user_id, purpose, nonce, email, expires_at) values ($1, $2, $3, $4, $5)
         on conflict (user_id, purpose) do update
             set nonce = excluded.nonce, email = excluded.email, expires_at = excluded.expires_at
             where links.expires_at <= $6",
        user_id,
        purpose.name(),
        Uuid::new_v4(),
        email,
        expires_at,
        past
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a link for the person with this address, in the same statements whether or not there is one. A link that works
/// past `past` stays as it is: whoever may ask for links ends nobody's by asking. Answers their id.
pub(crate) async fn renew_by_email(
    tx: &mut Tx,
    email: &str,
    purpose: Purpose,
    expires_at: DateTime<Utc>,
    past: DateTime<Utc>,
) -> Result<Option<Uuid>> {
    let user_id = sqlx::query_scalar!(
        "insert into auth.links (user_id, purpose, nonce, expires_at)
         select id, $2, $3, $4 from auth.users where email_key = $1
         on conflict (user_id, purpose) do update
             set nonce = case when links.expires_at > $5 then links.nonce else excluded.nonce end,
                 expires_at = case when links.expires_at > $5 then links.expires_at else excluded.expires_at end
         returning user_id",
        email_key(email),
        purpose.name(),
        Uuid::new_v4(),
        expires_at,
        past
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(user_id)
}

/// A person's link, if it still works.
pub(crate) async fn get(tx: &mut Tx, user_id: Uuid, purpose: Purpose, now: DateTime<Utc>) -> Result<Option<Link>> {
    let link = sqlx::query_as!(
        Link,
        "select nonce, email from auth.links where user_id = $1 and purpose = $2 and expires_at > $3",
        user_id,
        purpose.name(),
        now
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(link)
}

/// Uses a link up: of several calls at once, one gets it.
pub(crate) async fn take(
    tx: &mut Tx,
    user_id: Uuid,
    purpose: Purpose,
    nonce: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Link>> {
    let link = sqlx::query_as!(
        Link,
        "delete from auth.links where user_id = $1 and purpose = $2 and nonce = $3 and expires_at > $4
         returning nonce, email",
        user_id,
        purpose.name(),
        nonce,
        now
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(link)
}

/// Ends all links of a person: what they were mailed for has changed.
pub(crate) async fn end_all(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    sqlx::query!("delete from auth.links where user_id = $1 and purpose <> 'email_changed'", user_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
