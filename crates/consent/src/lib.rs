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
//! and whatever comes later is refused: events that were queued before a withdrawal are not stored after it. If the privacy
//! service has not said within ten seconds that this service knows everything, nothing is admitted.

use std::collections::{BTreeMap, HashMap};

use baton_errors::{Error, Result};
use baton_store::Db;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use uuid::Uuid;

/// The job that deletes what was collected, after a withdrawal. Its payload is a [`Withdrawn`].
pub const WITHDRAWN_JOB: &str = "privacy.withdrawn";

/// How far the clocks of those that store may be ahead of the database's.
const CLOCK_MARGIN: TimeDelta = TimeDelta::minutes(1);

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
    /// When they answered.
    pub answered_at: DateTime<Utc>,
    /// The number of their last withdrawal; 0 before the first.
    pub withdrawn_epoch: i64,
}

/// What a call of [`apply`] says about all changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// It is assumed that all changes up to this epoch are known.
    pub after: i64,
    /// Then all changes up to this one are known after the call.
    pub through: i64,
    /// And nothing else is outstanding.
    pub complete: bool,
}

/// A withdrawal, after which what was collected is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// The person.
    pub user_id: Uuid,
    /// The purpose.
    pub purpose: String,
    /// What was stored before this time is to be deleted, in microseconds since 1970: later they may have consented again.
    before: i64,
}

impl Withdrawn {
    /// What was stored before this time is to be deleted.
    pub fn before(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.before).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// Applies changes of consents to `purposes`, those that the service collects data for. When it returns, nothing is stored any
/// more for what was withdrawn, and a job deletes what was collected. Returns up to which change all are known.
///
/// # Errors
/// Those of the database; then nothing was applied.
pub async fn apply(db: &Db, purposes: &[&str], changes: impl IntoIterator<Item = Change>, known: Known) -> Result<i64> {
    // Of several changes of one consent the last counts. In one order everywhere, so that concurrent calls do not wait for
    // each other in a circle.
    let mut last: BTreeMap<(Uuid, String), Change> = BTreeMap::new();
    for change in changes.into_iter().filter(|change| purposes.contains(&change.purpose.as_str())) {
        let newest = last.entry((change.user_id, change.purpose.clone())).or_insert_with(|| change.clone());
        if newest.epoch < change.epoch {
            *newest = change;
        }
    }
    let (mut users, mut names, mut given) = (Vec::new(), Vec::new(), Vec::new());
    let (mut epochs, mut withdrawn_epochs) = (Vec::new(), Vec::new());
    for change in last.values() {
        users.push(change.user_id);
        names.push(change.purpose.clone());
        given.push(change.given);
        epochs.push(change.epoch);
        withdrawn_epochs.push(change.withdrawn_epoch);
    }
    let mut tx = db.system().begin().await?;
    let before = db.sql(
        "select gate.user_id, gate.purpose, gate.withdrawn_epoch
         from unnest($1::uuid[], $2::text[]) as asked (user_id, purpose)
         join {schema}.consent_gates gate on gate.user_id = asked.user_id and gate.purpose = asked.purpose
         order by gate.user_id, gate.purpose for update of gate",
    );
    let before = sqlx::query(before).bind(&users).bind(&names).fetch_all(&mut *tx).await?;
    let before: HashMap<(Uuid, String), i64> =
        before.into_iter().map(|row| ((row.get("user_id"), row.get("purpose")), row.get("withdrawn_epoch"))).collect();
    let upsert = db.sql(
        "insert into {schema}.consent_gates as known (user_id, purpose, given, epoch, withdrawn_epoch)
         select * from unnest($1::uuid[], $2::text[], $3::boolean[], $4::bigint[], $5::bigint[])
         on conflict (user_id, purpose) do update set given = excluded.given, epoch = excluded.epoch,
             withdrawn_epoch = greatest(known.withdrawn_epoch, excluded.withdrawn_epoch)
         where known.epoch < excluded.epoch
         returning user_id, purpose",
    );
    let upsert = sqlx::query(upsert).bind(users).bind(names).bind(given).bind(epochs).bind(withdrawn_epochs);
    let applied = upsert.fetch_all(&mut *tx).await?;
    let now = db.clock().now();
    let withdrawn = applied.iter().filter_map(|row| {
        let key = (row.get("user_id"), row.get("purpose"));
        let change = last.get(&key)?;
        let is_new = change.withdrawn_epoch > before.get(&key).copied().unwrap_or_default();
        let before = if change.given { change.answered_at } else { now + CLOCK_MARGIN };
        is_new.then(|| Withdrawn { user_id: key.0, purpose: key.1, before: before.timestamp_micros() })
    });
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
    // Last, since every call updates this row.
    let contact = db.sql(
        "update {schema}.consent_contact set
             at = case when purposes = $1 and through >= $2 and $4 then clock_timestamp() else at end,
             through = case when purposes <> $1 then 0 when through >= $2 then greatest(through, $3) else through end,
             purposes = $1
         returning through",
    );
    let contact = sqlx::query_scalar(contact).bind(purposes).bind(known.after).bind(known.through).bind(known.complete);
    let through: i64 = contact.fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(through)
}
