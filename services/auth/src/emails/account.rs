//! Emails about a user's password, address and deactivation.

use anyhow::bail;
use baton_mail::Email;
use baton_store::Tenant;
use uuid::Uuid;

use super::EmailSender;
use crate::{
    identity::Identity,
    store::{
        self,
        email_link::{EmailLink, LinkPurpose},
        user::Recipient,
    },
};

/// Job: sends the link that sets a new password.
pub(crate) const PASSWORD_RESET: &str = "mail.password_reset";
/// Job: reports that the password was changed.
pub(crate) const PASSWORD_CHANGED: &str = "mail.password_changed";
/// Job: sends the link that confirms a new address, to that address.
pub(crate) const EMAIL_CHANGE: &str = "mail.email_change";
/// Job: reports to the current address that another one was requested.
pub(crate) const EMAIL_CHANGE_ASKED: &str = "mail.email_change_asked";
/// Job: reports to the previous address that it was replaced.
pub(crate) const EMAIL_CHANGED: &str = "mail.email_changed";
/// Job: reports that the sign-in was deactivated.
pub(crate) const DEACTIVATED: &str = "mail.deactivated";
/// Job: sends the link that reactivates the sign-in.
pub(crate) const REACTIVATION: &str = "mail.reactivation";

impl EmailSender {
    /// Sends an email of one of the kinds above, unless its link is no longer valid.
    pub(super) async fn send_account_email(
        &self,
        kind: &str,
        user_id: Uuid,
        recipient: &Recipient,
    ) -> anyhow::Result<()> {
        let present = recipient.email.as_str();
        match kind {
            PASSWORD_RESET => {
                let Some(link) = self.find_link(user_id, LinkPurpose::PasswordReset).await? else { return Ok(()) };
                let linked = self.sign_in_methods(user_id).await?;
                let mut paragraphs = vec![
                    "Someone, probably you, asked for a new password at Baton. Follow the link to choose one.",
                    "The link works once, for an hour at most. If it was not you, ignore this mail: nothing changes.",
                ];
                paragraphs.extend(linked.iter().map(String::as_str));
                let email = Email {
                    subject: "Set a new password",
                    paragraphs: &paragraphs,
                    link: Some((
                        "Set a new password",
                        self.link_url(user_id, &link, LinkPurpose::PasswordReset, "/reset-password"),
                    )),
                };
                self.mailer.send(present, &email).await
            }
            PASSWORD_CHANGED => {
                let email = Email {
                    subject: "Your password was changed",
                    paragraphs: &[
                        "Your password at Baton was changed, and your other sessions were closed.",
                        "If it was not you, ask for a new password at the sign-in page at once.",
                    ],
                    link: None,
                };
                self.mailer.send(present, &email).await
            }
            EMAIL_CHANGE => self.send_email_change(user_id).await,
            EMAIL_CHANGE_ASKED => {
                // The change was confirmed or replaced since. Another email reports that.
                if self.find_link(user_id, LinkPurpose::EmailChange).await?.is_none() {
                    return Ok(());
                }
                let email = Email {
                    subject: "A new address for your sign-in",
                    paragraphs: &[
                        "Someone, probably you, asked to sign in at Baton with another address. It takes this one's place when it is confirmed.",
                        "If it was not you, change your password: that ends it.",
                    ],
                    link: None,
                };
                self.mailer.send(present, &email).await
            }
            EMAIL_CHANGED => {
                let Some(link) = self.find_link(user_id, LinkPurpose::EmailChanged).await? else { return Ok(()) };
                let Some(before) = &link.email else { return Ok(()) };
                let email = Email {
                    subject: "Your address was changed",
                    paragraphs: &[
                        "You sign in at Baton with another address from now on; this one is no longer yours there.",
                        "If it was not you, write to whoever runs Baton for you.",
                    ],
                    link: None,
                };
                self.mailer.send(before, &email).await?;
                // Delivered, so the next change keeps the address that it replaces.
                let mut tx = self.db.begin(Tenant::user(user_id)).await?;
                let now = self.db.clock().now();
                store::email_link::consume(&mut tx, user_id, LinkPurpose::EmailChanged, link.nonce, now).await?;
                Ok(tx.commit().await?)
            }
            DEACTIVATED => {
                let email = Email {
                    subject: "Your sign-in is deactivated",
                    paragraphs: &[
                        "Your sign-in at Baton is deactivated, and all your sessions are closed.",
                        "For 30 days you can have it back: sign in as before, and follow the link that we mail you then.",
                    ],
                    link: None,
                };
                self.mailer.send(present, &email).await
            }
            REACTIVATION => {
                let Some(link) = self.find_link(user_id, LinkPurpose::Reactivation).await? else { return Ok(()) };
                let email = Email {
                    subject: "Have your sign-in back",
                    paragraphs: &[
                        "Your sign-in at Baton is deactivated. Follow the link to have it back, then sign in.",
                        "The link works once, for an hour. If you did not just sign in, change your password afterwards.",
                    ],
                    link: Some((
                        "Have it back",
                        self.link_url(user_id, &link, LinkPurpose::Reactivation, "/reactivate"),
                    )),
                };
                self.mailer.send(present, &email).await
            }
            other => bail!("unknown email job {other}"),
        }
    }

    /// Sends the confirmation link to the new address, or a notice to its owner if it belongs to a confirmed user.
    async fn send_email_change(&self, user_id: Uuid) -> anyhow::Result<()> {
        let Some(link) = self.find_link(user_id, LinkPurpose::EmailChange).await? else { return Ok(()) };
        let Some(email) = &link.email else { return Ok(()) };
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let owner = store::user::confirmed_id_by_email(&mut tx, email).await?;
        drop(tx);
        let message = match owner {
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
                link: Some((
                    "Confirm address",
                    self.link_url(user_id, &link, LinkPurpose::EmailChange, "/confirm-email"),
                )),
            },
        };
        self.mailer.send(email, &message).await
    }

    /// Describes the user's other sign-in methods, so that they notice one that is not theirs.
    async fn sign_in_methods(&self, user_id: Uuid) -> anyhow::Result<Vec<String>> {
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let identities = store::identity::list(&mut tx, user_id).await?;
        let factor = store::mfa::status(&mut tx, user_id).await?;
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

    async fn find_link(&self, user_id: Uuid, purpose: LinkPurpose) -> anyhow::Result<Option<EmailLink>> {
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        Ok(store::email_link::get(&mut tx, user_id, purpose, self.db.clock().now()).await?)
    }

    fn link_url(&self, user_id: Uuid, link: &EmailLink, purpose: LinkPurpose, page: &str) -> url::Url {
        self.mailer.link(page, &self.tokens.issue(purpose.name(), [user_id, link.nonce]))
    }
}
