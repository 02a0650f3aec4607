//! Changing a password, and getting back in without it.

use baton_access::{Caller, caller};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::{
    AuthEventKind, ChangePasswordRequest, ChangePasswordResponse, ConfirmPasswordResetRequest,
    ConfirmPasswordResetResponse, RequestPasswordResetRequest, RequestPasswordResetResponse,
    password_service_server::PasswordService,
};
use baton_store::{Tenant, Tx};
use chrono::TimeDelta;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, auth::ACTIVATION_LINK};
use crate::{
    events,
    hasher::Verdict,
    mails, password, sessions,
    store::{self, identity::Identity, link::Purpose, user::User},
    throttle::{Bucket, MailCap},
};

/// How long a link that sets a new password works.
const RESET_LINK: TimeDelta = TimeDelta::hours(1);
/// A link that works for less than this is not mailed again. No address waits so long for its next mail.
const RENEWED_BEFORE: TimeDelta = TimeDelta::minutes(30);
/// How long a mailed link may remove a second factor after it was switched on.
const NEW_SECOND_FACTOR: TimeDelta = TimeDelta::days(7);

#[tonic::async_trait]
impl PasswordService for Rpc {
    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let call = self.idempotency("PasswordService/ChangePassword", request.metadata(), request.get_ref())?;
        let ChangePasswordRequest { current_password, new_password } = request.into_inner();
        // Before the proof: the password is another one by now. Whoever repeats the call knows both.
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        if let Some(answer) = self.recall(&mut tx, &call).await? {
            return Ok(Response::new(answer));
        }
        // Hashing is slow: no connection is held meanwhile.
        drop(tx);
        let user = self.prove_password(user_id, current_password).await?;
        let hash = self.hash_new_password(&user, new_password).await?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if let Some(answer) = self.replay(&mut tx, &call).await? {
            return Ok(Response::new(answer));
        }
        let kind = (AuthEventKind::PasswordChanged, Some(session_id));
        if !set_password(&mut tx, &user, &hash, false, kind).await? {
            // It was changed a moment ago: the current password is another one now.
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
        if !self.throttle.may_mail(MailCap::PasswordReset, &email).await {
            // The address has a link that works already.
            return Ok(Response::new(RequestPasswordResetResponse {}));
        }
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        store::registration::reserve(&mut tx, &email, now - ACTIVATION_LINK, now).await?;
        let (expires_at, past) = (now + RESET_LINK, now + RENEWED_BEFORE);
        let user_id = store::link::renew_by_email(&mut tx, &email, Purpose::PasswordReset, expires_at, past).await?;
        // For an unknown address the same is done, and nobody gets the mail: the time tells nothing.
        let to = mails::To { user_id: user_id.unwrap_or_else(Uuid::new_v4) };
        tx.enqueue(mails::PASSWORD_RESET, &to).await?;
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
        let purpose = Purpose::PasswordReset;
        let [user_id, nonce] = self.mailed_tokens.open(purpose.name(), &token).ok_or_else(invalid)?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let link = store::link::get(&mut tx, user_id, purpose, self.db.clock().now()).await?;
        link.filter(|link| link.nonce == nonce).ok_or_else(invalid)?;
        let user = store::user::get(&mut tx, user_id).await?.ok_or_else(invalid)?;
        // Hashing is slow: no connection is held meanwhile.
        drop(tx);
        let hash = self.hash_new_password(&user, new_password).await?;

        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        // Of several calls with one link, one gets it.
        store::link::take(&mut tx, user_id, purpose, nonce, self.db.clock().now()).await?.ok_or_else(invalid)?;
        if !set_password(&mut tx, &user, &hash, true, (AuthEventKind::PasswordReset, None)).await? {
            return Err(invalid().into());
        }
        // Who lost control of their sign-in cannot tell which keys a stranger made.
        let ended = store::api_key::delete_all(&mut tx, user_id).await?;
        if !ended.is_empty() {
            store::auth_event::add(&mut tx, user_id, AuthEventKind::ApiKeyRevoked, None).await?;
        }
        tx.publish_all(ended.iter().map(|key| events::api_key_revoked(key.id, user_id, key.bound_account_id))).await?;
        let unlinked = unlink_added(&mut tx, &user, &keep_identities).await?;
        if remove_second_factor {
            remove_new_second_factor(&mut tx, user_id).await?;
        }
        let identities = store::identity::list(&mut tx, user_id).await?;
        let second_factor = store::mfa::show(&mut tx, user_id).await?;
        if user.email_verified_at.is_none() {
            tx.publish(events::user_verified(user_id)).await?;
        }
        tx.commit().await?;
        self.throttle.vouch(Bucket::Login, &user.email).await;
        Ok(Response::new(ConfirmPasswordResetResponse {
            unlinked_identities: unlinked.into_iter().map(Into::into).collect(),
            identities: identities.into_iter().map(Into::into).collect(),
            second_factor_enabled: second_factor.is_some_and(|factor| factor.enabled_at.is_some()),
        }))
    }
}

impl Rpc {
    /// The signed-in person, who repeats their password.
    ///
    /// # Errors
    /// PROOF_INVALID when it is wrong, or they have none; TOO_MANY_ATTEMPTS; BUSY.
    pub(crate) async fn prove_password(&self, user_id: Uuid, password: String) -> Result<User> {
        let attempt = self.throttle.check(Bucket::Proof, &user_id.to_string()).await?;
        let proved = self.verify_own_password(user_id, password).await;
        match &proved {
            Ok(Some(_)) => attempt.succeeded().await,
            Ok(None) => {}
            Err(_) => attempt.forgiven().await,
        }
        proved?.ok_or_else(|| Reason::ProofInvalid.into())
    }

    async fn verify_own_password(&self, user_id: Uuid, password: String) -> Result<Option<User>> {
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let user = store::user::get(&mut tx, user_id).await?;
        // Read after the person: whoever goes on with a password that changes in between is stopped by its time.
        let hash = store::user::password_hash(&mut tx, user_id).await?;
        // Hashing is slow: no connection is held meanwhile.
        drop(tx);
        let verdict = self.hasher.verify(password, hash).await?;
        Ok(user.filter(|_| verdict != Verdict::Wrong))
    }

    /// The hash of a new password that is good enough for this person.
    async fn hash_new_password(&self, user: &User, password: String) -> Result<String> {
        let known = [user.email.clone(), user.first_name.clone(), user.last_name.clone(), user.company.clone()];
        let check = move |new: &str| password::check(new, &known.each_ref().map(String::as_str), "new_password");
        self.hasher.hash(password, check).await
    }
}

/// Unlinks the identities that were linked since the person registered, but for those of the providers `keep`.
async fn unlink_added(tx: &mut Tx, user: &User, keep: &[String]) -> Result<Vec<Identity>> {
    let unlinked = store::identity::unlink_added(tx, user.id, keep).await?;
    for identity in &unlinked {
        tx.publish(events::identity_unlinked(user.id, identity.id, &identity.provider)).await?;
        store::auth_event::add(tx, user.id, AuthEventKind::IdentityUnlinked, None).await?;
    }
    if !unlinked.is_empty() {
        tx.enqueue(mails::IDENTITY_UNLINKED, &mails::To { user_id: user.id }).await?;
    }
    Ok(unlinked)
}

/// Removes a second factor that was switched on lately: perhaps by a stranger, whose it is then.
///
/// # Errors
/// SECOND_FACTOR_ESTABLISHED for an older one: a mailbox alone is no way around it.
async fn remove_new_second_factor(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    // Locked, so that nobody replaces it meanwhile.
    store::mfa::lock(tx, user_id).await?;
    let enabled_at = store::mfa::show(tx, user_id).await?.and_then(|factor| factor.enabled_at);
    let Some(enabled_at) = enabled_at else { return Ok(()) };
    if enabled_at <= tx.db().clock().now() - NEW_SECOND_FACTOR {
        return Err(Reason::SecondFactorEstablished.into());
    }
    store::mfa::disable(tx, user_id).await?;
    tx.publish(events::second_factor_disabled(user_id, None)).await?;
    tx.enqueue(mails::SECOND_FACTOR_OFF, &mails::To { user_id }).await?;
    store::auth_event::add(tx, user_id, AuthEventKind::SecondFactorDisabled, None).await
}

/// Sets a password, with all that follows: other sessions close, links that were mailed before end, the person is
/// told. `false` when the password was changed since `user` was read.
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
    store::link::end_all(tx, user.id).await?;
    sessions::close_all(tx, user.id, session_id, "password").await?;
    tx.publish(events::user_password_changed(user.id)).await?;
    tx.enqueue(mails::PASSWORD_CHANGED, &mails::To { user_id: user.id }).await?;
    store::auth_event::add(tx, user.id, kind, session_id).await?;
    Ok(true)
}
