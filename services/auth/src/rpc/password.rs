//! RPCs that change and reset passwords.

use baton_access::{Caller, caller};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::{
    ChangePasswordRequest, ChangePasswordResponse, ConfirmPasswordResetRequest, ConfirmPasswordResetResponse,
    RequestPasswordResetRequest, RequestPasswordResetResponse, password_service_server::PasswordService,
};
use baton_store::{Tenant, Tx};
use chrono::TimeDelta;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, auth::ACTIVATION_LINK_TTL};
use crate::{
    application::{delegation, sessions},
    auth_event::AuthEventKind,
    emails,
    events::publish,
    identity::Identity,
    password,
    password_hasher::Verification,
    store::{self, email_link::LinkPurpose},
    throttle::{Bucket, EmailCap},
    user::User,
};

/// Lifetime of a link that sets a new password.
const RESET_LINK_TTL: TimeDelta = TimeDelta::hours(1);
/// A link with less remaining lifetime is replaced. It is longer than the window in which an address gets no further
/// email.
const MIN_REMAINING_TTL: TimeDelta = TimeDelta::minutes(30);
/// How long after its activation a second factor can be removed with a mailed link.
const SECOND_FACTOR_REMOVAL_WINDOW: TimeDelta = TimeDelta::days(7);

#[tonic::async_trait]
impl PasswordService for Rpc {
    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let call = self.idempotency("PasswordService/ChangePassword", request.metadata(), request.get_ref())?;
        let ChangePasswordRequest { current_password, new_password } = request.into_inner();
        // Before the proof, since the password has changed by now. A caller who retries knows both.
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        if let Some(response) = self.recall(&mut tx, &call).await? {
            return Ok(Response::new(response));
        }
        // Hashing is slow, so it runs without a connection.
        drop(tx);
        let user = self.require_password(user_id, current_password).await?;
        let hash = self.hash_new_password(&user, new_password).await?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if let Some(response) = self.replay(&mut tx, &call).await? {
            return Ok(Response::new(response));
        }
        let kind = (AuthEventKind::PasswordChanged, Some(session_id));
        if !set_password(&mut tx, &user, &hash, false, kind).await? {
            // A concurrent call has changed the password, so the current one is wrong now.
            return Err(Error::from(Reason::ProofInvalid).into());
        }
        self.remember(&mut tx, &call, &ChangePasswordResponse {}).await?;
        tx.commit().await?;
        Ok(Response::new(ChangePasswordResponse {}))
    }

    async fn request_password_reset(
        &self,
        request: Request<RequestPasswordResetRequest>,
    ) -> Result<Response<RequestPasswordResetResponse>, Status> {
        let email = request.into_inner().email;
        self.throttle.check_network(Bucket::Mail).await?;
        if !self.throttle.email_allowed(EmailCap::PasswordReset, &email).await {
            // The address has a valid link already.
            return Ok(Response::new(RequestPasswordResetResponse {}));
        }
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        store::registration::create_user_for_reset(&mut tx, &email, now - ACTIVATION_LINK_TTL, now).await?;
        let (expires_at, valid_at) = (now + RESET_LINK_TTL, now + MIN_REMAINING_TTL);
        let user_id = store::email_link::get_or_create_by_email(
            &mut tx,
            &email,
            LinkPurpose::PasswordReset,
            expires_at,
            valid_at,
        )
        .await?;
        // For an unknown address the same statements run, so the time reveals nothing.
        let to = emails::ToUser { user_id: user_id.unwrap_or_else(Uuid::new_v4) };
        tx.enqueue(emails::PASSWORD_RESET, &to).await?;
        tx.commit().await?;
        Ok(Response::new(RequestPasswordResetResponse {}))
    }

    async fn confirm_password_reset(
        &self,
        request: Request<ConfirmPasswordResetRequest>,
    ) -> Result<Response<ConfirmPasswordResetResponse>, Status> {
        let ConfirmPasswordResetRequest { token, new_password, keep_identities, remove_second_factor } =
            request.into_inner();
        let invalid = || Error::from(Reason::LinkInvalid);
        let purpose = LinkPurpose::PasswordReset;
        let [user_id, nonce] = self.mailed_tokens.open(purpose.name(), &token).ok_or_else(invalid)?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let link = store::email_link::get(&mut tx, user_id, purpose, self.db.clock().now()).await?;
        link.filter(|link| link.nonce == nonce).ok_or_else(invalid)?;
        let user = store::user::get(&mut tx, user_id).await?.ok_or_else(invalid)?;
        // Hashing is slow, so it runs without a connection.
        drop(tx);
        let hash = self.hash_new_password(&user, new_password).await?;

        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        // Of concurrent calls with one link, one consumes it.
        store::email_link::consume(&mut tx, user_id, purpose, nonce, self.db.clock().now())
            .await?
            .ok_or_else(invalid)?;
        if !set_password(&mut tx, &user, &hash, true, (AuthEventKind::PasswordReset, None)).await? {
            return Err(invalid().into());
        }
        // A user who lost control of their sign-in cannot tell which keys and grants a stranger created.
        delegation::end_all(&mut tx, user_id).await?;
        let ended = store::api_key::delete_all(&mut tx, user_id).await?;
        if !ended.is_empty() {
            store::auth_event::insert(&mut tx, user_id, AuthEventKind::ApiKeyRevoked, None).await?;
        }
        tx.publish_all(ended.iter().map(|key| publish::api_key_revoked(key.id, user_id, key.bound_account_id))).await?;
        let unlinked = unlink_later(&mut tx, &user, &keep_identities).await?;
        if remove_second_factor {
            remove_recent_second_factor(&mut tx, user_id).await?;
        }
        let identities = store::identity::list(&mut tx, user_id).await?;
        let second_factor = store::mfa::status(&mut tx, user_id).await?;
        if user.email_verified_at.is_none() {
            tx.publish(publish::user_verified(user_id)).await?;
        }
        tx.commit().await?;
        self.throttle.trust_network(Bucket::Login, &user.email).await;
        Ok(Response::new(ConfirmPasswordResetResponse {
            unlinked_identities: unlinked.into_iter().map(Into::into).collect(),
            identities: identities.into_iter().map(Into::into).collect(),
            second_factor_enabled: second_factor.is_some_and(|factor| factor.enabled_at.is_some()),
        }))
    }
}

impl Rpc {
    /// Verifies the password of the signed-in user and returns the user.
    ///
    /// # Errors
    /// PROOF_INVALID when the password is wrong or the user has none; TOO_MANY_ATTEMPTS; BUSY.
    pub(crate) async fn require_password(&self, user_id: Uuid, password: String) -> Result<User> {
        let attempt = self.throttle.check(Bucket::Proof, &user_id.to_string()).await?;
        let proved = self.verify_own_password(user_id, password).await;
        match &proved {
            Ok(Some(_)) => attempt.record_success().await,
            Ok(None) => {}
            Err(_) => attempt.cancel().await,
        }
        proved?.ok_or_else(|| Reason::ProofInvalid.into())
    }

    async fn verify_own_password(&self, user_id: Uuid, password: String) -> Result<Option<User>> {
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let user = store::user::get(&mut tx, user_id).await?;
        // Read after the user: if the password changes in between, `password_changed_at` invalidates the result.
        let hash = store::user::password_hash(&mut tx, user_id).await?;
        // Hashing is slow, so it runs without a connection.
        drop(tx);
        let verification = self.hasher.verify(password, hash).await?;
        Ok(user.filter(|_| verification != Verification::Invalid))
    }

    /// Hashes a new password that passes the policy for this user.
    ///
    /// # Errors
    /// Those of [`password::check`]; BUSY.
    async fn hash_new_password(&self, user: &User, password: String) -> Result<String> {
        let known = [user.email.clone(), user.first_name.clone(), user.last_name.clone(), user.company.clone()];
        let check = move |new: &str| password::check(new, &known.each_ref().map(String::as_str), "new_password");
        self.hasher.hash(password, check).await
    }
}

/// Unlinks the identities that were linked after the registration, except those of the providers in `keep`.
async fn unlink_later(tx: &mut Tx, user: &User, keep: &[String]) -> Result<Vec<Identity>> {
    let unlinked = store::identity::unlink_later(tx, user.id, keep).await?;
    for identity in &unlinked {
        tx.publish(publish::identity_unlinked(user.id, identity.id, &identity.provider)).await?;
        store::auth_event::insert(tx, user.id, AuthEventKind::IdentityUnlinked, None).await?;
    }
    if !unlinked.is_empty() {
        tx.enqueue(emails::IDENTITY_UNLINKED, &emails::ToUser { user_id: user.id }).await?;
    }
    Ok(unlinked)
}

/// Removes a second factor that was enabled recently, perhaps by a stranger.
///
/// # Errors
/// SECOND_FACTOR_ESTABLISHED for an older one: access to the mailbox alone must not bypass it.
async fn remove_recent_second_factor(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    // The lock prevents a concurrent replacement.
    store::mfa::lock(tx, user_id).await?;
    let enabled_at = store::mfa::status(tx, user_id).await?.and_then(|factor| factor.enabled_at);
    let Some(enabled_at) = enabled_at else { return Ok(()) };
    if enabled_at <= tx.db().clock().now() - SECOND_FACTOR_REMOVAL_WINDOW {
        return Err(Reason::SecondFactorEstablished.into());
    }
    store::mfa::disable(tx, user_id).await?;
    tx.publish(publish::second_factor_disabled(user_id, None)).await?;
    tx.enqueue(emails::SECOND_FACTOR_OFF, &emails::ToUser { user_id }).await?;
    store::auth_event::insert(tx, user_id, AuthEventKind::SecondFactorDisabled, None).await
}

/// Sets a password, closes the other sessions, invalidates mailed links and notifies the user. Returns `false` when the
/// password has changed since `user` was read.
async fn set_password(
    tx: &mut Tx,
    user: &User,
    hash: &str,
    verified: bool,
    (kind, session_id): (AuthEventKind, Option<Uuid>),
) -> Result<bool> {
    let now = tx.db().clock().now();
    if !store::user::set_password(tx, user, hash, verified, now).await? {
        return Ok(false);
    }
    store::email_link::delete_all(tx, user.id).await?;
    sessions::close_all(tx, user.id, session_id, "password").await?;
    tx.publish(publish::user_password_changed(user.id)).await?;
    tx.enqueue(emails::PASSWORD_CHANGED, &emails::ToUser { user_id: user.id }).await?;
    store::auth_event::insert(tx, user.id, kind, session_id).await?;
    Ok(true)
}
