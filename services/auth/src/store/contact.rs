//! Contact data of users.

use baton_errors::Result;
use baton_store::ReadTx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A user's name, address and time zone.
pub(crate) struct Contact {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) timezone: String,
}

/// What an anonymous profile is made of.
pub(crate) struct Profile {
    pub(crate) id: Uuid,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) email: String,
    pub(crate) timezone: String,
}

/// Returns the profiles of the users with these ids that are confirmed and active.
pub(crate) async fn profiles(tx: &mut ReadTx, ids: &[Uuid]) -> Result<Vec<Profile>> {
    let profiles = sqlx::query_as!(
        Profile,
        "select id, created_at, email, timezone from auth.users
         where id = any($1) and email_verified_at is not null and deactivated_at is null",
        ids
    );
    Ok(profiles.fetch_all(tx.connection()).await?)
}

/// Returns the users with these ids that are confirmed and active.
pub(crate) async fn by_ids(tx: &mut ReadTx, ids: &[Uuid]) -> Result<Vec<Contact>> {
    let contacts = sqlx::query_as!(
        Contact,
        "select id, email, first_name, last_name, timezone from auth.users
         where id = any($1) and email_verified_at is not null and deactivated_at is null",
        ids
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(contacts)
}
