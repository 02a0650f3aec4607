//! Accepted policies.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A version of a policy that a person has accepted.
pub(crate) struct Acceptance {
    pub(crate) policy: String,
    pub(crate) version: i32,
    pub(crate) accepted_at: DateTime<Utc>,
}

/// The latest version of each policy that a person has accepted.
pub(crate) async fn accepted(tx: &mut ReadTx, user_id: Uuid) -> Result<Vec<Acceptance>> {
    let accepted = sqlx::query_as!(
        Acceptance,
        "select distinct on (policy) policy, version, accepted_at from privacy.policy_acceptances
         where user_id = $1 order by policy, version desc",
        user_id,
    );
    Ok(accepted.fetch_all(tx.connection()).await?)
}

/// Stores that a person has accepted a version of a policy, if they had not before.
pub(crate) async fn accept(
    tx: &mut Tx,
    user_id: Uuid,
    policy: &str,
    (version, sha256): (i32, &[u8]),
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into privacy.policy_acceptances (user_id, policy, version, sha256, accepted_at)
         values ($1, $2, $3, $4, $5) on conflict do nothing",
        user_id,
        policy,
        version,
        sha256,
        now,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
