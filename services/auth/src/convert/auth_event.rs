//! Conversions of security events.

use baton_proto::{baton::auth::v1 as proto, convert::timestamp};

use crate::{
    auth_event::{AuthEvent, AuthEventKind},
    user_agent,
};

impl From<AuthEvent> for proto::AuthEvent {
    fn from(event: AuthEvent) -> Self {
        Self {
            id: event.id.to_string(),
            kind: event.kind.map_or(proto::AuthEventKind::Unspecified, kind).into(),
            created_at: Some(timestamp(event.created_at)),
            session_id: event.session_id.map(|id| id.to_string()).unwrap_or_default(),
            address: event.address.unwrap_or_default(),
            device: user_agent::device_name(&event.user_agent),
            user_agent: event.user_agent,
        }
    }
}

fn kind(kind: AuthEventKind) -> proto::AuthEventKind {
    match kind {
        AuthEventKind::SignedIn => proto::AuthEventKind::SignedIn,
        AuthEventKind::SignInFailed => proto::AuthEventKind::SignInFailed,
        AuthEventKind::SignedOut => proto::AuthEventKind::SignedOut,
        AuthEventKind::SessionRevoked => proto::AuthEventKind::SessionRevoked,
        AuthEventKind::TokenReused => proto::AuthEventKind::TokenReused,
        AuthEventKind::PasswordChanged => proto::AuthEventKind::PasswordChanged,
        AuthEventKind::PasswordReset => proto::AuthEventKind::PasswordReset,
        AuthEventKind::EmailChangeRequested => proto::AuthEventKind::EmailChangeRequested,
        AuthEventKind::EmailChanged => proto::AuthEventKind::EmailChanged,
        AuthEventKind::SecondFactorEnabled => proto::AuthEventKind::SecondFactorEnabled,
        AuthEventKind::SecondFactorDisabled => proto::AuthEventKind::SecondFactorDisabled,
        AuthEventKind::SecondFactorFailed => proto::AuthEventKind::SecondFactorFailed,
        AuthEventKind::RecoveryCodeUsed => proto::AuthEventKind::RecoveryCodeUsed,
        AuthEventKind::RecoveryCodesRenewed => proto::AuthEventKind::RecoveryCodesRenewed,
        AuthEventKind::IdentityLinked => proto::AuthEventKind::IdentityLinked,
        AuthEventKind::IdentityUnlinked => proto::AuthEventKind::IdentityUnlinked,
        AuthEventKind::ApiKeyCreated => proto::AuthEventKind::ApiKeyCreated,
        AuthEventKind::ApiKeyRevoked => proto::AuthEventKind::ApiKeyRevoked,
        AuthEventKind::Deactivated => proto::AuthEventKind::Deactivated,
        AuthEventKind::Reactivated => proto::AuthEventKind::Reactivated,
        AuthEventKind::Reauthenticated => proto::AuthEventKind::Reauthenticated,
        AuthEventKind::DelegationCreated => proto::AuthEventKind::DelegationCreated,
        AuthEventKind::DelegationEnded => proto::AuthEventKind::DelegationEnded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contract_kind_has_a_domain_kind_with_its_name() {
        for number in 1.. {
            let Ok(known) = proto::AuthEventKind::try_from(number) else { break };
            let own = AuthEventKind::ALL.into_iter().find(|&own| kind(own) == known).unwrap();
            assert_eq!(known.as_str_name(), format!("AUTH_EVENT_KIND_{}", own.name()));
            assert_eq!(AuthEventKind::from_name(own.name()), Some(own));
        }
        assert_eq!(AuthEventKind::from_name("NONSENSE"), None);
    }
}
