//! Identities at other providers.

use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_store::{ReadTx, Tx};
use baton_text::email::key as email_key;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::registration;
use crate::{identity::Identity, oauth::ExternalIdentity};

/// Records a sign-in with an identity, and returns its user.
pub(crate) async fn record_use(tx: &mut Tx, external: &ExternalIdentity, now: DateTime<Utc>) -> Result<Option<Uuid>> {
    let user_id = sqlx::query_scalar!(
        "update auth.identities set last_used_at = $3 where issuer = $1 and subject = $2 returning user_id",
        external.issuer,
        external.subject,
        now
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(user_id)
}

/// Inserts a user without a password, whose address the provider has verified. An unconfirmed user with the address is
/// replaced, including the password: otherwise they could sign in as its owner later. Returns `false` when the address
/// belongs to a confirmed user.
pub(crate) async fn register_user(
    tx: &mut Tx,
    id: Uuid,
    external: &ExternalIdentity,
    email: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        "insert into auth.users
             (id, email, email_key, first_name, last_name, email_verified_at, activation_nonce, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $7, $6, $7, $7)
         on conflict on constraint users_email_key do update set
             id = excluded.id, email = excluded.email, password_hash = null,
             first_name = excluded.first_name, last_name = excluded.last_name,
             email_verified_at = excluded.email_verified_at, activation_nonce = excluded.activation_nonce,
             activation_at = null, created_at = excluded.created_at, updated_at = excluded.updated_at
         where users.email_verified_at is null",
        id,
        email,
        email_key(email),
        external.first_name,
        external.last_name,
        Uuid::new_v4(),
        now
    )
    .execute(tx.connection())
    .await?;
    let registered = done.rows_affected() == 1;
    if registered {
        registration::delete_all(tx, email).await?;
    }
    Ok(registered)
}

/// Links an identity to a user. Returns it, and whether it is new.
///
/// # Errors
/// IDENTITY_TAKEN when another user has it; IDENTITY_EXISTS when the user has another one of this provider.
pub(crate) async fn link(
    tx: &mut Tx,
    user_id: Uuid,
    provider: &str,
    external: &ExternalIdentity,
    now: DateTime<Utc>,
) -> Result<(Identity, bool)> {
    let id = tx.db().clock().new_id();
    let linked = sqlx::query_as!(
        Identity,
        "insert into auth.identities (id, user_id, provider, issuer, subject, email, created_at, last_used_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)
         on conflict on constraint identities_subject do update set email = excluded.email
         where identities.user_id = excluded.user_id
         returning id, provider, email, created_at, last_used_at",
        id,
        user_id,
        provider,
        external.issuer,
        external.subject,
        external.email.as_deref().unwrap_or_default(),
        now
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(|error| match violated_constraint(&error) {
        Some("identities_provider") => Error::from(Reason::IdentityExists),
        _ => error.into(),
    })?;
    let linked = linked.ok_or_else(|| Error::from(Reason::IdentityTaken))?;
    let new = linked.id == id;
    Ok((linked, new))
}

/// Lists a user's identities, oldest first. There is at most one per provider.
pub(crate) async fn list(tx: &mut ReadTx, user_id: Uuid) -> Result<Vec<Identity>> {
    let identities = sqlx::query_as!(
        Identity,
        "select id, provider, email, created_at, last_used_at from auth.identities
         where user_id = $1 order by created_at, id",
        user_id
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(identities)
}

/// Locks the user and returns whether they have a password, so that concurrent calls do not remove the last way to sign
/// in.
///
/// # Errors
/// SESSION_CLOSED when the user is gone.
pub(crate) async fn lock_sign_in_methods(tx: &mut Tx, user_id: Uuid) -> Result<bool> {
    let has_password = sqlx::query_scalar!(
        r#"select password_hash is not null as "has_password!" from auth.users where id = $1 for update"#,
        user_id
    )
    .fetch_optional(tx.connection())
    .await?;
    has_password.ok_or_else(|| Reason::SessionClosed.into())
}

/// Unlinks and returns the identities that were linked after the registration, except those of the providers in `keep`.
pub(crate) async fn unlink_later(tx: &mut Tx, user_id: Uuid, keep: &[String]) -> Result<Vec<Identity>> {
    let unlinked = sqlx::query_as!(
        Identity,
        "delete from auth.identities i using auth.users u
         where u.id = $1 and i.user_id = u.id and i.created_at > u.created_at and not i.provider = any($2)
         returning i.id, i.provider, i.email, i.created_at, i.last_used_at",
        user_id,
        keep
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(unlinked)
}

pub(crate) async fn unlink(tx: &mut Tx, user_id: Uuid, id: Uuid) -> Result<()> {
    sqlx::query!("delete from auth.identities where user_id = $1 and id = $2", user_id, id)
        .execute(tx.connection())
        .await?;
    Ok(())
}
