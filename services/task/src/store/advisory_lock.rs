//! Locks on what an account has one of, held until the transaction ends.

use baton_errors::Result;
use baton_store::Tx;

/// Lets one transaction at a time go on in the tenant's account.
pub(super) async fn exclusive(tx: &mut Tx, what: &str) -> Result<()> {
    let key = key(tx, what);
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, 0))", key).execute(&mut **tx).await?;
    Ok(())
}

/// The same, but `false` at once where another has it.
pub(super) async fn try_exclusive(tx: &mut Tx, what: &str) -> Result<bool> {
    let key = key(tx, what);
    let locked = sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as "locked!""#, key);
    Ok(locked.fetch_one(&mut **tx).await?)
}

/// Lets others who take it so go on, and nobody who takes it alone.
pub(super) async fn shared(tx: &mut Tx, what: &str) -> Result<()> {
    let key = key(tx, what);
    sqlx::query!("select pg_advisory_xact_lock_shared(hashtextextended($1, 0))", key).execute(&mut **tx).await?;
    Ok(())
}

fn key(tx: &Tx, what: &str) -> String {
    format!("task.{what}:{}", tx.tenant().account_id)
}
