//! Security events: the history of users' sign-ins.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A security event of a user.
#[derive(Debug, Clone)]
pub(crate) struct AuthEvent {
    pub(crate) id: Uuid,
    /// `None` for a kind that only a newer version knows.
    pub(crate) kind: Option<AuthEventKind>,
    pub(crate) session_id: Option<Uuid>,
    pub(crate) address: Option<String>,
    pub(crate) user_agent: String,
    pub(crate) created_at: DateTime<Utc>,
}

/// Kind of a security event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthEventKind {
    /// The user signed in.
    SignedIn,
    /// A sign-in failed: the password was wrong.
    SignInFailed,
    /// The user signed out.
    SignedOut,
    /// The user closed a session from another one.
    SessionRevoked,
    /// A used refresh token was sent again, and the session was closed.
    TokenReused,
    PasswordChanged,
    /// The password was reset by a mailed link.
    PasswordReset,
    EmailChangeRequested,
    EmailChanged,
    SecondFactorEnabled,
    SecondFactorDisabled,
    /// A sign-in failed: the first factor was right, the code was wrong.
    SecondFactorFailed,
    RecoveryCodeUsed,
    RecoveryCodesRenewed,
    IdentityLinked,
    IdentityUnlinked,
    ApiKeyCreated,
    ApiKeyRevoked,
    /// The user deactivated the sign-in.
    Deactivated,
    Reactivated,
    /// The user proved their identity again, for a call that requires it.
    Reauthenticated,
    /// The user allowed a service to act for them.
    DelegationCreated,
    DelegationEnded,
}

impl AuthEventKind {
    pub(crate) const ALL: [Self; 23] = [
        Self::SignedIn,
        Self::SignInFailed,
        Self::SignedOut,
        Self::SessionRevoked,
        Self::TokenReused,
        Self::PasswordChanged,
        Self::PasswordReset,
        Self::EmailChangeRequested,
        Self::EmailChanged,
        Self::SecondFactorEnabled,
        Self::SecondFactorDisabled,
        Self::SecondFactorFailed,
        Self::RecoveryCodeUsed,
        Self::RecoveryCodesRenewed,
        Self::IdentityLinked,
        Self::IdentityUnlinked,
        Self::ApiKeyCreated,
        Self::ApiKeyRevoked,
        Self::Deactivated,
        Self::Reactivated,
        Self::Reauthenticated,
        Self::DelegationCreated,
        Self::DelegationEnded,
    ];

    /// The name that the database stores.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SignedIn => "SIGNED_IN",
            Self::SignInFailed => "SIGN_IN_FAILED",
            Self::SignedOut => "SIGNED_OUT",
            Self::SessionRevoked => "SESSION_REVOKED",
            Self::TokenReused => "TOKEN_REUSED",
            Self::PasswordChanged => "PASSWORD_CHANGED",
            Self::PasswordReset => "PASSWORD_RESET",
            Self::EmailChangeRequested => "EMAIL_CHANGE_REQUESTED",
            Self::EmailChanged => "EMAIL_CHANGED",
            Self::SecondFactorEnabled => "SECOND_FACTOR_ENABLED",
            Self::SecondFactorDisabled => "SECOND_FACTOR_DISABLED",
            Self::SecondFactorFailed => "SECOND_FACTOR_FAILED",
            Self::RecoveryCodeUsed => "RECOVERY_CODE_USED",
            Self::RecoveryCodesRenewed => "RECOVERY_CODES_RENEWED",
            Self::IdentityLinked => "IDENTITY_LINKED",
            Self::IdentityUnlinked => "IDENTITY_UNLINKED",
            Self::ApiKeyCreated => "API_KEY_CREATED",
            Self::ApiKeyRevoked => "API_KEY_REVOKED",
            Self::Deactivated => "DEACTIVATED",
            Self::Reactivated => "REACTIVATED",
            Self::Reauthenticated => "REAUTHENTICATED",
            Self::DelegationCreated => "DELEGATION_CREATED",
            Self::DelegationEnded => "DELEGATION_ENDED",
        }
    }

    /// The kind with this stored name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
