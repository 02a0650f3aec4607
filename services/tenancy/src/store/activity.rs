//! The activity log.

use std::collections::BTreeMap;

use baton_errors::Result;
use baton_store::{Db, ReadTx, Tx};
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use sqlx::{FromRow, Postgres, QueryBuilder, types::Json};
use uuid::Uuid;

use crate::activity::{Activity, Leaf, LogEntry, LogPosition, OriginHash};

pub(super) const COLUMNS: &str = "account_id, seq, recorded_at, id, occurred_at, actor_id, action, resource_type, resource_id, \
                       changed_fields, details, address, user_agent, request_id, leaf_version, origin_salt, \
                       origin_hash, leaf_hash";

/// A row as it is stored.
#[derive(FromRow, Serialize)]
pub(super) struct Row {
    account_id: Uuid,
    seq: i64,
    recorded_at: DateTime<Utc>,
    id: Uuid,
    occurred_at: DateTime<Utc>,
    actor_id: Option<Uuid>,
    action: String,
    resource_type: String,
    resource_id: Uuid,
    changed_fields: Vec<String>,
    details: Json<BTreeMap<String, String>>,
    address: Option<String>,
    user_agent: Option<String>,
    request_id: Option<String>,
    leaf_version: i16,
    #[serde(serialize_with = "optional_bytea")]
    origin_salt: Option<[u8; 32]>,
    #[serde(serialize_with = "optional_bytea")]
    origin_hash: Option<[u8; 32]>,
    #[serde(serialize_with = "bytea")]
    leaf_hash: [u8; 32],
}

impl From<LogEntry> for Row {
    fn from(LogEntry { activity, position, leaf, leaf_hash }: LogEntry) -> Self {
        let (leaf_version, origin_salt, origin_hash) = match leaf {
            Leaf::V1 => (1, None, None),
            Leaf::V2(origin) => (2, origin.salt, Some(origin.hash)),
        };
        Self {
            account_id: activity.account_id,
            seq: position.seq,
            recorded_at: position.recorded_at,
            id: activity.id,
            occurred_at: activity.occurred_at,
            actor_id: activity.actor_id,
            action: activity.action,
            resource_type: activity.resource_type,
            resource_id: activity.resource_id,
            changed_fields: activity.changed_fields,
            details: Json(activity.details),
            address: activity.address,
            user_agent: activity.user_agent,
            request_id: activity.request_id,
            leaf_version,
            origin_salt,
            origin_hash,
            leaf_hash,
        }
    }
}

/// Serializes bytes in Postgres' hex format for `bytea`.
fn bytea<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&format!("\\x{digits}"))
}

/// As [`bytea`], or null.
fn optional_bytea<S: Serializer>(bytes: &Option<[u8; 32]>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => bytea(bytes, serializer),
        None => serializer.serialize_none(),
    }
}

impl From<Row> for LogEntry {
    fn from(row: Row) -> Self {
        Self {
            activity: Activity {
                id: row.id,
                account_id: row.account_id,
                actor_id: row.actor_id,
                action: row.action,
                resource_type: row.resource_type,
                resource_id: row.resource_id,
                changed_fields: row.changed_fields,
                details: row.details.0,
                address: row.address,
                user_agent: row.user_agent,
                request_id: row.request_id,
                occurred_at: row.occurred_at,
            },
            position: LogPosition { seq: row.seq, recorded_at: row.recorded_at },
            // A constraint says that version 2 has a hash of the origin, and version 1 has none.
            leaf: match row.origin_hash {
                Some(hash) => Leaf::V2(OriginHash { salt: row.origin_salt, hash }),
                None => Leaf::V1,
            },
            leaf_hash: row.leaf_hash,
        }
    }
}

/// Appends entries of one account to its log, and locks the log until the transaction ends.
pub(crate) async fn append(tx: &mut Tx, activities: Vec<Activity>) -> Result<()> {
    let Some(first) = activities.first() else { return Ok(()) };
    let (account_id, count) = (first.account_id, activities.len() as i64);
    // The clock is read under the lock, so that `recorded_at` increases with `seq`.
    let last = sqlx::query_as!(
        LogPosition,
        r#"insert into tenancy.activity_heads as head (account_id, last_seq) values ($1, $2)
           on conflict (account_id) do update set last_seq = head.last_seq + $2
           returning last_seq as seq, clock_timestamp() as "recorded_at!""#,
        account_id,
        count
    )
    .fetch_one(tx.connection())
    .await?;
    let rows: Vec<Row> = activities
        .into_iter()
        .zip(last.seq - count + 1..)
        .map(|(activity, seq)| LogEntry::new(activity, LogPosition { seq, ..last }).into())
        .collect();
    sqlx::query!(
        "insert into tenancy.activity_logs
             (account_id, seq, recorded_at, id, occurred_at, actor_id, action, resource_type, resource_id,
              changed_fields, details, address, user_agent, request_id, leaf_version, origin_salt, origin_hash,
              leaf_hash)
         select account_id, seq, recorded_at, id, occurred_at, actor_id, action, resource_type, resource_id,
                changed_fields, details, address, user_agent, request_id, leaf_version, origin_salt, origin_hash,
                leaf_hash
         from jsonb_populate_recordset(null::tenancy.activity_logs, $1)",
        Json(rows) as _
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A filter on an account's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    pub(crate) account_id: Uuid,
    /// Excludes older rows: their retention has ended, and partitions are dropped weekly.
    pub(crate) retained_since: DateTime<Utc>,
    pub(crate) actor_id: Option<Uuid>,
    pub(crate) action: Option<String>,
    pub(crate) resource_type: Option<String>,
    pub(crate) resource_id: Option<Uuid>,
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: Option<DateTime<Utc>>,
}

impl Filter {
    fn push(&self, query: &mut QueryBuilder<Postgres>) {
        query.push(" from tenancy.activity_logs where account_id = ").push_bind(self.account_id);
        query.push(" and recorded_at >= ").push_bind(self.retained_since);
        if let Some(actor_id) = self.actor_id {
            query.push(" and actor_id = ").push_bind(actor_id);
        }
        if let Some(action) = &self.action {
            query.push(" and action = ").push_bind(action.clone());
        }
        if let Some(resource_type) = &self.resource_type {
            query.push(" and resource_type = ").push_bind(resource_type.clone());
        }
        if let Some(resource_id) = self.resource_id {
            query.push(" and resource_id = ").push_bind(resource_id);
        }
        if let Some(from) = self.from {
            query.push(" and occurred_at >= ").push_bind(from);
        }
        if let Some(to) = self.to {
            query.push(" and occurred_at < ").push_bind(to);
        }
    }
}

/// Time and position of the row after which a list continues.
pub(crate) type Cursor = (DateTime<Utc>, i64);

/// Rows before the cursor, newest first.
pub(crate) async fn list(
    tx: &mut ReadTx,
    filter: &Filter,
    before: Option<Cursor>,
    limit: i64,
    offset: i64,
) -> Result<Vec<LogEntry>> {
    let mut query = QueryBuilder::new("select ");
    query.push(COLUMNS);
    filter.push(&mut query);
    if let Some((time, seq)) = before {
        query.push(" and (occurred_at, seq) < (").push_bind(time).push(", ").push_bind(seq).push(")");
    }
    query.push(" order by occurred_at desc, seq desc limit ").push_bind(limit).push(" offset ").push_bind(offset);
    let rows: Vec<Row> = query.build_query_as().fetch_all(tx.connection()).await?;
    Ok(rows.into_iter().map(LogEntry::from).collect())
}

/// Number of rows on all pages.
pub(crate) async fn count(tx: &mut ReadTx, filter: &Filter) -> Result<i64> {
    let mut query = QueryBuilder::new("select count(*)");
    filter.push(&mut query);
    Ok(query.build_query_scalar().fetch_one(tx.connection()).await?)
}

/// Number of rows, and the greatest `seq` among them.
pub(crate) async fn count_and_last_seq(tx: &mut ReadTx, filter: &Filter) -> Result<(i64, i64)> {
    let mut query = QueryBuilder::new("select count(*), coalesce(max(seq), 0)");
    filter.push(&mut query);
    Ok(query.build_query_as().fetch_one(tx.connection()).await?)
}

/// Rows after the cursor up to the position `last`, oldest first.
pub(crate) async fn list_range(
    tx: &mut ReadTx,
    filter: &Filter,
    after: Option<Cursor>,
    last: i64,
    limit: i64,
) -> Result<Vec<LogEntry>> {
    let mut query = QueryBuilder::new("select ");
    query.push(COLUMNS);
    filter.push(&mut query);
    query.push(" and seq <= ").push_bind(last);
    if let Some((time, seq)) = after {
        query.push(" and (occurred_at, seq) > (").push_bind(time).push(", ").push_bind(seq).push(")");
    }
    query.push(" order by occurred_at, seq limit ").push_bind(limit);
    let rows: Vec<Row> = query.build_query_as().fetch_all(tx.connection()).await?;
    Ok(rows.into_iter().map(LogEntry::from).collect())
}

/// Whether the user is or was a member of the account.
pub(crate) async fn was_member(tx: &mut ReadTx, account_id: Uuid, user_id: Uuid) -> Result<bool> {
    let was = sqlx::query_scalar!(
        r#"select exists (select from tenancy.memberships where account_id = $1 and user_id = $2) as "was!""#,
        account_id,
        user_id
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(was)
}

/// Creates the next partitions and drops those older than `retention_days`. Returns the number of dropped partitions. Calls a
/// database function, since no role of the service may delete from the log.
pub(crate) async fn maintain_partitions(db: &Db, retention_days: i32) -> Result<i32> {
    let dropped = sqlx::query_scalar!(r#"select tenancy.keep_activity($1) as "dropped!""#, retention_days)
        .fetch_one(db.system())
        .await?;
    Ok(dropped)
}
