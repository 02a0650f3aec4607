//! The caller of an RPC, as the access layer identified them.

use std::{collections::HashSet, sync::Arc};

use baton_errors::{Error, Reason, Result};
use baton_proto::baton::tenancy::v1 as tenancy;
use baton_runtime::{Via, propagation};
use baton_store::Tenant;
use chrono::{DateTime, TimeDelta, Utc};
use tonic::{Request, metadata::MetadataValue};
use uuid::Uuid;

use crate::{ACCOUNT_HEADER, Limits, token::DelegationSource};

/// Role of a member in an account, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Works on tasks.
    User,
    /// Assigns tasks to the users below them.
    Manager,
    /// Assigns tasks to managers and users, and administers the account.
    SuperManager,
    /// Has all permissions.
    Owner,
}

impl Role {
    /// All roles, lowest first.
    pub const ALL: [Self; 4] = [Self::User, Self::Manager, Self::SuperManager, Self::Owner];

    /// Converts to the contract.
    pub fn to_proto(self) -> tenancy::Role {
        match self {
            Self::User => tenancy::Role::User,
            Self::Manager => tenancy::Role::Manager,
            Self::SuperManager => tenancy::Role::SuperManager,
            Self::Owner => tenancy::Role::Owner,
        }
    }

    /// Converts from the contract; `None` if unspecified or unknown.
    pub fn from_proto(role: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_proto() as i32 == role)
    }

    /// The stored and displayed name: `super_manager`.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Manager => "manager",
            Self::SuperManager => "super_manager",
            Self::Owner => "owner",
        }
    }

    /// The role with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// The user who calls, with a valid access token of an open session or with an API key; or for whom a service calls, with
/// a delegated token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Id of the user.
    pub user_id: Uuid,
    /// The session of the token; nil with an API key or a delegated token.
    pub session_id: Uuid,
    /// The credential of the call.
    pub credential: Credential,
    /// Authentication methods (RFC 8176) of the sign-in, or of the session that created the key or the grant; includes
    /// `mfa` after two factors.
    pub amr: Vec<String>,
    /// Time of the last proof of identity in the session, besides the token; `None` with other
    /// credentials.
    pub proved_at: Option<DateTime<Utc>>,
    /// Expiry of the access token or of the API key, Unix time in seconds; `None` with a key that has none.
    pub expires_at: Option<i64>,
    /// The `Authorization` value, for calls to other services with the caller's rights.
    pub(crate) authorization: MetadataValue<tonic::metadata::Ascii>,
}

/// The `amr` value of a sign-in with two factors (RFC 8176).
const MULTI_FACTOR: &str = "mfa";

impl Caller {
    /// Whether they signed in with two factors.
    pub fn has_second_factor(&self) -> bool {
        self.amr.iter().any(|method| method == MULTI_FACTOR)
    }

    /// Requires a proof of identity within [`FRESH_FOR`], for an RPC whose rule is `FRESH_PROOF_CONDITIONAL`.
    ///
    /// # Errors
    /// SESSION_REQUIRED without a session, REAUTHENTICATION_REQUIRED.
    pub fn require_fresh_proof(&self, now: DateTime<Utc>) -> Result<()> {
        match (&self.credential, self.proved_at) {
            (Credential::ApiKey(_) | Credential::Delegated(_), _) => Err(Reason::SessionRequired.into()),
            (Credential::Session, Some(proved_at)) if is_fresh(proved_at, now) => Ok(()),
            (Credential::Session, _) => Err(Reason::ReauthenticationRequired.into()),
        }
    }
}

/// Time for which a proof of identity counts as fresh.
pub const FRESH_FOR: TimeDelta = TimeDelta::minutes(15);

/// Whether a proof still counts as fresh.
pub fn is_fresh(proved_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    proved_at > now - FRESH_FOR
}

/// The credential of a call.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An access token of a session.
    Session,
    /// An API key.
    ApiKey(Arc<KeyGrant>),
    /// A delegated token.
    Delegated(Arc<Delegation>),
}

impl Credential {
    /// The scopes and the account that limit the call; `None` for a session, which has no limits.
    pub(crate) fn limits(&self) -> Option<(&[String], Option<Uuid>)> {
        match self {
            Self::Session => None,
            Self::ApiKey(key) => Some((&key.scopes, key.account_id)),
            Self::Delegated(delegation) => Some((&delegation.scopes, Some(delegation.account_id))),
        }
    }
}

/// What a delegated token authorizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The service that acts, and the cause.
    pub via: Via,
    /// The right that the token depends on.
    pub source: DelegationSource,
    /// The account in which the service acts.
    pub account_id: Uuid,
    /// Scopes of the token.
    pub scopes: Vec<String>,
}

/// What an API key authorizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyGrant {
    /// Id of the key.
    pub id: Uuid,
    /// The user who owns the key.
    pub user_id: Uuid,
    /// The only account that the key works in, if any.
    pub account_id: Option<Uuid>,
    /// Scopes of the key.
    pub scopes: Vec<String>,
    /// Authentication methods of the session in which the key was created (RFC 8176).
    pub amr: Vec<String>,
    /// Its expiry, if it has one.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A caller who is an active member of the account that the call names.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The caller.
    pub caller: Caller,
    /// Their membership.
    pub membership: Arc<Membership>,
}

/// The settings of an account that its services need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether the account requires a second factor for every action in it.
    pub second_factor_required: bool,
    /// Whether assignees may reject tasks.
    pub rejection_enabled: bool,
    /// Default visibility of new tasks.
    pub default_visibility: tenancy::Visibility,
    /// IANA time zone name.
    pub timezone: String,
    /// Whether a user can work on only one task at a time: starting a second one fails with TIMER_ALREADY_RUNNING.
    pub one_running_timer: bool,
}

impl Default for Settings {
    /// The settings of a new account.
    fn default() -> Self {
        Self {
            second_factor_required: false,
            rejection_enabled: true,
            default_visibility: tenancy::Visibility::Private,
            timezone: "UTC".to_owned(),
            one_running_timer: false,
        }
    }
}

/// A user's membership in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The account.
    pub account_id: Uuid,
    /// Their role.
    pub role: Role,
    /// Whether they may reassign tasks: by role, by their own right, or by the account's setting.
    pub may_reassign: bool,
    /// Direct and indirect reports.
    pub reports: HashSet<Uuid>,
    /// The manager, and the direct reports of the same manager.
    pub team: HashSet<Uuid>,
    /// Whether the account is suspended or scheduled for deletion. Then almost all calls are refused.
    pub suspended: bool,
    /// Settings of the account.
    pub settings: Settings,
    /// Limits of the account.
    pub limits: Limits,
}

impl Principal {
    /// Id of the user.
    pub fn user_id(&self) -> Uuid {
        self.caller.user_id
    }

    /// The account of the call.
    pub fn account_id(&self) -> Uuid {
        self.membership.account_id
    }

    /// The role in the account.
    pub fn role(&self) -> Role {
        self.membership.role
    }

    /// The tenant of the transactions of this call.
    pub fn tenant(&self) -> Tenant {
        Tenant { account_id: self.account_id(), user_id: self.user_id() }
    }
}

/// The caller of an RPC whose rule is `authenticated` or a permission.
///
/// # Errors
/// INTERNAL if the RPC has another rule, because then handler and rule disagree.
pub fn caller<T>(request: &Request<T>) -> Result<&Caller> {
    request.extensions().get().ok_or_else(|| Error::internal("the RPC's rule provides no caller"))
}

/// The principal of an RPC whose rule is a permission.
///
/// # Errors
/// INTERNAL if the RPC has another rule, because then handler and rule disagree.
pub fn principal<T>(request: &Request<T>) -> Result<&Principal> {
    request.extensions().get().ok_or_else(|| Error::internal("the RPC's rule provides no principal"))
}

/// Another service that calls a `service_only` RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCaller {
    /// Its name: `tenancy`.
    pub name: String,
}

/// The calling service of an RPC whose rule is `service_only`.
///
/// # Errors
/// INTERNAL if the RPC has another rule, because then handler and rule disagree.
pub fn service<T>(request: &Request<T>) -> Result<&ServiceCaller> {
    request.extensions().get().ok_or_else(|| Error::internal("the RPC's rule provides no service"))
}

/// A request to another service with the caller's rights, in the caller's trace.
pub fn on_behalf_of<T>(caller: &Caller, account_id: Option<Uuid>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", caller.authorization.clone());
    if let Some(id) = account_id.and_then(|id| id.to_string().parse().ok()) {
        request.metadata_mut().insert(ACCOUNT_HEADER, id);
    }
    propagation::inject(request.metadata_mut());
    request
}
