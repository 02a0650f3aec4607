//! Places of accounts in the queue.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, TimeDelta, Utc};

/// Takes places of this length, the first not before `start`. Returns the first.
pub(crate) async fn take_slots(tx: &mut Tx, start: DateTime<Utc>, length: TimeDelta) -> Result<DateTime<Utc>> {
    let account_id = tx.tenant().account_id;
    let next = sqlx::query_scalar!(
        "insert into automation.accounts (account_id, next_slot) values ($1, $2)
         on conflict (account_id) do update set next_slot = greatest(accounts.next_slot, $3) + ($2 - $3)
         returning next_slot",
        account_id,
        start + length,
        start,
    );
    Ok(next.fetch_one(tx.connection()).await? - length)
}
