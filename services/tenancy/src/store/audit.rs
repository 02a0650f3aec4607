//! The Merkle trees of activity logs.

use std::collections::BTreeMap;

use baton_audit::{Batch, LogKeys};
use baton_errors::{Error, Result};
use baton_store::{Db, ReadTx};
use sqlx::FromRow as _;
use uuid::Uuid;

use super::activity::Row;
use crate::activity::LogEntry;

/// Accounts whose trees are advanced at a time.
const MAX_ACCOUNTS: i64 = 100;
/// Rows of an account that are added at a time.
const MAX_ROWS: i64 = 500;

/// How far a page of accounts has come.
pub(crate) struct Advance {
    /// The last account of the page; `None` if there was none.
    pub(crate) last: Option<Uuid>,
    /// Whether rows of its accounts are left.
    pub(crate) more: bool,
}

/// Adds rows that are in no tree yet to the trees of the next accounts after `after`.
pub(crate) async fn advance(db: &Db, keys: &LogKeys, after: Uuid) -> Result<Advance> {
    let accounts = sqlx::query_scalar!(
        "select account_id from tenancy.activity_heads where last_seq > checkpointed_seq and account_id > $1
         order by account_id limit $2",
        after,
        MAX_ACCOUNTS,
    )
    .fetch_all(db.system())
    .await?;
    let Some(&last) = accounts.last() else { return Ok(Advance { last: None, more: false }) };
    let now = db.clock().now();
    let mut batch = Batch::lock(db, &accounts, now).await?;
    let sizes: BTreeMap<Uuid, u64> = batch.sizes().collect();
    let locked: Vec<Uuid> = sizes.keys().copied().collect();
    let rows = sqlx::query!(
        r#"select head.account_id, log.seq as "seq!", log.leaf_hash as "leaf_hash!", head.last_seq, head.tree_from
           from tenancy.activity_heads head
           cross join lateral (
               select seq, leaf_hash from tenancy.activity_logs log
               where log.account_id = head.account_id and log.seq > head.checkpointed_seq and log.seq <= head.last_seq
               order by seq limit $2) log
           where head.account_id = any($1) order by head.account_id, log.seq"#,
        &locked,
        MAX_ROWS,
    )
    .fetch_all(batch.connection())
    .await?;
    let mut found: BTreeMap<Uuid, NewRows> = BTreeMap::new();
    for row in rows {
        let hash = row.leaf_hash.try_into().map_err(|_| Error::internal("a leaf hash does not have 32 bytes"))?;
        let size = sizes.get(&row.account_id).copied().unwrap_or_default();
        // The tree begins with the first row that is left.
        let tree_from = if size == 0 { row.seq } else { row.tree_from };
        let new = found.entry(row.account_id).or_insert_with(|| NewRows { tree_from, ..NewRows::default() });
        let next = new.tree_from + i64::try_from(size).map_err(Error::internal)? + new.leaves.len() as i64;
        new.has_gap |= row.seq != next;
        new.leaves.push(hash);
        new.done = row.seq;
        new.more = row.seq < row.last_seq;
    }
    for (account_id, _) in found.extract_if(.., |_, new| new.has_gap) {
        tracing::error!(account.id = %account_id, "rows of an activity log are missing; its checkpoints stop");
    }
    let leaves = found.iter_mut().map(|(account_id, new)| (*account_id, std::mem::take(&mut new.leaves))).collect();
    let appended = batch.append(leaves, keys, now).await?;
    found.retain(|account_id, _| appended.contains(account_id));
    let ids: Vec<Uuid> = found.keys().copied().collect();
    let done: Vec<i64> = found.values().map(|new| new.done).collect();
    let from: Vec<i64> = found.values().map(|new| new.tree_from).collect();
    sqlx::query!(
        "update tenancy.activity_heads head set checkpointed_seq = new.done, tree_from = new.tree_from
         from unnest($1::uuid[], $2::bigint[], $3::bigint[]) new (account_id, done, tree_from)
         where head.account_id = new.account_id",
        &ids,
        &done,
        &from,
    )
    .execute(batch.connection())
    .await?;
    batch.commit().await?;
    Ok(Advance { last: Some(last), more: found.values().any(|new| new.more) })
}

/// Rows of an account that are added.
#[derive(Default)]
struct NewRows {
    leaves: Vec<[u8; 32]>,
    tree_from: i64,
    /// The position of the last one.
    done: i64,
    more: bool,
    has_gap: bool,
}

/// The position of the tree's first leaf.
pub(crate) async fn tree_from(tx: &mut ReadTx, account_id: Uuid) -> Result<i64> {
    let from = sqlx::query_scalar!("select tree_from from tenancy.activity_heads where account_id = $1", account_id);
    Ok(from.fetch_optional(tx.connection()).await?.unwrap_or(1))
}

/// Rows after a position up to another, in the order of the log.
pub(crate) async fn entries(
    tx: &mut ReadTx,
    account_id: Uuid,
    (after, last): (i64, i64),
    limit: i64,
) -> Result<Vec<LogEntry>> {
    let select = format!(
        "select {} from tenancy.activity_logs where account_id = $1 and seq > $2 and seq <= $3 order by seq limit $4",
        super::activity::COLUMNS
    );
    let select = sqlx::query(sqlx::AssertSqlSafe(select)).bind(account_id).bind(after).bind(last).bind(limit);
    let rows = select.fetch_all(tx.connection()).await?;
    rows.iter().map(|row| Ok(Row::from_row(row)?.into())).collect()
}
