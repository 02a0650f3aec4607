//! E-mails of the service, sent by jobs: after the commit, with retries while the mail server is unavailable.

use anyhow::bail;
use baton_access::MailedTokens;
use baton_mail::{Email, Mailer};
use baton_proto::baton::auth::v1::Contact;
use baton_runtime::Permanent;
use baton_store::{Db, Tenant, jobs::Job};
use baton_text::{mail::quoted, person::full_name};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{clients::auth::AuthClient, events, member::MemberStatus, store};

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
        let introduction = introduce(&recipient.account_name, inviter.as_ref());
        let email = Email {
            subject: "You are invited",
            paragraphs: &[
                "You are invited to an account at Baton, where teams share their work.",
                &introduction,
                "Sign in, or register with this address, and accept the invitation. The link works for 14 days.",
                "If you do not know who invited you, ignore this mail.",
            ],
            link: Some(("Accept the invitation", self.mailer.link("/accept-invitation", &token))),
        };
        let sent = self.mailer.send(&recipient.email, &email).await;
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
        tx.publish(events::member_invitation_undeliverable(&ended)).await?;
        tx.publish(events::member_invitation_ended(&ended)).await?;
        Ok(tx.commit().await?)
    }
}

/// Names the account and the inviter, with as little user-written text as possible: the recipient knows neither, and
/// trusts the e-mail because Baton sends it.
fn introduce(account: &str, inviter: Option<&Contact>) -> String {
    let account = Some(quoted(account)).filter(|name| !name.is_empty());
    let person = inviter.map(|by| quoted(&full_name(&by.first_name, &by.last_name))).filter(|name| !name.is_empty());
    let account = account.map(|name| format!("Its name is {name}."));
    let person = person.map(|name| format!("The person who invites you goes by {name}."));
    [account, person].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invitations_contain_no_user_written_links() {
        let inviter = Contact {
            first_name: "http://evil.example".to_owned(),
            email: "pay@evil.example".to_owned(),
            ..Contact::default()
        };
        let introduction = introduce("You won. www.evil.example", Some(&inviter));
        assert_eq!(
            introduction,
            "Its name is “You won www evil example”. The person who invites you goes by “http evil example”."
        );
        let suharto = Contact { first_name: "Suharto".to_owned(), ..Contact::default() };
        assert_eq!(
            introduce("Acme", Some(&suharto)),
            "Its name is “Acme”. The person who invites you goes by “Suharto”."
        );
        assert_eq!(introduce("Acme", None), "Its name is “Acme”.");
    }
}
