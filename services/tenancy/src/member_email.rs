//! Keeps the e-mail addresses of memberships up to date when a user changes theirs.

use baton_errors::Result;
use baton_proto::baton::events::v1::Envelope;
use baton_store::{Db, Tenant, Tx, jobs::Job};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{clients::auth::AuthClient, events, offboarding::parse_user_id, store};

/// Job: copy a user's address from auth into their memberships.
pub(crate) const REFRESH_JOB: &str = "member.email";

/// Payload of [`REFRESH_JOB`].
#[derive(Debug, Serialize, Deserialize)]
struct RefreshJob {
    user_id: Uuid,
}

/// Enqueues the refresh for the event's user. A job calls auth, so that no transaction waits for another service.
///
/// # Errors
/// Those of the database; INTERNAL when the event has no user id.
pub(crate) async fn enqueue_refresh(tx: &mut Tx, event: &Envelope) -> Result<()> {
    tx.enqueue(REFRESH_JOB, &RefreshJob { user_id: parse_user_id(event)? }).await
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
        let ended = ended.iter().map(events::member_invitation_ended);
        tx.publish_all(ended.chain(changed.iter().map(events::member_updated))).await?;
    }
    tx.commit().await?;
    Ok(())
}
