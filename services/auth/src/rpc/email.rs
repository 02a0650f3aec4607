//! Changing the address that a person signs in with, and confirming it.

use baton_access::{Caller, caller};
use baton_errors::{Error, Reason};
use baton_proto::baton::auth::v1::{
    AuthEventKind, ChangeEmailRequest, ChangeEmailResponse, ConfirmEmailChangeRequest, ConfirmEmailChangeResponse,
    ResendVerificationRequest, ResendVerificationResponse, email_service_server::EmailService,
};
use baton_store::Tenant;
use chrono::TimeDelta;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, auth::ACTIVATION_LINK};
use crate::{
    convert, events, mails,
    store::{self, link::Purpose},
    throttle::{Bucket, MailCap},
};

/// How long a link that confirms a new address works.
const CHANGE_LINK: TimeDelta = TimeDelta::days(1);
/// How long the address before is kept, to be told: longer than the job for it is tried again, which is 17 hours.
const ANNOUNCED_WITHIN: TimeDelta = TimeDelta::days(7);

#[tonic::async_trait]
impl EmailService for Rpc {
    async fn change_email(
        &self,
        request: Request<ChangeEmailRequest>,
    ) -> Result<Response<ChangeEmailResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let call = self.idempotency("EmailService/ChangeEmail", request.metadata(), request.get_ref())?;
        let ChangeEmailRequest { email, password } = request.into_inner();
        self.prove_password(user_id, password).await?;
        // Whoever gets the mail did not ask for it. Counted for the caller: counted for the address, a stranger could
        // keep its owner from changing to it.
        self.throttle.check(Bucket::Mail, &user_id.to_string()).await?;
        let expires_at = self.db.clock().now() + CHANGE_LINK;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if let Some(answer) = self.replay(&mut tx, &call).await? {
            return Ok(Response::new(answer));
        }
        store::link::renew(&mut tx, user_id, Purpose::EmailChange, Some(&email), expires_at).await?;
        // Whether the new address is free is looked up when the mail is written: the answer tells nothing.
        tx.enqueue(mails::EMAIL_CHANGE, &mails::To { user_id }).await?;
        tx.enqueue(mails::EMAIL_CHANGE_ASKED, &mails::To { user_id }).await?;
        let kind = AuthEventKind::EmailChangeRequested;
        store::auth_event::add(&mut tx, user_id, kind, Some(session_id)).await?;
        self.remember(&mut tx, &call, &ChangeEmailResponse {}).await?;
        tx.commit().await?;
        Ok(Response::new(ChangeEmailResponse {}))
    }

    async fn confirm_email_change(
        &self,
        request: Request<ConfirmEmailChangeRequest>,
    ) -> Result<Response<ConfirmEmailChangeResponse>, Status> {
        let token = request.into_inner().token;
        let invalid = || Error::from(Reason::LinkInvalid);
        let purpose = Purpose::EmailChange;
        let [user_id, nonce] = self.mailed_tokens.open(purpose.name(), &token).ok_or_else(invalid)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let link = store::link::take(&mut tx, user_id, purpose, nonce, now).await?.ok_or_else(invalid)?;
        let email = link.email.ok_or_else(invalid)?;
        let before = store::user::lock(&mut tx, user_id).await?.ok_or_else(invalid)?;
        store::user::set_email(&mut tx, user_id, &email, now).await?;
        // Links that went to the address before prove nothing any more.
        store::link::end_all(&mut tx, user_id).await?;
        // The oldest that has not been told stays: a thief who changes it twice would silence its owner.
        let (before, told_until) = (Some(before.email.as_str()), now + ANNOUNCED_WITHIN);
        store::link::renew_ended(&mut tx, user_id, Purpose::EmailChanged, before, told_until, now).await?;
        tx.enqueue(mails::EMAIL_CHANGED, &mails::To { user_id }).await?;
        tx.publish(events::user_email_changed(user_id)).await?;
        store::auth_event::add(&mut tx, user_id, AuthEventKind::EmailChanged, None).await?;
        let user = store::user::get(&mut tx, user_id).await?.ok_or_else(invalid)?;
        tx.commit().await?;
        self.throttle.vouch(Bucket::Login, &user.email).await;
        Ok(Response::new(ConfirmEmailChangeResponse { user: Some(convert::introduced(user)) }))
    }

    async fn resend_verification(
        &self,
        request: Request<ResendVerificationRequest>,
    ) -> Result<Response<ResendVerificationResponse>, Status> {
        let email = request.into_inner().email;
        self.throttle.check_network(Bucket::Mail).await?;
        if !self.throttle.may_mail(MailCap::Activation, &email).await {
            // The address has the link already.
            return Ok(Response::new(ResendVerificationResponse {}));
        }
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let user_id = store::registration::renew(&mut tx, &email, now - ACTIVATION_LINK, now).await?;
        // For any other address the same is done, and nobody gets the mail: the time tells nothing.
        tx.enqueue(mails::ACTIVATION, &mails::To { user_id: user_id.unwrap_or_else(Uuid::new_v4) }).await?;
        tx.commit().await?;
        Ok(Response::new(ResendVerificationResponse {}))
    }
}
