//! Budgets of differential privacy, and the releases that they have paid for.

use baton_anonymization::budget::{Epsilon, Quarter, Remaining, spend};
use baton_errors::{Error, Result};
use baton_store::Db;
use chrono::{DateTime, Utc};

/// Budgets that a list has at most.
const MAX_BUDGETS: i64 = 1_000;

/// What is paid for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Release<'a> {
    pub(crate) scope: &'a str,
    pub(crate) purpose: &'a str,
    /// SHA-256.
    pub(crate) query: &'a [u8],
}

/// What a budget has spent.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) scope: String,
    pub(crate) purpose: String,
    pub(crate) quarter: String,
    pub(crate) spent: i32,
    pub(crate) max_spent: i32,
}

/// The outcome of a payment.
#[derive(Debug)]
pub(crate) enum Payment {
    /// The release is paid for, now or before; with its result, if that was stored.
    Paid { result: Option<Vec<u8>>, remaining: u32 },
    /// Too little is left.
    Exhausted(Remaining),
}

/// Pays for a release. The row of the budget is locked, so concurrent payments never exceed it.
pub(crate) async fn pay(db: &Db, release: Release<'_>, epsilon: Epsilon, now: DateTime<Utc>) -> Result<Payment> {
    let Release { scope, purpose, query } = release;
    let quarter = Quarter::of(now.date_naive()).to_string();
    let max = i32::try_from(Epsilon::MAX_PER_QUARTER).map_err(Error::internal)?;
    let mut tx = db.system().begin().await?;
    sqlx::query!(
        "insert into privacy.privacy_budgets (scope, purpose, quarter, spent, max_spent, changed_at)
         values ($1, $2, $3, 0, $4, $5) on conflict do nothing",
        scope,
        purpose,
        quarter,
        max,
        now,
    )
    .execute(&mut *tx)
    .await?;
    let budget = sqlx::query!(
        "select spent, max_spent from privacy.privacy_budgets where scope = $1 and purpose = $2 and quarter = $3
         for update",
        scope,
        purpose,
        quarter,
    )
    .fetch_one(&mut *tx)
    .await?;
    let (spent, limit) = (budget.spent.unsigned_abs(), budget.max_spent.unsigned_abs());
    let known = sqlx::query_scalar!(
        "select result from privacy.budget_releases where scope = $1 and purpose = $2 and query = $3",
        scope,
        purpose,
        query,
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(result) = known {
        tx.commit().await?;
        return Ok(Payment::Paid { result, remaining: limit.saturating_sub(spent) });
    }
    let spent = match spend(spent, epsilon, limit) {
        Ok(spent) => spent,
        Err(remaining) => return Ok(Payment::Exhausted(remaining)),
    };
    sqlx::query!(
        "with paid as (
             update privacy.privacy_budgets set spent = $4, changed_at = $7
             where scope = $1 and purpose = $2 and quarter = $3
         )
         insert into privacy.budget_releases (scope, purpose, query, epsilon, paid_at) values ($1, $2, $5, $6, $7)",
        scope,
        purpose,
        quarter,
        i32::try_from(spent).map_err(Error::internal)?,
        query,
        i32::try_from(epsilon.thousandths()).map_err(Error::internal)?,
        now,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Payment::Paid { result: None, remaining: limit.saturating_sub(spent) })
}

/// Stores the result of a release that was paid for, and returns the one that is stored; `None` if it was not paid for.
pub(crate) async fn store_result(db: &Db, release: Release<'_>, result: &[u8]) -> Result<Option<Vec<u8>>> {
    let stored = sqlx::query_scalar!(
        r#"update privacy.budget_releases set result = coalesce(result, $4)
           where scope = $1 and purpose = $2 and query = $3 returning result as "result!""#,
        release.scope,
        release.purpose,
        release.query,
        result,
    );
    Ok(stored.fetch_optional(db.system()).await?)
}

/// The budgets of the quarter that this time is in, those with the least left first.
pub(crate) async fn list(db: &Db, now: DateTime<Utc>) -> Result<Vec<Budget>> {
    let budgets = sqlx::query_as!(
        Budget,
        "select scope, purpose, quarter, spent, max_spent from privacy.privacy_budgets where quarter = $1
         order by max_spent - spent, scope, purpose limit $2",
        Quarter::of(now.date_naive()).to_string(),
        MAX_BUDGETS,
    );
    Ok(budgets.fetch_all(db.system()).await?)
}
