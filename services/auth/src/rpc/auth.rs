//! Registration, sign-in and sessions.

use baton_access::{Credential, caller};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::{
    AuthEventKind, CheckSessionRequest, CheckSessionResponse, GetJwksRequest, GetJwksResponse, KeyGrant, LoginRequest,
    LoginResponse, LogoutRequest, LogoutResponse, RefreshRequest, RefreshResponse, RegisterRequest, RegisterResponse,
    VerifyEmailRequest, VerifyEmailResponse, auth_service_server::AuthService,
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
    store::{
        self,
        user::{NewUser, User},
    },
    throttle::Bucket,
};

/// How long an activation link works.
const ACTIVATION_LINK: TimeDelta = TimeDelta::days(7);

#[tonic::async_trait]
impl AuthService for Rpc {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let RegisterRequest { email, password, first_name, last_name } = request.into_inner();
        self.throttle.check(Bucket::Register, &email).await?;
        let known = [email.clone(), first_name.clone(), last_name.clone()];
        let check = move |new: &str| password::check(new, &known.each_ref().map(String::as_str), "password");
        let password_hash = self.hasher.hash(password, check).await?;

        let clock = self.db.clock();
        let user = NewUser {
            id: clock.new_id(),
            email,
            first_name,
            last_name,
            password_hash,
            activation_nonce: Uuid::new_v4(),
            created_at: clock.now(),
        };
        let mut tx = self.db.begin(Tenant::user(user.id)).await?;
        if store::user::register(&mut tx, &user).await? {
            tx.enqueue(mails::ACTIVATION, &mails::To { user_id: user.id }).await?;
            tx.publish(events::user_registered(user.id)).await?;
        } else if let Some(user_id) = store::user::id_by_email(&mut tx, &user.email).await? {
            // The answer below is the one that a stranger would get, with an id of nobody's.
            tx.enqueue(mails::ALREADY_REGISTERED, &mails::To { user_id }).await?;
        }
        tx.commit().await?;
        Ok(Response::new(RegisterResponse { user: Some(convert::registered(user)) }))
    }

    async fn verify_email(
        &self,
        request: Request<VerifyEmailRequest>,
    ) -> Result<Response<VerifyEmailResponse>, Status> {
        let token = request.into_inner().token;
        let invalid = || Error::from(Reason::LinkInvalid);
        let [id, nonce] = self.mailed_tokens.open(mails::ACTIVATION_TOKEN, &token).ok_or_else(invalid)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::user(id)).await?;
        let verified = store::user::verify(&mut tx, id, nonce, now - ACTIVATION_LINK, now).await?;
        let (user, first) = verified.ok_or_else(invalid)?;
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
        Ok(Response::new(CheckSessionResponse { user_id: caller.user_id.to_string(), key }))
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
