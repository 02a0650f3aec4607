//! People who have registered and not confirmed their address yet.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::user::email_key;

/// Someone who registers.
pub(crate) struct Registration {
    /// The id that they will have.
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) password_hash: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) created_at: DateTime<Utc>,
}

/// Stores a registration beside those that wait for the same address. `mailed` says whether its link is mailed.
/// `false` when the address is a confirmed person's.
pub(crate) async fn add(tx: &mut Tx, registration: &Registration, mailed: bool) -> Result<bool> {
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
        mailed,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The newest registration that waits for an address.
pub(crate) struct Newest {
    pub(crate) id: Uuid,
    pub(crate) password_hash: String,
}

/// The newest registration that waits for this address, with a link that is younger than `since`.
pub(crate) async fn newest(tx: &mut Tx, email: &str, since: DateTime<Utc>) -> Result<Option<Newest>> {
    let newest = sqlx::query_as!(
        Newest,
        "select id, password_hash from auth.registrations where email_key = $1 and linked_at > $2
         order by created_at desc, id desc limit 1",
        email_key(email),
        since
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(newest)
}

/// Stores what someone said who registered again: the address as they write it, and their names.
pub(crate) async fn update(tx: &mut Tx, registration: &Registration, mailed: bool) -> Result<()> {
    sqlx::query!(
        "update auth.registrations
         set email = $2, first_name = $3, last_name = $4, mailed_at = case when $5 then $6 else mailed_at end
         where id = $1",
        registration.id,
        registration.email,
        registration.first_name,
        registration.last_name,
        mailed,
        registration.created_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes that the newest registration of an address is mailed its link again; one whose link has ended, by being older
/// than `since`, gets a new one. Answers its id.
pub(crate) async fn renew(tx: &mut Tx, email: &str, since: DateTime<Utc>, now: DateTime<Utc>) -> Result<Option<Uuid>> {
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
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id)
}

/// A registration that a link confirms.
pub(crate) struct Linked {
    pub(crate) password_hash: String,
    /// Whether the link alone does not tell that the registration is its follower's: another came before, or one was
    /// never mailed, so that its person has no link but this.
    pub(crate) contested: bool,
}

/// The registration of this link, if the link is younger than `since`.
pub(crate) async fn linked(tx: &mut Tx, id: Uuid, nonce: Uuid, since: DateTime<Utc>) -> Result<Option<Linked>> {
    let linked = sqlx::query_as!(
        Linked,
        r#"select r.password_hash,
               exists (select from auth.registrations o
                       where o.email_key = r.email_key and o.id <> r.id and o.linked_at > $3
                         and (o.mailed_at is null or (o.created_at, o.id) < (r.created_at, r.id))) as "contested!"
           from auth.registrations r where r.id = $1 and r.nonce = $2 and r.linked_at > $3"#,
        id,
        nonce,
        since
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(linked)
}

/// Makes a registration a person with a confirmed address, and ends all others of the address. `false` when the address
/// is a confirmed person's already: of several links at once, one wins.
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
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Ends the registrations of an address: it is somebody's now.
pub(crate) async fn end_all(tx: &mut Tx, email: &str) -> Result<()> {
    sqlx::query!("delete from auth.registrations where email_key = $1", email_key(email)).execute(&mut **tx).await?;
    Ok(())
}

/// Makes the person, without a password, for whose address registrations wait: a mailed link is to set their password.
/// The address is confirmed when it does.
pub(crate) async fn reserve(tx: &mut Tx, email: &str, since: DateTime<Utc>, now: DateTime<Utc>) -> Result<()> {
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
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Where to mail a registration's link.
pub(crate) struct Recipient {
    pub(crate) email: String,
    pub(crate) nonce: Uuid,
    /// See [`Linked::contested`].
    pub(crate) contested: bool,
}

/// Where to mail a registration's link; `None` when it has ended.
pub(crate) async fn recipient(tx: &mut Tx, id: Uuid) -> Result<Option<Recipient>> {
    let recipient = sqlx::query_as!(
        Recipient,
        r#"select r.email, r.nonce,
               exists (select from auth.registrations o
                       where o.email_key = r.email_key and o.id <> r.id
                         and (o.mailed_at is null or (o.created_at, o.id) < (r.created_at, r.id))) as "contested!"
           from auth.registrations r where r.id = $1"#,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(recipient)
}
