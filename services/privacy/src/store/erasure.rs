//! Erasures.

use std::collections::HashSet;

use baton_errors::{Error, Reason, Result};
use baton_store::{Db, ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::legal_hold;
use crate::{
    erasure::{
        CODE_INTERVAL, CODE_LIFETIME, COUNT_JOB, COUNT_MEMBER_JOB, ERASE_JOB, ERASE_MEMBER_JOB, Erasure, MAX_ATTEMPTS,
        Origin, is_code,
    },
    request::{PrivacyRequest, RequestState, Requester},
};

struct Row {
    request_id: Uuid,
    user_id: Uuid,
    origin: String,
    reason: String,
    nonce: Uuid,
    requested_at: DateTime<Utc>,
    erase_at: DateTime<Utc>,
    account_id: Option<Uuid>,
    requested_by: Option<Uuid>,
}

impl From<Row> for Erasure {
    fn from(row: Row) -> Self {
        let Row { request_id, user_id, origin, reason, nonce, requested_at, erase_at, account_id, requested_by } = row;
        let origins = [Origin::Person, Origin::Deactivation, Origin::Ledger, Origin::Account];
        let origin = origins.into_iter().find(|known| known.name() == origin).unwrap_or(Origin::Ledger);
        let account = account_id.zip(requested_by).map(|(account_id, user_id)| Requester { account_id, user_id });
        Self { request_id, user_id, origin, reason, nonce, requested_at, erase_at, account }
    }
}

/// Whether an erasure of the person is open.
pub(crate) async fn is_open(tx: &mut ReadTx, user_id: Uuid) -> Result<bool> {
    let open = sqlx::query_scalar!(
        r#"select exists (select from privacy.requests where user_id = $1 and kind = 'erasure'
               and state in ('scheduled', 'held', 'erasing', 'verifying')) as "open!""#,
        user_id,
    );
    Ok(open.fetch_one(tx.connection()).await?)
}

/// Whether the person was erased.
pub(crate) async fn was_erased(tx: &mut ReadTx, user_id: Uuid) -> Result<bool> {
    let erased = sqlx::query_scalar!(
        r#"select exists (select from privacy.requests where user_id = $1 and kind = 'erasure' and state = 'completed')
               as "erased!""#,
        user_id,
    );
    Ok(erased.fetch_one(tx.connection()).await?)
}

/// Asks for a new code; the job makes it.
///
/// # Errors
/// RATE_LIMITED if one was asked for less than a minute ago.
pub(crate) async fn request_code(tx: &mut Tx, user_id: Uuid, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let expires_at = now + CODE_LIFETIME;
    let asked = sqlx::query!(
        "insert into privacy.erasure_codes as known (user_id, created_at, expires_at) values ($1, $2, $3)
         on conflict (user_id) do update set hash = null, attempts = 0, created_at = $2, expires_at = $3
             where known.created_at <= $4",
        user_id,
        now,
        expires_at,
        now - CODE_INTERVAL,
    )
    .execute(tx.connection())
    .await?;
    if asked.rows_affected() == 0 {
        return Err(Error::new(Reason::RateLimited, "a code was mailed less than a minute ago"));
    }
    Ok(expires_at)
}

/// Stores the code that is about to be mailed; `false` if none is wanted any more.
pub(crate) async fn set_code(db: &Db, user_id: Uuid, hash: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let set = sqlx::query!(
        "update privacy.erasure_codes set hash = $2, attempts = 0 where user_id = $1 and expires_at > $3",
        user_id,
        hash,
        now,
    )
    .execute(db.system())
    .await?;
    Ok(set.rows_affected() == 1)
}

/// Takes the code; `false` if it is wrong, which counts as an attempt. The transaction has to commit either way.
pub(crate) async fn take_code(tx: &mut Tx, user_id: Uuid, code: &str, now: DateTime<Utc>) -> Result<bool> {
    let known = sqlx::query!(
        "update privacy.erasure_codes set attempts = attempts + 1 where user_id = $1 returning hash, attempts, expires_at",
        user_id,
    )
    .fetch_optional(tx.connection())
    .await?;
    let is_right = known.is_some_and(|known| {
        let hash = known.hash.unwrap_or_default();
        known.expires_at > now && known.attempts <= MAX_ATTEMPTS && is_code(user_id, code, &hash)
    });
    if is_right {
        sqlx::query!("delete from privacy.erasure_codes where user_id = $1", user_id).execute(tx.connection()).await?;
    }
    Ok(is_right)
}

/// Inserts an erasure; `false` if one of the person is open, or one of the account about them.
pub(crate) async fn insert(tx: &mut Tx, erasure: &Erasure) -> Result<bool> {
    if let Some(account) = erasure.account {
        let kind_and_state = (erasure.kind(), RequestState::Scheduled);
        let (id, now) = (erasure.request_id, erasure.requested_at);
        let request = PrivacyRequest::of_account(id, erasure.user_id, kind_and_state, account, now);
        let inserted = super::request::insert(tx, &request).await?;
        if inserted {
            insert_erasure(tx, erasure).await?;
        }
        return Ok(inserted);
    }
    let inserted = sqlx::query!(
        "insert into privacy.requests (id, user_id, kind, state, requested_at, due_at)
         values ($1, $2, 'erasure', 'scheduled', $3, $4)
         on conflict (user_id) where kind = 'erasure' and state in ('scheduled', 'held', 'erasing', 'verifying')
         do nothing",
        erasure.request_id,
        erasure.user_id,
        erasure.requested_at,
        erasure.due_at(),
    )
    .execute(tx.connection())
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    insert_erasure(tx, erasure).await?;
    Ok(true)
}

async fn insert_erasure(tx: &mut Tx, erasure: &Erasure) -> Result<()> {
    sqlx::query!(
        "insert into privacy.erasures (request_id, user_id, origin, reason, nonce, erase_at)
         values ($1, $2, $3, $4, $5, $6)",
        erasure.request_id,
        erasure.user_id,
        erasure.origin.name(),
        erasure.reason,
        erasure.nonce,
        erasure.erase_at,
    )
    .execute(tx.connection())
    .await?;
    legal_hold::apply(tx, erasure.user_id, erasure.request_id).await
}

/// An erasure of the person.
pub(crate) async fn get(tx: &mut ReadTx, user_id: Uuid, id: Uuid) -> Result<Option<Erasure>> {
    let row = sqlx::query_as!(
        Row,
        "select request_id, r.user_id, origin, reason, nonce, requested_at, erase_at, account_id, requested_by
         from privacy.erasures join privacy.requests r on r.id = request_id
         where r.id = $1 and r.user_id = $2 and account_id is null",
        id,
        user_id,
    );
    Ok(row.fetch_optional(tx.connection()).await?.map(Into::into))
}

/// The person whose erasure has this id and nonce.
pub(crate) async fn user_of(db: &Db, id: Uuid, nonce: Uuid) -> Result<Option<Uuid>> {
    let user =
        sqlx::query_scalar!("select user_id from privacy.erasures where request_id = $1 and nonce = $2", id, nonce);
    Ok(user.fetch_optional(db.system()).await?)
}

/// Cancels an erasure that has not begun; `false` if it has, or was canceled before.
pub(crate) async fn cancel(tx: &mut Tx, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let canceled = sqlx::query!(
        "update privacy.requests set state = 'canceled', ended_at = $2
         where id = $1 and kind = 'erasure' and state in ('scheduled', 'held')",
        id,
        now,
    )
    .execute(tx.connection())
    .await?;
    Ok(canceled.rows_affected() == 1)
}

/// Cancels the erasure of a member that has begun; `false` if it has ended already.
pub(crate) async fn cancel_of_member(tx: &mut Tx, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let canceled = sqlx::query!(
        "with canceled as (
             update privacy.requests set state = 'canceled', ended_at = $2
             where id = $1 and kind = 'member_erasure' and state in ('erasing', 'verifying') returning id
         )
         update privacy.erasures set member_count_at = null where request_id in (select id from canceled)",
        id,
        now,
    );
    Ok(canceled.execute(tx.connection()).await?.rows_affected() == 1)
}

/// Those of these people who are being erased, or were.
pub(crate) async fn erased_of(db: &Db, people: &[Uuid]) -> Result<HashSet<Uuid>> {
    let erased = sqlx::query_scalar!(
        "select user_id from privacy.requests where user_id = any($1) and kind = 'erasure'
             and state in ('erasing', 'verifying', 'completed')",
        people,
    );
    Ok(erased.fetch_all(db.system()).await?.into_iter().collect())
}

/// Whether a request has this id.
pub(crate) async fn is_known(tx: &mut ReadTx, id: Uuid) -> Result<bool> {
    let known = sqlx::query_scalar!(r#"select exists (select from privacy.requests where id = $1) as "known!""#, id);
    Ok(known.fetch_one(tx.connection()).await?)
}

/// Whether the processing of a person's data is restricted, and the number of that knowledge: a time in microseconds, so that
/// what is read later has a greater one. `None` for somebody who was erased.
pub(crate) async fn restriction(db: &Db, user_id: Uuid) -> Result<Option<(bool, i64)>> {
    let row = sqlx::query!(
        r#"select exists (select from privacy.requests where user_id = $1
               and (kind = 'erasure' and state in ('scheduled', 'held', 'erasing', 'verifying')
                    or kind = 'restriction' and state = 'in_force')) as "restricted!",
               exists (select from privacy.requests where user_id = $1 and kind = 'erasure' and state = 'completed')
                   as "erased!",
               (extract(epoch from clock_timestamp()) * 1000000)::bigint as "epoch!""#,
        user_id,
    );
    let row = row.fetch_one(db.system()).await?;
    Ok((!row.erased).then_some((row.restricted, row.epoch)))
}

/// An erasure that waits for the end of its grace period.
pub(crate) async fn scheduled(db: &Db, id: Uuid) -> Result<Option<Erasure>> {
    in_state(db, id, RequestState::Scheduled).await
}

/// An erasure in this state.
pub(crate) async fn in_state(db: &Db, id: Uuid, state: RequestState) -> Result<Option<Erasure>> {
    let row = sqlx::query_as!(
        Row,
        "select request_id, r.user_id, origin, reason, nonce, requested_at, erase_at, account_id, requested_by
         from privacy.erasures join privacy.requests r on r.id = request_id where r.id = $1 and state = $2",
        id,
        state.name(),
    );
    Ok(row.fetch_optional(db.system()).await?.map(Into::into))
}

/// Begins the erasures whose grace period is over; returns their number.
pub(crate) async fn begin_due(db: &Db, now: DateTime<Utc>, limit: i64) -> Result<u64> {
    let begun = sqlx::query!(
        "with due as (
             update privacy.requests set state = 'erasing' where id in (
                 select id from privacy.requests r join privacy.erasures e on e.request_id = r.id
                 where (r.kind = 'erasure' and r.state = 'scheduled'
                        -- Whoever releases a hold does not see the requests of accounts.
                        or r.kind = 'member_erasure' and r.state in ('scheduled', 'held')) and e.erase_at <= $1
                   and not exists (select from privacy.legal_holds hold where hold.user_id = r.user_id)
                 limit $2 for update of r skip locked)
             returning id, kind
         )
         insert into privacy.jobs (id, kind, payload)
         select gen_random_uuid(), case kind when 'erasure' then $3 else $4 end, to_jsonb(id) from due",
        now,
        limit,
        ERASE_JOB,
        ERASE_MEMBER_JOB,
    )
    .execute(db.system())
    .await?;
    Ok(begun.rows_affected())
}

/// Enqueues the counts whose time has come; returns their number. A job is tried until it has counted.
pub(crate) async fn count_due(db: &Db, now: DateTime<Utc>, limit: i64) -> Result<u64> {
    let due = sqlx::query!(
        "with due as (
             update privacy.erasures set count_at = null where request_id in (
                 select request_id from privacy.erasures where count_at <= $1 order by count_at limit $2
                 for update skip locked)
             returning request_id
         ), due_of_members as (
             update privacy.erasures set member_count_at = null where request_id in (
                 select request_id from privacy.erasures where member_count_at <= $1 order by member_count_at limit $2
                 for update skip locked)
             returning request_id
         )
         insert into privacy.jobs (id, kind, payload)
         select gen_random_uuid(), $3, to_jsonb(request_id) from due
         union all select gen_random_uuid(), $4, to_jsonb(request_id) from due_of_members",
        now,
        limit,
        COUNT_JOB,
        COUNT_MEMBER_JOB,
    )
    .execute(db.system())
    .await?;
    Ok(due.rows_affected())
}

/// Notes that everything was erased, and is to be counted.
pub(crate) async fn verify(db: &Db, id: Uuid, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "with erased as (
             update privacy.requests set state = 'verifying' where id = $1 and state = 'erasing' returning id, account_id
         )
         update privacy.erasures
         set count_at = case when account_id is null then $2::timestamptz end,
             member_count_at = case when account_id is not null then $2::timestamptz end, found_none_at = null
         from erased where request_id = erased.id",
        id,
        now,
    )
    .execute(db.system())
    .await?;
    Ok(())
}

/// An erasure that is counted, and when a count has found nothing.
pub(crate) async fn verifying(db: &Db, id: Uuid) -> Result<Option<(Erasure, Option<DateTime<Utc>>)>> {
    let Some(erasure) = in_state(db, id, RequestState::Verifying).await? else { return Ok(None) };
    let found_none_at = sqlx::query_scalar!("select found_none_at from privacy.erasures where request_id = $1", id);
    Ok(Some((erasure, found_none_at.fetch_one(db.system()).await?)))
}

/// Erases what a count has found.
pub(crate) async fn erase_again(db: &Db, id: Uuid) -> Result<()> {
    sqlx::query!(
        "with again as (
             update privacy.requests set state = 'erasing' where id = $1 and state = 'verifying' returning id, kind
         ), counted as (
             update privacy.erasures set count_at = null, member_count_at = null, found_none_at = null
             where request_id in (select id from again)
         )
         insert into privacy.jobs (id, kind, payload)
         select gen_random_uuid(), case kind when 'erasure' then $2 else $3 end, to_jsonb(id) from again",
        id,
        ERASE_JOB,
        ERASE_MEMBER_JOB,
    )
    .execute(db.system())
    .await?;
    Ok(())
}

/// Notes when a count has found nothing, and when to count again.
pub(crate) async fn count_again(db: &Db, id: Uuid, found_none_at: DateTime<Utc>, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update privacy.erasures
         set found_none_at = $2, count_at = case when account_id is null then $3::timestamptz end,
             member_count_at = case when account_id is not null then $3::timestamptz end
         from privacy.requests where request_id = $1 and id = $1",
        id,
        found_none_at,
        at,
    )
    .execute(db.system())
    .await?;
    Ok(())
}

/// Completes an erasure; `false` if it is complete already.
pub(crate) async fn complete(tx: &mut Tx, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let completed = sqlx::query!(
        "with completed as (
             update privacy.requests set state = 'completed', ended_at = $2 where id = $1 and state = 'verifying'
             returning id
         )
         update privacy.erasures set count_at = null, member_count_at = null
         where request_id in (select id from completed)",
        id,
        now,
    )
    .execute(tx.connection())
    .await?;
    Ok(completed.rows_affected() == 1)
}
