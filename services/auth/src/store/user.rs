//! Users.

use std::net::IpAddr;

use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_store::{ReadTx, Tx};
use baton_text::email::key as email_key;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use super::registration;
use crate::user::User;

/// A user as it is stored.
struct Row {
    id: Uuid,
    email: String,
    email_verified_at: Option<DateTime<Utc>>,
    password_changed_at: Option<DateTime<Utc>>,
    deactivated_at: Option<DateTime<Utc>>,
    data_retention_date: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
    first_name: String,
    last_name: String,
    mobile: String,
    avatar_url: String,
    company: String,
    job_role: String,
    timezone: String,
    language: String,
    preferences: Json<Map<String, Value>>,
    consent_version: i32,
    sign_in_count: i32,
    current_sign_in_at: Option<DateTime<Utc>>,
    current_sign_in_address: Option<String>,
    last_sign_in_at: Option<DateTime<Utc>>,
    last_sign_in_address: Option<String>,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            email: row.email,
            email_verified_at: row.email_verified_at,
            password_changed_at: row.password_changed_at,
            deactivated_at: row.deactivated_at,
            data_retention_date: row.data_retention_date,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
            first_name: row.first_name,
            last_name: row.last_name,
            mobile: row.mobile,
            avatar_url: row.avatar_url,
            company: row.company,
            job_role: row.job_role,
            timezone: row.timezone,
            language: row.language,
            preferences: row.preferences.0,
            consent_version: row.consent_version,
            sign_in_count: row.sign_in_count,
            current_sign_in_at: row.current_sign_in_at,
            current_sign_in_address: row.current_sign_in_address,
            last_sign_in_at: row.last_sign_in_at,
            last_sign_in_address: row.last_sign_in_address,
        }
    }
}

/// Returns the id of the user with this address.
pub(crate) async fn id_by_email(tx: &mut ReadTx, email: &str) -> Result<Option<Uuid>> {
    let id = sqlx::query_scalar!("select id from auth.users where email_key = $1", email_key(email))
        .fetch_optional(tx.connection())
        .await?;
    Ok(id)
}

/// Returns the id of the confirmed user with this address.
pub(crate) async fn confirmed_id_by_email(tx: &mut ReadTx, email: &str) -> Result<Option<Uuid>> {
    let id = sqlx::query_scalar!(
        "select id from auth.users where email_key = $1 and email_verified_at is not null",
        email_key(email)
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(id)
}

/// Confirms the address of a user whom the previous version registered, if the link is younger than `since`. Returns
/// `false` when it was confirmed before.
pub(crate) async fn confirm_email(
    tx: &mut Tx,
    id: Uuid,
    nonce: Uuid,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let confirmed = sqlx::query!(
        "update auth.users set email_verified_at = $4, updated_at = $4
         where id = $1 and activation_nonce = $2 and coalesce(activation_at, created_at) > $3
           and email_verified_at is null and password_hash is not null",
        id,
        nonce,
        since,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(confirmed.rows_affected() == 1)
}

/// Returns the user whose address this link has confirmed, if it is younger than `since`.
pub(crate) async fn find_confirmed_by(
    tx: &mut ReadTx,
    id: Uuid,
    nonce: Uuid,
    since: DateTime<Utc>,
) -> Result<Option<User>> {
    let confirmed = sqlx::query_scalar!(
        "select id from auth.users
         where id = $1 and activation_nonce = $2 and coalesce(activation_at, created_at) > $3
           and email_verified_at is not null",
        id,
        nonce,
        since
    )
    .fetch_optional(tx.connection())
    .await?;
    match confirmed {
        Some(id) => get(tx, id).await,
        None => Ok(None),
    }
}

macro_rules! select_user {
    ($condition:literal, $argument:expr) => {
        sqlx::query_as!(
            Row,
            r#"select id, email, email_verified_at, password_changed_at, deactivated_at, data_retention_date, created_at,
                      updated_at, version, first_name, last_name, mobile, avatar_url, company, job_role, timezone,
                      language, preferences as "preferences: Json<Map<String, Value>>", consent_version,
                      sign_in_count, current_sign_in_at, current_sign_in_address, last_sign_in_at,
                      last_sign_in_address
               from auth.users where "# + $condition,
            $argument
        )
    };
}

/// Returns a user.
pub(crate) async fn get(tx: &mut ReadTx, id: Uuid) -> Result<Option<User>> {
    Ok(select_user!("id = $1", id).fetch_optional(tx.connection()).await?.map(User::from))
}

/// Returns a user, locked against concurrent changes.
pub(crate) async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<User>> {
    Ok(select_user!("id = $1 for no key update", id).fetch_optional(tx.connection()).await?.map(User::from))
}

/// Returns the user with this address and their password hash, if any. An unknown address takes the same statements, so
/// the time reveals nothing.
pub(crate) async fn find_credentials(tx: &mut ReadTx, email: &str) -> Result<Option<(User, Option<String>)>> {
    let user = select_user!("email_key = $1", email_key(email)).fetch_optional(tx.connection()).await?.map(User::from);
    // Read after the user: if the password changes in between, `record_sign_in` refuses the session.
    let hash = password_hash(tx, user.as_ref().map_or_else(Uuid::nil, |user| user.id)).await?;
    Ok(user.map(|user| (user, hash)))
}

/// Returns a user's password hash, if any.
pub(crate) async fn password_hash(tx: &mut ReadTx, id: Uuid) -> Result<Option<String>> {
    let hash = sqlx::query_scalar!("select password_hash from auth.users where id = $1", id)
        .fetch_optional(tx.connection())
        .await?;
    Ok(hash.flatten())
}

/// Stores the profile of a locked user.
pub(crate) async fn save_profile(tx: &mut Tx, user: &User) -> Result<()> {
    sqlx::query!(
        "update auth.users set
             first_name = $2, last_name = $3, mobile = $4, avatar_url = $5, company = $6, job_role = $7,
             timezone = $8, language = $9, preferences = $10, consent_version = $11, version = $12, updated_at = $13
         where id = $1",
        user.id,
        user.first_name,
        user.last_name,
        user.mobile,
        user.avatar_url,
        user.company,
        user.job_role,
        user.timezone,
        user.language,
        Json(&user.preferences) as _,
        user.consent_version,
        user.version,
        user.updated_at
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Records a sign-in in the database and in `user`, in the transaction that opens the session.
///
/// # Errors
/// CREDENTIALS_INVALID when the password was changed or the user was deactivated since `user` was read.
pub(crate) async fn record_sign_in(
    tx: &mut Tx,
    user: &mut User,
    now: DateTime<Utc>,
    address: Option<IpAddr>,
) -> Result<()> {
    let counted = sqlx::query!(
        "update auth.users set
             sign_in_count = sign_in_count + 1,
             last_sign_in_at = current_sign_in_at, last_sign_in_address = current_sign_in_address,
             current_sign_in_at = $3, current_sign_in_address = $4
         where id = $1 and password_changed_at is not distinct from $2 and deactivated_at is null
         returning sign_in_count, current_sign_in_address, last_sign_in_at, last_sign_in_address",
        user.id,
        user.password_changed_at,
        now,
        address.map(|address| address.to_string())
    )
    .fetch_optional(tx.connection())
    .await?
    .ok_or_else(|| Error::from(Reason::CredentialsInvalid))?;
    (user.sign_in_count, user.current_sign_in_at) = (counted.sign_in_count, Some(now));
    user.current_sign_in_address = counted.current_sign_in_address;
    (user.last_sign_in_at, user.last_sign_in_address) = (counted.last_sign_in_at, counted.last_sign_in_address);
    Ok(())
}

/// Replaces a hash by one of the same password with the current parameters.
pub(crate) async fn replace_password_hash(tx: &mut Tx, id: Uuid, before: &str, after: &str) -> Result<()> {
    sqlx::query!("update auth.users set password_hash = $3 where id = $1 and password_hash = $2", id, before, after)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Sets a password; `verified` also confirms the address. Returns `false` when the password has changed since `user`
/// was read.
pub(crate) async fn set_password(
    tx: &mut Tx,
    user: &User,
    hash: &str,
    verified: bool,
    now: DateTime<Utc>,
) -> Result<bool> {
    let set = sqlx::query!(
        "update auth.users set
             password_hash = $3, password_changed_at = $5,
             email_verified_at = case when $4 then coalesce(email_verified_at, $5) else email_verified_at end
         where id = $1 and password_changed_at is not distinct from $2",
        user.id,
        user.password_changed_at,
        hash,
        verified,
        now
    )
    .execute(tx.connection())
    .await?;
    if verified {
        registration::delete_all(tx, &user.email).await?;
    }
    Ok(set.rows_affected() == 1)
}

/// Sets a confirmed address and invalidates the previous activation link. An unconfirmed user with that address is
/// deleted.
///
/// # Errors
/// EMAIL_TAKEN when another confirmed user has the address.
pub(crate) async fn set_email(tx: &mut Tx, id: Uuid, email: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "delete from auth.users where email_key = $1 and email_verified_at is null and id <> $2",
        email_key(email),
        id
    )
    .execute(tx.connection())
    .await?;
    registration::delete_all(tx, email).await?;
    sqlx::query!(
        "update auth.users set email = $2, email_key = $3, email_verified_at = $4, activation_nonce = $5,
             updated_at = $4, version = version + 1
         where id = $1",
        id,
        email,
        email_key(email),
        now,
        Uuid::new_v4()
    )
    .execute(tx.connection())
    .await
    .map_err(|error| match violated_constraint(&error) {
        Some("users_email_key") => Error::from(Reason::EmailTaken),
        _ => error.into(),
    })?;
    Ok(())
}

/// Deactivates a user until `until`. Returns `false` when they are deactivated already.
pub(crate) async fn deactivate(tx: &mut Tx, id: Uuid, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "update auth.users set deactivated_at = $2, data_retention_date = $3
         where id = $1 and deactivated_at is null",
        id,
        now,
        until
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Reactivates a user. Returns `false` when they are not deactivated, or the window has passed.
pub(crate) async fn reactivate(tx: &mut Tx, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "update auth.users set deactivated_at = null, data_retention_date = null
         where id = $1 and deactivated_at is not null and data_retention_date > $2",
        id,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Recipient of an email.
pub(crate) struct Recipient {
    pub(crate) email: String,
}

/// Returns the address of a user; `None` when they are gone.
pub(crate) async fn recipient(tx: &mut ReadTx, id: Uuid) -> Result<Option<Recipient>> {
    let recipient = sqlx::query_as!(Recipient, "select email from auth.users where id = $1", id)
        .fetch_optional(tx.connection())
        .await?;
    Ok(recipient)
}
