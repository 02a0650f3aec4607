//! The mails that the service sends, as jobs: after the commit, and again if the server is away.

use anyhow::bail;
use baton_access::MailedTokens;
use baton_mail::{Letter, Mailer};
use baton_store::{Db, Tenant, jobs::Job};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{store, users::Users};

/// Job: mail an invitation.
pub(crate) const INVITATION: &str = "mail.invitation";
/// Purpose of invitation tokens; their ids are account and membership.
pub(crate) const INVITATION_TOKEN: &str = "invitation";

/// Whom a mail is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct To {
    pub(crate) account_id: Uuid,
    pub(crate) member_id: Uuid,
}

#[derive(Clone)]
pub(crate) struct Mails {
    pub(crate) db: Db,
    pub(crate) mailer: Mailer,
    pub(crate) tokens: MailedTokens,
    pub(crate) users: Users,
}

impl Mails {
    pub(crate) async fn send(&self, job: Job) -> anyhow::Result<()> {
        if job.kind != INVITATION {
            bail!("no mail of kind {}", job.kind);
        }
        let To { account_id, member_id } = job.payload()?;
        let mut tx = self.db.begin(Tenant::account(account_id)).await?;
        let recipient = store::member::recipient(&mut tx, account_id, member_id).await?;
        drop(tx);
        // Accepted or ended since: there is nothing to invite to.
        let Some(recipient) = recipient else { return Ok(()) };
        let token = self.tokens.issue(INVITATION_TOKEN, [account_id, member_id]);
        let inviter = match recipient.invited_by {
            Some(user_id) => self.users.contact(user_id).await?,
            None => None,
        };
        let account = &recipient.account_name;
        let invited = match inviter {
            Some(by) => {
                format!("{} {} ({}) invites you to join {account} at Baton.", by.first_name, by.last_name, by.email)
            }
            None => format!("You are invited to join {account} at Baton."),
        };
        let letter = Letter {
            subject: "You are invited",
            paragraphs: &[
                &invited,
                "Sign in, or register with this address, and accept the invitation. The link works for 14 days.",
                "If you do not know who invited you, ignore this mail.",
            ],
            link: Some(("Accept the invitation", self.mailer.link("/accept-invitation", &token))),
        };
        self.mailer.send(&recipient.email, &letter).await
    }
}
