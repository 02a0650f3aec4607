//! A subscriber, such as a socket, and the queue of what it has yet to receive.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    authorizer::{Credentials, Identity},
    message::{Encoded, Format},
    position::Position,
    topic::Topic,
};

/// Bytes that a subscriber may have yet to receive before it is disconnected as too slow.
const MAX_QUEUED_BYTES: usize = 1024 * 1024;
/// Subscriptions of one subscriber.
const MAX_SUBSCRIPTIONS: usize = 1_000;
/// Channels at which one subscriber can be present.
const MAX_PRESENT: usize = 20;
/// What an item costs besides its text, in bytes.
const ITEM_BYTES: usize = 64;

/// Whoever receives messages: one connection of a person in an account.
pub(crate) struct Subscriber {
    pub(super) id: u64,
    pub(crate) identity: Identity,
    pub(super) format: Format,
    credentials: Mutex<Credentials>,
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    queued_bytes: usize,
    end: Option<End>,
    /// Its subscriptions; an identifier is in the list once.
    subscriptions: Vec<Subscription>,
    /// Access checks at services that have not ended.
    checks: usize,
}

/// A subscription of a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) identifier: Arc<str>,
    /// `None` until the hierarchy is known.
    pub(super) topic: Option<Topic>,
    pub(super) is_confirmed: bool,
    /// Whether others see that the person is there.
    pub(super) is_present: bool,
}

/// What a subscriber receives.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// A message.
    Message(Encoded),
    /// A subscription is confirmed.
    Confirmed {
        /// As the client sent it.
        identifier: Arc<str>,
        /// Later messages follow.
        position: Position,
        /// Whether everything since the position that the client named follows; `None` if it named none.
        history: Option<bool>,
    },
    /// Everything that the subscription had missed was sent.
    Replayed(Arc<str>),
    /// A subscription is refused, or has ended.
    Rejected(Arc<str>),
}

/// Why a subscriber receives nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The session was closed.
    SessionClosed,
    /// The person may no longer act in the account.
    Unauthorized,
    /// Access cannot be checked, or events were missed: connect again.
    Restart,
    /// It did not read what was sent.
    TooSlow,
}

impl Subscriber {
    pub(super) fn new(id: u64, identity: Identity, credentials: Credentials, format: Format) -> Self {
        let credentials = Mutex::new(credentials);
        Self { id, identity, format, credentials, state: Mutex::default(), ready: Notify::new() }
    }

    /// Waits for items and takes all of them; none when only [`Subscriber::checks`] has changed. Once the subscriber has
    /// ended and received everything, the reason.
    pub(crate) async fn next(&self) -> Result<VecDeque<Item>, End> {
        if let Some(taken) = self.take() {
            return taken;
        }
        self.ready.notified().await;
        self.take().unwrap_or(Ok(VecDeque::new()))
    }

    fn take(&self) -> Option<Result<VecDeque<Item>, End>> {
        let mut state = self.lock();
        if state.queue.is_empty() {
            return state.end.map(Err);
        }
        state.queued_bytes = 0;
        Some(Ok(std::mem::take(&mut state.queue)))
    }

    /// The current credentials.
    pub(super) fn credentials(&self) -> Credentials {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the credentials by newer ones of the same identity.
    pub(super) fn renew(&self, credentials: Credentials) {
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
    }

    /// Adds an item to the queue. A subscriber whose queue is full has ended, and receives none of it.
    pub(super) fn push(&self, item: Item) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        state.queued_bytes += ITEM_BYTES
            + match &item {
                Item::Message(encoded) => encoded.len(),
                Item::Confirmed { identifier, .. } | Item::Replayed(identifier) | Item::Rejected(identifier) => {
                    identifier.len()
                }
            };
        if state.queued_bytes > MAX_QUEUED_BYTES {
            state.queue = VecDeque::new();
            state.end = Some(End::TooSlow);
        } else {
            state.queue.push_back(item);
        }
        drop(state);
        self.ready.notify_one();
    }

    /// Ends the subscriber, after what is queued.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        if matches!(end, End::SessionClosed | End::Unauthorized) {
            // They may not see what is queued.
            state.queue = VecDeque::new();
        }
        drop(state);
        self.ready.notify_one();
    }

    /// Adds a subscription. `Err`: it exists, or there are too many.
    pub(super) fn add(&self, identifier: &Arc<str>) -> Result<(), Refused> {
        let mut state = self.lock();
        if let Some(known) = state.subscriptions.iter().find(|it| it.identifier == *identifier) {
            return Err(Refused::Exists(known.clone()));
        }
        if state.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return Err(Refused::TooMany);
        }
        let identifier = Arc::clone(identifier);
        // Most sockets have one subscription.
        state.subscriptions.reserve_exact(1);
        state.subscriptions.push(Subscription { identifier, topic: None, is_confirmed: false, is_present: false });
        Ok(())
    }

    /// Changes a subscription. `false` if it has ended.
    pub(super) fn update(&self, identifier: &str, topic: Topic, is_confirmed: bool) -> bool {
        let mut state = self.lock();
        let found = state.subscriptions.iter_mut().find(|it| *it.identifier == *identifier);
        found.is_some_and(|subscription| {
            subscription.topic = Some(topic);
            subscription.is_confirmed |= is_confirmed;
            true
        })
    }

    /// Sets whether others see that the person is there, and returns the topic; `None` if the subscription is not confirmed,
    /// or the person is at too many already.
    pub(super) fn set_present(&self, identifier: &str, present: bool) -> Option<Topic> {
        let mut state = self.lock();
        let others = state.subscriptions.iter().filter(|it| it.is_present && *it.identifier != *identifier).count();
        let subscription = state.subscriptions.iter_mut().find(|it| *it.identifier == *identifier)?;
        let topic = subscription.topic.filter(|_| subscription.is_confirmed)?;
        if present && others >= MAX_PRESENT {
            return None;
        }
        subscription.is_present = present;
        Some(topic)
    }

    /// The topic of a confirmed subscription.
    pub(super) fn topic_of(&self, identifier: &str) -> Option<Topic> {
        let state = self.lock();
        let subscription = state.subscriptions.iter().find(|it| *it.identifier == *identifier)?;
        subscription.topic.filter(|_| subscription.is_confirmed)
    }

    /// Removes a subscription.
    pub(super) fn remove(&self, identifier: &str) -> Option<Subscription> {
        let mut state = self.lock();
        let index = state.subscriptions.iter().position(|it| *it.identifier == *identifier)?;
        Some(state.subscriptions.swap_remove(index))
    }

    /// Removes all subscriptions.
    pub(super) fn take_all(&self) -> Vec<Subscription> {
        std::mem::take(&mut self.lock().subscriptions)
    }

    /// Counts access checks that begin (1) or end (-1).
    pub(super) fn count_checks(&self, change: isize) {
        let mut state = self.lock();
        state.checks = state.checks.saturating_add_signed(change);
        drop(state);
        self.ready.notify_one();
    }

    /// Access checks in progress.
    pub(crate) fn checks(&self) -> usize {
        self.lock().checks
    }

    /// Subscriptions to this topic.
    pub(super) fn count_of(&self, topic: Topic) -> usize {
        self.lock().subscriptions.iter().filter(|subscription| subscription.topic == Some(topic)).count()
    }

    /// Why the subscriber has ended, if what is queued is not for them any more.
    pub(crate) fn forbidden(&self) -> Option<End> {
        self.lock().end.filter(|end| matches!(end, End::SessionClosed | End::Unauthorized))
    }

    /// Whether it has subscriptions, confirmed or not.
    pub(crate) fn has_subscriptions(&self) -> bool {
        !self.lock().subscriptions.is_empty()
    }

    /// The user.
    pub(super) fn user_id(&self) -> Uuid {
        self.identity.user_id
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a subscription was not added.
pub(super) enum Refused {
    Exists(Subscription),
    TooMany,
}
