//! Sessions and memberships: asked of auth and tenancy, remembered for a second.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use baton_errors::{Error, Reason, Result, reason_of};
use baton_proto::{
    baton::{
        auth::v1::{
            self as proto, CheckSessionRequest, GetJwksRequest, JsonWebKey, auth_service_client::AuthServiceClient,
        },
        tenancy::v1::{
            AccountStatus, ResolveMembershipRequest, ResolveMembershipResponse,
            member_service_client::MemberServiceClient,
        },
    },
    convert::datetime,
};
use baton_runtime::propagation;
use chrono::{DateTime, Utc};
use moka::future::Cache;
use tonic::{Status, body::Body, client::GrpcService, codegen::StdError, transport::Channel};
use uuid::Uuid;

use crate::{
    KeyGrant, PresentedKey, Role,
    principal::{Caller, Membership, Settings, on_behalf_of},
    token::KeySource,
};

/// A closed session or a changed membership works nowhere longer than this.
pub(crate) const CACHE_TTL: Duration = Duration::from_secs(1);
const ENTRIES: u64 = 100_000;
/// A look-up that takes longer counts as a no.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which sessions are open.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// When the person last proved who they are in the session of the caller's token, which is open; `None` when auth
    /// does not say, as the version before.
    ///
    /// # Errors
    /// SESSION_CLOSED, or UNAVAILABLE when nobody can tell.
    async fn check(&self, caller: &Caller) -> Result<Option<DateTime<Utc>>>;

    /// What an API key stands for.
    ///
    /// # Errors
    /// TOKEN_INVALID when it is none, has ended or was deleted, or UNAVAILABLE when nobody can tell.
    async fn api_key(&self, key: &PresentedKey) -> Result<KeyGrant>;
}

/// Who is what in which account.
#[async_trait]
pub trait Memberships: Send + Sync {
    /// What the caller is in the account, or in their default account when none is named.
    ///
    /// # Errors
    /// NOT_A_MEMBER, or UNAVAILABLE when nobody can tell.
    async fn resolve(&self, caller: &Caller, account_id: Option<Uuid>) -> Result<Membership>;
}

/// Both, with a short memory. Clones share it.
#[derive(Clone)]
pub struct IdentityCache(Arc<Inner>);

struct Inner {
    sessions: Box<dyn Sessions>,
    memberships: Box<dyn Memberships>,
    remembers: bool,
    open: Cache<Uuid, Option<DateTime<Utc>>>,
    keys: Cache<[u8; 32], Arc<KeyGrant>>,
    members: Cache<(Uuid, Option<Uuid>), Arc<Membership>>,
}

impl IdentityCache {
    /// Remembers the answers of `sessions` and `memberships` for a second. Refusals are not remembered.
    pub fn new(sessions: impl Sessions + 'static, memberships: impl Memberships + 'static) -> Self {
        Self::with(sessions, memberships, true)
    }

    /// Asks `sessions` each time: for the service that the others ask. Were it to remember as well, what has
    /// ended would work for two seconds elsewhere.
    pub fn uncached(sessions: impl Sessions + 'static) -> Self {
        Self::with(sessions, NoMemberships, false)
    }

    fn with(sessions: impl Sessions + 'static, memberships: impl Memberships + 'static, remembers: bool) -> Self {
        Self(Arc::new(Inner {
            sessions: Box::new(sessions),
            memberships: Box::new(memberships),
            remembers,
            open: Cache::builder().max_capacity(ENTRIES).time_to_live(CACHE_TTL).build(),
            keys: Cache::builder().max_capacity(ENTRIES).time_to_live(CACHE_TTL).build(),
            members: Cache::builder().max_capacity(ENTRIES).time_to_live(CACHE_TTL).build(),
        }))
    }

    /// See [`Sessions::check`].
    ///
    /// # Errors
    /// Those of [`Sessions::check`].
    pub async fn check_session(&self, caller: &Caller) -> Result<Option<DateTime<Utc>>> {
        let check = self.0.sessions.check(caller);
        if !self.0.remembers {
            return check.await;
        }
        self.0.open.try_get_with(caller.session_id, check).await.map_err(shared)
    }

    /// The same, asked anew whatever is remembered: the person may have proved a moment ago who they are.
    ///
    /// # Errors
    /// Those of [`Sessions::check`].
    pub async fn recheck_session(&self, caller: &Caller) -> Result<Option<DateTime<Utc>>> {
        let proved_at = self.0.sessions.check(caller).await?;
        if self.0.remembers {
            self.0.open.insert(caller.session_id, proved_at).await;
        }
        Ok(proved_at)
    }

    /// See [`Sessions::api_key`].
    ///
    /// # Errors
    /// Those of [`Sessions::api_key`].
    pub async fn api_key(&self, key: &PresentedKey) -> Result<Arc<KeyGrant>> {
        let resolve = async { self.0.sessions.api_key(key).await.map(Arc::new) };
        if !self.0.remembers {
            return resolve.await;
        }
        self.0.keys.try_get_with(key.hash, resolve).await.map_err(shared)
    }

    /// See [`Memberships::resolve`].
    ///
    /// # Errors
    /// Those of [`Memberships::resolve`].
    pub async fn membership(&self, caller: &Caller, account_id: Option<Uuid>) -> Result<Arc<Membership>> {
        let resolve = async { self.0.memberships.resolve(caller, account_id).await.map(Arc::new) };
        self.0.members.try_get_with((caller.user_id, account_id), resolve).await.map_err(shared)
    }
}

impl std::fmt::Debug for IdentityCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityCache").finish_non_exhaustive()
    }
}

/// One failure for all who waited for it; its cause was logged where it happened.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn shared(error: Arc<Error>) -> Error {
    Error::new(error.reason(), error.reason().description())
}

/// The failure of a look-up: a refusal keeps its reason, anything else means that nobody can tell.
fn refused(status: Status, expected: &[Reason]) -> Error {
    match reason_of(&status) {
        Some(reason) if expected.contains(&reason) => reason.into(),
        _ => {
            tracing::warn!(code = ?status.code(), "a look-up failed");
            Error::from(Reason::Unavailable).with_source(status)
        }
    }
}

fn with_timeout<T>(mut request: tonic::Request<T>) -> tonic::Request<T> {
    request.set_timeout(TIMEOUT);
    request
}

/// Sessions and keys, asked of the auth service.
#[derive(Debug, Clone)]
pub struct RemoteAuth<T = Channel>(pub AuthServiceClient<T>);

#[async_trait]
impl<T> Sessions for RemoteAuth<T>
where
    T: GrpcService<Body, ResponseBody = Body, Future: Send, Error: Into<StdError>> + Clone + Send + Sync,
{
    async fn check(&self, caller: &Caller) -> Result<Option<DateTime<Utc>>> {
        let request = with_timeout(on_behalf_of(caller, None, CheckSessionRequest {}));
        let answer = self.0.clone().check_session(request).await;
        let answer = answer.map_err(|status| refused(status, &[Reason::SessionClosed, Reason::TokenInvalid]))?;
        Ok(answer.into_inner().proved_at.as_ref().and_then(datetime))
    }

    async fn api_key(&self, key: &PresentedKey) -> Result<KeyGrant> {
        let mut request = with_timeout(tonic::Request::new(CheckSessionRequest {}));
        request.metadata_mut().insert("authorization", key.authorization.clone());
        propagation::inject(request.metadata_mut());
        let answer = self.0.clone().check_session(request).await;
        let answer = answer.map_err(|status| refused(status, &[Reason::TokenInvalid]))?.into_inner();
        let malformed = || Error::internal("auth answered an API key that does not parse");
        answer.key.and_then(|key| grant(&answer.user_id, key)).ok_or_else(malformed)
    }
}

fn grant(user_id: &str, key: proto::KeyGrant) -> Option<KeyGrant> {
    let account_id = (!key.account_id.is_empty()).then(|| key.account_id.parse());
    Some(KeyGrant {
        id: key.id.parse().ok()?,
        user_id: user_id.parse().ok()?,
        account_id: account_id.transpose().ok()?,
        scopes: key.scopes,
        amr: key.amr,
    })
}

#[async_trait]
impl<T> KeySource for RemoteAuth<T>
where
    T: GrpcService<Body, ResponseBody = Body, Future: Send, Error: Into<StdError>> + Clone + Send + Sync,
{
    async fn fetch(&self) -> Result<Vec<JsonWebKey>> {
        let answer = self.0.clone().get_jwks(with_timeout(tonic::Request::new(GetJwksRequest {}))).await;
        Ok(answer.map_err(|status| refused(status, &[]))?.into_inner().keys)
    }
}

/// Memberships, asked of the tenancy service.
#[derive(Debug, Clone)]
pub struct RemoteTenancy<T = Channel>(pub MemberServiceClient<T>);

#[async_trait]
impl<T> Memberships for RemoteTenancy<T>
where
    T: GrpcService<Body, ResponseBody = Body, Future: Send, Error: Into<StdError>> + Clone + Send + Sync,
{
    async fn resolve(&self, caller: &Caller, account_id: Option<Uuid>) -> Result<Membership> {
        let request = with_timeout(on_behalf_of(caller, account_id, ResolveMembershipRequest {}));
        let answer = self.0.clone().resolve_membership(request).await;
        let expected = &[Reason::NotAMember, Reason::SessionClosed, Reason::TokenInvalid];
        Membership::from_proto(answer.map_err(|status| refused(status, expected))?.into_inner())
    }
}

impl Membership {
    /// The membership that tenancy has answered.
    ///
    /// # Errors
    /// INTERNAL when it does not parse.
    pub fn from_proto(answer: ResolveMembershipResponse) -> Result<Self> {
        let ids = |ids: Vec<String>| ids.iter().filter_map(|id| id.parse().ok()).collect();
        let malformed = || Error::internal("tenancy answered a membership that does not parse");
        let default_visibility = answer.default_visibility();
        Ok(Self {
            account_id: answer.account_id.parse().map_err(|_| malformed())?,
            role: Role::from_proto(answer.role).ok_or_else(malformed)?,
            may_reassign: answer.may_reassign,
            // A status that this version does not know counts against the call.
            suspended: answer.account_status() != AccountStatus::Active,
            settings: Settings {
                second_factor_required: answer.second_factor_required,
                rejection_enabled: answer.rejection_enabled,
                default_visibility,
                timezone: answer.timezone,
                one_running_timer: answer.one_running_timer,
            },
            reports: ids(answer.report_ids),
            team: ids(answer.team_ids),
            limits: answer.limits.ok_or_else(malformed)?.into(),
        })
    }
}

/// No memberships: for a service none of whose RPCs demands a permission.
#[derive(Debug, Clone, Copy)]
pub struct NoMemberships;

#[async_trait]
impl Memberships for NoMemberships {
    async fn resolve(&self, _: &Caller, _: Option<Uuid>) -> Result<Membership> {
        Err(Reason::NotAMember.into())
    }
}
