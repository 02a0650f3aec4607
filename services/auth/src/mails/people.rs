//! Mails about a person's password and address.

use anyhow::bail;
use baton_mail::Email;
use baton_store::Tenant;
use uuid::Uuid;

use super::Mails;
use crate::store::{
    self,
    identity::Identity,
    link::{Link, Purpose},
    user::Recipient,
};

/// Job: mail the link that sets a new password.
pub(crate) const PASSWORD_RESET: &str = "mail.password_reset";
/// Job: tell someone that their password was changed.
pub(crate) const PASSWORD_CHANGED: &str = "mail.password_changed";
/// Job: mail the link that confirms a new address, to that address.
pub(crate) const EMAIL_CHANGE: &str = "mail.email_change";
/// Job: tell someone at their present address that another was asked for.
pub(crate) const EMAIL_CHANGE_ASKED: &str = "mail.email_change_asked";
/// Job: tell someone at the address before that it was changed.
pub(crate) const EMAIL_CHANGED: &str = "mail.email_changed";
/// Job: tell someone that their sign-in was deactivated.
pub(crate) const DEACTIVATED: &str = "mail.deactivated";
/// Job: mail the link that takes a deactivation back.
pub(crate) const REACTIVATION: &str = "mail.reactivation";

impl Mails {
    /// Sends a mail of one of the kinds above. One whose link has ended meanwhile is not sent.
    pub(super) async fn send_to_person(&self, kind: &str, user_id: Uuid, recipient: &Recipient) -> anyhow::Result<()> {
        let present = recipient.email.as_str();
        match kind {
            PASSWORD_RESET => {
                let Some(link) = self.link(user_id, Purpose::PasswordReset).await? else { return Ok(()) };
                let linked = self.linked(user_id).await?;
                let mut paragraphs = vec![
                    "Someone, probably you, asked for a new password at Baton. Follow the link to choose one.",
                    "The link works once, for an hour at most. If it was not you, ignore this mail: nothing changes.",
                ];
                paragraphs.extend(linked.iter().map(String::as_str));
                let letter = Email {
                    subject: "Set a new password",
                    paragraphs: &paragraphs,
                    link: Some((
                        "Set a new password",
                        self.follow(user_id, &link, Purpose::PasswordReset, "/reset-password"),
                    )),
                };
                self.mailer.send(present, &letter).await
            }
            PASSWORD_CHANGED => {
                let letter = Email {
                    subject: "Your password was changed",
                    paragraphs: &[
                        "Your password at Baton was changed, and your other sessions were closed.",
                        "If it was not you, ask for a new password at the sign-in page at once.",
                    ],
                    link: None,
                };
                self.mailer.send(present, &letter).await
            }
            EMAIL_CHANGE => self.send_email_change(user_id).await,
            EMAIL_CHANGE_ASKED => {
                // Confirmed, or replaced, since: the present address is the new one, or is told by another mail.
                if self.link(user_id, Purpose::EmailChange).await?.is_none() {
                    return Ok(());
                }
                let letter = Email {
                    subject: "A new address for your sign-in",
                    paragraphs: &[
                        "Someone, probably you, asked to sign in at Baton with another address. It takes this one's place when it is confirmed.",
                        "If it was not you, change your password: that ends it.",
                    ],
                    link: None,
                };
                self.mailer.send(present, &letter).await
            }
            EMAIL_CHANGED => {
                let Some(link) = self.link(user_id, Purpose::EmailChanged).await? else { return Ok(()) };
                let Some(before) = &link.email else { return Ok(()) };
                let letter = Email {
                    subject: "Your address was changed",
                    paragraphs: &[
                        "You sign in at Baton with another address from now on; this one is no longer yours there.",
                        "If it was not you, write to whoever runs Baton for you.",
                    ],
                    link: None,
                };
                self.mailer.send(before, &letter).await?;
                // Told: the next change keeps the address that it replaces.
                let mut tx = self.db.begin(Tenant::user(user_id)).await?;
                let now = self.db.clock().now();
                store::link::take(&mut tx, user_id, Purpose::EmailChanged, link.nonce, now).await?;
                Ok(tx.commit().await?)
            }
            DEACTIVATED => {
                let letter = Email {
                    subject: "Your sign-in is deactivated",
                    paragraphs: &[
                        "Your sign-in at Baton is deactivated, and all your sessions are closed.",
                        "For 30 days you can have it back: sign in as before, and follow the link that we mail you then.",
                    ],
                    link: None,
                };
                self.mailer.send(present, &letter).await
            }
            REACTIVATION => {
                let Some(link) = self.link(user_id, Purpose::Reactivation).await? else { return Ok(()) };
                let letter = Email {
                    subject: "Have your sign-in back",
                    paragraphs: &[
                        "Your sign-in at Baton is deactivated. Follow the link to have it back, then sign in.",
                        "The link works once, for an hour. If you did not just sign in, change your password afterwards.",
                    ],
                    link: Some(("Have it back", self.follow(user_id, &link, Purpose::Reactivation, "/reactivate"))),
                };
                self.mailer.send(present, &letter).await
            }
            other => bail!("no mail of kind {other}"),
        }
    }

    /// To the new address: the link; or, when it is a confirmed person's already, a word to them.
    async fn send_email_change(&self, user_id: Uuid) -> anyhow::Result<()> {
        let Some(link) = self.link(user_id, Purpose::EmailChange).await? else { return Ok(()) };
        let Some(email) = &link.email else { return Ok(()) };
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let owner = store::user::confirmed_owner(&mut tx, email).await?;
        drop(tx);
        let letter = match owner {
            Some(owner) if owner != user_id => Email {
                subject: "This address is yours already",
                paragraphs: &[
                    "Someone asked to sign in at Baton with this address. It is your sign-in already, and stays it.",
                    "If it was you, sign in with this address. If not, there is nothing to do.",
                ],
                link: None,
            },
            _ => Email {
                subject: "Confirm your new address",
                paragraphs: &[
                    "Confirm that this address is yours, and you sign in at Baton with it from now on.",
                    "The link works for a day. If you did not ask for this, ignore this mail.",
                ],
                link: Some(("Confirm address", self.follow(user_id, &link, Purpose::EmailChange, "/confirm-email"))),
            },
        };
        self.mailer.send(email, &letter).await
    }

    /// What else signs the person in, for them to see whether all of it is theirs.
    async fn linked(&self, user_id: Uuid) -> anyhow::Result<Vec<String>> {
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let identities = store::identity::list(&mut tx, user_id).await?;
        let factor = store::mfa::show(&mut tx, user_id).await?;
        drop(tx);
        let mut linked = Vec::new();
        if !identities.is_empty() {
            let each = |identity: &Identity| {
                format!("{} (since {})", identity.provider, identity.created_at.format("%-d %B %Y"))
            };
            let each: Vec<String> = identities.iter().map(each).collect();
            linked.push(format!(
                "These other providers sign you in as well: {}. With the new password, those that were linked since you registered are unlinked, unless you keep them.",
                each.join(", ")
            ));
        }
        if let Some(since) = factor.and_then(|factor| factor.enabled_at) {
            linked.push(format!(
                "Signing in asks for a second factor since {}. If you did not switch it on, have it removed with the new password, within a week of that day.",
                since.format("%-d %B %Y")
            ));
        }
        Ok(linked)
    }

    async fn link(&self, user_id: Uuid, purpose: Purpose) -> anyhow::Result<Option<Link>> {
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        Ok(store::link::get(&mut tx, user_id, purpose, self.db.clock().now()).await?)
    }

    fn follow(&self, user_id: Uuid, link: &Link, purpose: Purpose, page: &str) -> url::Url {
        self.mailer.link(page, &self.tokens.issue(purpose.name(), [user_id, link.nonce]))
    }
}
