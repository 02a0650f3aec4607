//! Mailed links: one per user and purpose.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use baton_text::email::key as email_key;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Purpose of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkPurpose {
    /// Sets a new password.
    PasswordReset,
    /// Confirms a new address.
    EmailChange,
    /// Not mailed: the row keeps the previous address until its notice is sent.
    EmailChanged,
    /// Reactivates a deactivated user.
    Reactivation,
}

impl LinkPurpose {
    /// Returns the name in the database and in mailed tokens.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PasswordReset => "password_reset",
            Self::EmailChange => "email_change",
            Self::EmailChanged => "email_changed",
            Self::Reactivation => "reactivation",
        }
    }
}

/// A stored link.
pub(crate) struct EmailLink {
    pub(crate) nonce: Uuid,
    /// An address other than the user's current one; see the migration.
    pub(crate) email: Option<String>,
}

/// Creates a link, which replaces the previous one.
pub(crate) async fn replace(
    tx: &mut Tx,
    user_id: Uuid,
    purpose: LinkPurpose,
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
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Creates a link and returns `true`, unless the current link is still valid at `valid_at`.
pub(crate) async fn replace_unless_valid(
    tx: &mut Tx,
    user_id: Uuid,
    purpose: LinkPurpose,
    email: Option<&str>,
    expires_at: DateTime<Utc>,
    valid_at: DateTime<Utc>,
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
        valid_at
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns the user with this address, who then has a link. A link that is valid at `valid_at` is kept, so that a
/// request invalidates nobody's link. Known and unknown addresses take the same statements.
pub(crate) async fn get_or_create_by_email(
    tx: &mut Tx,
    email: &str,
    purpose: LinkPurpose,
    expires_at: DateTime<Utc>,
    valid_at: DateTime<Utc>,
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
        valid_at
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(user_id)
}

/// Returns a user's link, unless it has expired.
pub(crate) async fn get(
    tx: &mut ReadTx,
    user_id: Uuid,
    purpose: LinkPurpose,
    now: DateTime<Utc>,
) -> Result<Option<EmailLink>> {
    let link = sqlx::query_as!(
        EmailLink,
        "select nonce, email from auth.links where user_id = $1 and purpose = $2 and expires_at > $3",
        user_id,
        purpose.name(),
        now
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(link)
}

/// Deletes and returns a link. Of concurrent calls, one gets it.
pub(crate) async fn consume(
    tx: &mut Tx,
    user_id: Uuid,
    purpose: LinkPurpose,
    nonce: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<EmailLink>> {
    let link = sqlx::query_as!(
        EmailLink,
        "delete from auth.links where user_id = $1 and purpose = $2 and nonce = $3 and expires_at > $4
         returning nonce, email",
        user_id,
        purpose.name(),
        nonce,
        now
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(link)
}

/// Deletes all mailed links of a user, because their basis has changed.
pub(crate) async fn delete_all(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    sqlx::query!("delete from auth.links where user_id = $1 and purpose <> 'email_changed'", user_id)
        .execute(tx.connection())
        .await?;
    Ok(())
}
