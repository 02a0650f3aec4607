//! Events that the service publishes. They belong to no account.

use baton_catalog::Payload;
use baton_proto::baton::auth::v1::{ApiKeyEvent, DelegationEvent, IdentityEvent, UserEvent};
use baton_store::Event;
use uuid::Uuid;

use crate::delegation::StoredDelegation;

/// A user registered. Their address is not confirmed yet.
pub(crate) fn user_registered(user_id: Uuid) -> Event {
    user(Payload::UserRegistered, user_id, None)
}

/// A user confirmed their address.
pub(crate) fn user_verified(user_id: Uuid) -> Event {
    user(Payload::UserVerified, user_id, None)
}

/// A user changed their profile.
pub(crate) fn user_updated(user_id: Uuid) -> Event {
    user(Payload::UserUpdated, user_id, None)
}

/// A user confirmed another address.
pub(crate) fn user_email_changed(user_id: Uuid) -> Event {
    user(Payload::UserEmailChanged, user_id, None)
}

/// A user's password was changed.
pub(crate) fn user_password_changed(user_id: Uuid) -> Event {
    user(Payload::UserPasswordChanged, user_id, None)
}

/// A user deactivated their sign-in.
pub(crate) fn user_deactivated(user_id: Uuid) -> Event {
    user(Payload::UserDeactivated, user_id, None)
}

/// A user's deactivation cannot be undone any more.
pub(crate) fn user_retention_ended(user_id: Uuid) -> Event {
    user(Payload::UserRetentionEnded, user_id, None)
}

/// A user reactivated their sign-in.
pub(crate) fn user_reactivated(user_id: Uuid) -> Event {
    user(Payload::UserReactivated, user_id, None)
}

/// A user signed in.
pub(crate) fn session_opened(user_id: Uuid, session_id: Uuid) -> Event {
    user(Payload::SessionOpened, user_id, Some(session_id))
}

/// A session was closed before it expired.
pub(crate) fn session_closed(user_id: Uuid, session_id: Uuid) -> Event {
    user(Payload::SessionClosed, user_id, Some(session_id))
}

/// A user enabled the second factor, or replaced it.
pub(crate) fn second_factor_enabled(user_id: Uuid, session_id: Uuid) -> Event {
    user(Payload::UserSecondFactorEnabled, user_id, Some(session_id))
}

/// A user disabled the second factor.
pub(crate) fn second_factor_disabled(user_id: Uuid, session_id: Option<Uuid>) -> Event {
    user(Payload::UserSecondFactorDisabled, user_id, session_id)
}

/// A user created new recovery codes.
pub(crate) fn recovery_codes_renewed(user_id: Uuid, session_id: Uuid) -> Event {
    user(Payload::UserRecoveryCodesRenewed, user_id, Some(session_id))
}

/// A user used a recovery code.
pub(crate) fn recovery_code_used(user_id: Uuid) -> Event {
    user(Payload::UserRecoveryCodeUsed, user_id, None)
}

/// A user created an API key. `bound` is the only account that the key works in.
pub(crate) fn api_key_created(id: Uuid, user_id: Uuid, bound: Option<Uuid>) -> Event {
    api_key(Payload::ApiKeyCreated, id, user_id, bound)
}

/// A user deleted an API key.
pub(crate) fn api_key_revoked(id: Uuid, user_id: Uuid, bound: Option<Uuid>) -> Event {
    api_key(Payload::ApiKeyRevoked, id, user_id, bound)
}

/// A user allowed a service to act for them.
pub(crate) fn delegation_created(grant: &StoredDelegation) -> Event {
    delegation(Payload::DelegationCreated, grant)
}

/// A grant ended.
pub(crate) fn delegation_ended(grant: &StoredDelegation) -> Event {
    delegation(Payload::DelegationEnded, grant)
}

fn delegation(kind: fn(DelegationEvent) -> Payload, grant: &StoredDelegation) -> Event {
    let payload = DelegationEvent {
        delegation_id: grant.id.to_string(),
        user_id: grant.user_id.to_string(),
        service: grant.service.clone(),
        account_id: grant.bound_account_id.to_string(),
    };
    Event::new(kind(payload), Uuid::nil(), grant.id)
}

fn api_key(kind: fn(ApiKeyEvent) -> Payload, id: Uuid, user_id: Uuid, bound: Option<Uuid>) -> Event {
    let account_id = bound.map(|id| id.to_string()).unwrap_or_default();
    let payload = ApiKeyEvent { api_key_id: id.to_string(), user_id: user_id.to_string(), account_id };
    // The payload names the account, but the event belongs to the user: the account has no say in a key's binding.
    Event::new(kind(payload), Uuid::nil(), id)
}

/// A user linked an identity of another provider, or registered with it.
pub(crate) fn identity_linked(user_id: Uuid, identity_id: Uuid, provider: &str) -> Event {
    identity(Payload::IdentityLinked, user_id, identity_id, provider)
}

/// A user unlinked an identity.
pub(crate) fn identity_unlinked(user_id: Uuid, identity_id: Uuid, provider: &str) -> Event {
    identity(Payload::IdentityUnlinked, user_id, identity_id, provider)
}

fn identity(kind: fn(IdentityEvent) -> Payload, user_id: Uuid, identity_id: Uuid, provider: &str) -> Event {
    let (provider, id) = (provider.to_owned(), identity_id.to_string());
    let payload = IdentityEvent { user_id: user_id.to_string(), identity_id: id, provider };
    Event::new(kind(payload), Uuid::nil(), user_id)
}

fn user(kind: fn(UserEvent) -> Payload, user_id: Uuid, session_id: Option<Uuid>) -> Event {
    let session_id = session_id.map(|id| id.to_string()).unwrap_or_default();
    Event::new(kind(UserEvent { user_id: user_id.to_string(), session_id }), Uuid::nil(), user_id)
}
