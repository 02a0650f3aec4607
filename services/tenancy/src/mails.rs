//! The mails that the service sends, as jobs: after the commit, and again if the server is away.

use anyhow::bail;
use baton_access::MailedTokens;
use baton_mail::{Email, Mailer};
use baton_proto::baton::auth::v1::Contact;
use baton_runtime::Permanent;
use baton_store::{Db, Tenant, jobs::Job};
use baton_text::{mail::quoted, person::full_name};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{events, member::Status, store, users::Users};

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
        let said = introduction(&recipient.account_name, inviter.as_ref());
        let letter = Email {
            subject: "You are invited",
            paragraphs: &[
                "You are invited to an account at Baton, where teams share their work.",
                &said,
                "Sign in, or register with this address, and accept the invitation. The link works for 14 days.",
                "If you do not know who invited you, ignore this mail.",
            ],
            link: Some(("Accept the invitation", self.mailer.link("/accept-invitation", &token))),
        };
        let sent = self.mailer.send(&recipient.email, &letter).await;
        if let Err(error) = &sent
            && Permanent::is_cause_of(error)
        {
            self.end_undeliverable(account_id, member_id).await?;
        }
        sent
    }

    /// Ends an invitation that reaches nobody. It holds no seat any longer, and the log of the account has why.
    async fn end_undeliverable(&self, account_id: Uuid, member_id: Uuid) -> anyhow::Result<()> {
        let mut tx = self.db.begin(Tenant::account(account_id)).await?;
        store::account::lock_hierarchy(&mut tx, account_id).await?;
        let invited = store::member::lock(&mut tx, account_id, member_id).await?;
        let Some(invited) = invited.filter(|member| member.status == Status::Invited) else { return Ok(()) };
        let mut ended = invited.removed(self.db.clock().now());
        store::member::save(&mut tx, &mut ended).await?;
        tx.publish(events::member_invitation_undeliverable(&ended)).await?;
        tx.publish(events::member_invitation_ended(&ended)).await?;
        Ok(tx.commit().await?)
    }
}

/// Who invites whereto, in as few words of other people's as it takes: the reader is a stranger to them, and trusts the
/// mail because Baton sends it.
fn introduction(account: &str, inviter: Option<&Contact>) -> String {
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
    fn invitations_carry_no_links_of_other_people() {
        let inviter = Contact {
            first_name: "http://evil.example".to_owned(),
            email: "pay@evil.example".to_owned(),
            ..Contact::default()
        };
        let said = introduction("You won. www.evil.example", Some(&inviter));
        assert_eq!(
            said,
            "Its name is “You won www evil example”. The person who invites you goes by “http evil example”."
        );
        let suharto = Contact { first_name: "Suharto".to_owned(), ..Contact::default() };
        assert_eq!(
            introduction("Acme", Some(&suharto)),
            "Its name is “Acme”. The person who invites you goes by “Suharto”."
        );
        assert_eq!(introduction("Acme", None), "Its name is “Acme”.");
    }
}
