//! Visits: behaviour, which is stored with the consent of the moment only.

use baton_consent::Withdrawn;
use baton_errors::Result;
use baton_store::{Db, Tenant};
use chrono::{DateTime, Utc};

/// The purposes that data is collected for.
pub(crate) const PURPOSES: [&str; 1] = ["analytics"];

/// Stores a visit, if the person consents to that. The gate is part of the statement.
pub(crate) async fn store(db: &Db, tenant: Tenant) -> Result<()> {
    let mut tx = db.begin(tenant).await?;
    sqlx::query!(
        "insert into example.visits (id, account_id, user_id, seen_at)
         select $1, $2, $3, $4 where example.consent_admits($3, 'analytics')",
        db.clock().new_id(),
        tenant.account_id,
        tenant.user_id,
        db.clock().now(),
    )
    .execute(tx.connection())
    .await?;
    tx.commit().await
}

/// Deletes what was collected about a person who has withdrawn their consent, across tenants.
pub(crate) async fn delete(db: Db, withdrawn: Withdrawn) -> anyhow::Result<()> {
    sqlx::query!(
        "delete from example.visits where user_id = $1 and seen_at < $2",
        withdrawn.user_id,
        withdrawn.before(),
    )
    .execute(db.system())
    .await?;
    Ok(())
}

/// Deletes old visits, across tenants.
pub(crate) async fn delete_before(db: &Db, time: DateTime<Utc>) -> Result<()> {
    sqlx::query!("delete from example.visits where seen_at < $1", time).execute(db.system()).await?;
    Ok(())
}
