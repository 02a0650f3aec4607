//! The tower layer that authorizes every call before its message is decoded.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use baton_errors::{Error, Reason, Result};
use baton_proto::baton::access::v1::FreshProof;
use baton_runtime::{Clock, Via};
use baton_store::Restrictions;
use http::{HeaderMap, HeaderValue, Request, Response, header::AUTHORIZATION};
use tonic::{
    Status,
    body::Body,
    metadata::{Ascii, MetadataValue},
    server::NamedService,
};
use tower::{Layer, Service};
use uuid::Uuid;

use crate::{
    ACCOUNT_HEADER, ApiKey, Caller, Credential, DelegatedClaims, Delegation, IdentityCache, PresentedKey, Principal,
    Role, Rule, Rules, ServiceCaller, TokenVerifier, UserToken, matrix, token::service_audience,
};

/// Authorizes every call by the rule of its RPC, and passes [`Caller`] and [`Principal`] to handlers.
#[derive(Debug, Clone)]
pub struct AccessLayer(Arc<Access>);

#[derive(Debug, Clone)]
struct Access {
    /// The name of the service that is called: the audience of service tokens.
    service: &'static str,
    rules: Rules,
    tokens: TokenVerifier,
    directory: IdentityCache,
    restrictions: Restrictions,
    /// The account that operates the installation.
    operator_account: Option<Uuid>,
    clock: Clock,
}

impl AccessLayer {
    /// A layer that enforces `rules` for the calls of `service`, with `tokens` and `directory` to identify callers.
    pub fn new(
        service: &'static str,
        rules: Rules,
        tokens: TokenVerifier,
        directory: IdentityCache,
        clock: Clock,
    ) -> Self {
        let restrictions = Restrictions::default();
        Self(Arc::new(Access { service, rules, tokens, directory, restrictions, operator_account: None, clock }))
    }

    /// Refuses what would process the data of callers who have restricted that.
    #[must_use]
    pub fn with_restrictions(self, restrictions: Restrictions) -> Self {
        Self(Arc::new(Access { restrictions, ..Access::clone(&self.0) }))
    }

    /// Admits owners and super managers of this account to the RPCs of operators; without one, nobody is admitted.
    #[must_use]
    pub fn with_operators(self, operator_account: Option<Uuid>) -> Self {
        Self(Arc::new(Access { operator_account, ..Access::clone(&self.0) }))
    }

    /// Authorizes the RPC at `path` with these headers, for something that is not a call of it but returns the same
    /// data, such as a WebSocket.
    ///
    /// # Errors
    /// Those of calling the RPC.
    pub async fn authorize(&self, path: &str, headers: &mut HeaderMap) -> Result<Principal> {
        match self.0.decide(path, headers).await? {
            Decision::Principal(principal) => Ok(principal),
            Decision::Anyone | Decision::Caller(_) | Decision::Service(_) => {
                Err(Error::internal("an RPC without a permission has no principal"))
            }
        }
    }
}

impl Access {
    /// Decides by the rule of the RPC, and identifies the caller.
    async fn decide(&self, path: &str, headers: &mut HeaderMap) -> Result<Decision> {
        let rule = self.rules.get(path).ok_or_else(|| Error::from(Reason::RouteNotFound))?;
        let permission = match rule {
            Rule::Public => return Ok(Decision::Anyone),
            Rule::ServiceOnly => return self.service(headers).await,
            Rule::Authenticated | Rule::Operator => None,
            Rule::Permission(permission) => Some(permission),
        };
        let proof = self.rules.fresh_proof(path);
        let mut caller = self.caller(path, headers).await?;
        if matches!(proof, FreshProof::Always | FreshProof::Conditional)
            && caller.require_fresh_proof(self.clock.now()).is_err()
        {
            self.refresh_proof(&mut caller).await?;
        }
        if let Some((scopes, account)) = caller.credential.limits() {
            self.rules.key_scope(path).check(scopes)?;
            if let Some(bound) = account {
                // The credential's account is the account of the call, for every handler.
                if account_id(headers)?.is_some_and(|named| named != bound) {
                    return Err(Reason::NotAMember.into());
                }
                let bound = HeaderValue::try_from(bound.to_string()).map_err(Error::internal)?;
                headers.insert(ACCOUNT_HEADER, bound);
            }
        }
        if self.restrictions.contains(caller.user_id) && !self.rules.is_open_while_restricted(path) {
            return Err(Reason::ProcessingRestricted.into());
        }
        if rule == Rule::Operator {
            self.require_operator(&caller).await?;
        }
        let Some(permission) = permission else {
            if proof == FreshProof::Always {
                caller.require_fresh_proof(self.clock.now())?;
            }
            return Ok(Decision::Caller(caller));
        };
        let membership = self.directory.membership(&caller, account_id(headers)?).await?;
        if membership.suspended && !self.rules.is_open_while_suspended(path) {
            return Err(Reason::AccountSuspended.into());
        }
        // Checked for members only: for others the account does not exist. RPCs without an account, such as the set-up
        // of a second factor, stay open.
        if membership.settings.second_factor_required && !caller.has_second_factor() {
            return Err(Reason::SecondFactorRequired.into());
        }
        if !matrix::holds(membership.role, permission) {
            return Err(Error::from(Reason::PermissionMissing).with("permission", permission.as_str_name()));
        }
        // Checked last: a caller who may not make the call at all is not asked for a proof.
        if proof == FreshProof::Always {
            caller.require_fresh_proof(self.clock.now())?;
        }
        Ok(Decision::Principal(Principal { caller, membership }))
    }

    /// Others learn nothing about the account of the operators.
    ///
    /// # Errors
    /// OPERATOR_ONLY; SECOND_FACTOR_REQUIRED for operators who have signed in without one.
    async fn require_operator(&self, caller: &Caller) -> Result<()> {
        let refused = || Error::from(Reason::OperatorOnly);
        let account = self.operator_account.ok_or_else(refused)?;
        let membership = match self.directory.membership(caller, Some(account)).await {
            Err(error) if error.reason() == Reason::Unavailable => return Err(error),
            membership => membership.map_err(|_| refused())?,
        };
        if membership.role < Role::SuperManager || membership.suspended {
            return Err(refused());
        }
        if caller.has_second_factor() { Ok(()) } else { Err(Reason::SecondFactorRequired.into()) }
    }

    /// Reads the session again, because the cached one may be older than a recent proof.
    async fn refresh_proof(&self, caller: &mut Caller) -> Result<()> {
        if matches!(caller.credential, Credential::Session) {
            caller.proved_at = self.directory.recheck_session(caller).await?;
        }
        Ok(())
    }

    async fn caller(&self, path: &str, headers: &HeaderMap) -> Result<Caller> {
        let (text, token) = bearer(headers)?;
        let authorization = MetadataValue::try_from(text).map_err(|_| Error::from(Reason::TokenInvalid))?;
        if ApiKey::is_meant(token) {
            let key = ApiKey::parse(token).ok_or_else(|| Error::from(Reason::TokenInvalid))?;
            let presented = PresentedKey { hash: key.hash(), authorization: authorization.clone() };
            let grant = self.directory.api_key(&presented).await?;
            return Ok(Caller {
                user_id: grant.user_id,
                session_id: Uuid::nil(),
                amr: grant.amr.clone(),
                expires_at: grant.expires_at.map(|at| at.timestamp()),
                credential: Credential::ApiKey(grant),
                proved_at: None,
                authorization,
            });
        }
        let claims = match self.tokens.verify_user(token).await? {
            UserToken::Access(claims) => claims,
            UserToken::Delegated(claims) => return self.delegated(path, &claims, authorization).await,
        };
        let mut caller = Caller {
            user_id: claims.sub,
            session_id: claims.sid,
            amr: claims.amr.clone(),
            credential: Credential::Session,
            proved_at: None,
            expires_at: Some(claims.exp),
            authorization,
        };
        caller.proved_at = self.directory.check_session(&caller).await?;
        Ok(caller)
    }

    /// The user for whom a service calls. The token is for this service, or the RPC is a look-up for another one, which
    /// forwards it.
    async fn delegated(
        &self,
        path: &str,
        claims: &DelegatedClaims,
        authorization: MetadataValue<Ascii>,
    ) -> Result<Caller> {
        if claims.aud != service_audience(self.service) && !self.rules.is_look_up(path) {
            return Err(Reason::TokenInvalid.into());
        }
        let delegation = Delegation {
            via: Via { service: claims.act.sub.clone(), cause: claims.cause.clone() },
            source: claims.source,
            account_id: claims.account_id,
            scopes: claims.scope.split(' ').map(str::to_owned).collect(),
        };
        let mut caller = Caller {
            user_id: claims.sub,
            session_id: Uuid::nil(),
            amr: Vec::new(),
            expires_at: Some(claims.exp),
            credential: Credential::Delegated(Arc::new(delegation)),
            proved_at: None,
            authorization,
        };
        caller.amr = self.directory.delegation(&caller, claims.source).await?;
        Ok(caller)
    }

    /// Authorizes another service, by a token for this service. Several services may serve the same contract, so the path
    /// does not say which one is called. Other callers learn nothing more.
    async fn service(&self, headers: &HeaderMap) -> Result<Decision> {
        let refused = || Error::from(Reason::ServiceOnly);
        let (_, token) = bearer(headers).map_err(|_| refused())?;
        match self.tokens.verify_service(token, self.service).await {
            Ok(claims) => Ok(Decision::Service(ServiceCaller { name: claims.sub })),
            Err(error) if error.reason() == Reason::Unavailable => Err(error),
            Err(_) => Err(refused()),
        }
    }
}

/// The service that acts for the caller.
fn via_of(caller: &Caller) -> Option<Via> {
    match &caller.credential {
        Credential::Delegated(delegation) => Some(delegation.via.clone()),
        Credential::Session | Credential::ApiKey(_) => None,
    }
}

/// The `Authorization` value, and the token in it.
fn bearer(headers: &HeaderMap) -> Result<(&str, &str)> {
    let value = headers.get(AUTHORIZATION).ok_or_else(|| Error::from(Reason::TokenMissing))?;
    let text = value.to_str().map_err(|_| Error::from(Reason::TokenInvalid))?;
    // The scheme is case-insensitive (RFC 9110, section 11.1).
    let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, token) = token.ok_or_else(|| Error::from(Reason::TokenInvalid))?;
    Ok((text, token.trim()))
}

/// The account that the call names. A value that is not an id is not an account of the caller.
fn account_id(headers: &HeaderMap) -> Result<Option<Uuid>> {
    let Some(value) = headers.get(ACCOUNT_HEADER) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|id| id.parse().ok());
    id.map(Some).ok_or_else(|| Reason::NotAMember.into())
}

enum Decision {
    Anyone,
    Caller(Caller),
    Service(ServiceCaller),
    Principal(Principal),
}

impl<S> Layer<S> for AccessLayer {
    type Service = AccessService<S>;

    fn layer(&self, inner: S) -> AccessService<S> {
        AccessService { inner, access: Arc::clone(&self.0) }
    }
}

/// A service behind [`AccessLayer`].
#[derive(Debug, Clone)]
pub struct AccessService<S> {
    inner: S,
    access: Arc<Access>,
}

impl<S: NamedService> NamedService for AccessService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for AccessService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The ready service handles this call, and its clone waits for the next one.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let access = Arc::clone(&self.access);
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let mut via = None;
            match access.decide(&path, request.headers_mut()).await {
                Ok(Decision::Anyone) => {}
                Ok(Decision::Caller(caller)) => {
                    via = via_of(&caller);
                    request.extensions_mut().insert(caller);
                }
                Ok(Decision::Service(service)) => {
                    request.extensions_mut().insert(service);
                }
                Ok(Decision::Principal(principal)) => {
                    via = via_of(&principal.caller);
                    request.extensions_mut().insert(principal.caller.clone());
                    request.extensions_mut().insert(principal);
                }
                Err(error) => return Ok(Status::from(error).into_http()),
            }
            match via {
                Some(via) => via.scope(inner.call(request)).await,
                None => inner.call(request).await,
            }
        })
    }
}
