//! Invitation e-mails, sent by jobs: after the commit, with retries while the mail server is unavailable.

use anyhow::bail;
use baton_access::MailedTokens;
use baton_mail::Mailer;
use baton_runtime::Permanent;
use baton_store::{Db, Tenant, jobs::Job};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{clients::auth::AuthClient, emails, events::publish, member::MemberStatus, store};

/// Job: send an invitation.
pub(crate) const INVITATION_JOB: &str = "mail.invitation";
/// Purpose of invitation tokens. Their ids are the account's and the membership's.
pub(crate) const INVITATION_TOKEN: &str = "invitation";

/// Payload of [`INVITATION_JOB`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InvitationJob {
    pub(crate) account_id: Uuid,
    pub(crate) member_id: Uuid,
}

/// Runs the e-mail jobs. Clones share its dependencies.
#[derive(Clone)]
pub(crate) struct EmailJobs {
    pub(crate) db: Db,
    pub(crate) mailer: Mailer,
    pub(crate) tokens: MailedTokens,
    pub(crate) auth: AuthClient,
}

impl EmailJobs {
    /// Sends the e-mail of a job.
    ///
    /// # Errors
    /// Those of auth, the database and the mail server. The job is retried unless the error is permanent.
    pub(crate) async fn run_job(&self, job: Job) -> anyhow::Result<()> {
        if job.kind != INVITATION_JOB {
            bail!("unknown job kind {}", job.kind);
        }
        let InvitationJob { account_id, member_id } = job.payload()?;
        let mut tx = self.db.begin(Tenant::account(account_id)).await?;
        let recipient = store::member::get_recipient(&mut tx, account_id, member_id).await?;
        drop(tx);
        // The invitation was accepted or ended since.
        let Some(recipient) = recipient else { return Ok(()) };
        let token = self.tokens.issue(INVITATION_TOKEN, [account_id, member_id]);
        let inviter = match recipient.invited_by {
            Some(user_id) => self.auth.contact(user_id).await?,
            None => None,
        };
        let sent =
            emails::send_invitation(&self.mailer, &recipient.email, &recipient.account_name, inviter.as_ref(), &token)
                .await;
        if let Err(error) = &sent
            && Permanent::is_cause_of(error)
        {
            self.end_undeliverable(account_id, member_id).await?;
        }
        sent
    }

    /// Ends an invitation whose e-mail is undeliverable. This frees its seat, and the activity log records the reason.
    async fn end_undeliverable(&self, account_id: Uuid, member_id: Uuid) -> anyhow::Result<()> {
        let mut tx = self.db.begin(Tenant::account(account_id)).await?;
        store::account::lock_hierarchy(&mut tx, account_id).await?;
        let invited = store::member::lock(&mut tx, account_id, member_id).await?;
        let Some(invited) = invited.filter(|member| member.status == MemberStatus::Invited) else { return Ok(()) };
        let mut ended = invited.removed(self.db.clock().now());
        store::member::save(&mut tx, &mut ended).await?;
        tx.publish(publish::member_invitation_undeliverable(&ended)).await?;
        tx.publish(publish::member_invitation_ended(&ended)).await?;
        Ok(tx.commit().await?)
    }
}
