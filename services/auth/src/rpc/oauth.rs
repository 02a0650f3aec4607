//! Sign-in by other providers of identities.

use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::{
    AuthEventKind, AuthorizeRequest, AuthorizeResponse, CallbackRequest, CallbackResponse, ListProvidersRequest,
    ListProvidersResponse, LoginResponse, Provider, o_auth_service_server::OAuthService,
};
use baton_store::Tenant;
use tonic::{Request, Response, Status};
use url::Url;

use super::Rpc;
use crate::{
    events, mails,
    oauth::{
        self, Person,
        flow::{Flow, LASTS},
    },
    sign_in,
    store::{
        self,
        oauth_flow::{Begun, Linking},
        user::User,
    },
};

/// A beginning: where the browser goes, and how it is known when it comes back.
pub(super) struct Beginning {
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
        let Beginning { authorization_url, browser_token, expires_in } = self.begin(provider, &redirect, None).await?;
        Ok(Response::new(AuthorizeResponse { authorization_url, browser_token, expires_in }))
    }

    async fn callback(&self, request: Request<CallbackRequest>) -> Result<Response<CallbackResponse>, Status> {
        let CallbackRequest { provider, code, state, iss, error, browser_token } = request.into_inner();
        // First: what is switched off answers nothing, not even to those who began before.
        let provider = self.providers.get(&provider)?;
        let flow = Flow::returned(state, browser_token);
        let begun = self.end(provider, &flow).await?;
        if !error.is_empty() || code.is_empty() {
            return Err(Error::from(Reason::ProviderRefused).into());
        }
        let now = self.db.clock().now();
        let person = provider.identify(&code, &iss, &flow, now).await?;
        let answer = match begun.linking {
            Some(linking) => self.link(provider, &person, linking).await?,
            None => {
                let user = self.federated(provider, &person).await?;
                shown(self.first_factor_given(user, &[sign_in::FEDERATED]).await?)
            }
        };
        Ok(Response::new(CallbackResponse { redirect: begun.redirect, ..answer }))
    }
}

impl Rpc {
    /// OffsetCache a sign-in, or a linking.
    pub(super) async fn begin(
        &self,
        provider: &oauth::Provider,
        redirect: &Url,
        linking: Option<Linking>,
    ) -> Result<Beginning> {
        let flow = Flow::new();
        let url = provider.authorization_url(&flow).await?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        store::oauth_flow::begin(&mut tx, &flow, provider.name(), redirect.as_str(), linking, now).await?;
        tx.commit().await?;
        Ok(Beginning {
            authorization_url: url.into(),
            browser_token: flow.browser_token().to_owned(),
            expires_in: i32::try_from(LASTS.num_seconds()).unwrap_or_default(),
        })
    }

    /// What the callback ends: begun by this browser, for this provider, not long ago, and not ended yet.
    async fn end(&self, provider: &oauth::Provider, flow: &Flow) -> Result<Begun> {
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let begun = store::oauth_flow::take(&mut tx, flow).await?;
        tx.commit().await?;
        begun
            .filter(|begun| begun.provider == provider.name() && begun.expires_at > now)
            .ok_or_else(|| Reason::OauthStateInvalid.into())
    }

    /// Whom the provider vouches for: who has linked the identity, else somebody new.
    async fn federated(&self, provider: &oauth::Provider, person: &Person) -> Result<User> {
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let known = store::identity::used(&mut tx, person, now).await?;
        let user_id = match known {
            Some(user_id) => user_id,
            None => {
                let email = person.email.as_deref().filter(|_| person.email_verified);
                let email = email.ok_or_else(|| Error::from(Reason::EmailNotVerified))?;
                let user_id = self.db.clock().new_id();
                if store::identity::register(&mut tx, user_id, person, email, now).await? {
                    tx.switch(Tenant::user(user_id)).await?;
                    let (identity, _) = store::identity::link(&mut tx, user_id, provider.name(), person, now).await?;
                    tx.publish(events::user_registered(user_id)).await?;
                    tx.publish(events::user_verified(user_id)).await?;
                    tx.publish(events::identity_linked(user_id, identity.id, provider.name())).await?;
                    store::auth_event::add(&mut tx, user_id, AuthEventKind::IdentityLinked, None).await?;
                    user_id
                } else {
                    // The address alone does not make the two one person. Only if the same identity has just
                    // registered in another call, it is theirs.
                    let registered = store::identity::used(&mut tx, person, now).await?;
                    registered.ok_or_else(|| Error::from(Reason::IdentityNotLinked))?
                }
            }
        };
        let user = store::user::get(&mut tx, user_id).await?;
        tx.commit().await?;
        user.ok_or_else(|| Error::internal("an identity without its user"))
    }

    /// Links an identity to who began to, if they are still signed in as they were.
    async fn link(&self, provider: &oauth::Provider, person: &Person, linking: Linking) -> Result<CallbackResponse> {
        let Linking { user_id, session_id } = linking;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        store::session::hold(&mut tx, session_id, user_id, now)
            .await?
            .ok_or_else(|| Error::from(Reason::SessionClosed))?;
        let (identity, new) = store::identity::link(&mut tx, user_id, provider.name(), person, now).await?;
        if new {
            tx.publish(events::identity_linked(user_id, identity.id, provider.name())).await?;
            tx.enqueue(mails::IDENTITY_LINKED, &mails::To { user_id }).await?;
            store::auth_event::add(&mut tx, user_id, AuthEventKind::IdentityLinked, Some(session_id)).await?;
        }
        tx.commit().await?;
        Ok(CallbackResponse { identity: Some(identity.into()), ..CallbackResponse::default() })
    }
}

/// A sign-in as the callback answers it.
fn shown(login: LoginResponse) -> CallbackResponse {
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
