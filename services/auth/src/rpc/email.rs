//! RPCs that change and confirm a user's address.

use baton_access::{Caller, caller};
use baton_errors::{Error, Reason};
use baton_proto::baton::auth::v1::{
    ChangeEmailRequest, ChangeEmailResponse, ConfirmEmailChangeRequest, ConfirmEmailChangeResponse,
    ResendVerificationRequest, ResendVerificationResponse, email_service_server::EmailService,
};
use baton_store::Tenant;
use chrono::TimeDelta;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, auth::ACTIVATION_LINK_TTL};
use crate::{
    auth_event::AuthEventKind,
    convert, emails,
    events::publish,
    store::{self, email_link::LinkPurpose},
    throttle::{Bucket, EmailCap},
};

/// Lifetime of a link that confirms a new address.
const CHANGE_LINK_TTL: TimeDelta = TimeDelta::days(1);
/// How long the previous address is kept for its notice: longer than the job is retried, which is 17 hours.
const OLD_ADDRESS_RETENTION: TimeDelta = TimeDelta::days(7);

#[tonic::async_trait]
impl EmailService for Rpc {
    async fn change_email(
        &self,
        request: Request<ChangeEmailRequest>,
    ) -> Result<Response<ChangeEmailResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let call = self.idempotency("EmailService/ChangeEmail", request.metadata(), request.get_ref())?;
        let ChangeEmailRequest { email, password } = request.into_inner();
        self.require_password(user_id, password).await?;
        // The recipient did not ask for the email, so the caller is throttled. A limit per address would let strangers
        // block its owner.
        self.throttle.check(Bucket::Mail, &user_id.to_string()).await?;
        let expires_at = self.db.clock().now() + CHANGE_LINK_TTL;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if let Some(response) = self.replay(&mut tx, &call).await? {
            return Ok(Response::new(response));
        }
        store::email_link::replace(&mut tx, user_id, LinkPurpose::EmailChange, Some(&email), expires_at).await?;
        // The job checks whether the new address is free, so the response reveals nothing.
        tx.enqueue(emails::EMAIL_CHANGE, &emails::ToUser { user_id }).await?;
        tx.enqueue(emails::EMAIL_CHANGE_ASKED, &emails::ToUser { user_id }).await?;
        let kind = AuthEventKind::EmailChangeRequested;
        store::auth_event::insert(&mut tx, user_id, kind, Some(session_id)).await?;
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
        let purpose = LinkPurpose::EmailChange;
        let [user_id, nonce] = self.mailed_tokens.open(purpose.name(), &token).ok_or_else(invalid)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let link = store::email_link::consume(&mut tx, user_id, purpose, nonce, now).await?.ok_or_else(invalid)?;
        let email = link.email.ok_or_else(invalid)?;
        let before = store::user::lock(&mut tx, user_id).await?.ok_or_else(invalid)?;
        store::user::set_email(&mut tx, user_id, &email, now).await?;
        // Links to the previous address prove nothing any more.
        store::email_link::delete_all(&mut tx, user_id).await?;
        // The oldest address without a notice is kept: otherwise a thief who changes the address twice would hide it
        // from its owner.
        let (before, kept_until) = (Some(before.email.as_str()), now + OLD_ADDRESS_RETENTION);
        store::email_link::replace_unless_valid(&mut tx, user_id, LinkPurpose::EmailChanged, before, kept_until, now)
            .await?;
        tx.enqueue(emails::EMAIL_CHANGED, &emails::ToUser { user_id }).await?;
        tx.publish(publish::user_email_changed(user_id)).await?;
        store::auth_event::insert(&mut tx, user_id, AuthEventKind::EmailChanged, None).await?;
        let user = store::user::get(&mut tx, user_id).await?.ok_or_else(invalid)?;
        tx.commit().await?;
        self.throttle.trust_network(Bucket::Login, &user.email).await;
        Ok(Response::new(ConfirmEmailChangeResponse { user: Some(convert::introduced(user)) }))
    }

    async fn resend_verification(
        &self,
        request: Request<ResendVerificationRequest>,
    ) -> Result<Response<ResendVerificationResponse>, Status> {
        let email = request.into_inner().email;
        self.throttle.check_network(Bucket::Mail).await?;
        if !self.throttle.email_allowed(EmailCap::Activation, &email).await {
            // The address has the link already.
            return Ok(Response::new(ResendVerificationResponse {}));
        }
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let user_id = store::registration::renew_link(&mut tx, &email, now - ACTIVATION_LINK_TTL, now).await?;
        // For any other address the same statements run, so the time reveals nothing.
        tx.enqueue(emails::ACTIVATION, &emails::ToUser { user_id: user_id.unwrap_or_else(Uuid::new_v4) }).await?;
        tx.commit().await?;
        Ok(Response::new(ResendVerificationResponse {}))
    }
}
