//! Registration, sign-in and sessions.

use baton_access::caller;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::{
    CheckSessionRequest, CheckSessionResponse, GetJwksRequest, GetJwksResponse, LoginRequest, LoginResponse,
    LogoutRequest, LogoutResponse, RefreshRequest, RefreshResponse, RegisterRequest, RegisterResponse,
    VerifyEmailRequest, VerifyEmailResponse, auth_service_server::AuthService,
};
use baton_store::Tenant;
use chrono::TimeDelta;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    events,
    keys::ACCESS_TOKEN_SECONDS,
    mails, password,
    sessions::{self, IDLE, RefreshToken},
    sign_in,
    store::{
        self,
        user::{NewSecrets, User},
    },
};

/// How long an activation link works.
const ACTIVATION_LINK: TimeDelta = TimeDelta::days(7);

#[tonic::async_trait]
impl AuthService for Rpc {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let RegisterRequest { email, password, first_name, last_name } = request.into_inner();
        let known = [email.clone(), first_name.clone(), last_name.clone()];
        let check = move |password: &str| password::check(password, &known.each_ref().map(String::as_str));
        let password_hash = self.hasher.hash(password, check).await?;

        let clock = self.db.clock();
        let now = clock.now();
        let user = User {
            id: clock.new_id(),
            email,
            first_name,
            last_name,
            email_verified_at: None,
            created_at: now,
            updated_at: now,
        };
        let secrets = NewSecrets { password_hash, activation_nonce: Uuid::new_v4() };
        let mut tx = self.db.begin(Tenant::user(user.id)).await?;
        if store::user::register(&mut tx, &user, &secrets).await? {
            tx.enqueue(mails::ACTIVATION, &mails::To { user_id: user.id }).await?;
            tx.publish(events::user_registered(user.id)).await?;
        } else if let Some(user_id) = store::user::id_by_email(&mut tx, &user.email).await? {
            // The answer below is the one that a stranger would get, with an id of nobody's.
            tx.enqueue(mails::ALREADY_REGISTERED, &mails::To { user_id }).await?;
        }
        tx.commit().await?;
        Ok(Response::new(RegisterResponse { user: Some(user.into()) }))
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
        Ok(Response::new(VerifyEmailResponse { user: Some(user.into()) }))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        let LoginRequest { email, password } = request.into_inner();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let found = store::user::credentials(&mut tx, &email).await?;
        // Hashing is slow: no connection is held meanwhile.
        drop(tx);
        let (user, hashed) = found.unzip();
        let verified = self.hasher.verify(password, hashed).await?;
        let user = user.filter(|_| verified).ok_or_else(|| Error::from(Reason::CredentialsInvalid))?;
        if user.email_verified_at.is_none() {
            return Err(Error::from(Reason::EmailNotVerified).into());
        }

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
        if presented.used_at.is_some() {
            // Two hold the same token and one of them is a thief: neither goes on.
            if store::session::close(&mut tx, session_id, "reuse", now).await? {
                tx.publish(events::session_closed(user_id, session_id)).await?;
            }
            tx.commit().await?;
            return Err(Error::from(Reason::TokenReused).into());
        }
        if presented.closed_at.is_some() || presented.expires_at <= now {
            return Err(Error::from(Reason::SessionClosed).into());
        }
        let next = RefreshToken::new();
        store::session::use_refresh_token(&mut tx, session_id, &presented_hash, now, now + IDLE).await?;
        store::session::add_refresh_token(&mut tx, session_id, &next.hash, now).await?;
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
            tx.publish(events::session_closed(presented.user_id, presented.session_id)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(LogoutResponse {}))
    }

    async fn get_jwks(&self, _: Request<GetJwksRequest>) -> Result<Response<GetJwksResponse>, Status> {
        Ok(Response::new(GetJwksResponse { keys: self.keys.public().to_vec() }))
    }

    async fn check_session(
        &self,
        request: Request<CheckSessionRequest>,
    ) -> Result<Response<CheckSessionResponse>, Status> {
        // The access layer has just answered the question; calls for closed sessions do not come here.
        let user_id = caller(&request)?.user_id.to_string();
        Ok(Response::new(CheckSessionResponse { user_id }))
    }
}
