//! Registrations: users who have not confirmed their address yet.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use baton_text::email::key as email_key;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::registration::Registration;

/// Inserts a registration beside others for the same address. `emailed` says whether its link is mailed. Returns
/// `false` when the address belongs to a confirmed user.
pub(crate) async fn insert(tx: &mut Tx, registration: &Registration, emailed: bool) -> Result<bool> {
    let done = sqlx::query!(
        "insert into auth.registrations
             (id, email, email_key, password_hash, first_name, last_name, nonce, linked_at, mailed_at, created_at)
         select $1, $2, $3, $4, $5, $6, $7, $8::timestamptz, case when $9 then $8 end, $8
         where not exists (select from auth.users where email_key = $3 and email_verified_at is not null)",
        registration.id,
        registration.email,
        email_key(&registration.email),
        registration.password_hash,
        registration.first_name,
        registration.last_name,
        Uuid::new_v4(),
        registration.created_at,
        emailed,
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A pending registration.
pub(crate) struct PendingRegistration {
    pub(crate) id: Uuid,
    pub(crate) password_hash: String,
}

/// Returns the newest registration of this address whose link is younger than `since`.
pub(crate) async fn newest_pending(
    tx: &mut ReadTx,
    email: &str,
    since: DateTime<Utc>,
) -> Result<Option<PendingRegistration>> {
    let newest = sqlx::query_as!(
        PendingRegistration,
        "select id, password_hash from auth.registrations where email_key = $1 and linked_at > $2
         order by created_at desc, id desc limit 1",
        email_key(email),
        since
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(newest)
}

/// Updates the address as typed and the names, after a retry.
pub(crate) async fn update(tx: &mut Tx, registration: &Registration, emailed: bool) -> Result<()> {
    sqlx::query!(
        "update auth.registrations
         set email = $2, first_name = $3, last_name = $4, mailed_at = case when $5 then $6 else mailed_at end
         where id = $1",
        registration.id,
        registration.email,
        registration.first_name,
        registration.last_name,
        emailed,
        registration.created_at
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Records that the newest registration of an address gets its link again, and returns its id. A link that is older
/// than `since` is replaced.
pub(crate) async fn renew_link(
    tx: &mut Tx,
    email: &str,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>> {
    let id = sqlx::query_scalar!(
        "update auth.registrations
         set nonce = case when linked_at > $2 then nonce else $4 end,
             linked_at = case when linked_at > $2 then linked_at else $3 end, mailed_at = $3
         where id = (select id from auth.registrations where email_key = $1 order by created_at desc, id desc limit 1)
         returning id",
        email_key(email),
        since,
        now,
        Uuid::new_v4()
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(id)
}

/// A registration that was found by its link.
pub(crate) struct LinkedRegistration {
    pub(crate) password_hash: String,
    /// Whether the link does not prove that its holder made this registration: an older registration exists, or one
    /// whose link was never mailed, so that its owner only has this link.
    pub(crate) contested: bool,
}

/// Returns the registration of this link, if the link is younger than `since`.
pub(crate) async fn find_by_link(
    tx: &mut ReadTx,
    id: Uuid,
    nonce: Uuid,
    since: DateTime<Utc>,
) -> Result<Option<LinkedRegistration>> {
    let linked = sqlx::query_as!(
        LinkedRegistration,
        r#"select r.password_hash,
               exists (select from auth.registrations o
                       where o.email_key = r.email_key and o.id <> r.id and o.linked_at > $3
                         and (o.mailed_at is null or (o.created_at, o.id) < (r.created_at, r.id))) as "contested!"
           from auth.registrations r where r.id = $1 and r.nonce = $2 and r.linked_at > $3"#,
        id,
        nonce,
        since
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(linked)
}

/// Turns a registration into a confirmed user and deletes all others of the address. Returns `false` when the address
/// belongs to a confirmed user, so that of concurrent links one wins.
pub(crate) async fn activate(
    tx: &mut Tx,
    id: Uuid,
    nonce: Uuid,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        "with activated as (
             insert into auth.users
                 (id, email, email_key, password_hash, first_name, last_name, activation_nonce, activation_at,
                  email_verified_at, created_at, updated_at)
             select id, email, email_key, password_hash, first_name, last_name, nonce, nullif(linked_at, created_at),
                    $4, created_at, $4
             from auth.registrations where id = $1 and nonce = $2 and linked_at > $3
             -- Only a reset was asked for, or the version before stored them.
             on conflict on constraint users_email_key do update set
                 id = excluded.id, email = excluded.email, password_hash = excluded.password_hash,
                 first_name = excluded.first_name, last_name = excluded.last_name,
                 activation_nonce = excluded.activation_nonce, activation_at = excluded.activation_at,
                 email_verified_at = excluded.email_verified_at, created_at = excluded.created_at,
                 updated_at = excluded.updated_at
             where users.email_verified_at is null
             returning email_key)
         delete from auth.registrations r using activated a where r.email_key = a.email_key",
        id,
        nonce,
        since,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Deletes the registrations of an address that belongs to a user now.
pub(crate) async fn delete_all(tx: &mut Tx, email: &str) -> Result<()> {
    sqlx::query!("delete from auth.registrations where email_key = $1", email_key(email))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Creates an unconfirmed user without a password from the oldest pending registration, so that a mailed link can set
/// the password. That link also confirms the address.
pub(crate) async fn create_user_for_reset(
    tx: &mut Tx,
    email: &str,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into auth.users (id, email, email_key, first_name, last_name, activation_nonce, created_at, updated_at)
         select id, email, email_key, first_name, last_name, $4, $3, $3 from auth.registrations
         where email_key = $1 and linked_at > $2 order by created_at, id limit 1
         on conflict do nothing",
        email_key(email),
        since,
        now,
        Uuid::new_v4()
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Recipient of a registration's link.
pub(crate) struct Recipient {
    pub(crate) email: String,
    pub(crate) nonce: Uuid,
    /// See [`LinkedRegistration::contested`].
    pub(crate) contested: bool,
}

/// Returns the recipient of a registration's link; `None` when the registration is gone.
pub(crate) async fn recipient(tx: &mut ReadTx, id: Uuid) -> Result<Option<Recipient>> {
    let recipient = sqlx::query_as!(
        Recipient,
        r#"select r.email, r.nonce,
               exists (select from auth.registrations o
                       where o.email_key = r.email_key and o.id <> r.id
                         and (o.mailed_at is null or (o.created_at, o.id) < (r.created_at, r.id))) as "contested!"
           from auth.registrations r where r.id = $1"#,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(recipient)
}
