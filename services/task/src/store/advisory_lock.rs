//! Advisory locks per account, held until the transaction ends.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};

/// Takes the lock exclusively.
pub(super) async fn exclusive(tx: &mut Tx, name: &str) -> Result<()> {
    let key = key(tx, name);
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, 0))", key).execute(tx.connection()).await?;
    Ok(())
}

/// Takes the lock exclusively without waiting; `false` if another transaction holds it.
pub(super) async fn try_exclusive(tx: &mut Tx, name: &str) -> Result<bool> {
    let key = key(tx, name);
    let locked = sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as "locked!""#, key);
    Ok(locked.fetch_one(tx.connection()).await?)
}

/// Takes the lock shared.
pub(super) async fn shared(tx: &mut Tx, name: &str) -> Result<()> {
    let key = key(tx, name);
    sqlx::query!("select pg_advisory_xact_lock_shared(hashtextextended($1, 0))", key).execute(tx.connection()).await?;
    Ok(())
}

fn key(tx: &ReadTx, name: &str) -> String {
    format!("task.{name}:{}", tx.tenant().account_id)
}
