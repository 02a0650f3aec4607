//! People whose retention has ended.

use baton_errors::Result;
use baton_store::Db;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Deletes at most `limit` people whom the previous version registered and who have not confirmed their address within eight
/// days; returns their number. Their rows have no other sign of it, so the engine of all rules does not know them.
pub(crate) async fn delete_unconfirmed(db: &Db, now: DateTime<Utc>, limit: i64) -> Result<u64> {
    // Locked, so that whoever confirms at this moment stays.
    let unconfirmed = sqlx::query!(
        "delete from auth.users where id in (
             select id from auth.users
             where email_verified_at is null and coalesce(activation_at, created_at) < $1::timestamptz - interval '8 days'
             limit $2 for update skip locked)",
        now,
        limit
    );
    Ok(unconfirmed.execute(db.system()).await?.rows_affected())
}

/// People whose deactivation could be undone until `now` at most, the longest first.
pub(crate) async fn retention_ended(db: &Db, now: DateTime<Utc>, limit: i64) -> Result<Vec<Uuid>> {
    let people = sqlx::query_scalar!(
        "select id from auth.users where data_retention_date <= $1 order by data_retention_date limit $2",
        now,
        limit,
    );
    Ok(people.fetch_all(db.system()).await?)
}
