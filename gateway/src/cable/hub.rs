//! Distributes the tail of all events to the sockets, by account and user.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use baton_proto::baton::events::v1::Envelope;
use baton_runtime::Shutdown;
use tokio::sync::broadcast::{self, error::RecvError};
use uuid::Uuid;

/// Events that a socket may lag behind before it is disconnected.
const MAX_BACKLOG: usize = 1024;

type Event = Arc<Envelope>;

/// Broadcasts events by account; events without an account by their subject, a user. Clones share its state.
#[derive(Clone, Default)]
pub(super) struct Hub(Arc<Mutex<HashMap<Uuid, broadcast::Sender<Event>>>>);

impl Hub {
    /// Broadcasts `events` until the process stops.
    pub(super) async fn run(self, mut events: broadcast::Receiver<Event>, shutdown: Shutdown) {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = shutdown.stop().cancelled() => return,
            };
            match event {
                Ok(event) => self.publish(event),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "missed events of the tail; disconnecting all sockets");
                    self.disconnect_all();
                }
                Err(RecvError::Closed) => return self.disconnect_all(),
            }
        }
    }

    /// Subscribes to the events of an account or a user.
    pub(super) fn listen(&self, key: Uuid) -> Listener {
        let receiver =
            self.with(|keys| keys.entry(key).or_insert_with(|| broadcast::channel(MAX_BACKLOG).0).subscribe());
        Listener { hub: self.clone(), key, receiver: Some(receiver) }
    }

    fn publish(&self, event: Event) {
        let key = if event.account_id.is_empty() { &event.subject_id } else { &event.account_id };
        let Ok(key) = key.parse() else { return };
        self.with(|keys| {
            if let Some(sender) = keys.get(&key) {
                // It fails without listeners, which is no error.
                let _ = sender.send(event);
            }
        });
    }

    /// Ends all listeners: their `next` returns `None`.
    fn disconnect_all(&self) {
        self.with(HashMap::clear);
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<Uuid, broadcast::Sender<Event>>) -> T) -> T {
        // No code under the lock can panic half-way, so a poisoned map is still consistent.
        work(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// A socket's subscription to the hub.
pub(super) struct Listener {
    hub: Hub,
    key: Uuid,
    receiver: Option<broadcast::Receiver<Event>>,
}

impl Listener {
    /// Returns the next event; `None` if events were missed.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.receiver.as_mut()?.recv().await.ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.receiver = None;
        self.hub.with(|keys| {
            if keys.get(&self.key).is_some_and(|sender| sender.receiver_count() == 0) {
                keys.remove(&self.key);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(account: Uuid, subject: Uuid) -> Event {
        let account_id = if account.is_nil() { String::new() } else { account.to_string() };
        Arc::new(Envelope { account_id, subject_id: subject.to_string(), ..Envelope::default() })
    }

    #[tokio::test]
    async fn listeners_get_the_events_of_their_account_or_user_only() {
        let [account, other, user] = [1, 2, 3].map(Uuid::from_u128);
        let hub = Hub::default();
        let (mut of_account, mut of_user) = (hub.listen(account), hub.listen(user));
        hub.publish(event(other, user));
        hub.publish(event(account, user));
        hub.publish(event(Uuid::nil(), user));
        assert_eq!(of_account.next().await.unwrap().account_id, account.to_string());
        assert_eq!(of_user.next().await.unwrap().account_id, "");
        hub.disconnect_all();
        assert!(of_account.next().await.is_none() && of_user.next().await.is_none());
    }

    #[tokio::test]
    async fn a_lagging_listener_ends_and_unused_senders_are_removed() {
        let account = Uuid::from_u128(1);
        let hub = Hub::default();
        let mut slow = hub.listen(account);
        for _ in 0..=MAX_BACKLOG {
            hub.publish(event(account, account));
        }
        assert!(slow.next().await.is_none());
        let other = hub.listen(account);
        drop(slow);
        assert_eq!(hub.with(|keys| keys.len()), 1);
        drop(other);
        assert_eq!(hub.with(|keys| keys.len()), 0);
    }
}
