//! Delegated tokens: what they may be exchanged for, and their end.

use baton_access::{
    ApiKey, DELEGATE, DelegationSource, SCOPES, TokenVerifier, UserToken, scopes,
    token::{Actor, service_audience},
};
use baton_errors::{Error, Reason, Result};
use baton_runtime::Cause;
use baton_store::{Db, Tenant, Tx};
use uuid::Uuid;

use super::api_key;
use crate::{auth_event::AuthEventKind, delegation::StoredDelegation, events::publish, store};

/// The rights behind a user's token.
pub(crate) struct Subject {
    pub(crate) user_id: Uuid,
    pub(crate) source: DelegationSource,
    scopes: Vec<String>,
    /// The only account that the token works in.
    account_id: Option<Uuid>,
    /// Expiry of the token, Unix time in seconds.
    pub(crate) expires_at: Option<i64>,
    /// The service that acted before, and its cause.
    pub(crate) act: Option<Actor>,
    cause: Option<Cause>,
}

impl Subject {
    /// Resolves a user's token that `service` presents.
    ///
    /// # Errors
    /// TOKEN_INVALID, also for a delegated token for another service; SESSION_CLOSED, DELEGATION_ENDED.
    pub(crate) async fn of(db: &Db, tokens: &TokenVerifier, token: &str, service: &str) -> Result<Self> {
        if ApiKey::is_meant(token) {
            let key = ApiKey::parse(token).ok_or_else(|| Error::from(Reason::TokenInvalid))?;
            let grant = api_key::resolve(db, &key.hash()).await?;
            return Ok(Self {
                user_id: grant.user_id,
                source: DelegationSource::ApiKey(grant.id),
                scopes: grant.scopes,
                account_id: grant.account_id,
                expires_at: grant.expires_at.map(|at| at.timestamp()),
                act: None,
                cause: None,
            });
        }
        match tokens.verify_user(token).await? {
            UserToken::Access(claims) => {
                let source = DelegationSource::Session(claims.sid);
                let open = authentication_methods(db, claims.sub, source).await;
                open.map_err(|error| match error.reason() {
                    Reason::DelegationEnded => Reason::SessionClosed.into(),
                    _ => error,
                })?;
                Ok(Self {
                    user_id: claims.sub,
                    source,
                    scopes: SCOPES.iter().copied().chain([DELEGATE]).map(str::to_owned).collect(),
                    account_id: None,
                    expires_at: Some(claims.exp),
                    act: None,
                    cause: None,
                })
            }
            UserToken::Delegated(claims) if claims.aud == service_audience(service) => {
                authentication_methods(db, claims.sub, claims.source).await?;
                Ok(Self {
                    user_id: claims.sub,
                    source: claims.source,
                    scopes: claims.scope.split(' ').map(str::to_owned).collect(),
                    account_id: Some(claims.account_id),
                    expires_at: Some(claims.exp),
                    act: Some(claims.act.clone()),
                    cause: claims.cause.clone(),
                })
            }
            UserToken::Delegated(_) => Err(Reason::TokenInvalid.into()),
        }
    }

    /// Requires that the token may be exchanged for these rights.
    ///
    /// # Errors
    /// NOT_A_MEMBER in another account, SCOPE_MISSING.
    pub(crate) fn require(&self, account_id: Uuid, requested: &[String]) -> Result<()> {
        if self.account_id.is_some_and(|bound| bound != account_id) {
            return Err(Reason::NotAMember.into());
        }
        require_scopes(&self.scopes, requested)
    }

    /// The cause of an action with the new token: the requested one, or that of the exchanged token. A chain never gets shorter
    /// by an exchange.
    pub(crate) fn next_cause(&self, requested: Option<Cause>) -> Option<Cause> {
        let depth = self.cause.as_ref().map_or(0, |cause| cause.depth);
        let requested = requested.map(|cause| Cause { depth: cause.depth.max(depth), ..cause });
        requested.or_else(|| self.cause.clone())
    }
}

/// Requires that the held scopes include the requested ones.
///
/// # Errors
/// SCOPE_MISSING, with the first that is missing.
pub(crate) fn require_scopes(held: &[String], requested: &[String]) -> Result<()> {
    match requested.iter().find(|scope| !scopes::holds(held, scope)) {
        Some(missing) => Err(Error::from(Reason::ScopeMissing).with("scope", missing)),
        None => Ok(()),
    }
}

/// The authentication methods (RFC 8176) behind a delegated token.
///
/// # Errors
/// DELEGATION_ENDED when its session, API key or grant has ended.
pub(crate) async fn authentication_methods(db: &Db, user_id: Uuid, source: DelegationSource) -> Result<Vec<String>> {
    let mut tx = db.begin_read(Tenant::user(user_id)).await?;
    let amr = store::delegation::authentication_methods(&mut tx, user_id, source, db.clock().now()).await?;
    amr.ok_or_else(|| Reason::DelegationEnded.into())
}

/// Ends all grants of a user, publishes an event for each, and records that in the user's history.
pub(crate) async fn end_all(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    let ended = store::delegation::delete_all(tx, user_id).await?;
    if !ended.is_empty() {
        store::auth_event::insert(tx, user_id, AuthEventKind::DelegationEnded, None).await?;
    }
    publish_ended(tx, &ended).await
}

/// Publishes the end of these grants.
pub(crate) async fn publish_ended(tx: &mut Tx, ended: &[StoredDelegation]) -> Result<()> {
    tx.publish_all(ended.iter().map(publish::delegation_ended)).await
}
