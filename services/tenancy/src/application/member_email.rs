//! Keeps the e-mail addresses of memberships up to date when a user changes theirs.

use baton_errors::Result;
use baton_store::{Db, Tenant, Tx, jobs::Job};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{clients::auth::AuthClient, events::publish, store};

/// Job: copy a user's address from auth into their memberships.
pub(crate) const REFRESH_JOB: &str = "member.email";

/// Payload of [`REFRESH_JOB`].
#[derive(Debug, Serialize, Deserialize)]
struct RefreshJob {
    user_id: Uuid,
}

/// Enqueues the refresh for a user. A job calls auth, so that no transaction waits for another service.
///
/// # Errors
/// Those of the database.
pub(crate) async fn enqueue_refresh(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    tx.enqueue(REFRESH_JOB, &RefreshJob { user_id }).await
}

/// Runs [`REFRESH_JOB`]: stores the user's address in all their memberships. Ends open invitations to the new address
/// in the same accounts: the user is a member there already.
///
/// # Errors
/// Fails when auth is unavailable, or when another member's outdated address is in the way. The job is retried.
pub(crate) async fn refresh(db: &Db, auth: &AuthClient, job: &Job) -> anyhow::Result<()> {
    let RefreshJob { user_id } = job.payload()?;
    let Some(contact) = auth.contact(user_id).await? else { return Ok(()) };
    let mut tx = db.begin(Tenant::user(user_id)).await?;
    for account_id in store::member::list_account_ids(&mut tx, user_id).await? {
        tx.switch(Tenant { account_id, user_id }).await?;
        store::account::lock_hierarchy(&mut tx, account_id).await?;
        let now = db.clock().now();
        let emails = std::slice::from_ref(&contact.email);
        let ended = store::invitation::end_for_emails(&mut tx, account_id, emails, now, now).await?;
        let changed = store::member::set_email(&mut tx, account_id, user_id, &contact.email).await?;
        let ended = ended.iter().map(publish::member_invitation_ended);
        tx.publish_all(ended.chain(changed.iter().map(publish::member_updated))).await?;
    }
    tx.commit().await?;
    Ok(())
}
