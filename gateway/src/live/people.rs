//! Events about people outside of accounts: their sessions, keys and second factor end what they receive.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use baton_catalog::{AccessEffect, EventType, Payload};
use baton_proto::baton::events::v1::Envelope;
use tokio::time::Instant;
use uuid::Uuid;

use super::{AccessError, End, Identity, Live, PersonChange, Subscriber, lock};

impl Live {
    /// Handles an event outside of accounts: of a person's sessions, keys, second factor or profile.
    pub(super) fn person_changed(&self, envelope: &Envelope, effect: Option<AccessEffect>) {
        if effect == Some(AccessEffect::None) {
            return;
        }
        let Ok(subject_id) = envelope.subject_id.parse::<Uuid>() else { return };
        let closed = match (effect, Payload::decode(envelope)) {
            (Some(AccessEffect::Session), Ok(Some(Payload::SessionClosed(closed)))) => closed.session_id.parse().ok(),
            _ => None,
        };
        let (id, change) = match closed {
            Some(session_id) => (session_id, PersonChange::SessionClosed),
            None => (subject_id, PersonChange::Access),
        };
        if closed.is_none() && !may_end_access(EventType::of(envelope)) {
            return;
        }
        lock(&self.0.recent).insert(id, (Instant::now(), change));
        let subscribers: Vec<_> =
            lock(&self.0.people).get(&subject_id).into_iter().flatten().filter_map(Weak::upgrade).collect();
        match closed {
            Some(session_id) => {
                let closed = subscribers.iter().filter(|subscriber| subscriber.identity.session_id == session_id);
                closed.for_each(|subscriber| subscriber.end(End::SessionClosed));
            }
            None => self.recheck(subscribers),
        }
    }

    /// Checks the credentials of subscribers again: once for those of the same session or key and account.
    pub(super) fn recheck(&self, subscribers: Vec<Arc<Subscriber>>) {
        let mut same: HashMap<_, Vec<Arc<Subscriber>>> = HashMap::new();
        for subscriber in subscribers {
            let Identity { account_id, session_id, key_id, .. } = subscriber.identity;
            same.entry((account_id, session_id, key_id)).or_default().push(subscriber);
        }
        for subscribers in same.into_values() {
            let live = self.clone();
            tokio::spawn(async move {
                let Some(first) = subscribers.first() else { return };
                let end = match live.authorizer().identify_again(&first.credentials()).await {
                    Ok(identified) if identified.identity == first.identity => return,
                    Ok(_) | Err(AccessError::Unavailable) => End::Restart,
                    Err(AccessError::Denied(_)) => End::Unauthorized,
                };
                subscribers.iter().for_each(|subscriber| subscriber.end(end));
            });
        }
    }
}

/// Whether an event about a person may end what they have access to with their sessions and keys. An event of a type that
/// this version does not know may.
fn may_end_access(kind: Option<EventType>) -> bool {
    use EventType::{
        ApiKeyCreated, IdentityLinked, IdentityUnlinked, SessionOpened, UserEmailChanged, UserReactivated,
        UserRecoveryCodeUsed, UserRecoveryCodesRenewed, UserRegistered, UserSecondFactorEnabled, UserUpdated,
        UserVerified,
    };
    !matches!(
        kind,
        Some(
            ApiKeyCreated
                | IdentityLinked
                | IdentityUnlinked
                | SessionOpened
                | UserEmailChanged
                | UserReactivated
                | UserRecoveryCodeUsed
                | UserRecoveryCodesRenewed
                | UserRegistered
                | UserSecondFactorEnabled
                | UserUpdated
                | UserVerified
        )
    )
}
