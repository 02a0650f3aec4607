//! Sign-in, the end of every flow: opens a session and issues its first pair of tokens.

use baton_errors::{Reason, Result};
use baton_proto::baton::auth::v1::LoginResponse;
use baton_runtime::Origin;
use baton_store::{Db, Tenant};

use super::signing_keys::SigningKeys;
use crate::{
    auth_event::AuthEventKind,
    emails,
    events::publish,
    mfa::AMR_METHODS,
    sessions::{self, ACCESS_TOKEN_TTL_SECONDS, RefreshToken, Session},
    store,
    user::User,
    user_agent,
};

/// Opens a session for a fully authenticated user.
///
/// # Errors
/// CREDENTIALS_INVALID when the password has changed since; MFA_TOKEN_INVALID when the second factor was disabled
/// since.
pub(crate) async fn open_session(db: &Db, keys: &SigningKeys, mut user: User, amr: &[&str]) -> Result<LoginResponse> {
    let amr: Vec<String> = amr.iter().map(|&method| method.to_owned()).collect();
    let clock = db.clock();
    let (now, session_id, refresh) = (clock.now(), clock.new_id(), RefreshToken::new());
    let origin = Origin::current();
    let session = Session {
        id: session_id,
        device: user_agent::device_name(&origin.user_agent),
        address: origin.address.map(|address| address.to_string()),
        amr: amr.clone(),
        created_at: now,
        last_used_at: now,
        expires_at: sessions::expires_at(now, now),
    };
    let mut tx = db.begin(Tenant::user(user.id)).await?;
    store::user::record_sign_in(&mut tx, &mut user, now, origin.address).await?;
    // A second factor that was disabled since its code was verified counts no longer.
    if amr.iter().any(|method| AMR_METHODS.contains(&method.as_str()))
        && !store::mfa::lock_enabled(&mut tx, user.id).await?
    {
        return Err(Reason::MfaTokenInvalid.into());
    }
    let unknown = store::session::open(&mut tx, user.id, &session, &refresh.hash).await?;
    // By the sign-in count, not by sessions, which are deleted in time: a user who returns after long gets the
    // email too.
    if unknown && user.sign_in_count > 1 {
        tx.enqueue(emails::NEW_DEVICE, &emails::AboutSession { user_id: user.id, session_id }).await?;
    }
    store::auth_event::insert(&mut tx, user.id, AuthEventKind::SignedIn, Some(session_id)).await?;
    tx.publish(publish::session_opened(user.id, session_id)).await?;
    tx.commit().await?;
    Ok(LoginResponse {
        access_token: Some(keys.sign_access_token(clock, user.id, session_id, amr)?),
        refresh_token: Some(refresh.text),
        token_type: "Bearer".to_owned(),
        expires_in: ACCESS_TOKEN_TTL_SECONDS,
        user: Some(user.into()),
        mfa_required: false,
        mfa_token: None,
    })
}
