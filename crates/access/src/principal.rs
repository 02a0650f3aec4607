//! The caller of an RPC, as the layer established them.

use std::{collections::HashSet, sync::Arc};

use baton_errors::{Error, Reason, Result};
use baton_proto::baton::tenancy::v1 as tenancy;
use baton_runtime::propagation;
use baton_store::Tenant;
use chrono::{DateTime, TimeDelta, Utc};
use tonic::{Request, metadata::MetadataValue};
use uuid::Uuid;

use crate::{ACCOUNT_HEADER, Limits};

/// What a member is in an account, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Works on tasks.
    User,
    /// Hands tasks to the users below them.
    Manager,
    /// Hands tasks to managers and users, runs the account.
    SuperManager,
    /// May do everything.
    Owner,
}

impl Role {
    /// All roles, lowest first.
    pub const ALL: [Self; 4] = [Self::User, Self::Manager, Self::SuperManager, Self::Owner];

    /// The role in the contract.
    pub fn to_proto(self) -> tenancy::Role {
        match self {
            Self::User => tenancy::Role::User,
            Self::Manager => tenancy::Role::Manager,
            Self::SuperManager => tenancy::Role::SuperManager,
            Self::Owner => tenancy::Role::Owner,
        }
    }

    /// The role of the contract; `None` for unspecified or unknown.
    pub fn from_proto(role: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_proto() as i32 == role)
    }

    /// The role as it is stored and shown: `super_manager`.
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

/// A person who calls: with a valid access token of an open session, or with an API key of theirs.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub user_id: Uuid,
    /// The session that the token belongs to; nil when the call is made with an API key.
    pub session_id: Uuid,
    /// What the call is made with.
    pub credential: Credential,
    /// How they proved who they are (RFC 8176), when they signed in or made the key; `mfa` is among it when by two
    /// factors.
    pub amr: Vec<String>,
    /// When they last proved who they are in the session, beside the token; `None` with an API key.
    pub proved_at: Option<DateTime<Utc>>,
    /// When the access token ends, in seconds since 1970; of an API key only auth knows.
    pub expires_at: Option<i64>,
    /// The `Authorization` value, to call other services with the caller's own rights.
    pub(crate) authorization: MetadataValue<tonic::metadata::Ascii>,
}

impl Caller {
    /// Goes on for a caller who has proved who they are within [`FRESH_FOR`], for an RPC whose rule is
    /// `FRESH_PROOF_CONDITIONAL`.
    ///
    /// # Errors
    /// SESSION_REQUIRED with an API key, REAUTHENTICATION_REQUIRED.
    pub fn require_fresh_proof(&self) -> Result<()> {
        match (&self.credential, self.proved_at) {
            (Credential::ApiKey(_), _) => Err(Reason::SessionRequired.into()),
            (Credential::Session, Some(proved_at)) if is_fresh(proved_at, Utc::now()) => Ok(()),
            (Credential::Session, _) => Err(Reason::ReauthenticationRequired.into()),
        }
    }
}

/// How long a proof of identity counts as fresh.
pub const FRESH_FOR: TimeDelta = TimeDelta::minutes(15);

/// Whether a proof of then still counts.
pub fn is_fresh(proved_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    proved_at > now - FRESH_FOR
}

/// What a call is made with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An access token of a session.
    Session,
    /// An API key.
    ApiKey(Arc<KeyGrant>),
}

/// What an API key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyGrant {
    /// Id of the key.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// The only account that it works in.
    pub account_id: Option<Uuid>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// How its person had proved who they are when they made it (RFC 8176).
    pub amr: Vec<String>,
}

/// A caller who is an active member of the account that the call names.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The person.
    pub caller: Caller,
    /// What they are in the account.
    pub membership: Arc<Membership>,
}

/// What of an account's settings its services go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether whoever acts in the account needs a second factor.
    pub second_factor_required: bool,
    /// Whether who is handed a task may reject it.
    pub rejection_enabled: bool,
    /// The visibility of tasks that are created without one.
    pub default_visibility: tenancy::Visibility,
    /// The account's time zone, by its IANA name.
    pub timezone: String,
    /// Whether people work on one task at a time: starting a second one fails with TIMER_ALREADY_RUNNING.
    pub one_running_timer: bool,
}

impl Default for Settings {
    /// Those of a new account.
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

/// What a person is in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The account.
    pub account_id: Uuid,
    /// Their role.
    pub role: Role,
    /// Whether they may reassign tasks: by role, by their own right, or by the account's setting.
    pub may_reassign: bool,
    /// All who report to them, directly or through others.
    pub reports: HashSet<Uuid>,
    /// Their manager, and all who report to the same manager.
    pub team: HashSet<Uuid>,
    /// Whether the account is suspended, or given up: then next to nothing can be done in it.
    pub suspended: bool,
    /// How the account wants things done.
    pub settings: Settings,
    /// How much the account may use.
    pub limits: Limits,
}

impl Principal {
    /// Who.
    pub fn user_id(&self) -> Uuid {
        self.caller.user_id
    }

    /// The account of the call.
    pub fn account_id(&self) -> Uuid {
        self.membership.account_id
    }

    /// Their role in it.
    pub fn role(&self) -> Role {
        self.membership.role
    }

    /// The tenant of the transactions of this call.
    pub fn tenant(&self) -> Tenant {
        Tenant { account_id: self.account_id(), user_id: self.user_id() }
    }
}

/// The caller of an RPC whose rule is `authenticated`, or holds a permission.
///
/// # Errors
/// INTERNAL when the RPC's rule is another: the handler and its rule disagree.
pub fn caller<T>(request: &Request<T>) -> Result<&Caller> {
    request.extensions().get().ok_or_else(|| Error::internal("the RPC's rule establishes no caller"))
}

/// The principal of an RPC whose rule is a permission.
///
/// # Errors
/// INTERNAL when the RPC's rule is another: the handler and its rule disagree.
pub fn principal<T>(request: &Request<T>) -> Result<&Principal> {
    request.extensions().get().ok_or_else(|| Error::internal("the RPC's rule establishes no principal"))
}

/// Another service, as the caller of a `service_only` RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCaller {
    /// Its name: `tenancy`.
    pub name: String,
}

/// The caller of an RPC whose rule is `service_only`.
///
/// # Errors
/// INTERNAL when the RPC's rule is another: the handler and its rule disagree.
pub fn service<T>(request: &Request<T>) -> Result<&ServiceCaller> {
    request.extensions().get().ok_or_else(|| Error::internal("the RPC's rule establishes no service"))
}

/// A request to another service with the caller's own rights, in the caller's trace.
pub fn on_behalf_of<T>(caller: &Caller, account_id: Option<Uuid>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", caller.authorization.clone());
    if let Some(id) = account_id.and_then(|id| id.to_string().parse().ok()) {
        request.metadata_mut().insert(ACCOUNT_HEADER, id);
    }
    propagation::inject(request.metadata_mut());
    request
}
