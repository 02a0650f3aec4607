//! The consent gate of a service that collects data for purposes that need consent.
//!
//! The statement that stores such data asks the function `consent_admits(person, purpose)`, which
//! `migrations/platform/0004_consents.sql` makes in every schema:
//!
//! ```sql
//! insert into analytics.visits (id, user_id, seen_at)
//! select $1, $2, $3 where analytics.consent_admits($2, 'analytics')
//! ```
//!
//! It locks the person's row in the transaction that stores. [`apply`] changes that row, so it waits for those transactions,
//! and whatever comes later is refused: events that were queued before a withdrawal are not stored after it. Without contact
//! with the privacy service for ten seconds nothing is admitted.

use std::collections::BTreeMap;

use baton_errors::{Error, Result};
use baton_store::Db;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use uuid::Uuid;

/// The job that deletes what was collected, after a withdrawal. Its payload is a [`Withdrawn`].
pub const WITHDRAWN_JOB: &str = "privacy.withdrawn";

/// A person's consent to a purpose, as it is since an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The person.
    pub user_id: Uuid,
    /// The purpose.
    pub purpose: String,
    /// Whether they consent.
    pub given: bool,
    /// The number of the change, which grows.
    pub epoch: i64,
}

/// A withdrawal, after which what was collected is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// The person.
    pub user_id: Uuid,
    /// The purpose.
    pub purpose: String,
}

/// Applies changes, and notes the contact. When it returns, nothing is stored any more for what was withdrawn, and a job
/// deletes what was collected. All changes up to `through` are known afterwards; returns up to which change that is so.
///
/// # Errors
/// Those of the database; then nothing was applied.
pub async fn apply(db: &Db, changes: impl IntoIterator<Item = Change>, through: i64) -> Result<i64> {
    // Of several changes of one consent the last counts. In one order everywhere, so that concurrent calls do not wait for
    // each other in a circle.
    let mut last: BTreeMap<(Uuid, String), (i64, bool)> = BTreeMap::new();
    for Change { user_id, purpose, given, epoch } in changes {
        let known = last.entry((user_id, purpose)).or_insert((epoch, given));
        *known = (*known).max((epoch, given));
    }
    let (mut users, mut purposes, mut given, mut epochs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((user_id, purpose), (epoch, is_given)) in last {
        users.push(user_id);
        purposes.push(purpose);
        given.push(is_given);
        epochs.push(epoch);
    }
    let mut tx = db.system().begin().await?;
    let upsert = db.sql(
        "insert into {schema}.consent_gates as known (user_id, purpose, given, epoch)
         select * from unnest($1::uuid[], $2::text[], $3::boolean[], $4::bigint[])
         on conflict (user_id, purpose) do update set given = excluded.given, epoch = excluded.epoch
         where known.epoch < excluded.epoch
         returning user_id, purpose, given",
    );
    let applied = sqlx::query(upsert).bind(users).bind(purposes).bind(given).bind(epochs).fetch_all(&mut *tx).await?;
    let withdrawn = applied.iter().filter(|row| !row.get::<bool, _>("given"));
    let withdrawn = withdrawn.map(|row| Withdrawn { user_id: row.get("user_id"), purpose: row.get("purpose") });
    let payloads = withdrawn.map(|withdrawn| serde_json::to_value(withdrawn).map_err(Error::internal));
    let payloads = payloads.collect::<Result<Vec<_>>>()?;
    if !payloads.is_empty() {
        let ids: Vec<Uuid> = payloads.iter().map(|_| db.clock().new_id()).collect();
        let insert = db.sql(
            "insert into {schema}.jobs (id, kind, payload)
             select id, $2, payload from unnest($1::uuid[], $3::jsonb[]) as jobs (id, payload)",
        );
        sqlx::query(insert).bind(ids).bind(WITHDRAWN_JOB).bind(payloads).execute(&mut *tx).await?;
    }
    let contact = db.sql(
        "update {schema}.consent_contact set at = clock_timestamp(), through = greatest(through, $1) returning through",
    );
    let through: i64 = sqlx::query_scalar(contact).bind(through).fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(through)
}
