//! Storage usage of accounts.

use baton_access::limits;
use baton_errors::Result;
use baton_store::{Db, Tenant, Tx};
use uuid::Uuid;

/// Name of the quota in errors. The quota is in MiB, a counter in bytes.
const QUOTA: &str = "storage_mebibytes";
const MEBIBYTE: i64 = 1024 * 1024;

/// Adds bytes and returns the usage in MiB before and after, rounded up. Concurrent calls cannot exceed the limit. Call
/// it last in a transaction: all others of the account wait from there to the commit.
///
/// # Errors
/// QUOTA_EXCEEDED.
pub(crate) async fn add(tx: &mut Tx, bytes: i32, limit: Option<i32>) -> Result<(i32, i32)> {
    let account_id = tx.tenant().account_id;
    let bytes = i64::from(bytes);
    let limit_bytes = limit.map(|limit| i64::from(limit) * MEBIBYTE);
    let added = sqlx::query_scalar!(
        "insert into task.storage_usage as u (account_id, used_bytes)
         select $1, $2::bigint where $3::bigint is null or $2 <= $3
         on conflict (account_id) do update set used_bytes = u.used_bytes + $2
             where $3 is null or u.used_bytes + $2 <= $3
         returning used_bytes",
        account_id,
        bytes,
        limit_bytes
    )
    .fetch_optional(tx.connection())
    .await?;
    if let Some(used) = added {
        return Ok((mebibytes(used - bytes), mebibytes(used)));
    }
    let used = sqlx::query_scalar!(
        r#"select coalesce(sum(used_bytes), 0)::bigint as "used!" from task.storage_usage where account_id = $1"#,
        account_id
    )
    .fetch_one(tx.connection())
    .await?;
    Err(limits::exceeded(QUOTA, limit.unwrap_or(i32::MAX), mebibytes(used).into()))
}

/// Subtracts bytes and returns the usage as [`add`] does.
pub(crate) async fn subtract(tx: &mut Tx, bytes: i64) -> Result<(i32, i32)> {
    let used = sqlx::query_scalar!(
        "update task.storage_usage set used_bytes = greatest(used_bytes - $2, 0) where account_id = $1
         returning used_bytes",
        tx.tenant().account_id,
        bytes
    )
    .fetch_optional(tx.connection())
    .await?
    .unwrap_or_default();
    Ok((mebibytes(used + bytes), mebibytes(used)))
}

/// Bytes in MiB, rounded up.
pub(crate) fn mebibytes(bytes: i64) -> i32 {
    i32::try_from((bytes + MEBIBYTE - 1) / MEBIBYTE).unwrap_or(i32::MAX)
}

/// Accounts with a counter or files, in order, after `after`, a batch at a time, across tenants.
pub(crate) async fn accounts(db: &Db, after: Uuid) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        r#"select account_id as "id!" from (
               (select account_id from task.storage_usage where account_id > $1 order by 1 limit 100)
               union
               (select distinct account_id from task.attachments where account_id > $1 order by 1 limit 100)
           ) both_tables order by 1 limit 100"#,
        after
    )
    .fetch_all(db.system())
    .await?;
    Ok(ids)
}

/// A counter, and the recounted size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedBytes {
    /// The account.
    pub account_id: Uuid,
    /// Value of the counter.
    pub counted: i64,
    /// Total size in bytes.
    pub actual: i64,
}

/// Recounts the account's files. The counter is locked before the files are counted, and everyone who adds or deletes a
/// file updates it, so no change is missed.
pub(crate) async fn recount(db: &Db, account_id: Uuid, write: bool) -> Result<(Tx, CountedBytes)> {
    let mut tx = db.begin(Tenant::account(account_id)).await?;
    sqlx::query!(
        "insert into task.storage_usage (account_id, used_bytes) values ($1, 0) on conflict do nothing",
        account_id
    )
    .execute(tx.connection())
    .await?;
    let counted =
        sqlx::query_scalar!("select used_bytes from task.storage_usage where account_id = $1 for update", account_id)
            .fetch_one(tx.connection())
            .await?;
    let actual = sqlx::query_scalar!(
        r#"select coalesce(sum(size_bytes), 0)::bigint as "bytes!" from task.attachments
           where account_id = $1 and state <> 'deleting'"#,
        account_id
    )
    .fetch_one(tx.connection())
    .await?;
    if write && counted != actual {
        sqlx::query!("update task.storage_usage set used_bytes = $2 where account_id = $1", account_id, actual)
            .execute(tx.connection())
            .await?;
    }
    Ok((tx, CountedBytes { account_id, counted, actual }))
}
