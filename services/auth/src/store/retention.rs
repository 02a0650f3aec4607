//! Deletes rows whose retention has ended.

use baton_errors::Result;
use baton_store::Db;
use chrono::{DateTime, Utc};

/// Deletes at most `limit` rows of each table, and returns the largest number.
pub(crate) async fn delete_batch(db: &Db, now: DateTime<Utc>, limit: i64) -> Result<u64> {
    let events = sqlx::query!(
        "delete from auth.auth_events where id in (
             select id from auth.auth_events where created_at < $1::timestamptz - interval '90 days' limit $2)",
        now,
        limit
    );
    let tokens = sqlx::query!(
        "delete from auth.refresh_tokens where hash in (
             select hash from auth.refresh_tokens where created_at < $1::timestamptz - interval '30 days' limit $2)",
        now,
        limit
    );
    let sessions = sqlx::query!(
        "delete from auth.sessions where id in (select id from auth.sessions where expires_at < $1 limit $2)",
        now,
        limit
    );
    let challenges = sqlx::query!(
        "delete from auth.mfa_challenges where hash in (
             select hash from auth.mfa_challenges where expires_at < $1 limit $2)",
        now,
        limit
    );
    let links = sqlx::query!(
        "delete from auth.links where (user_id, purpose) in (
             select user_id, purpose from auth.links where expires_at < $1::timestamptz - interval '1 day' limit $2)",
        now,
        limit
    );
    // Locked, so that whoever confirms at this moment stays.
    let unconfirmed = sqlx::query!(
        "delete from auth.users where id in (
             select id from auth.users
             where email_verified_at is null and coalesce(activation_at, created_at) < $1::timestamptz - interval '8 days'
             limit $2 for update skip locked)",
        now,
        limit
    );
    let registrations = sqlx::query!(
        "delete from auth.registrations where id in (
             select id from auth.registrations where linked_at < $1::timestamptz - interval '8 days'
             limit $2 for update skip locked)",
        now,
        limit
    );
    let mut most = 0;
    for delete in [events, tokens, sessions, challenges, links, unconfirmed, registrations] {
        most = most.max(delete.execute(db.system()).await?.rows_affected());
    }
    Ok(most)
}
