//! Messages to receivers of webhooks.

use std::time::Duration;

use baton_errors::{Error, Result};
use baton_store::{Db, ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::webhook::{Content, Delivery, DeliveryStatus, MAX_ATTEMPTS};

/// A message as it is stored.
struct Row {
    id: Uuid,
    rule_id: Uuid,
    execution_id: Uuid,
    created_by: Uuid,
    terms_version: i32,
    action: i32,
    status: String,
    url: Option<String>,
    sealed_secret: Option<String>,
    payload: Option<String>,
    attempts: i32,
    status_code: Option<i32>,
    reason: Option<String>,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Delivery {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let status = DeliveryStatus::from_name(&row.status);
        let content = row.url.zip(row.sealed_secret).zip(row.payload);
        Ok(Self {
            id: row.id,
            rule_id: row.rule_id,
            execution_id: row.execution_id,
            created_by: row.created_by,
            terms_version: row.terms_version,
            action: row.action,
            status: status.ok_or_else(|| Error::internal("a delivery has an unknown status"))?,
            content: content.map(|((url, sealed_secret), payload)| Content { url, sealed_secret, payload }),
            attempts: row.attempts,
            status_code: row.status_code,
            reason: row.reason,
            created_at: row.created_at,
        })
    }
}

/// Adds a message; `false` when it was added before.
pub(crate) async fn insert(tx: &mut Tx, delivery: &Delivery, content: &Content) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let added = sqlx::query!(
        "insert into automation.webhook_deliveries
             (id, account_id, rule_id, execution_id, created_by, terms_version, action, url, sealed_secret, payload, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (id) do nothing",
        delivery.id,
        account_id,
        delivery.rule_id,
        delivery.execution_id,
        delivery.created_by,
        delivery.terms_version,
        delivery.action,
        content.url,
        content.sealed_secret,
        content.payload,
        delivery.created_at,
    );
    Ok(added.execute(tx.connection()).await?.rows_affected() == 1)
}

/// Messages of all accounts that were added before a time and have not ended: account, rule and id of some.
pub(crate) async fn abandoned(db: &Db, before: DateTime<Utc>) -> Result<Vec<(Uuid, Uuid, Uuid)>> {
    let rows = sqlx::query!(
        "select account_id, rule_id, id from automation.webhook_deliveries
         where ended_at is null and created_at < $1 order by created_at limit 200",
        before,
    );
    let rows = rows.fetch_all(db.system()).await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.rule_id, row.id)).collect())
}

/// Whether more than so many messages of the account have not ended.
pub(crate) async fn exceeds(tx: &mut ReadTx, limit: i64) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from
               (select from automation.webhook_deliveries where account_id = $1 and ended_at is null limit $2) pending"#,
        account_id,
        limit + 1,
    );
    Ok(count.fetch_one(tx.connection()).await? > limit)
}

/// Finds and locks a message that has not ended.
pub(crate) async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<Delivery>> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query_as!(
        Row,
        "select id, rule_id, execution_id, created_by, terms_version, action, status, url, sealed_secret, payload, attempts,
                status_code, reason, created_at
         from automation.webhook_deliveries where account_id = $1 and id = $2 and ended_at is null for update",
        account_id,
        id,
    );
    row.fetch_optional(tx.connection()).await?.map(Delivery::try_from).transpose()
}

/// Finds a message that has not ended.
pub(crate) async fn get(tx: &mut ReadTx, id: Uuid) -> Result<Option<Delivery>> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query_as!(
        Row,
        "select id, rule_id, execution_id, created_by, terms_version, action, status, url, sealed_secret, payload, attempts,
                status_code, reason, created_at
         from automation.webhook_deliveries where account_id = $1 and id = $2 and ended_at is null",
        account_id,
        id,
    );
    row.fetch_optional(tx.connection()).await?.map(Delivery::try_from).transpose()
}

/// The messages of executions, oldest first.
pub(crate) async fn of_executions(tx: &mut ReadTx, execution_ids: &[Uuid]) -> Result<Vec<Delivery>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query_as!(
        Row,
        "select id, rule_id, execution_id, created_by, terms_version, action, status, url, sealed_secret, payload, attempts,
                status_code, reason, created_at
         from automation.webhook_deliveries where account_id = $1 and execution_id = any($2) order by created_at, id",
        account_id,
        execution_ids,
    );
    rows.fetch_all(tx.connection()).await?.into_iter().map(Delivery::try_from).collect()
}

/// Notes that an attempt begins, which may be under way for so long. `false` when another one may be.
pub(crate) async fn begin_attempt(tx: &mut Tx, id: Uuid, sending: Duration) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let begun = sqlx::query!(
        "update automation.webhook_deliveries
         set attempts = attempts + 1, sending_until = clock_timestamp() + make_interval(secs => $3)
         where account_id = $1 and id = $2 and (sending_until is null or sending_until <= clock_timestamp())",
        account_id,
        id,
        sending.as_secs_f64(),
    );
    Ok(begun.execute(tx.connection()).await?.rows_affected() == 1)
}

/// Notes what became of a locked message. With `ended_at` it has ended, and what was sent is cleared.
pub(crate) async fn save(tx: &mut Tx, delivery: &Delivery, ended_at: Option<DateTime<Utc>>) -> Result<()> {
    let account_id = tx.tenant().account_id;
    let update = sqlx::query!(
        "update automation.webhook_deliveries
         set status = $3, attempts = $4, status_code = $5, reason = $6, sending_until = null, ended_at = $7,
             url = case when $7::timestamptz is null then url end,
             sealed_secret = case when $7::timestamptz is null then sealed_secret end,
             payload = case when $7::timestamptz is null then payload end
         where account_id = $1 and id = $2",
        account_id,
        delivery.id,
        delivery.status.name(),
        delivery.attempts,
        delivery.status_code,
        delivery.reason,
        ended_at,
    );
    update.execute(tx.connection()).await?;
    Ok(())
}

/// Cancels the messages of a locked rule of which no attempt is under way, and that have not failed.
pub(crate) async fn cancel(tx: &mut Tx, rule_id: Uuid, now: DateTime<Utc>) -> Result<()> {
    let account_id = tx.tenant().account_id;
    let update = sqlx::query!(
        "update automation.webhook_deliveries
         set status = 'canceled', ended_at = $3, url = null, sealed_secret = null, payload = null, sending_until = null
         where account_id = $1 and rule_id = $2 and ended_at is null and attempts < $4
           and (sending_until is null or sending_until <= clock_timestamp())",
        account_id,
        rule_id,
        now,
        MAX_ATTEMPTS,
    );
    update.execute(tx.connection()).await?;
    Ok(())
}
