//! What ends by itself: accounts that were given up, and invitations that nobody accepted.
//!
//! The rows say when; this looks again and again, so nothing is lost with a job or a process. Several may
//! look at once: the transaction that finds the row still there does the work.

use std::time::Duration;

use baton_errors::Result;
use baton_runtime::Shutdown;
use baton_store::{Db, Tenant};
use uuid::Uuid;

use crate::{events, member::INVITATION, store};

const EVERY: Duration = Duration::from_secs(5);

/// Ends what is over, until the process stops.
pub(crate) async fn run(db: Db, shutdown: Shutdown) {
    loop {
        if let Err(error) = end(&db).await {
            tracing::warn!(%error, "cannot end what is over");
        }
        tokio::select! {
            () = shutdown.stop().cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// An account at a time: each is a tenant, and has a transaction of its own.
async fn end(db: &Db) -> Result<()> {
    let now = db.clock().now();
    for account_id in store::invitation::accounts_with_old(db, now - INVITATION).await? {
        end_invitations(db, account_id).await?;
    }
    for account_id in store::account::to_delete(db, now).await? {
        delete_account(db, account_id).await?;
    }
    Ok(())
}

async fn end_invitations(db: &Db, account_id: Uuid) -> Result<()> {
    let now = db.clock().now();
    let mut tx = db.begin(Tenant::account(account_id)).await?;
    let ended = store::invitation::end_all_old(&mut tx, account_id, now - INVITATION, now).await?;
    tx.publish_all(ended.iter().map(events::member_invitation_ended)).await?;
    tx.commit().await
}

async fn delete_account(db: &Db, account_id: Uuid) -> Result<()> {
    let mut tx = db.begin(Tenant::account(account_id)).await?;
    if store::account::delete(&mut tx, account_id, db.clock().now()).await? {
        tx.publish(events::account_deleted(account_id)).await?;
        tx.commit().await?;
        tracing::info!(%account_id, "deleted an account whose grace was over");
    }
    Ok(())
}
