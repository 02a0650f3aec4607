//! The mails that the service sends, as jobs: after the commit, and again if the server is away.

use anyhow::bail;
use baton_access::MailedTokens;
use baton_mail::{Letter, Mailer};
use baton_store::{Db, Tenant, jobs::Job};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store;

/// Job: mail the activation link.
pub(crate) const ACTIVATION: &str = "mail.activation";
/// Job: tell someone who registered again that they are registered already.
pub(crate) const ALREADY_REGISTERED: &str = "mail.already_registered";
/// Purpose of activation tokens; their ids are user and nonce.
pub(crate) const ACTIVATION_TOKEN: &str = "activation";

/// Whom a mail is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct To {
    pub(crate) user_id: Uuid,
}

#[derive(Clone)]
pub(crate) struct Mails {
    pub(crate) db: Db,
    pub(crate) mailer: Mailer,
    pub(crate) tokens: MailedTokens,
}

impl Mails {
    pub(crate) async fn send(&self, job: Job) -> anyhow::Result<()> {
        let To { user_id } = job.payload()?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let recipient = store::user::recipient(&mut tx, user_id).await?;
        drop(tx);
        // Registered again, or erased, since: the newer job has the newer link.
        let Some(recipient) = recipient else { return Ok(()) };
        match job.kind.as_str() {
            ACTIVATION => {
                let token = self.tokens.issue(ACTIVATION_TOKEN, [user_id, recipient.activation_nonce]);
                let letter = Letter {
                    subject: "Confirm your address",
                    paragraphs: &[
                        "Welcome to Baton. Confirm that this address is yours, and you can sign in.",
                        "The link works for seven days. If you did not register, ignore this mail.",
                    ],
                    link: Some(("Confirm address", self.mailer.link("/verify-email", &token))),
                };
                self.mailer.send(&recipient.email, &letter).await
            }
            ALREADY_REGISTERED => {
                let letter = Letter {
                    subject: "You are registered already",
                    paragraphs: &[
                        "Someone, probably you, tried to register at Baton with this address. It is registered already: sign in with your password.",
                        "If it was not you, there is nothing to do.",
                    ],
                    link: None,
                };
                self.mailer.send(&recipient.email, &letter).await
            }
            other => bail!("no mail of kind {other}"),
        }
    }
}
