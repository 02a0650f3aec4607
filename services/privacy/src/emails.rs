//! Mails about the rights of people. They are sent by jobs.

use baton_clients::{Auth, ServiceTokens};
use baton_mail::{Email, Mailer};
use baton_store::{Db, jobs::Job};
use uuid::Uuid;

use crate::{
    cancellation::CancellationTokens,
    erasure::{hash_code, new_code},
    store,
};

/// Job: makes the code that confirms an erasure, and mails it. Payload: the person.
pub(crate) const ERASURE_CODE: &str = "mail.erasure_code";
/// Job: tells a person that they are to be erased, and how to cancel that. Payload: the request.
pub(crate) const ERASURE_SCHEDULED: &str = "mail.erasure_scheduled";

/// Sends the mails. Clones share the connections.
#[derive(Clone)]
pub(crate) struct EmailSender {
    pub(crate) db: Db,
    pub(crate) auth: Auth,
    pub(crate) service_tokens: ServiceTokens,
    pub(crate) mailer: Mailer,
    pub(crate) tokens: CancellationTokens,
}

impl EmailSender {
    /// Runs the job.
    pub(crate) async fn send(&self, job: Job) -> anyhow::Result<()> {
        let id: Uuid = job.payload()?;
        match job.kind.as_str() {
            ERASURE_CODE => self.send_code(id).await,
            _ => self.send_scheduled(id).await,
        }
    }

    async fn send_code(&self, user_id: Uuid) -> anyhow::Result<()> {
        let Some(contact) = self.auth.contact(&self.service_tokens, user_id).await? else { return Ok(()) };
        // Nobody but the mail has the code. One that is sent again is another, and the last one counts.
        let code = new_code()?;
        let now = self.db.clock().now();
        if !store::erasure::set_code(&self.db, user_id, &hash_code(user_id, &code), now).await? {
            return Ok(());
        }
        let shown = format!("Your code: {code}");
        let email = Email {
            subject: "Confirm that your data is to be erased",
            paragraphs: &[
                "Someone, probably you, asked Baton to erase everything that it has about you.",
                &shown,
                "The code is valid for 15 minutes. Your data is erased 30 days after you entered it. Until then you can cancel.",
                "If it was not you, ignore this mail, and change your password: whoever asked is signed in as you.",
            ],
            link: None,
        };
        self.mailer.send(&contact.email, &email).await
    }

    async fn send_scheduled(&self, request_id: Uuid) -> anyhow::Result<()> {
        let Some(erasure) = store::erasure::scheduled(&self.db, request_id).await? else { return Ok(()) };
        let contact = self.auth.contact(&self.service_tokens, erasure.user_id).await?;
        let Some(contact) = contact else { return Ok(()) };
        let when = format!(
            "Everything that Baton has about you will be erased on {}. Until then it is stored only: nobody else works with it.",
            erasure.erase_at.format("%-d %B %Y")
        );
        let email = Email {
            subject: "Your data will be erased",
            paragraphs: &[
                &when,
                "What you did for an account, such as tasks and comments, stays there, without your name.",
                "If you change your mind, or if it was not you, cancel by this link. You need not sign in.",
            ],
            link: Some(("Keep my data", self.mailer.link("/cancel-erasure", &self.tokens.issue(&erasure)))),
        };
        self.mailer.send(&contact.email, &email).await
    }
}
