//! Deleting what has been kept long enough.

use std::time::Duration;

use baton_errors::Result;
use baton_runtime::Shutdown;
use baton_store::Db;
use chrono::{DateTime, Utc};

const EVERY: Duration = Duration::from_secs(600);
/// While there is more to delete.
const BETWEEN_BATCHES: Duration = Duration::from_millis(100);
/// Rows deleted at a time; more might run into the statement timeout.
const BATCH: i64 = 5_000;

/// Sweeps until the process stops: auth events after 90 days, refresh tokens after 30 (the newest of an open session
/// is younger), sessions and
/// sign-ins that waited for their second factor when they have ended by themselves, people who never confirmed their
/// address a day after the link for it has ended.
pub(crate) async fn run(db: Db, shutdown: Shutdown) {
    loop {
        let pause = match sweep(&db, db.clock().now()).await {
            Ok(deleted) if deleted >= BATCH as u64 => BETWEEN_BATCHES,
            Ok(_) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "cannot sweep");
                EVERY
            }
        };
        tokio::select! {
            () = shutdown.stop().cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Deletes a batch of each; answers the size of the largest.
async fn sweep(db: &Db, now: DateTime<Utc>) -> Result<u64> {
    let events = sqlx::query!(
        "delete from auth.auth_events where id in (
             select id from auth.auth_events where created_at < $1::timestamptz - interval '90 days' limit $2)",
        now,
        BATCH
    );
    let tokens = sqlx::query!(
        "delete from auth.refresh_tokens where hash in (
             select hash from auth.refresh_tokens where created_at < $1::timestamptz - interval '30 days' limit $2)",
        now,
        BATCH
    );
    let sessions = sqlx::query!(
        "delete from auth.sessions where id in (select id from auth.sessions where expires_at < $1 limit $2)",
        now,
        BATCH
    );
    let challenges = sqlx::query!(
        "delete from auth.mfa_challenges where hash in (
             select hash from auth.mfa_challenges where expires_at < $1 limit $2)",
        now,
        BATCH
    );
    let links = sqlx::query!(
        "delete from auth.links where (user_id, purpose) in (
             select user_id, purpose from auth.links where expires_at < $1::timestamptz - interval '1 day' limit $2)",
        now,
        BATCH
    );
    // Locked, so that whoever confirms at this moment stays.
    let unconfirmed = sqlx::query!(
        "delete from auth.users where id in (
             select id from auth.users
             where email_verified_at is null and coalesce(activation_at, created_at) < $1::timestamptz - interval '8 days'
             limit $2 for update skip locked)",
        now,
        BATCH
    );
    let registrations = sqlx::query!(
        "delete from auth.registrations where id in (
             select id from auth.registrations where linked_at < $1::timestamptz - interval '8 days'
             limit $2 for update skip locked)",
        now,
        BATCH
    );
    let mut most = 0;
    for delete in [events, tokens, sessions, challenges, links, unconfirmed, registrations] {
        most = most.max(delete.execute(db.system()).await?.rows_affected());
    }
    Ok(most)
}
