//! The mails that the service sends, as jobs: after the commit, and again if the server is away.

mod people;

use baton_access::MailedTokens;
use baton_mail::{Email, Mailer};
use baton_store::{Db, Tenant, jobs::Job};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{self, user::Recipient};

pub(crate) use people::{
    DEACTIVATED, EMAIL_CHANGE, EMAIL_CHANGE_ASKED, EMAIL_CHANGED, PASSWORD_CHANGED, PASSWORD_RESET, REACTIVATION,
};

/// Job: mail the activation link.
pub(crate) const ACTIVATION: &str = "mail.activation";
/// Job: tell someone who registered again that they are registered already.
pub(crate) const ALREADY_REGISTERED: &str = "mail.already_registered";
/// Job: tell someone that their sign-in was used from a device or network that is new. About a session.
pub(crate) const NEW_DEVICE: &str = "mail.new_device";
/// Job: tell someone that a refresh token came back after its use, and the session was closed. About a session.
pub(crate) const TOKEN_REUSED: &str = "mail.token_reused";
/// Job: tell someone that the second factor was switched on.
pub(crate) const SECOND_FACTOR_ON: &str = "mail.second_factor_on";
/// Job: tell someone that the second factor was switched off.
pub(crate) const SECOND_FACTOR_OFF: &str = "mail.second_factor_off";
/// Job: tell someone that a recovery code was used.
pub(crate) const RECOVERY_CODE_USED: &str = "mail.recovery_code_used";
/// Job: tell someone that wrong codes were given for their second factor.
pub(crate) const WRONG_CODES: &str = "mail.wrong_codes";
/// Job: tell someone that an identity of another provider was linked.
pub(crate) const IDENTITY_LINKED: &str = "mail.identity_linked";
/// Job: tell someone that an identity was unlinked.
pub(crate) const IDENTITY_UNLINKED: &str = "mail.identity_unlinked";
/// Job: tell someone that an API key was made.
pub(crate) const API_KEY_CREATED: &str = "mail.api_key_created";
/// Purpose of activation tokens; their ids are user and nonce.
pub(crate) const ACTIVATION_TOKEN: &str = "activation";

/// Whom a mail is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct To {
    pub(crate) user_id: Uuid,
}

/// Whom a mail is for, and the session that it is about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) user_id: Uuid,
    pub(crate) session_id: Uuid,
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
        if job.kind == ACTIVATION {
            return self.send_activation(user_id).await;
        }
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let recipient = store::user::recipient(&mut tx, user_id).await?;
        drop(tx);
        // Erased since.
        let Some(recipient) = recipient else { return Ok(()) };
        match job.kind.as_str() {
            ALREADY_REGISTERED => {
                let letter = Email {
                    subject: "You are registered already",
                    paragraphs: &[
                        "Someone, probably you, tried to register at Baton with this address. It is registered already: sign in with your password.",
                        "If it was not you, there is nothing to do.",
                    ],
                    link: None,
                };
                self.mailer.send(&recipient.email, &letter).await
            }
            NEW_DEVICE => self.about_session(&recipient, &job, "New sign-in to Baton", NEW_DEVICE_TEXT).await,
            TOKEN_REUSED => {
                self.about_session(&recipient, &job, "A session of yours was closed", TOKEN_REUSED_TEXT).await
            }
            SECOND_FACTOR_ON => self.note(&recipient, "Second factor switched on", SECOND_FACTOR_ON_TEXT).await,
            SECOND_FACTOR_OFF => self.note(&recipient, "Second factor switched off", SECOND_FACTOR_OFF_TEXT).await,
            RECOVERY_CODE_USED => self.note(&recipient, "A recovery code was used", RECOVERY_CODE_USED_TEXT).await,
            WRONG_CODES => self.note(&recipient, "Wrong codes for your sign-in", WRONG_CODES_TEXT).await,
            IDENTITY_LINKED => self.note(&recipient, "Another way to sign in", IDENTITY_LINKED_TEXT).await,
            IDENTITY_UNLINKED => self.note(&recipient, "One way less to sign in", IDENTITY_UNLINKED_TEXT).await,
            API_KEY_CREATED => self.note(&recipient, "New API key", API_KEY_CREATED_TEXT).await,
            kind => self.send_to_person(kind, user_id, &recipient).await,
        }
    }

    /// The link that confirms a registration, while it waits.
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
        let letter = Email {
            subject: "Confirm your address",
            paragraphs: if recipient.contested { &paragraphs } else { &paragraphs[..2] },
            link: Some(("Confirm address", self.mailer.link("/verify-email", &token))),
        };
        self.mailer.send(&recipient.email, &letter).await
    }

    /// A mail that only tells something.
    async fn note(&self, recipient: &Recipient, subject: &str, paragraphs: [&str; 2]) -> anyhow::Result<()> {
        self.mailer.send(&recipient.email, &Email { subject, paragraphs: &paragraphs, link: None }).await
    }

    /// A mail about one of the recipient's sessions, with its device and time between two paragraphs.
    async fn about_session(
        &self,
        recipient: &Recipient,
        job: &Job,
        subject: &str,
        [first, last]: [&str; 2],
    ) -> anyhow::Result<()> {
        let About { user_id, session_id } = job.payload()?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let session = store::session::get(&mut tx, session_id, user_id).await?;
        drop(tx);
        let Some(session) = session else { return Ok(()) };
        let device = if session.device.is_empty() { "an unknown device" } else { &session.device };
        let address = session.address.as_deref().unwrap_or("an unknown address");
        let opened = session.created_at.format("%-d %B %Y, %H:%M UTC");
        let which = format!("Signed in {opened} with {device}, from {address}.");
        let letter = Email { subject, paragraphs: &[first, &which, last], link: None };
        self.mailer.send(&recipient.email, &letter).await
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
