//! The retention of the service's own tables.

use std::time::Duration;

use baton_errors::Result;
use baton_runtime::Next;
use baton_store::Db;
use chrono::{DateTime, Utc};

/// Pause between two sweeps.
pub(crate) const INTERVAL: Duration = Duration::from_secs(600);
/// Rows that a statement deletes. More might run into the statement timeout.
const DELETE_BATCH: i64 = 5_000;

/// Deletes auth events after 90 days; refresh tokens after 30 days (the newest of an open session is younger); sessions,
/// challenges and links that have expired; people and registrations whose address was not confirmed within eight days.
///
/// # Errors
/// Those of the database.
pub(crate) async fn sweep(db: Db) -> Result<Next> {
    let now = db.clock().now();
    Ok(if delete_batch(&db, now).await? >= DELETE_BATCH as u64 { Next::Again } else { Next::Wait })
}

/// Deletes a batch of each table, and returns the size of the largest.
async fn delete_batch(db: &Db, now: DateTime<Utc>) -> Result<u64> {
    let events = sqlx::query!(
        "delete from auth.auth_events where id in (
             select id from auth.auth_events where created_at < $1::timestamptz - interval '90 days' limit $2)",
        now,
        DELETE_BATCH
    );
    let tokens = sqlx::query!(
        "delete from auth.refresh_tokens where hash in (
             select hash from auth.refresh_tokens where created_at < $1::timestamptz - interval '30 days' limit $2)",
        now,
        DELETE_BATCH
    );
    let sessions = sqlx::query!(
        "delete from auth.sessions where id in (select id from auth.sessions where expires_at < $1 limit $2)",
        now,
        DELETE_BATCH
    );
    let challenges = sqlx::query!(
        "delete from auth.mfa_challenges where hash in (
             select hash from auth.mfa_challenges where expires_at < $1 limit $2)",
        now,
        DELETE_BATCH
    );
    let links = sqlx::query!(
        "delete from auth.links where (user_id, purpose) in (
             select user_id, purpose from auth.links where expires_at < $1::timestamptz - interval '1 day' limit $2)",
        now,
        DELETE_BATCH
    );
    // Locked, so that whoever confirms at this moment stays.
    let unconfirmed = sqlx::query!(
        "delete from auth.users where id in (
             select id from auth.users
             where email_verified_at is null and coalesce(activation_at, created_at) < $1::timestamptz - interval '8 days'
             limit $2 for update skip locked)",
        now,
        DELETE_BATCH
    );
    let registrations = sqlx::query!(
        "delete from auth.registrations where id in (
             select id from auth.registrations where linked_at < $1::timestamptz - interval '8 days'
             limit $2 for update skip locked)",
        now,
        DELETE_BATCH
    );
    let mut most = 0;
    for delete in [events, tokens, sessions, challenges, links, unconfirmed, registrations] {
        most = most.max(delete.execute(db.system()).await?.rows_affected());
    }
    Ok(most)
}
