//! The end of every way to sign in: a session, and its first pair of tokens.

use baton_errors::{Reason, Result};
use baton_proto::baton::auth::v1::{AuthEventKind, LoginResponse};
use baton_runtime::Origin;
use baton_store::Tenant;

use crate::{
    device, events,
    keys::ACCESS_TOKEN_SECONDS,
    mails,
    rpc::Rpc,
    second_factor::METHODS,
    sessions::{self, RefreshToken},
    store::{self, session::Session, user::User},
};

/// By password (RFC 8176).
pub(crate) const PASSWORD: &str = "pwd";
/// By another provider of identities; RFC 8176 has no name for it.
pub(crate) const FEDERATED: &str = "fed";

impl Rpc {
    /// Goes on after a first proof of who the person is, such as their password; `amr` names it (RFC 8176).
    pub(crate) async fn first_factor_given(&self, user: User, amr: &[&str]) -> Result<LoginResponse> {
        self.refuse_deactivated(&user).await?;
        match self.challenge(&user, amr).await? {
            Some(token) => Ok(LoginResponse { mfa_required: true, mfa_token: Some(token), ..LoginResponse::default() }),
            None => self.open_session(user, amr).await,
        }
    }

    /// Opens a session for a person who has proved all that is asked of them.
    pub(crate) async fn open_session(&self, mut user: User, amr: &[&str]) -> Result<LoginResponse> {
        let amr: Vec<String> = amr.iter().map(|&method| method.to_owned()).collect();
        let clock = self.db.clock();
        let (now, session_id, refresh) = (clock.now(), clock.new_id(), RefreshToken::new());
        let origin = Origin::current();
        let session = Session {
            id: session_id,
            device: device::name(&origin.user_agent),
            address: origin.address.map(|address| address.to_string()),
            amr: amr.clone(),
            created_at: now,
            last_used_at: now,
            expires_at: sessions::expiry(now, now),
        };
        let mut tx = self.db.begin(Tenant::user(user.id)).await?;
        store::user::signed_in(&mut tx, &mut user, now, origin.address).await?;
        // Switched off between the code and here, it counts no more.
        if amr.iter().any(|method| METHODS.contains(&method.as_str())) && !store::mfa::hold(&mut tx, user.id).await? {
            return Err(Reason::MfaTokenInvalid.into());
        }
        let unknown = store::session::open(&mut tx, user.id, &session, &refresh.hash).await?;
        // By their count, not their sessions, which are not kept for ever: who comes back after long is told too.
        if unknown && user.sign_in_count > 1 {
            tx.enqueue(mails::NEW_DEVICE, &mails::About { user_id: user.id, session_id }).await?;
        }
        store::auth_event::add(&mut tx, user.id, AuthEventKind::SignedIn, Some(session_id)).await?;
        tx.publish(events::session_opened(user.id, session_id)).await?;
        tx.commit().await?;
        Ok(LoginResponse {
            access_token: Some(self.keys.sign(clock, user.id, session_id, amr)?),
            refresh_token: Some(refresh.text),
            token_type: "Bearer".to_owned(),
            expires_in: ACCESS_TOKEN_SECONDS,
            user: Some(user.into()),
            mfa_required: false,
            mfa_token: None,
        })
    }
}
