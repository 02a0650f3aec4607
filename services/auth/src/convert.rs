//! Conversions from the domain to the contract.

use baton_proto::{
    baton::auth::v1 as proto,
    convert::{timestamp, to_struct},
};

use uuid::Uuid;

use crate::{
    store::{auth_event::AuthEvent, registration::Registration, session::Session, user::User},
    user_agent,
};

/// The user's own view of their profile.
impl From<User> for proto::User {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
            email_verified: user.email_verified_at.is_some(),
            created_at: Some(timestamp(user.created_at)),
            updated_at: Some(timestamp(user.updated_at)),
            mobile: user.mobile,
            avatar_url: user.avatar_url,
            company: user.company,
            job_role: user.job_role,
            timezone: user.timezone,
            language: user.language,
            preferences: Some(to_struct(user.preferences.0)),
            consent_version: user.consent_version,
            data_retention_date: user.data_retention_date.map(timestamp),
            sign_in_count: user.sign_in_count,
            current_sign_in_at: user.current_sign_in_at.map(timestamp),
            current_sign_in_address: user.current_sign_in_address.unwrap_or_default(),
            last_sign_in_at: user.last_sign_in_at.map(timestamp),
            last_sign_in_address: user.last_sign_in_address.unwrap_or_default(),
            version: user.version,
        }
    }
}

/// The view for the holder of a mailed link: the fields given at registration, no more.
pub(crate) fn introduced(user: User) -> proto::User {
    proto::User {
        id: user.id.to_string(),
        email: user.email,
        first_name: user.first_name,
        last_name: user.last_name,
        email_verified: user.email_verified_at.is_some(),
        created_at: Some(timestamp(user.created_at)),
        updated_at: Some(timestamp(user.updated_at)),
        ..Default::default()
    }
}

/// The user that a registration would become.
pub(crate) fn registered(user: Registration) -> proto::User {
    proto::User {
        id: user.id.to_string(),
        email: user.email,
        first_name: user.first_name,
        last_name: user.last_name,
        created_at: Some(timestamp(user.created_at)),
        updated_at: Some(timestamp(user.created_at)),
        ..Default::default()
    }
}

/// A session. `current` is the caller's session.
pub(crate) fn session(session: Session, current: Uuid) -> proto::Session {
    proto::Session {
        id: session.id.to_string(),
        device: session.device,
        address: session.address.unwrap_or_default(),
        current: session.id == current,
        amr: session.amr,
        created_at: Some(timestamp(session.created_at)),
        last_used_at: Some(timestamp(session.last_used_at)),
        expires_at: Some(timestamp(session.expires_at)),
    }
}

impl From<AuthEvent> for proto::AuthEvent {
    fn from(event: AuthEvent) -> Self {
        Self {
            id: event.id.to_string(),
            kind: event.kind.into(),
            created_at: Some(timestamp(event.created_at)),
            session_id: event.session_id.map(|id| id.to_string()).unwrap_or_default(),
            address: event.address.unwrap_or_default(),
            device: user_agent::device_name(&event.user_agent),
            user_agent: event.user_agent,
        }
    }
}
