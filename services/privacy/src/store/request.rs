//! Requests of people about their data.

use baton_errors::{Error, Result};
use baton_store::{Db, Page, ReadTx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::request::{PrivacyRequest, RequestState};

/// Rows that one statement deletes.
const DELETE_BATCH: i64 = 1_000;

/// A request as it is stored.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) state: String,
    pub(super) requested_at: DateTime<Utc>,
    pub(super) due_at: DateTime<Utc>,
    pub(super) ended_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for PrivacyRequest {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let state = RequestState::from_name(&row.state);
        Ok(Self {
            id: row.id,
            user_id: row.user_id,
            state: state.ok_or_else(|| Error::internal("a request has an unknown state"))?,
            requested_at: row.requested_at,
            due_at: row.due_at,
            ended_at: row.ended_at,
        })
    }
}

/// A request of the person.
pub(crate) async fn get(tx: &mut ReadTx, user_id: Uuid, id: Uuid) -> Result<Option<PrivacyRequest>> {
    let row = sqlx::query_as!(
        Row,
        "select id, user_id, state, requested_at, due_at, ended_at from privacy.requests
         where id = $1 and user_id = $2",
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
        "select id, user_id, state, requested_at, due_at, ended_at from privacy.requests
         where user_id = $1 and id < $2 order by id desc limit $3 offset $4",
        user_id,
        page.before(),
        page.limit(),
        page.offset(),
    )
    .fetch_all(tx.connection())
    .await?;
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from privacy.requests where user_id = $1"#, user_id);
    let total = count.fetch_one(tx.connection()).await?;
    let requests = rows.into_iter().map(TryInto::try_into).collect::<Result<_>>()?;
    Ok((requests, total))
}

/// Deletes requests that ended before this time, of everybody; returns whether there are more.
pub(crate) async fn delete_ended_before(db: &Db, time: DateTime<Utc>) -> Result<bool> {
    let deleted = sqlx::query!(
        "delete from privacy.requests where id in (
             select id from privacy.requests where ended_at < $1
               and not exists (select from privacy.exports where request_id = requests.id and file is not null) limit $2)",
        time,
        DELETE_BATCH,
    )
    .execute(db.system())
    .await?;
    Ok(deleted.rows_affected() == DELETE_BATCH.unsigned_abs())
}
