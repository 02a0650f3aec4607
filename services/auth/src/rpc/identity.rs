//! RPCs for the caller's linked identities.

use baton_access::{Caller, caller, is_fresh};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::{
    LinkIdentityRequest, LinkIdentityResponse, ListIdentitiesRequest, ListIdentitiesResponse, UnlinkIdentityRequest,
    UnlinkIdentityResponse, identity_service_server::IdentityService,
};
use baton_store::Tenant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, oauth::StartedFlow};
use crate::{
    auth_event::AuthEventKind,
    emails,
    events::publish,
    identity::Identity,
    store::{self, oauth_flow::LinkRequest},
};

#[tonic::async_trait]
impl IdentityService for Rpc {
    async fn list_identities(
        &self,
        request: Request<ListIdentitiesRequest>,
    ) -> Result<Response<ListIdentitiesResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let identities = store::identity::list(&mut tx, user_id).await?;
        Ok(Response::new(ListIdentitiesResponse { identities: identities.into_iter().map(Into::into).collect() }))
    }

    async fn link_identity(
        &self,
        request: Request<LinkIdentityRequest>,
    ) -> Result<Response<LinkIdentityResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let LinkIdentityRequest { provider, password, redirect } = request.into_inner();
        let provider = self.providers.get(&provider)?;
        let redirect = self.providers.redirect(&redirect)?;
        // A stolen token alone must not be enough: a linked identity allows sign-ins for ever (CVE-2026-105207).
        if password.is_empty() {
            self.require_fresh_sign_in(user_id, session_id).await?;
        } else {
            self.require_password(user_id, password).await?;
        }
        let link_request = LinkRequest { user_id, session_id };
        let begun = self.start_flow(provider, &redirect, Some(link_request)).await?;
        let StartedFlow { authorization_url, browser_token, expires_in } = begun;
        Ok(Response::new(LinkIdentityResponse { authorization_url, browser_token, expires_in }))
    }

    async fn unlink_identity(
        &self,
        request: Request<UnlinkIdentityRequest>,
    ) -> Result<Response<UnlinkIdentityResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let named = request.into_inner().provider;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let has_password = store::identity::lock_sign_in_methods(&mut tx, user_id).await?;
        let identities = store::identity::list(&mut tx, user_id).await?;
        let is_named = |identity: &&Identity| identity.provider == named || identity.id.to_string() == named;
        let identity = identities.iter().find(is_named).ok_or_else(|| Error::from(Reason::IdentityNotFound))?;
        // An identity of a disabled provider does not allow a sign-in.
        let lets_in = |other: &Identity| other.id != identity.id && self.providers.get(&other.provider).is_ok();
        if !has_password && !identities.iter().any(lets_in) {
            return Err(Error::from(Reason::LastWayToSignIn).into());
        }
        store::identity::unlink(&mut tx, user_id, identity.id).await?;
        tx.publish(publish::identity_unlinked(user_id, identity.id, &identity.provider)).await?;
        tx.enqueue(emails::IDENTITY_UNLINKED, &emails::ToUser { user_id }).await?;
        store::auth_event::insert(&mut tx, user_id, AuthEventKind::IdentityUnlinked, Some(session_id)).await?;
        tx.commit().await?;
        Ok(Response::new(UnlinkIdentityResponse {}))
    }
}

impl Rpc {
    /// Requires a recent sign-in of a user without a password.
    ///
    /// # Errors
    /// PROOF_REQUIRED.
    async fn require_fresh_sign_in(&self, user_id: Uuid, session_id: Uuid) -> Result<()> {
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let has_password = store::user::password_hash(&mut tx, user_id).await?.is_some();
        let opened = store::mfa::session_proof(&mut tx, session_id).await?;
        let fresh = opened.is_some_and(|session| is_fresh(session.proved_at, self.db.clock().now()));
        if !has_password && fresh { Ok(()) } else { Err(Reason::ProofRequired.into()) }
    }
}
