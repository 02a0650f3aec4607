//! Registration, sign-in and sessions.

use baton_access::{Credential, caller};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::auth::v1::{
        AuthEventKind, CheckSessionRequest, CheckSessionResponse, GetJwksRequest, GetJwksResponse, KeyGrant,
        LoginRequest, LoginResponse, LogoutRequest, LogoutResponse, RefreshRequest, RefreshResponse, RegisterRequest,
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
    convert, events,
    hasher::Verdict,
    keys::ACCESS_TOKEN_SECONDS,
    mails, password,
    sessions::{self, RefreshToken},
    sign_in,
    store::{self, registration::Registration, user::User},
    throttle::{Bucket, MailCap},
};

/// How long an activation link works.
pub(super) const ACTIVATION_LINK: TimeDelta = TimeDelta::days(7);

#[tonic::async_trait]
impl AuthService for Rpc {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let RegisterRequest { email, password, first_name, last_name } = request.into_inner();
        self.throttle.check_network(Bucket::Register).await?;
        let known = [email.clone(), first_name.clone(), last_name.clone()];
        let check = move |new: &str| password::check(new, &known.each_ref().map(String::as_str), "password");
        let password_hash = self.hasher.hash(password.clone(), check).await?;
        // Whoever repeats the password has registered before, and lost the answer or the mail.
        let (clock, now) = (self.db.clock(), self.db.clock().now());
        let mut tx = self.db.begin_read(Tenant::NONE).await?;
        let waiting = store::registration::newest(&mut tx, &email, now - ACTIVATION_LINK).await?;
        // Hashing is slow: no connection is held meanwhile.
        drop(tx);
        let (waiting_id, waiting_hash) = waiting.map(|waiting| (waiting.id, waiting.password_hash)).unzip();
        let repeated = self.hasher.verify(password, waiting_hash).await? != Verdict::Wrong;
        let cap = if repeated { MailCap::Activation } else { MailCap::Registration };
        let mailed = self.throttle.may_mail(cap, &email).await;

        let id = waiting_id.filter(|_| repeated).unwrap_or_else(|| clock.new_id());
        let registration = Registration { id, email, password_hash, first_name, last_name, created_at: now };
        let mut tx = self.db.begin(Tenant::user(id)).await?;
        let waits = if repeated {
            store::registration::update(&mut tx, &registration, mailed).await?;
            true
        } else {
            store::registration::add(&mut tx, &registration, mailed).await?
        };
        if waits {
            if mailed {
                tx.enqueue(mails::ACTIVATION, &mails::To { user_id: id }).await?;
            }
            if !repeated {
                tx.publish(events::user_registered(id)).await?;
            }
        } else if let Some(user_id) = store::user::id_by_email(&mut tx, &registration.email).await?
            && mailed
        {
            // The answer below is the one that a stranger would get, with an id of nobody's.
            tx.enqueue(mails::ALREADY_REGISTERED, &mails::To { user_id }).await?;
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
        let [id, nonce] = self.mailed_tokens.open(mails::ACTIVATION_TOKEN, &token).ok_or_else(invalid)?;
        let now = self.db.clock().now();
        let since = now - ACTIVATION_LINK;
        let mut tx = self.db.begin_read(Tenant::user(id)).await?;
        let linked = store::registration::linked(&mut tx, id, nonce, since).await?;
        drop(tx);
        let waits = linked.is_some();
        if let Some(linked) = linked
            && (linked.contested || password.is_some())
        {
            let password = password.ok_or_else(|| Error::from(Reason::ProofRequired))?;
            self.throttle.check_network(Bucket::Register).await?;
            if self.hasher.verify(password, Some(linked.password_hash)).await? == Verdict::Wrong {
                return Err(Error::from(Reason::ProofInvalid).into());
            }
        }
        let mut tx = self.db.begin(Tenant::user(id)).await?;
        let first = if waits {
            store::registration::activate(&mut tx, id, nonce, since, now).await?
        } else {
            store::user::confirm(&mut tx, id, nonce, since, now).await?
        };
        let user = store::user::confirmed_by(&mut tx, id, nonce, since).await?.ok_or_else(invalid)?;
        if first {
            tx.publish(events::user_verified(id)).await?;
        }
        tx.commit().await?;
        self.throttle.vouch(Bucket::Login, &user.email).await;
        Ok(Response::new(VerifyEmailResponse { user: Some(convert::introduced(user)) }))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        let LoginRequest { email, password } = request.into_inner();
        // Before anything is known of the address, so that all are refused alike.
        let attempt = self.throttle.check(Bucket::Login, &email).await?;
        let user = match self.verify_password(&email, password).await {
            Ok(Some(user)) => user,
            Ok(None) => return Err(Error::from(Reason::CredentialsInvalid).into()),
            Err(error) => {
                attempt.forgiven().await;
                return Err(error.into());
            }
        };
        attempt.succeeded().await;
        Ok(Response::new(self.first_factor_given(user, &[sign_in::PASSWORD]).await?))
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Result<Response<RefreshResponse>, Status> {
        let presented_hash = sessions::hash(&request.into_inner().refresh_token);
        let clock = self.db.clock();
        let now = clock.now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let presented = store::session::present(&mut tx, &presented_hash).await?;
        let presented = presented.ok_or_else(|| Error::from(Reason::TokenInvalid))?;
        let (session_id, user_id) = (presented.session_id, presented.user_id);
        if presented.closed_at.is_some() || presented.expires_at <= now {
            return Err(Error::from(Reason::SessionClosed).into());
        }
        let Some(generation) = presented.newest.exchange(presented.generation, now) else {
            // Two hold the same token and one of them is a thief: neither goes on.
            store::session::close(&mut tx, session_id, "reuse", now).await?;
            tx.publish(events::session_closed(user_id, session_id)).await?;
            store::auth_event::add(&mut tx, user_id, AuthEventKind::TokenReused, Some(session_id)).await?;
            tx.enqueue(mails::TOKEN_REUSED, &mails::About { user_id, session_id }).await?;
            tx.commit().await?;
            return Err(Error::from(Reason::TokenReused).into());
        };
        let next = RefreshToken::new();
        let times = (now, sessions::expiry(presented.created_at, now));
        store::session::exchange(&mut tx, &presented_hash, &next.hash, session_id, generation, times).await?;
        let user = store::user::get(&mut tx, user_id).await?.ok_or_else(|| Error::from(Reason::SessionClosed))?;
        tx.commit().await?;
        Ok(Response::new(RefreshResponse {
            access_token: self.keys.sign(clock, user_id, session_id, presented.amr)?,
            refresh_token: next.text,
            token_type: "Bearer".to_owned(),
            expires_in: ACCESS_TOKEN_SECONDS,
            user: Some(user.into()),
        }))
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        let hash = sessions::hash(&request.into_inner().refresh_token);
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        if let Some(presented) = store::session::present(&mut tx, &hash).await?
            && store::session::close(&mut tx, presented.session_id, "logout", now).await?
        {
            let (user_id, session_id) = (presented.user_id, presented.session_id);
            tx.publish(events::session_closed(user_id, session_id)).await?;
            store::auth_event::add(&mut tx, user_id, AuthEventKind::SignedOut, Some(session_id)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(LogoutResponse {}))
    }

    async fn get_jwks(&self, _: Request<GetJwksRequest>) -> Result<Response<GetJwksResponse>, Status> {
        Ok(Response::new(GetJwksResponse { keys: self.keys.public()? }))
    }

    async fn check_session(
        &self,
        request: Request<CheckSessionRequest>,
    ) -> Result<Response<CheckSessionResponse>, Status> {
        // The access layer has just answered the question; calls for closed sessions do not come here.
        let caller = caller(&request)?;
        let key = match &caller.credential {
            Credential::Session => None,
            Credential::ApiKey(key) => Some(KeyGrant {
                id: key.id.to_string(),
                scopes: key.scopes.clone(),
                account_id: key.account_id.map(|id| id.to_string()).unwrap_or_default(),
                amr: key.amr.clone(),
            }),
        };
        let proved_at = caller.proved_at.map(timestamp);
        Ok(Response::new(CheckSessionResponse { user_id: caller.user_id.to_string(), key, proved_at }))
    }
}

impl Rpc {
    /// The person with this address, if it is confirmed and the password is theirs. Whether the address is known
    /// makes no difference in time. Unconfirmed ones are as absent: else whoever registers an address and then signs
    /// in learns whether it was somebody's before.
    async fn verify_password(&self, email: &str, password: String) -> Result<Option<User>> {
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let found = store::user::credentials(&mut tx, email).await?;
        // Hashing is slow: no connection is held meanwhile.
        drop(tx);
        let (user, hashed) = found.unzip();
        let hashed = hashed.flatten();
        let verdict = self.hasher.verify(password, hashed.clone()).await?;
        let Some(user) = user else { return Ok(None) };
        match (verdict, hashed) {
            (Verdict::Wrong, _) => {
                self.note_failed_sign_in(user.id);
                return Ok(None);
            }
            (Verdict::Outdated(renewed), Some(before)) => {
                let mut tx = self.db.begin(Tenant::user(user.id)).await?;
                store::user::rehash(&mut tx, user.id, &before, &renewed).await?;
                tx.commit().await?;
            }
            (Verdict::Right | Verdict::Outdated(_), _) => {}
        }
        Ok(Some(user).filter(|user| user.email_verified_at.is_some()))
    }

    /// Notes a wrong password beside the call: the answer for a known address must not take longer than that for
    /// an unknown one.
    fn note_failed_sign_in(&self, user_id: Uuid) {
        let db = self.db.clone();
        tokio::spawn(Origin::current().scope(async move {
            let noted = async {
                let mut tx = db.begin(Tenant::user(user_id)).await?;
                store::auth_event::add(&mut tx, user_id, AuthEventKind::SignInFailed, None).await?;
                tx.commit().await
            };
            if let Err(error) = noted.await {
                tracing::warn!(%error, "cannot note a failed sign-in");
            }
        }));
    }
}
