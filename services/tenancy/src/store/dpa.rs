//! Accepted data processing agreements.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::dpa::Acceptance;

/// The acceptance of the latest version.
pub(crate) async fn last(tx: &mut ReadTx, account_id: Uuid) -> Result<Option<Acceptance>> {
    let last = sqlx::query_as!(
        Acceptance,
        "select version, accepted_by, accepted_at from tenancy.dpa_acceptances
         where account_id = $1 order by version desc limit 1",
        account_id,
    );
    Ok(last.fetch_optional(tx.connection()).await?)
}

/// Stores that a person has accepted a version for the account; `false` if somebody had before.
pub(crate) async fn accept(
    tx: &mut Tx,
    account_id: Uuid,
    user_id: Uuid,
    (version, sha256): (i32, [u8; 32]),
    now: DateTime<Utc>,
) -> Result<bool> {
    let accepted = sqlx::query!(
        "insert into tenancy.dpa_acceptances (account_id, version, sha256, accepted_by, accepted_at)
         values ($1, $2, $3, $4, $5) on conflict do nothing",
        account_id,
        version,
        &sha256,
        user_id,
        now,
    );
    Ok(accepted.execute(tx.connection()).await?.rows_affected() == 1)
}
