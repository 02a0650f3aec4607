//! The subscribers of one account: they join and subscribe, events are published to them, and the services are asked what
//! events do not say. [`State`] decides who receives what.

mod conversations;
mod state;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_access::{Hierarchy, Role, TaskAudience};
use baton_errors::Reason;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

pub(crate) use self::state::Since;
pub(super) use self::state::StreamState;
use self::state::{Follower, Followers, State, TextRequest, is_in};
use super::{
    Live,
    authorizer::AccessError,
    ephemeral::Updates,
    event::{LiveEvent, Subject},
    message::signal as encode_signal,
    position::Position,
    presence::{Present, Signal},
    subscriber::{End, Item, Refused, Subscriber},
    topic::{Channel, Topic},
};

/// Events of an account that are kept, besides the age limit.
const MAX_HISTORY: usize = 20_000;
/// Time for which events wait while the hierarchy cannot be read. After it, the account's subscribers connect again.
const MAX_HOLD: Duration = Duration::from_secs(10);
/// Time for which events wait while the hierarchy changes all the time.
const MAX_DELAY: Duration = Duration::from_millis(500);
/// Subscriptions of one subscriber to one topic, by different identifiers: each needs an encoding of its own.
const MAX_PER_TOPIC: usize = 8;
const READ_RETRY_DELAY: Duration = Duration::from_millis(500);

/// An account with subscribers, or with recent events.
pub(super) struct Account {
    pub(super) id: Uuid,
    state: Mutex<State>,
}

/// A subscription that is asked for.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) subscriber: Arc<Subscriber>,
    /// As the client sent it: its key of the subscription.
    pub(super) identifier: Arc<str>,
    pub(super) channel: Channel,
    /// Where it continues.
    pub(super) since: Option<Since>,
}

impl Account {
    pub(super) fn new(id: Uuid) -> Self {
        Self { id, state: Mutex::default() }
    }

    /// Adds an event to the history, which keeps at most `share`, and delivers it. Returns by how much the history grew.
    pub(super) fn publish(self: &Arc<Self>, live: &Live, event: LiveEvent, stream: StreamState, share: usize) -> isize {
        let mut state = self.lock();
        let before = state.history.len();
        let event = Arc::new(event);
        if let Subject::Task(id, _) = &event.subject {
            state.last_of_task.insert(*id, Arc::clone(&event));
        }
        state.history.push_back(event);
        state.forget(stream.floor, share.min(MAX_HISTORY));
        let change = state.history.len().cast_signed() - before.cast_signed();
        self.deliver(&mut state, live, stream.position.epoch);
        change
    }

    /// Delivers the events that nobody has received, and reads the comments that some of them wait for.
    fn deliver(self: &Arc<Self>, state: &mut State, live: &Live, epoch: u64) {
        let texts = state.deliver(epoch);
        self.verify(state, live);
        for TextRequest { topic, offset, comment_id, credentials } in texts {
            let (account, live) = (Arc::clone(self), live.clone());
            tokio::spawn(async move {
                let text = live.authorizer().comment(&credentials, &comment_id).await;
                let Some(stream) = live.stream(account.id) else { return };
                let mut state = account.lock();
                let followers = state.followers.get_mut(&topic);
                // They may have left, or the stream may have begun anew.
                let waits = |followers: &&mut Followers| followers.held.front().is_some_and(|it| it.offset == offset);
                if let Some(followers) = followers.filter(waits) {
                    followers.text = Some(text);
                    account.deliver(&mut state, &live, stream.position.epoch);
                }
            });
        }
    }

    /// Asks again who sees the tasks whose events were lost.
    fn verify(self: &Arc<Self>, state: &mut State, live: &Live) {
        for (subscriber, identifier, task_id) in std::mem::take(&mut state.unverified) {
            self.look_up(live, subscriber, identifier, task_id, false);
        }
    }

    /// Handles an event that may have changed who may do what.
    pub(super) fn access_changed(self: &Arc<Self>, live: &Live) {
        let mut state = self.lock();
        state.changes += 1;
        if state.subscribers.is_empty() && !state.is_reading {
            state.hierarchy = None;
            return;
        }
        self.read_hierarchy(&mut state, live);
    }

    /// Reads the hierarchy. Events wait for it.
    fn read_hierarchy(self: &Arc<Self>, state: &mut State, live: &Live) {
        if std::mem::replace(&mut state.is_reading, true) {
            state.is_stale = true;
            return;
        }
        let (account, live) = (Arc::clone(self), live.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            let (deadline, mut deliver_at) = (began + MAX_HOLD, began + MAX_DELAY);
            loop {
                match live.authorizer().hierarchy(account.id).await {
                    Ok(hierarchy) => {
                        // While it changes all the time, events do not wait for all changes.
                        let is_late = Instant::now() >= deliver_at;
                        if account.read(&live, hierarchy, is_late) {
                            return;
                        }
                        if is_late {
                            deliver_at = Instant::now() + MAX_DELAY;
                        }
                    }
                    Err(_) if Instant::now() >= deadline => return account.give_up(),
                    Err(_) => sleep(READ_RETRY_DELAY).await,
                }
            }
        });
    }

    /// Applies the hierarchy that was read; `false` if it has changed meanwhile. Then it ends what is no longer allowed, and
    /// events are delivered only if they have waited for too long.
    fn read(self: &Arc<Self>, live: &Live, hierarchy: Hierarchy, is_late: bool) -> bool {
        let mut state = self.lock();
        let is_current = !std::mem::take(&mut state.is_stale);
        state.is_reading = !is_current && !is_late;
        self.apply(&mut state, live, hierarchy);
        state.is_reading = !is_current;
        is_current
    }

    /// Ends all subscribers, because the hierarchy cannot be read.
    fn give_up(&self) {
        let mut state = self.lock();
        (state.is_reading, state.is_stale, state.hierarchy) = (false, false, None);
        state.waiting.clear();
        state.subscribers.values().for_each(|subscriber| subscriber.end(End::Restart));
    }

    /// Reads the hierarchy again although no event told that it has changed, because events may be lost. Events do not
    /// wait for it.
    pub(super) async fn check_hierarchy(self: &Arc<Self>, live: &Live) {
        let changes = {
            let state = self.lock();
            if state.subscribers.is_empty() {
                return;
            }
            state.changes
        };
        let Ok(hierarchy) = live.authorizer().hierarchy(self.id).await else { return };
        let mut state = self.lock();
        if !state.is_reading && !state.subscribers.is_empty() && state.changes == changes {
            self.apply(&mut state, live, hierarchy);
        }
    }

    /// Applies the current hierarchy: ends what is no longer allowed, begins what waits, delivers what waits.
    fn apply(self: &Arc<Self>, state: &mut State, live: &Live, hierarchy: Hierarchy) {
        let epoch = live.stream(self.id).map(|stream| stream.position.epoch).unwrap_or_default();
        let hierarchy = Arc::new(hierarchy);
        let before = state.hierarchy.replace(Arc::clone(&hierarchy));
        for subscriber in state.subscribers.values() {
            if !subscriber.identity.is_admitted(&hierarchy) {
                subscriber.end(End::Unauthorized);
            }
        }
        if let Some(before) = before.filter(|before| *before != hierarchy) {
            state.reconsider(&before, &hierarchy, epoch);
        }
        if !state.is_reading {
            for request in std::mem::take(&mut state.waiting) {
                self.begin(state, live, &request);
            }
        }
        self.deliver(state, live, epoch);
        if let Some(stream) = live.stream(self.id).filter(|_| !state.is_reading) {
            state.deliver_waiting_updates(stream);
        }
    }

    /// Adds a subscriber, who had this role a moment ago.
    pub(super) fn join(self: &Arc<Self>, live: &Live, subscriber: &Arc<Subscriber>, role: Role) {
        let mut state = self.lock();
        state.subscribers.insert(subscriber.id, Arc::clone(subscriber));
        // If it is not what tenancy said, one of the two is outdated: the event is under way.
        let is_known = state.hierarchy.as_ref().is_some_and(|hierarchy| {
            subscriber.identity.is_admitted(hierarchy) && hierarchy.role(subscriber.user_id()) == Some(role)
        });
        if !is_known && !state.is_reading {
            self.read_hierarchy(&mut state, live);
        }
    }

    /// Removes a subscriber and their subscriptions.
    pub(super) fn leave(&self, subscriber: &Subscriber) {
        let mut state = self.lock();
        state.subscribers.remove(&subscriber.id);
        state.waiting.retain(|request| request.subscriber.id != subscriber.id);
        for subscription in subscriber.take_all() {
            if let Some(topic) = subscription.topic {
                state.unfollow(topic, subscriber, &subscription.identifier);
            }
        }
    }

    /// Adds a subscription, and confirms or rejects it when its access is known.
    pub(super) fn subscribe(self: &Arc<Self>, live: &Live, request: Request) {
        let mut state = self.lock();
        let Request { subscriber, identifier, .. } = &request;
        match subscriber.add(identifier) {
            Ok(()) if state.is_reading || state.hierarchy.is_none() => state.waiting.push(request),
            Ok(()) => self.begin(&mut state, live, &request),
            // Clients repeat the command until it is confirmed, and may subscribe twice.
            Err(Refused::Exists(known)) if known.is_confirmed => {
                if let Some(stream) = live.stream(self.id) {
                    let position = state.position(stream);
                    subscriber.push(Item::Confirmed { identifier: known.identifier, position, history: None });
                }
            }
            Err(Refused::Exists(_)) => {}
            Err(Refused::TooMany) => subscriber.push(Item::Rejected(Arc::clone(identifier))),
        }
    }

    /// Removes a subscription.
    pub(super) fn unsubscribe(&self, subscriber: &Subscriber, identifier: &str) {
        let mut state = self.lock();
        let Some(subscription) = subscriber.remove(identifier) else { return };
        state.waiting.retain(|it| it.subscriber.id != subscriber.id || *it.identifier != *identifier);
        if let Some(topic) = subscription.topic {
            state.unfollow(topic, subscriber, &subscription.identifier);
        }
    }

    /// Decides whether the subscriber may follow; asks a service if the account's events do not say.
    fn begin(self: &Arc<Self>, state: &mut State, live: &Live, request: &Request) {
        let (Some(hierarchy), Some(stream)) = (state.hierarchy.clone(), live.stream(self.id)) else { return };
        let Request { subscriber, identifier, channel, since } = request;
        let user_id = subscriber.user_id();
        let topic = channel.topic(user_id, &hierarchy);
        let decision = match channel {
            // Everybody may follow conversations of their own, which exist only for them.
            Channel::Notifications | Channel::Conversation(_) => Some(true),
            Channel::Board(name) => Some(hierarchy.may_see_board(user_id, *name)),
            // The service may know of a change whose event is under way, so it decides against a subscription.
            Channel::Task(id) => {
                state.audience(*id).filter(|(audience, _)| is_in(*audience, user_id, &hierarchy)).map(|_| true)
            }
        };
        if decision == Some(false) || subscriber.count_of(topic) >= MAX_PER_TOPIC {
            subscriber.remove(identifier);
            return subscriber.push(Item::Rejected(Arc::clone(identifier)));
        }
        if !subscriber.update(identifier, topic, false) {
            return;
        }
        let follower = Follower {
            subscriber: Arc::clone(subscriber),
            channel: *channel,
            after: state.position(stream).offset,
            is_confirmed: false,
            is_present: false,
            since: *since,
        };
        state.follow(topic, identifier, follower);
        match (decision, channel) {
            (Some(_), _) => state.confirm(topic, subscriber, identifier, stream),
            (None, Channel::Task(task_id)) => {
                self.look_up(live, Arc::clone(subscriber), Arc::clone(identifier), *task_id, true);
            }
            (None, _) => {}
        }
    }

    /// Asks the task service who sees a task, unless an answer to somebody else has said it meanwhile.
    /// `counts`: it is a request of the person's.
    fn look_up(
        self: &Arc<Self>,
        live: &Live,
        subscriber: Arc<Subscriber>,
        identifier: Arc<str>,
        task_id: Uuid,
        counts: bool,
    ) {
        let (account, live) = (Arc::clone(self), live.clone());
        subscriber.count_checks(1);
        tokio::spawn(async move {
            let result = account.ask(&live, &subscriber, task_id, counts).await;
            if result == Err(AccessError::Unavailable) && !counts {
                // The client believes that it follows the task.
                subscriber.end(End::Restart);
            }
            account.decide(&live, &subscriber, &identifier, task_id, result);
            subscriber.count_checks(-1);
        });
    }

    async fn ask(
        &self,
        live: &Live,
        subscriber: &Subscriber,
        task_id: Uuid,
        counts: bool,
    ) -> Result<(TaskAudience, i32), AccessError> {
        let _share = live.look_up_share(subscriber.user_id()).await.ok_or(AccessError::Unavailable)?;
        let known = {
            let state = self.lock();
            let hierarchy = state.hierarchy.clone().unwrap_or_default();
            let is_in = |(audience, _): &(TaskAudience, i32)| is_in(*audience, subscriber.user_id(), &hierarchy);
            state.audience(task_id).filter(is_in)
        };
        if let Some(known) = known {
            return Ok(known);
        }
        if counts && !live.count_look_up(subscriber).await {
            return Err(AccessError::Denied(Reason::RateLimited));
        }
        live.authorizer().audience(&subscriber.credentials(), task_id).await
    }

    fn decide(
        &self,
        live: &Live,
        subscriber: &Arc<Subscriber>,
        identifier: &Arc<str>,
        task_id: Uuid,
        result: Result<(TaskAudience, i32), AccessError>,
    ) {
        let mut state = self.lock();
        let topic = Topic::Task(task_id);
        let (Some(hierarchy), Some(stream)) = (state.hierarchy.clone(), live.stream(self.id)) else { return };
        // They may have unsubscribed meanwhile, or the task's events may have ended the subscription.
        let Some(followers) = state.followers.get_mut(&topic) else { return };
        let key = (subscriber.format, Arc::clone(identifier));
        let members = followers.groups.get(&key);
        if !members.is_some_and(|members| members.iter().any(|it| it.subscriber.id == subscriber.id)) {
            return;
        }
        match result {
            Ok((audience, version)) => {
                // An event that arrived meanwhile may be newer than what the service has read.
                let newest = match followers.audience {
                    Some(known) if known.1 >= version => known,
                    _ => *followers.audience.insert((audience, version)),
                };
                if is_in(newest.0, subscriber.user_id(), &hierarchy) {
                    return state.confirm(topic, subscriber, identifier, stream);
                }
                subscriber.push(Item::Rejected(Arc::clone(identifier)));
            }
            Err(AccessError::Denied(_)) => subscriber.push(Item::Rejected(Arc::clone(identifier))),
            // The client repeats the command.
            Err(AccessError::Unavailable) => {}
        }
        subscriber.remove(identifier);
        state.unfollow(topic, subscriber, identifier);
    }

    /// The position up to which everything was delivered.
    pub(super) fn position(&self, stream: StreamState) -> Position {
        self.lock().position(stream)
    }

    /// Begins anew, because the stream has lost events: everybody reads the state again. Returns by how much the history
    /// grew.
    pub(super) fn restart(self: &Arc<Self>, live: &Live, stream: StreamState) -> isize {
        let mut state = self.lock();
        let change = -state.history.len().cast_signed();
        state.history.clear();
        state.last_of_task.clear();
        (state.floor, state.delivered) = (0, stream.position.offset);
        state.tell_to_read_again(stream.position);
        self.verify(&mut state, live);
        change
    }

    /// Sets whether others see that the subscriber is here. Returns the topic, and whether another subscription of the same
    /// person on this gateway is there as well; `None` if they do not follow it.
    pub(super) fn set_present(
        &self,
        subscriber: &Subscriber,
        identifier: &str,
        present: bool,
    ) -> Option<(Topic, bool)> {
        let mut state = self.lock();
        let topic = subscriber.set_present(identifier, present)?;
        if !topic.has_presence() {
            return None;
        }
        let followers = state.followers.get_mut(&topic)?;
        let mut is_elsewhere = false;
        for ((_, known), members) in &mut followers.groups {
            for follower in members {
                if follower.subscriber.id == subscriber.id && **known == *identifier {
                    follower.is_present = present;
                } else {
                    is_elsewhere |= follower.is_present && follower.subscriber.user_id() == subscriber.user_id();
                }
            }
        }
        Some((topic, is_elsewhere))
    }

    /// Who is present at which topics.
    pub(super) fn present(&self) -> Vec<Present> {
        let state = self.lock();
        let present = state.followers.iter().filter_map(|(topic, followers)| {
            let followers = followers.groups.values().flatten().filter(|follower| follower.is_present);
            let people: HashSet<Uuid> = followers.map(|follower| follower.subscriber.user_id()).collect();
            let people: Vec<Uuid> = people.into_iter().collect();
            (!people.is_empty()).then_some(Present { account_id: self.id, topic: *topic, people })
        });
        present.collect()
    }

    /// Tells those who are present that somebody came, went, or types.
    pub(super) fn signal(&self, topic: Topic, signal: Signal, user_id: Uuid) {
        let state = self.lock();
        let Some(followers) = state.followers.get(&topic) else { return };
        for ((format, identifier), members) in &followers.groups {
            let Some(text) = encode_signal(*format, identifier, signal, user_id) else { continue };
            // Whoever types knows it.
            let present = members.iter().filter(|it| it.is_present);
            let others = present.filter(|it| signal != Signal::Typing || it.subscriber.user_id() != user_id);
            others.for_each(|follower| follower.subscriber.push(Item::Message(text.clone())));
        }
    }

    /// Delivers updates of a conversation.
    pub(super) fn publish_updates(&self, updates: Updates, stream: StreamState) {
        self.lock().publish_updates(updates, stream);
    }

    /// Tells those who follow conversations to read them again.
    pub(super) fn resync_conversations(&self, stream: StreamState) {
        self.lock().resync_conversations(stream);
    }

    /// Ends all subscribers.
    pub(super) fn end_all(&self, end: End) {
        self.lock().subscribers.values().for_each(|subscriber| subscriber.end(end));
    }

    /// Drops old events. Returns whether nothing is left, neither events nor subscribers, and by how much the history grew.
    pub(super) fn sweep(&self, floor: u64) -> (bool, isize) {
        let mut state = self.lock();
        let before = state.history.len();
        state.forget(floor, MAX_HISTORY);
        let change = state.history.len().cast_signed() - before.cast_signed();
        if state.subscribers.is_empty() {
            state.hierarchy = None;
        }
        (state.history.is_empty() && state.subscribers.is_empty() && !state.is_reading, change)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock would leave one message undelivered, and nothing inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
