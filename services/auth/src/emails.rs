//! Emails of the service. They are sent by jobs: after the commit, with retries while the mail server is down.

mod account;

use baton_access::MailedTokens;
use baton_mail::{Email, Mailer};
use baton_store::{Db, Tenant, jobs::Job};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{self, user::Recipient};

pub(crate) use account::{
    DEACTIVATED, EMAIL_CHANGE, EMAIL_CHANGE_ASKED, EMAIL_CHANGED, PASSWORD_CHANGED, PASSWORD_RESET, REACTIVATION,
};

/// Job: sends the activation link.
pub(crate) const ACTIVATION: &str = "mail.activation";
/// Job: tells a user who registered again that the address is registered already.
pub(crate) const ALREADY_REGISTERED: &str = "mail.already_registered";
/// Job: reports a sign-in from a new device or network. Payload: [`AboutSession`].
pub(crate) const NEW_DEVICE: &str = "mail.new_device";
/// Job: reports a reused refresh token, for which the session was closed. Payload: [`AboutSession`].
pub(crate) const TOKEN_REUSED: &str = "mail.token_reused";
/// Job: reports that the second factor was enabled.
pub(crate) const SECOND_FACTOR_ON: &str = "mail.second_factor_on";
/// Job: reports that the second factor was disabled.
pub(crate) const SECOND_FACTOR_OFF: &str = "mail.second_factor_off";
/// Job: reports that a recovery code was used.
pub(crate) const RECOVERY_CODE_USED: &str = "mail.recovery_code_used";
/// Job: reports repeated wrong codes for the second factor.
pub(crate) const WRONG_CODES: &str = "mail.wrong_codes";
/// Job: reports that an identity of another provider was linked.
pub(crate) const IDENTITY_LINKED: &str = "mail.identity_linked";
/// Job: reports that an identity was unlinked.
pub(crate) const IDENTITY_UNLINKED: &str = "mail.identity_unlinked";
/// Job: reports that an API key was created.
pub(crate) const API_KEY_CREATED: &str = "mail.api_key_created";
/// Purpose of activation tokens. Their ids are user and nonce.
pub(crate) const ACTIVATION_TOKEN: &str = "activation";

/// Payload of a job: the recipient.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ToUser {
    pub(crate) user_id: Uuid,
}

/// Payload of a job: the recipient, and the session that the email reports.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AboutSession {
    pub(crate) user_id: Uuid,
    pub(crate) session_id: Uuid,
}

#[derive(Clone)]
pub(crate) struct EmailSender {
    pub(crate) db: Db,
    pub(crate) mailer: Mailer,
    pub(crate) tokens: MailedTokens,
}

impl EmailSender {
    pub(crate) async fn send(&self, job: Job) -> anyhow::Result<()> {
        let ToUser { user_id } = job.payload()?;
        if job.kind == ACTIVATION {
            return self.send_activation(user_id).await;
        }
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let recipient = store::user::recipient(&mut tx, user_id).await?;
        drop(tx);
        // The user has been erased since.
        let Some(recipient) = recipient else { return Ok(()) };
        match job.kind.as_str() {
            ALREADY_REGISTERED => {
                let email = Email {
                    subject: "You are registered already",
                    paragraphs: &[
                        "Someone, probably you, tried to register at Baton with this address. It is registered already: sign in with your password.",
                        "If it was not you, there is nothing to do.",
                    ],
                    link: None,
                };
                self.mailer.send(&recipient.email, &email).await
            }
            NEW_DEVICE => self.send_session_notice(&recipient, &job, "New sign-in to Baton", NEW_DEVICE_TEXT).await,
            TOKEN_REUSED => {
                self.send_session_notice(&recipient, &job, "A session of yours was closed", TOKEN_REUSED_TEXT).await
            }
            SECOND_FACTOR_ON => self.send_notice(&recipient, "Second factor switched on", SECOND_FACTOR_ON_TEXT).await,
            SECOND_FACTOR_OFF => {
                self.send_notice(&recipient, "Second factor switched off", SECOND_FACTOR_OFF_TEXT).await
            }
            RECOVERY_CODE_USED => {
                self.send_notice(&recipient, "A recovery code was used", RECOVERY_CODE_USED_TEXT).await
            }
            WRONG_CODES => self.send_notice(&recipient, "Wrong codes for your sign-in", WRONG_CODES_TEXT).await,
            IDENTITY_LINKED => self.send_notice(&recipient, "Another way to sign in", IDENTITY_LINKED_TEXT).await,
            IDENTITY_UNLINKED => self.send_notice(&recipient, "One way less to sign in", IDENTITY_UNLINKED_TEXT).await,
            API_KEY_CREATED => self.send_notice(&recipient, "New API key", API_KEY_CREATED_TEXT).await,
            kind => self.send_account_email(kind, user_id, &recipient).await,
        }
    }

    /// Sends the link that confirms a registration, while the registration is pending.
    async fn send_activation(&self, id: Uuid) -> anyhow::Result<()> {
        let mut tx = self.db.begin(Tenant::user(id)).await?;
        let recipient = store::registration::recipient(&mut tx, id).await?;
        drop(tx);
        let Some(recipient) = recipient else { return Ok(()) };
        let token = self.tokens.issue(ACTIVATION_TOKEN, [id, recipient.nonce]);
        let paragraphs = [
            "Welcome to Baton. Confirm that this address is yours, and you can sign in.",
            "The link works for seven days. If you did not register, ignore this mail.",
            "This address was registered more than once. The link confirms one of these registrations only, and asks for the password that was chosen with it. If that is not yours, ask for a new password at the sign-in page: it ends all of them.",
        ];
        let email = Email {
            subject: "Confirm your address",
            paragraphs: if recipient.contested { &paragraphs } else { &paragraphs[..2] },
            link: Some(("Confirm address", self.mailer.link("/verify-email", &token))),
        };
        self.mailer.send(&recipient.email, &email).await
    }

    /// Sends an email without a link.
    async fn send_notice(&self, recipient: &Recipient, subject: &str, paragraphs: [&str; 2]) -> anyhow::Result<()> {
        self.mailer.send(&recipient.email, &Email { subject, paragraphs: &paragraphs, link: None }).await
    }

    /// Sends an email about one of the recipient's sessions, with its device and time between two paragraphs.
    async fn send_session_notice(
        &self,
        recipient: &Recipient,
        job: &Job,
        subject: &str,
        [first, last]: [&str; 2],
    ) -> anyhow::Result<()> {
        let AboutSession { user_id, session_id } = job.payload()?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let session = store::session::get(&mut tx, session_id, user_id).await?;
        drop(tx);
        let Some(session) = session else { return Ok(()) };
        let device = if session.device.is_empty() { "an unknown device" } else { &session.device };
        let address = session.address.as_deref().unwrap_or("an unknown address");
        let opened = session.created_at.format("%-d %B %Y, %H:%M UTC");
        let which = format!("Signed in {opened} with {device}, from {address}.");
        let email = Email { subject, paragraphs: &[first, &which, last], link: None };
        self.mailer.send(&recipient.email, &email).await
    }
}

const NEW_DEVICE_TEXT: [&str; 2] = [
    "Your sign-in at Baton was used with a device, or from a network, that we have not seen before.",
    "If it was you, there is nothing to do. If not, change your password: that closes all other sessions.",
];
const TOKEN_REUSED_TEXT: [&str; 2] = [
    "One of your sessions at Baton presented an old token. That happens when someone has copied it, so we closed the session.",
    "Sign in again where you need to. If this comes back, change your password and look through your devices.",
];
const SECOND_FACTOR_ON_TEXT: [&str; 2] = [
    "Signing in to Baton with your address now asks for a code of your authenticator app. Keep the recovery codes where you find them without it.",
    "If it was not you, sign in, switch it off and change your password; if you cannot sign in, ask the people who run your Baton.",
];
const SECOND_FACTOR_OFF_TEXT: [&str; 2] = [
    "Signing in to Baton with your address no longer asks for a second factor, and your recovery codes have ended.",
    "If it was not you, change your password and switch it on again.",
];
const RECOVERY_CODE_USED_TEXT: [&str; 2] = [
    "One of your recovery codes was used at Baton. It will not work again; you can make new ones when few are left.",
    "If it was not you, change your password and make new recovery codes.",
];
const IDENTITY_LINKED_TEXT: [&str; 2] = [
    "Your sign-in at another provider was linked to your Baton user: from now on it signs you in here.",
    "If it was not you, unlink it and change your password: that closes all other sessions.",
];
const IDENTITY_UNLINKED_TEXT: [&str; 2] = [
    "Your sign-in at another provider was unlinked from your Baton user: it no longer signs you in here.",
    "If it was not you, change your password: that closes all other sessions.",
];
const API_KEY_CREATED_TEXT: [&str; 2] = [
    "An API key was made with your Baton user: whoever has it acts as you, within its scopes.",
    "If it was not you, delete it, change your password and close your other sessions. A new password by mail ends all API keys.",
];
const WRONG_CODES_TEXT: [&str; 2] = [
    "Somebody gave five wrong codes for your second factor at Baton. We wait longer before each further one.",
    "If it was not you, someone may know your password: change it.",
];
