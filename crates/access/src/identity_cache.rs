//! Sessions and memberships: asked of auth and tenancy, remembered for a second.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::tenancy::v1::{AccountStatus, ResolveMembershipResponse};
use chrono::{DateTime, Utc};
use moka::future::Cache;
use uuid::Uuid;

use crate::{
    KeyGrant, PresentedKey, Role,
    principal::{Caller, Membership, Settings},
    token::DelegationSource,
};

/// A closed session or a changed membership works nowhere longer than this.
pub(crate) const CACHE_TTL: Duration = Duration::from_secs(1);
const ENTRIES: u64 = 100_000;

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

    /// The authentication methods (RFC 8176) behind the delegated token with which a service calls for `caller`: those of the
    /// session, the API key or the grant that it depends on, which is still valid.
    ///
    /// # Errors
    /// DELEGATION_ENDED, or UNAVAILABLE when nobody can tell.
    async fn delegation(&self, caller: &Caller, source: DelegationSource) -> Result<Vec<String>>;
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
    delegations: Cache<(Uuid, DelegationSource), Vec<String>>,
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

    /// Asks `sessions` each time, and remembers the answers of `memberships`: for a caller whose work goes on for long, and
    /// who is told when a session closes.
    pub fn for_streams(sessions: impl Sessions + 'static, memberships: impl Memberships + 'static) -> Self {
        Self::with(sessions, memberships, false)
    }

    fn with(sessions: impl Sessions + 'static, memberships: impl Memberships + 'static, remembers: bool) -> Self {
        Self(Arc::new(Inner {
            sessions: Box::new(sessions),
            memberships: Box::new(memberships),
            remembers,
            open: Cache::builder().max_capacity(ENTRIES).time_to_live(CACHE_TTL).build(),
            keys: Cache::builder().max_capacity(ENTRIES).time_to_live(CACHE_TTL).build(),
            delegations: Cache::builder().max_capacity(ENTRIES).time_to_live(CACHE_TTL).build(),
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

    /// See [`Sessions::delegation`].
    ///
    /// # Errors
    /// Those of [`Sessions::delegation`].
    pub async fn delegation(&self, caller: &Caller, source: DelegationSource) -> Result<Vec<String>> {
        let check = self.0.sessions.delegation(caller, source);
        if !self.0.remembers {
            return check.await;
        }
        self.0.delegations.try_get_with((caller.user_id, source), check).await.map_err(shared)
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
