//! Accounts: their positions in the queue, and their executions in an hour.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, TimeDelta, Utc};

/// Takes positions of this length, the first not before `start`. Returns the first.
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

/// Counts an execution of the account in this hour of the clock, unless it has so many; then returns `false`.
pub(crate) async fn count_execution(tx: &mut Tx, hour: DateTime<Utc>, limit: i32) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let counted = sqlx::query!(
        "insert into automation.accounts as a (account_id, hour, executions) select $1, $2, 1 where $3 > 0
         on conflict (account_id) do update
         set hour = greatest(a.hour, $2), executions = case when a.hour >= $2 then a.executions + 1 else 1 end
         where $3 > 0 and (a.hour < $2 or a.executions < $3)",
        account_id,
        hour,
        limit,
    );
    Ok(counted.execute(tx.connection()).await?.rows_affected() == 1)
}
