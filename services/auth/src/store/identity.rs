//! What people are at other providers of identities.

use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{registration, user::email_key};
use crate::oauth::Person;

/// An identity that is linked to a person.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) id: Uuid,
    pub(crate) provider: String,
    pub(crate) email: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) last_used_at: DateTime<Utc>,
}

/// Notes that an identity is used to sign in, and answers whose it is.
pub(crate) async fn used(tx: &mut Tx, person: &Person, now: DateTime<Utc>) -> Result<Option<Uuid>> {
    let user_id = sqlx::query_scalar!(
        "update auth.identities set last_used_at = $3 where issuer = $1 and subject = $2 returning user_id",
        person.issuer,
        person.subject,
        now
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(user_id)
}

/// Stores a person whose address their provider confirms, without a password. Who registered with the address and
/// never confirmed it is replaced, password included: else they could sign in as the address's owner later. `false`
/// when the address is a confirmed person's.
pub(crate) async fn register(tx: &mut Tx, id: Uuid, person: &Person, email: &str, now: DateTime<Utc>) -> Result<bool> {
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
        person.first_name,
        person.last_name,
        Uuid::new_v4(),
        now
    )
    .execute(&mut **tx)
    .await?;
    let registered = done.rows_affected() == 1;
    if registered {
        registration::end_all(tx, email).await?;
    }
    Ok(registered)
}

/// Links an identity to a person; `true` beside it when it was not before.
///
/// # Errors
/// IDENTITY_TAKEN when it is somebody else's, IDENTITY_EXISTS when the person has another of this provider.
pub(crate) async fn link(
    tx: &mut Tx,
    user_id: Uuid,
    provider: &str,
    person: &Person,
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
        person.issuer,
        person.subject,
        person.email.as_deref().unwrap_or_default(),
        now
    )
    .fetch_optional(&mut **tx)
    .await
    .map_err(|error| match violated_constraint(&error) {
        Some("identities_provider") => Error::from(Reason::IdentityExists),
        _ => error.into(),
    })?;
    let linked = linked.ok_or_else(|| Error::from(Reason::IdentityTaken))?;
    let new = linked.id == id;
    Ok((linked, new))
}

/// A person's identities, oldest first. There is at most one of each provider.
pub(crate) async fn list(tx: &mut Tx, user_id: Uuid) -> Result<Vec<Identity>> {
    let identities = sqlx::query_as!(
        Identity,
        "select id, provider, email, created_at, last_used_at from auth.identities
         where user_id = $1 order by created_at, id",
        user_id
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(identities)
}

/// Whether the person has a password. Locks them: of two who take away ways to sign in, one goes first.
pub(crate) async fn lock_ways(tx: &mut Tx, user_id: Uuid) -> Result<bool> {
    let has_password = sqlx::query_scalar!(
        r#"select password_hash is not null as "has_password!" from auth.users where id = $1 for update"#,
        user_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    has_password.ok_or_else(|| Reason::SessionClosed.into())
}

/// Unlinks a person's identities that were linked after they registered, but for those of the providers `keep`;
/// answers them.
pub(crate) async fn unlink_added(tx: &mut Tx, user_id: Uuid, keep: &[String]) -> Result<Vec<Identity>> {
    let unlinked = sqlx::query_as!(
        Identity,
        "delete from auth.identities i using auth.users u
         where u.id = $1 and i.user_id = u.id and i.created_at > u.created_at and not i.provider = any($2)
         returning i.id, i.provider, i.email, i.created_at, i.last_used_at",
        user_id,
        keep
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(unlinked)
}

/// Unlinks an identity.
pub(crate) async fn unlink(tx: &mut Tx, user_id: Uuid, id: Uuid) -> Result<()> {
    sqlx::query!("delete from auth.identities where user_id = $1 and id = $2", user_id, id).execute(&mut **tx).await?;
    Ok(())
}
