//! People.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A person, without their secrets.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) email_verified_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// What registering needs beside the person.
pub(crate) struct NewSecrets {
    pub(crate) password_hash: String,
    pub(crate) activation_nonce: Uuid,
}

/// What an address is known under.
pub(crate) fn email_key(email: &str) -> String {
    email.to_lowercase()
}

/// Stores a new person. One who registered before and never confirmed the address is replaced, id and
/// password included. `false` when the address is a confirmed person's.
pub(crate) async fn register(tx: &mut Tx, user: &User, secrets: &NewSecrets) -> Result<bool> {
    let done = sqlx::query!(
        r#"insert into auth.users
               (id, email, email_key, password_hash, first_name, last_name, activation_nonce, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $8)
           on conflict on constraint users_email_key do update set
               id = excluded.id, email = excluded.email, password_hash = excluded.password_hash,
               first_name = excluded.first_name, last_name = excluded.last_name,
               activation_nonce = excluded.activation_nonce,
               created_at = excluded.created_at, updated_at = excluded.updated_at
           where users.email_verified_at is null"#,
        user.id,
        user.email,
        email_key(&user.email),
        secrets.password_hash,
        user.first_name,
        user.last_name,
        secrets.activation_nonce,
        user.created_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Id of the person with this address.
pub(crate) async fn id_by_email(tx: &mut Tx, email: &str) -> Result<Option<Uuid>> {
    let id = sqlx::query_scalar!("select id from auth.users where email_key = $1", email_key(email))
        .fetch_optional(&mut **tx)
        .await?;
    Ok(id)
}

/// Confirms the address of a person who registered after `since`, if the nonce is that of the newest
/// link. `true` beside the person when it was not confirmed before.
pub(crate) async fn verify(
    tx: &mut Tx,
    id: Uuid,
    nonce: Uuid,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<(User, bool)>> {
    let first = sqlx::query!(
        "update auth.users set email_verified_at = $4, updated_at = $4
         where id = $1 and activation_nonce = $2 and created_at > $3 and email_verified_at is null",
        id,
        nonce,
        since,
        now
    )
    .execute(&mut **tx)
    .await?;
    let user = sqlx::query_as!(
        User,
        "select id, email, first_name, last_name, email_verified_at, created_at, updated_at from auth.users
         where id = $1 and activation_nonce = $2 and email_verified_at is not null",
        id,
        nonce
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(user.map(|user| (user, first.rows_affected() == 1)))
}

/// One person.
pub(crate) async fn get(tx: &mut Tx, id: Uuid) -> Result<Option<User>> {
    let user = sqlx::query_as!(
        User,
        "select id, email, first_name, last_name, email_verified_at, created_at, updated_at from auth.users where id = $1",
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(user)
}

/// The person with this address and their password's hash.
pub(crate) async fn credentials(tx: &mut Tx, email: &str) -> Result<Option<(User, String)>> {
    let row = sqlx::query!(
        "select id, email, first_name, last_name, email_verified_at, created_at, updated_at, password_hash
         from auth.users where email_key = $1",
        email_key(email)
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| {
        let user = User {
            id: row.id,
            email: row.email,
            first_name: row.first_name,
            last_name: row.last_name,
            email_verified_at: row.email_verified_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        };
        (user, row.password_hash)
    }))
}

/// Where to mail a person.
pub(crate) struct Recipient {
    pub(crate) email: String,
    pub(crate) activation_nonce: Uuid,
}

/// Where to mail a person; `None` when they are gone.
pub(crate) async fn recipient(tx: &mut Tx, id: Uuid) -> Result<Option<Recipient>> {
    let recipient = sqlx::query_as!(Recipient, "select email, activation_nonce from auth.users where id = $1", id)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(recipient)
}
