//! Requests of people about their data.

use baton_errors::{Error, Result};
use baton_store::{Db, Page, ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::request::{PrivacyRequest, RequestKind, RequestState, Requester};

/// A request as it is stored.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) requested_at: DateTime<Utc>,
    pub(super) due_at: DateTime<Utc>,
    pub(super) ended_at: Option<DateTime<Utc>>,
    pub(super) erase_at: Option<DateTime<Utc>>,
    pub(super) account_id: Option<Uuid>,
    pub(super) requested_by: Option<Uuid>,
}

impl TryFrom<Row> for PrivacyRequest {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let (kind, state) = (RequestKind::from_name(&row.kind), RequestState::from_name(&row.state));
        Ok(Self {
            id: row.id,
            user_id: row.user_id,
            kind: kind.ok_or_else(|| Error::internal("a request has an unknown kind"))?,
            state: state.ok_or_else(|| Error::internal("a request has an unknown state"))?,
            requested_at: row.requested_at,
            due_at: row.due_at,
            ended_at: row.ended_at,
            erase_at: row.erase_at,
            account: row
                .account_id
                .zip(row.requested_by)
                .map(|(account_id, user_id)| Requester { account_id, user_id }),
        })
    }
}

/// A request of the person.
pub(crate) async fn get(tx: &mut ReadTx, user_id: Uuid, id: Uuid) -> Result<Option<PrivacyRequest>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, r.user_id, kind, state, requested_at, due_at, ended_at, erase_at as "erase_at?",
                  account_id, requested_by
           from privacy.requests r left join privacy.erasures on request_id = id
           where id = $1 and r.user_id = $2 and account_id is null"#,
        id,
        user_id,
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// A page of the person's requests, newest first, and their number.
pub(crate) async fn list(tx: &mut ReadTx, user_id: Uuid, page: &Page) -> Result<(Vec<PrivacyRequest>, i64)> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, r.user_id, kind, state, requested_at, due_at, ended_at, erase_at as "erase_at?",
                  account_id, requested_by
           from privacy.requests r left join privacy.erasures on request_id = id
           where r.user_id = $1 and account_id is null and id < $2 order by id desc limit $3 offset $4"#,
        user_id,
        page.before(),
        page.limit(),
        page.offset(),
    )
    .fetch_all(tx.connection())
    .await?;
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from privacy.requests where user_id = $1 and account_id is null"#,
        user_id,
    );
    let total = count.fetch_one(tx.connection()).await?;
    let requests = rows.into_iter().map(TryInto::try_into).collect::<Result<_>>()?;
    Ok((requests, total))
}

/// A request of an account.
pub(crate) async fn get_of_account(tx: &mut ReadTx, account_id: Uuid, id: Uuid) -> Result<Option<PrivacyRequest>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, user_id, kind, state, requested_at, due_at, ended_at, null::timestamptz as "erase_at?",
                  account_id, requested_by
           from privacy.requests where id = $1 and account_id = $2"#,
        id,
        account_id,
    );
    row.fetch_optional(tx.connection()).await?.map(TryInto::try_into).transpose()
}

/// A page of an account's requests, newest first, and their number.
pub(crate) async fn list_of_account(
    tx: &mut ReadTx,
    account_id: Uuid,
    page: &Page,
) -> Result<(Vec<PrivacyRequest>, i64)> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, user_id, kind, state, requested_at, due_at, ended_at, null::timestamptz as "erase_at?",
                  account_id, requested_by
           from privacy.requests where account_id = $1 and id < $2 order by id desc limit $3 offset $4"#,
        account_id,
        page.before(),
        page.limit(),
        page.offset(),
    )
    .fetch_all(tx.connection())
    .await?;
    let count =
        sqlx::query_scalar!(r#"select count(*) as "count!" from privacy.requests where account_id = $1"#, account_id);
    let total = count.fetch_one(tx.connection()).await?;
    Ok((rows.into_iter().map(TryInto::try_into).collect::<Result<_>>()?, total))
}

/// The number of requests, of people and of accounts, that are not answered although their time is over.
pub(crate) async fn count_overdue(db: &Db, now: DateTime<Utc>) -> Result<i64> {
    let overdue = sqlx::query_scalar!(
        r#"select count(*) as "count!" from privacy.requests
           where ended_at is null and state not in ('held', 'in_force') and due_at < $1"#,
        now,
    );
    Ok(overdue.fetch_one(db.system()).await?)
}

/// Inserts a request; `false` if one of its kind is open, of which there is one at a time.
pub(crate) async fn insert(tx: &mut Tx, request: &PrivacyRequest) -> Result<bool> {
    let inserted = sqlx::query!(
        "insert into privacy.requests (id, user_id, kind, state, requested_at, due_at, ended_at, account_id, requested_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing",
        request.id,
        request.user_id,
        request.kind.name(),
        request.state.name(),
        request.requested_at,
        request.due_at,
        request.ended_at,
        request.account.map(|account| account.account_id),
        request.account.map(|account| account.user_id),
    )
    .execute(tx.connection())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The person's restriction that is in force.
pub(crate) async fn restriction(tx: &mut ReadTx, user_id: Uuid) -> Result<Option<PrivacyRequest>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, user_id, kind, state, requested_at, due_at, ended_at, null::timestamptz as "erase_at?",
                  account_id, requested_by
           from privacy.requests where user_id = $1 and kind = 'restriction' and state = 'in_force'"#,
        user_id,
    );
    row.fetch_optional(tx.connection()).await?.map(TryInto::try_into).transpose()
}

/// Lifts the person's restriction; returns the request, if one was in force.
pub(crate) async fn lift_restriction(tx: &mut Tx, user_id: Uuid, now: DateTime<Utc>) -> Result<Option<Uuid>> {
    let lifted = sqlx::query_scalar!(
        "update privacy.requests set state = 'lifted', ended_at = $2
         where user_id = $1 and kind = 'restriction' and state = 'in_force' returning id",
        user_id,
        now,
    );
    Ok(lifted.fetch_optional(tx.connection()).await?)
}
