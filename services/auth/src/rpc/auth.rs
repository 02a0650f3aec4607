//! RPCs for registration, sign-in and token refresh.

use baton_access::{Credential, caller};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::auth::v1::{
        CheckSessionRequest, CheckSessionResponse, GetJwksRequest, GetJwksResponse, KeyGrant, LoginRequest,
        LoginResponse, LogoutRequest, LogoutResponse, RefreshRequest, RefreshResponse, RegisterRequest,
        RegisterResponse, VerifyEmailRequest, VerifyEmailResponse, auth_service_server::AuthService,
    },
    convert::timestamp,
};
use baton_runtime::Origin;
use baton_store::Tenant;
use chrono::TimeDelta;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    application::sign_in,
    auth_event::AuthEventKind,
    convert, emails,
    events::publish,
    password,
    password_hasher::Verification,
    registration::Registration,
    sessions::{self, ACCESS_TOKEN_TTL_SECONDS, AMR_PASSWORD, RefreshToken},
    store,
    throttle::{Bucket, EmailCap},
    user::User,
};

/// Lifetime of an activation link.
pub(super) const ACTIVATION_LINK_TTL: TimeDelta = TimeDelta::days(7);

#[tonic::async_trait]
impl AuthService for Rpc {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let RegisterRequest { email, password, first_name, last_name } = request.into_inner();
        self.throttle.check_network(Bucket::Register).await?;
        let known = [email.clone(), first_name.clone(), last_name.clone()];
        let check = move |new: &str| password::check(new, &known.each_ref().map(String::as_str), "password");
        let password_hash = self.hasher.hash(password.clone(), check).await?;
        // The same password means a retry: the response or the email was lost.
        let (clock, now) = (self.db.clock(), self.db.clock().now());
        let mut tx = self.db.begin_read(Tenant::NONE).await?;
        let waiting = store::registration::newest_pending(&mut tx, &email, now - ACTIVATION_LINK_TTL).await?;
        // Hashing is slow, so it runs without a connection.
        drop(tx);
        let (waiting_id, waiting_hash) = waiting.map(|waiting| (waiting.id, waiting.password_hash)).unzip();
        let repeated = self.hasher.verify(password, waiting_hash).await? != Verification::Invalid;
        let cap = if repeated { EmailCap::Activation } else { EmailCap::Registration };
        let mailed = self.throttle.email_allowed(cap, &email).await;

        let id = waiting_id.filter(|_| repeated).unwrap_or_else(|| clock.new_id());
        let registration = Registration { id, email, password_hash, first_name, last_name, created_at: now };
        let mut tx = self.db.begin(Tenant::user(id)).await?;
        let is_pending = if repeated {
            store::registration::update(&mut tx, &registration, mailed).await?;
            true
        } else {
            store::registration::insert(&mut tx, &registration, mailed).await?
        };
        if is_pending {
            if mailed {
                tx.enqueue(emails::ACTIVATION, &emails::ToUser { user_id: id }).await?;
            }
            if !repeated {
                tx.publish(publish::user_registered(id)).await?;
            }
        } else if let Some(user_id) = store::user::id_by_email(&mut tx, &registration.email).await?
            && mailed
        {
            // The response is the same as for a free address, with an unused id.
            tx.enqueue(emails::ALREADY_REGISTERED, &emails::ToUser { user_id }).await?;
        }
        tx.commit().await?;
        Ok(Response::new(RegisterResponse { user: Some(convert::registered(registration)) }))
    }

    async fn verify_email(
        &self,
        request: Request<VerifyEmailRequest>,
    ) -> Result<Response<VerifyEmailResponse>, Status> {
        let VerifyEmailRequest { token, password } = request.into_inner();
        let invalid = || Error::from(Reason::LinkInvalid);
        let [id, nonce] = self.mailed_tokens.open(emails::ACTIVATION_TOKEN, &token).ok_or_else(invalid)?;
        let now = self.db.clock().now();
        let since = now - ACTIVATION_LINK_TTL;
        let mut tx = self.db.begin_read(Tenant::user(id)).await?;
        let linked = store::registration::find_by_link(&mut tx, id, nonce, since).await?;
        drop(tx);
        let is_pending = linked.is_some();
        if let Some(linked) = linked
            && (linked.contested || password.is_some())
        {
            let password = password.ok_or_else(|| Error::from(Reason::ProofRequired))?;
            self.throttle.check_network(Bucket::Register).await?;
            if self.hasher.verify(password, Some(linked.password_hash)).await? == Verification::Invalid {
                return Err(Error::from(Reason::ProofInvalid).into());
            }
        }
        let mut tx = self.db.begin(Tenant::user(id)).await?;
        let first = if is_pending {
            store::registration::activate(&mut tx, id, nonce, since, now).await?
        } else {
            store::user::confirm_email(&mut tx, id, nonce, since, now).await?
        };
        let user = store::user::find_confirmed_by(&mut tx, id, nonce, since).await?.ok_or_else(invalid)?;
        if first {
            tx.publish(publish::user_verified(id)).await?;
        }
        tx.commit().await?;
        self.throttle.trust_network(Bucket::Login, &user.email).await;
        Ok(Response::new(VerifyEmailResponse { user: Some(convert::introduced(user)) }))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        let LoginRequest { email, password } = request.into_inner();
        // Before any lookup, so that all addresses are refused alike.
        let attempt = self.throttle.check(Bucket::Login, &email).await?;
        let user = match self.authenticate(&email, password).await {
            Ok(Some(user)) => user,
            Ok(None) => return Err(Error::from(Reason::CredentialsInvalid).into()),
            Err(error) => {
                attempt.cancel().await;
                return Err(error.into());
            }
        };
        attempt.record_success().await;
        Ok(Response::new(self.after_first_factor(user, &[AMR_PASSWORD]).await?))
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Result<Response<RefreshResponse>, Status> {
        let presented_hash = sessions::hash(&request.into_inner().refresh_token);
        let clock = self.db.clock();
        let now = clock.now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let presented = store::session::lock_by_refresh_token(&mut tx, &presented_hash).await?;
        let presented = presented.ok_or_else(|| Error::from(Reason::TokenInvalid))?;
        let (session_id, user_id) = (presented.session_id, presented.user_id);
        if presented.closed_at.is_some() || presented.expires_at <= now {
            return Err(Error::from(Reason::SessionClosed).into());
        }
        let Some(generation) = presented.newest.exchange(presented.generation, now) else {
            // Two parties hold the same token, and one is a thief: both are signed out.
            store::session::close(&mut tx, session_id, "reuse", now).await?;
            tx.publish(publish::session_closed(user_id, session_id)).await?;
            store::auth_event::insert(&mut tx, user_id, AuthEventKind::TokenReused, Some(session_id)).await?;
            tx.enqueue(emails::TOKEN_REUSED, &emails::AboutSession { user_id, session_id }).await?;
            tx.commit().await?;
            return Err(Error::from(Reason::TokenReused).into());
        };
        let next = RefreshToken::new();
        let times = (now, sessions::expires_at(presented.created_at, now));
        store::session::rotate_refresh_token(&mut tx, &presented_hash, &next.hash, session_id, generation, times)
            .await?;
        let user = store::user::get(&mut tx, user_id).await?.ok_or_else(|| Error::from(Reason::SessionClosed))?;
        tx.commit().await?;
        Ok(Response::new(RefreshResponse {
            access_token: self.keys.sign_access_token(clock, user_id, session_id, presented.amr)?,
            refresh_token: next.text,
            token_type: "Bearer".to_owned(),
            expires_in: ACCESS_TOKEN_TTL_SECONDS,
            user: Some(user.into()),
        }))
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        let hash = sessions::hash(&request.into_inner().refresh_token);
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        if let Some(presented) = store::session::lock_by_refresh_token(&mut tx, &hash).await?
            && store::session::close(&mut tx, presented.session_id, "logout", now).await?
        {
            let (user_id, session_id) = (presented.user_id, presented.session_id);
            tx.publish(publish::session_closed(user_id, session_id)).await?;
            store::auth_event::insert(&mut tx, user_id, AuthEventKind::SignedOut, Some(session_id)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(LogoutResponse {}))
    }

    async fn get_jwks(&self, _: Request<GetJwksRequest>) -> Result<Response<GetJwksResponse>, Status> {
        Ok(Response::new(GetJwksResponse { keys: self.keys.public_keys()? }))
    }

    async fn check_session(
        &self,
        request: Request<CheckSessionRequest>,
    ) -> Result<Response<CheckSessionResponse>, Status> {
        // The access layer has already checked the session and refuses closed ones.
        let caller = caller(&request)?;
        let key = match &caller.credential {
            Credential::Session | Credential::Delegated(_) => None,
            Credential::ApiKey(key) => Some(KeyGrant {
                id: key.id.to_string(),
                scopes: key.scopes.clone(),
                account_id: key.account_id.map(|id| id.to_string()).unwrap_or_default(),
                amr: key.amr.clone(),
                expires_at: key.expires_at.map(timestamp),
            }),
        };
        let proved_at = caller.proved_at.map(timestamp);
        let amr = match &caller.credential {
            Credential::Delegated(_) => caller.amr.clone(),
            Credential::Session | Credential::ApiKey(_) => Vec::new(),
        };
        Ok(Response::new(CheckSessionResponse { user_id: caller.user_id.to_string(), key, proved_at, amr }))
    }
}

impl Rpc {
    /// Continues a sign-in after the first factor; `amr` names its method (RFC 8176). Returns tokens, or a challenge
    /// for the second factor.
    ///
    /// # Errors
    /// USER_DEACTIVATED or CREDENTIALS_INVALID when the user is deactivated.
    pub(crate) async fn after_first_factor(&self, user: User, amr: &[&str]) -> Result<LoginResponse> {
        self.reject_deactivated(&user).await?;
        match self.create_challenge(&user, amr).await? {
            Some(token) => Ok(LoginResponse { mfa_required: true, mfa_token: Some(token), ..LoginResponse::default() }),
            None => sign_in::open_session(&self.db, &self.keys, user, amr).await,
        }
    }

    /// Returns the user with this confirmed address and this password, in the same time for known and unknown
    /// addresses. An unconfirmed address counts as unknown. Otherwise whoever registers it and then signs in learns
    /// whether it was in use.
    async fn authenticate(&self, email: &str, password: String) -> Result<Option<User>> {
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let found = store::user::find_credentials(&mut tx, email).await?;
        // Hashing is slow, so it runs without a connection.
        drop(tx);
        let (user, hashed) = found.unzip();
        let hashed = hashed.flatten();
        let verification = self.hasher.verify(password, hashed.clone()).await?;
        let Some(user) = user else { return Ok(None) };
        match (verification, hashed) {
            (Verification::Invalid, _) => {
                self.record_failed_sign_in(user.id);
                return Ok(None);
            }
            (Verification::NeedsRehash(renewed), Some(before)) => {
                let mut tx = self.db.begin(Tenant::user(user.id)).await?;
                store::user::replace_password_hash(&mut tx, user.id, &before, &renewed).await?;
                tx.commit().await?;
            }
            (Verification::Valid | Verification::NeedsRehash(_), _) => {}
        }
        Ok(Some(user).filter(|user| user.email_verified_at.is_some()))
    }

    /// Records a wrong password in the background, since the response for a known address must not take longer than
    /// that for an unknown one.
    fn record_failed_sign_in(&self, user_id: Uuid) {
        let db = self.db.clone();
        tokio::spawn(Origin::current().scope(async move {
            let recorded = async {
                let mut tx = db.begin(Tenant::user(user_id)).await?;
                store::auth_event::insert(&mut tx, user_id, AuthEventKind::SignInFailed, None).await?;
                tx.commit().await
            };
            if let Err(error) = recorded.await {
                tracing::warn!(%error, "cannot record a failed sign-in");
            }
        }));
    }
}
