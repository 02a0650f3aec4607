//! The end of every way to sign in: a session, and its first pair of tokens.

use baton_errors::Result;
use baton_proto::baton::auth::v1::LoginResponse;
use baton_store::Tenant;

use crate::{
    events,
    keys::ACCESS_TOKEN_SECONDS,
    rpc::Rpc,
    sessions::{IDLE, RefreshToken},
    store::{self, user::User},
};

/// By password (RFC 8176).
pub(crate) const PASSWORD: &str = "pwd";

impl Rpc {
    /// Goes on after a first proof of who the person is, such as their password; `amr` names it (RFC 8176).
    pub(crate) async fn first_factor_given(&self, user: User, amr: &[&str]) -> Result<LoginResponse> {
        self.open_session(user, amr).await
    }

    /// Opens a session for a person who has proved all that is asked of them.
    pub(crate) async fn open_session(&self, user: User, amr: &[&str]) -> Result<LoginResponse> {
        let amr: Vec<String> = amr.iter().map(|&method| method.to_owned()).collect();
        let clock = self.db.clock();
        let (now, session_id, refresh) = (clock.now(), clock.new_id(), RefreshToken::new());
        let mut tx = self.db.begin(Tenant::user(user.id)).await?;
        store::session::open(&mut tx, session_id, user.id, &amr, now, now + IDLE).await?;
        store::session::add_refresh_token(&mut tx, session_id, &refresh.hash, now).await?;
        tx.publish(events::session_opened(user.id, session_id)).await?;
        tx.commit().await?;
        Ok(LoginResponse {
            access_token: self.keys.sign(clock, user.id, session_id, amr)?,
            refresh_token: refresh.text,
            token_type: "Bearer".to_owned(),
            expires_in: ACCESS_TOKEN_SECONDS,
            user: Some(user.into()),
        })
    }
}
