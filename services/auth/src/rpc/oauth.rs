//! RPCs for sign-in with other identity providers.

use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::{
    AuthorizeRequest, AuthorizeResponse, CallbackRequest, CallbackResponse, ListProvidersRequest,
    ListProvidersResponse, LoginResponse, Provider, o_auth_service_server::OAuthService,
};
use baton_store::Tenant;
use tonic::{Request, Response, Status};
use url::Url;

use super::Rpc;
use crate::{
    auth_event::AuthEventKind,
    emails,
    events::publish,
    oauth::{
        self, ExternalIdentity,
        flow::{FLOW_TTL, Flow},
    },
    sessions::AMR_FEDERATED,
    store::{
        self,
        oauth_flow::{LinkRequest, StoredFlow},
    },
    user::User,
};

/// A started flow: the provider's URL, and the token that identifies the browser in the callback.
pub(super) struct StartedFlow {
    pub(super) authorization_url: String,
    pub(super) browser_token: String,
    pub(super) expires_in: i32,
}

#[tonic::async_trait]
impl OAuthService for Rpc {
    async fn list_providers(
        &self,
        _: Request<ListProvidersRequest>,
    ) -> Result<Response<ListProvidersResponse>, Status> {
        let providers = self.providers.names().into_iter().map(|name| Provider { name }).collect();
        Ok(Response::new(ListProvidersResponse { providers }))
    }

    async fn authorize(&self, request: Request<AuthorizeRequest>) -> Result<Response<AuthorizeResponse>, Status> {
        let AuthorizeRequest { provider, redirect } = request.into_inner();
        let provider = self.providers.get(&provider)?;
        let redirect = self.providers.redirect(&redirect)?;
        let StartedFlow { authorization_url, browser_token, expires_in } =
            self.start_flow(provider, &redirect, None).await?;
        Ok(Response::new(AuthorizeResponse { authorization_url, browser_token, expires_in }))
    }

    async fn callback(&self, request: Request<CallbackRequest>) -> Result<Response<CallbackResponse>, Status> {
        let CallbackRequest { provider, code, state, iss, error, browser_token } = request.into_inner();
        // First: a disabled provider serves no callback, not even of a flow that started before.
        let provider = self.providers.get(&provider)?;
        let flow = Flow::from_callback(state, browser_token);
        let stored = self.finish_flow(provider, &flow).await?;
        if !error.is_empty() || code.is_empty() {
            return Err(Error::from(Reason::ProviderRefused).into());
        }
        let now = self.db.clock().now();
        let external = provider.identify(&code, &iss, &flow, now).await?;
        let response = match stored.link_request {
            Some(link_request) => self.complete_linking(provider, &external, link_request).await?,
            None => {
                let user = self.find_or_register(provider, &external).await?;
                callback_response(self.after_first_factor(user, &[AMR_FEDERATED]).await?)
            }
        };
        Ok(Response::new(CallbackResponse { redirect: stored.redirect, ..response }))
    }
}

impl Rpc {
    /// Starts a sign-in, or the linking of an identity.
    pub(super) async fn start_flow(
        &self,
        provider: &oauth::Provider,
        redirect: &Url,
        link_request: Option<LinkRequest>,
    ) -> Result<StartedFlow> {
        let flow = Flow::new();
        let url = provider.authorization_url(&flow).await?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        store::oauth_flow::insert(&mut tx, &flow, provider.name(), redirect.as_str(), link_request, now).await?;
        tx.commit().await?;
        Ok(StartedFlow {
            authorization_url: url.into(),
            browser_token: flow.browser_token().to_owned(),
            expires_in: i32::try_from(FLOW_TTL.num_seconds()).unwrap_or_default(),
        })
    }

    /// Consumes the flow of a callback: of this browser and provider, and not expired.
    ///
    /// # Errors
    /// OAUTH_STATE_INVALID.
    async fn finish_flow(&self, provider: &oauth::Provider, flow: &Flow) -> Result<StoredFlow> {
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let stored = store::oauth_flow::consume(&mut tx, flow).await?;
        tx.commit().await?;
        stored
            .filter(|flow| flow.provider == provider.name() && flow.expires_at > now)
            .ok_or_else(|| Reason::OauthStateInvalid.into())
    }

    /// Returns the user who has linked the identity, or registers a new one.
    ///
    /// # Errors
    /// EMAIL_NOT_VERIFIED for a new identity without a verified address; IDENTITY_NOT_LINKED when the address belongs
    /// to a user.
    async fn find_or_register(&self, provider: &oauth::Provider, external: &ExternalIdentity) -> Result<User> {
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let known = store::identity::record_use(&mut tx, external, now).await?;
        let user_id = match known {
            Some(user_id) => user_id,
            None => {
                let email = external.email.as_deref().filter(|_| external.email_verified);
                let email = email.ok_or_else(|| Error::from(Reason::EmailNotVerified))?;
                let user_id = self.db.clock().new_id();
                if store::identity::register_user(&mut tx, user_id, external, email, now).await? {
                    tx.switch(Tenant::user(user_id)).await?;
                    let (identity, _) = store::identity::link(&mut tx, user_id, provider.name(), external, now).await?;
                    tx.publish(publish::user_registered(user_id)).await?;
                    tx.publish(publish::user_verified(user_id)).await?;
                    tx.publish(publish::identity_linked(user_id, identity.id, provider.name())).await?;
                    store::auth_event::insert(&mut tx, user_id, AuthEventKind::IdentityLinked, None).await?;
                    user_id
                } else {
                    // An equal address does not prove the same user. Only a concurrent call with this identity may have
                    // registered it.
                    let registered = store::identity::record_use(&mut tx, external, now).await?;
                    registered.ok_or_else(|| Error::from(Reason::IdentityNotLinked))?
                }
            }
        };
        let user = store::user::get(&mut tx, user_id).await?;
        tx.commit().await?;
        user.ok_or_else(|| Error::internal("an identity has no user"))
    }

    /// Links the identity to the user who started the flow, if that session is still open.
    ///
    /// # Errors
    /// SESSION_CLOSED; those of [`store::identity::link`].
    async fn complete_linking(
        &self,
        provider: &oauth::Provider,
        external: &ExternalIdentity,
        link_request: LinkRequest,
    ) -> Result<CallbackResponse> {
        let LinkRequest { user_id, session_id } = link_request;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        store::session::lock_open(&mut tx, session_id, user_id, now)
            .await?
            .ok_or_else(|| Error::from(Reason::SessionClosed))?;
        let (identity, new) = store::identity::link(&mut tx, user_id, provider.name(), external, now).await?;
        if new {
            tx.publish(publish::identity_linked(user_id, identity.id, provider.name())).await?;
            tx.enqueue(emails::IDENTITY_LINKED, &emails::ToUser { user_id }).await?;
            store::auth_event::insert(&mut tx, user_id, AuthEventKind::IdentityLinked, Some(session_id)).await?;
        }
        tx.commit().await?;
        Ok(CallbackResponse { identity: Some(identity.into()), ..CallbackResponse::default() })
    }
}

/// Converts the result of a sign-in to a callback response.
fn callback_response(login: LoginResponse) -> CallbackResponse {
    let LoginResponse { access_token, refresh_token, token_type, expires_in, user, mfa_required, mfa_token } = login;
    CallbackResponse {
        access_token,
        refresh_token,
        token_type,
        expires_in,
        user,
        mfa_required,
        mfa_token,
        ..CallbackResponse::default()
    }
}
