//! Expiry of invitations, and deletion of accounts after their grace period.
//!
//! Due times are columns and a periodic sweep reads them, so a lost job or process delays nothing for good. Instances
//! may sweep concurrently: the first transaction to change a row wins.

use std::time::Duration;

use baton_errors::Result;
use baton_store::{Db, Tenant};
use uuid::Uuid;

use crate::{events::publish, member::INVITATION_TTL, store};

/// Time between two sweeps.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// Ends expired invitations and deletes accounts whose grace period is over. Each account is a tenant and has its own
/// transaction.
///
/// # Errors
/// Those of the database.
pub(crate) async fn sweep(db: Db) -> Result<()> {
    let now = db.clock().now();
    for account_id in store::invitation::list_accounts_with_expired(&db, now - INVITATION_TTL).await? {
        end_invitations(&db, account_id).await?;
    }
    for account_id in store::account::list_due_for_deletion(&db, now).await? {
        delete_account(&db, account_id).await?;
    }
    Ok(())
}

async fn end_invitations(db: &Db, account_id: Uuid) -> Result<()> {
    let now = db.clock().now();
    let mut tx = db.begin(Tenant::account(account_id)).await?;
    let ended = store::invitation::end_expired(&mut tx, account_id, now - INVITATION_TTL, now).await?;
    tx.publish_all(ended.iter().map(publish::member_invitation_ended)).await?;
    tx.commit().await
}

async fn delete_account(db: &Db, account_id: Uuid) -> Result<()> {
    let mut tx = db.begin(Tenant::account(account_id)).await?;
    if store::account::delete(&mut tx, account_id, db.clock().now()).await? {
        tx.publish(publish::account_deleted(account_id)).await?;
        tx.commit().await?;
        tracing::info!(%account_id, "deleted an account after its grace period");
    }
    Ok(())
}
