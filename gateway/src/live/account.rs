//! The subscribers of one account: who follows what, who may, and the recent events.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_access::{Board, Hierarchy, Role, TaskAudience};
use baton_catalog::EventType;
use baton_errors::Reason;
use baton_proto::baton::live::v1::LiveComment;
use baton_runtime::propagation;
use tokio::time::{Instant, sleep};
use tracing::info_span;
use uuid::Uuid;

use super::{
    Live,
    authorizer::{AccessError, Credentials},
    event::{LiveEvent, Subject},
    message::{Encoded, Format, TopicMessage, message, signal as encode_signal},
    position::Position,
    presence::{Present, Signal},
    subscriber::{End, Item, Refused, Subscriber},
    topic::{Channel, Topic},
};

/// Events of an account that are kept, besides the age limit.
const MAX_HISTORY: usize = 20_000;
/// Messages that a subscription receives at once when it continues; whoever missed more reads the state again.
const MAX_REPLAY: usize = 1_000;
/// Time for which events wait while the hierarchy cannot be read. After it, the account's subscribers connect again.
const MAX_HOLD: Duration = Duration::from_secs(10);
/// The message that tells a subscriber to read the state again.
const RESYNC: &str = "resync";
/// Time for which events wait while the hierarchy changes all the time.
const MAX_DELAY: Duration = Duration::from_millis(500);
/// Events of a topic that wait for the text of a comment; beyond, comments come without.
const MAX_HELD: usize = 256;
/// Subscriptions of one subscriber to one topic, by different identifiers: each needs an encoding of its own.
const MAX_PER_TOPIC: usize = 8;
const READ_RETRY_DELAY: Duration = Duration::from_millis(500);

/// An account with subscribers, or with recent events.
pub(super) struct Account {
    pub(super) id: Uuid,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` without subscribers, and until it has been read.
    hierarchy: Option<Arc<Hierarchy>>,
    /// The hierarchy is being read, because it has changed or is not known. Events wait in the history.
    is_reading: bool,
    /// It has changed since reading began.
    is_stale: bool,
    /// Counts the changes, so that an answer from before one is not applied after it.
    changes: u64,
    /// Recent events, by offset.
    history: VecDeque<Arc<LiveEvent>>,
    /// The last event of each task in the history.
    last_of_task: HashMap<Uuid, Arc<LiveEvent>>,
    /// The offset of the last event that is no longer in the history.
    floor: u64,
    /// The offset of the last event that was delivered.
    delivered: u64,
    followers: HashMap<Topic, Followers>,
    subscribers: HashMap<u64, Arc<Subscriber>>,
    /// Subscriptions that wait for the hierarchy.
    waiting: Vec<Request>,
    /// Offsets of the events that wait for the text of a comment.
    held: BTreeSet<u64>,
    /// Subscriptions to tasks whose access has to be checked again.
    unverified: Vec<(Arc<Subscriber>, Arc<str>, Uuid)>,
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

/// Where a subscription continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// After this position.
    Position(Position),
    /// After this offset of whatever epoch: that of a time.
    Offset(u64),
    /// The client named something that is no position.
    Unknown,
}

/// Those who follow a topic.
#[derive(Default)]
struct Followers {
    /// Who sees the task of a task's topic, and the version of the task that says so.
    audience: Option<(TaskAudience, i32)>,
    /// By what makes their messages equal, then by subscriber.
    groups: HashMap<(Format, Arc<str>), Vec<Follower>>,
    /// Events that wait: the first for the text of its comment, the others behind it.
    held: VecDeque<Arc<LiveEvent>>,
    /// The text of the first held event, once it was asked for.
    text: Option<Option<LiveComment>>,
}

/// A comment to read for the followers of its task.
struct TextRequest {
    topic: Topic,
    offset: u64,
    comment_id: String,
    credentials: Credentials,
}

struct Follower {
    subscriber: Arc<Subscriber>,
    channel: Channel,
    /// They have every message up to this offset.
    after: u64,
    /// `false` while a service is asked whether they may follow.
    is_confirmed: bool,
    /// Whether others see that they are here.
    is_present: bool,
    since: Option<Since>,
}

/// The state of an account's stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamState {
    /// The position up to which all events were published to accounts.
    pub(super) position: Position,
    /// The offset since when all events are known.
    pub(super) floor: u64,
    /// The offset of the present.
    pub(super) now: u64,
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
            Channel::Notifications => Some(true),
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

    /// Asks the task service who sees a task, once for all who subscribe at the same time and are not refused.
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
        // Nobody else is there.
        if matches!(topic, Topic::Notifications(_)) {
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

impl State {
    /// Drops events that are too old or too many.
    fn forget(&mut self, floor: u64, max: usize) {
        while let Some(oldest) = self.history.front()
            && (oldest.offset <= floor || self.history.len() > max)
        {
            self.floor = oldest.offset;
            if let Subject::Task(id, _) = &oldest.subject
                && self.last_of_task.get(id).is_some_and(|last| last.offset == oldest.offset)
            {
                self.last_of_task.remove(id);
            }
            self.history.pop_front();
        }
    }

    /// Tells everybody to read the state again, because events before this position are lost.
    fn tell_to_read_again(&mut self, position: Position) {
        self.held.clear();
        for (topic, followers) in &mut self.followers {
            (followers.held, followers.text) = (VecDeque::new(), None);
            let resync = TopicMessage::bare(RESYNC, *topic, position);
            for ((format, identifier), members) in &mut followers.groups {
                let text = resync.encode(*format, identifier);
                for follower in members {
                    follower.after = 0;
                    if !follower.is_confirmed {
                        continue;
                    }
                    if let Topic::Task(task_id) = topic {
                        // One of the lost events may have said who sees the task. The answer confirms the subscription
                        // again, with a resync.
                        follower.is_confirmed = false;
                        let (subscriber, identifier) = (Arc::clone(&follower.subscriber), Arc::clone(identifier));
                        self.unverified.push((subscriber, identifier, *task_id));
                    } else {
                        follower.subscriber.push(Item::Message(text.clone()));
                    }
                }
            }
            followers.audience = None;
        }
    }

    /// Who sees a task, as far as its events say.
    fn audience(&self, task_id: Uuid) -> Option<(TaskAudience, i32)> {
        if let Some(known) = self.followers.get(&Topic::Task(task_id)).and_then(|followers| followers.audience) {
            return Some(known);
        }
        let last = self.last_of_task.get(&task_id)?;
        // Whether a task in the trash exists is the service's to say.
        let task = last.task().filter(|_| last.kind != EventType::TaskDeleted)?;
        Some((last.audience()?, task.version))
    }

    /// Delivers the events that nobody has received. Returns the comments whose text some of them wait for.
    fn deliver(&mut self, epoch: u64) -> Vec<TextRequest> {
        if self.subscribers.is_empty() {
            self.delivered = self.history.back().map_or(self.delivered, |event| event.offset);
            return Vec::new();
        }
        let Some(hierarchy) = self.hierarchy.clone().filter(|_| !self.is_reading) else { return Vec::new() };
        if self.floor > self.delivered && !self.followers.is_empty() {
            // The history could not keep all events that waited.
            self.delivered = self.floor;
            self.tell_to_read_again(Position { epoch, offset: self.floor });
        }
        let mut requests = Vec::new();
        if !self.held.is_empty() {
            let ready = |(topic, followers): (&Topic, &Followers)| followers.text.is_some().then_some(*topic);
            let topics: Vec<_> = self.followers.iter().filter_map(ready).collect();
            for topic in topics {
                requests.extend(self.deliver_held(topic, epoch, &hierarchy));
            }
        }
        let from = self.history.partition_point(|event| event.offset <= self.delivered);
        let events: Vec<_> = self.history.range(from..).cloned().collect();
        for event in events {
            for topic in event.topics(&hierarchy) {
                let Some(followers) = self.followers.get_mut(&topic) else { continue };
                if followers.held.is_empty() && event.comment_id().is_none() {
                    self.deliver_to(topic, &event, None, epoch, &hierarchy);
                } else {
                    // Whoever no longer sees the task receives nothing that is held, either.
                    followers.note_audience(topic, &event);
                    followers.reject_excluded(topic, &hierarchy);
                    followers.held.push_back(Arc::clone(&event));
                    self.held.insert(event.offset);
                    if followers.held.len() == 1 || followers.held.len() > MAX_HELD {
                        requests.extend(self.deliver_held(topic, epoch, &hierarchy));
                    }
                }
            }
            self.delivered = event.offset;
        }
        requests
    }

    /// Delivers the held events of a topic until one waits for a text, which is returned.
    fn deliver_held(&mut self, topic: Topic, epoch: u64, hierarchy: &Hierarchy) -> Option<TextRequest> {
        loop {
            let followers = self.followers.get_mut(&topic)?;
            let event = Arc::clone(followers.held.front()?);
            if let Some(comment_id) = event.comment_id()
                && followers.text.is_none()
                && followers.held.len() <= MAX_HELD
                && let Some(reader) = followers.groups.values().flatten().find(|follower| follower.is_confirmed)
            {
                let (comment_id, credentials) = (comment_id.to_owned(), reader.subscriber.credentials());
                return Some(TextRequest { topic, offset: event.offset, comment_id, credentials });
            }
            followers.held.pop_front();
            let text = followers.text.take().flatten();
            self.held.remove(&event.offset);
            self.deliver_to(topic, &event, text, epoch, hierarchy);
        }
    }

    /// Delivers an event to the followers of one of its topics.
    fn deliver_to(
        &mut self,
        topic: Topic,
        event: &LiveEvent,
        text: Option<LiveComment>,
        epoch: u64,
        hierarchy: &Hierarchy,
    ) {
        let Entry::Occupied(mut entry) = self.followers.entry(topic) else { return };
        let followers = entry.get_mut();
        let is_task = matches!(topic, Topic::Task(_));
        let is_outdated = followers.note_audience(topic, event);
        let Some(mut message) = message(event, topic, hierarchy) else { return };
        message.comment = text;
        let _entered = push_span(event).entered();
        let message = TopicMessage::new(topic, Position { epoch, offset: event.offset }, message);
        let ends = is_task && event.kind == EventType::TaskDeleted && !is_outdated;
        let audience = followers.audience;
        followers.retain(|(format, identifier), follower, text: &mut Option<Encoded>| {
            if !follower.is_confirmed {
                return true;
            }
            let user_id = follower.subscriber.user_id();
            // An event that does not say who sees its task ends the subscriptions: the client asks again.
            let may_see = !is_task || audience.is_some_and(|(audience, _)| is_in(audience, user_id, hierarchy));
            if may_see && event.offset > follower.after {
                let text = text.get_or_insert_with(|| message.encode(*format, identifier));
                follower.subscriber.push(Item::Message(text.clone()));
            }
            if !may_see || ends {
                follower.subscriber.remove(identifier);
                follower.subscriber.push(Item::Rejected(Arc::clone(identifier)));
            }
            may_see && !ends
        });
        if followers.groups.is_empty() {
            self.forget_topic(topic);
        }
    }

    /// Forgets a topic that nobody follows.
    fn forget_topic(&mut self, topic: Topic) {
        for event in self.followers.remove(&topic).into_iter().flat_map(|followers| followers.held) {
            self.held.remove(&event.offset);
        }
    }

    /// Decides again about all subscriptions, after the hierarchy has changed.
    fn reconsider(&mut self, before: &Hierarchy, hierarchy: &Hierarchy, epoch: u64) {
        let changed_teams = hierarchy.changed_teams(before);
        let position = Position { epoch, offset: self.delivered };
        let mut moved = Vec::new();
        self.followers.retain(|topic, followers| {
            let audience = followers.audience;
            followers.retain(|(format, identifier), follower, _| {
                let user_id = follower.subscriber.user_id();
                let may_follow = match follower.channel {
                    Channel::Notifications => true,
                    // Without an audience a service is being asked.
                    Channel::Task(_) => audience.is_none_or(|(audience, _)| is_in(audience, user_id, hierarchy)),
                    Channel::Board(name) => hierarchy.may_see_board(user_id, name),
                };
                if !may_follow {
                    follower.subscriber.remove(identifier);
                    follower.subscriber.push(Item::Rejected(Arc::clone(identifier)));
                    return false;
                }
                let now = follower.channel.topic(user_id, hierarchy);
                let is_other_team = matches!(topic, Topic::Board(Board::Team(lead)) if changed_teams.contains(lead));
                if now != *topic || is_other_team {
                    let text = TopicMessage::bare(RESYNC, now, position).encode(*format, identifier);
                    follower.subscriber.push(Item::Message(text));
                }
                if now == *topic {
                    return true;
                }
                follower.subscriber.update(identifier, now, follower.is_confirmed);
                moved.push((now, Arc::clone(identifier), follower.clone()));
                false
            });
            !followers.groups.is_empty()
        });
        let held = self.followers.values().flat_map(|followers| &followers.held);
        self.held = held.map(|event| event.offset).collect();
        for (topic, identifier, follower) in moved {
            self.follow(topic, &identifier, follower);
        }
    }

    fn follow(&mut self, topic: Topic, identifier: &Arc<str>, follower: Follower) {
        let audience = match topic {
            Topic::Task(id) => self.audience(id),
            Topic::Board(_) | Topic::Notifications(_) => None,
        };
        let followers = self.followers.entry(topic).or_default();
        followers.audience = audience;
        let key = (follower.subscriber.format, Arc::clone(identifier));
        let members = followers.groups.entry(key).or_insert_with(|| Vec::with_capacity(1));
        if let Err(index) = members.binary_search_by_key(&follower.subscriber.id, |it| it.subscriber.id) {
            members.insert(index, follower);
        }
    }

    fn unfollow(&mut self, topic: Topic, subscriber: &Subscriber, identifier: &Arc<str>) {
        let Entry::Occupied(mut followers) = self.followers.entry(topic) else { return };
        let groups = &mut followers.get_mut().groups;
        let Entry::Occupied(mut members) = groups.entry((subscriber.format, Arc::clone(identifier))) else { return };
        if let Ok(index) = members.get().binary_search_by_key(&subscriber.id, |it| it.subscriber.id) {
            members.get_mut().remove(index);
        }
        if members.get().is_empty() {
            members.remove();
        }
        if groups.is_empty() {
            self.forget_topic(topic);
        }
    }

    /// Confirms a subscription, and sends what it has missed.
    fn confirm(&mut self, topic: Topic, subscriber: &Arc<Subscriber>, identifier: &Arc<str>, stream: StreamState) {
        if !subscriber.update(identifier, topic, true) {
            return;
        }
        let current = self.position(stream);
        let Some(hierarchy) = self.hierarchy.clone() else { return };
        let key = (subscriber.format, Arc::clone(identifier));
        let followers = self.followers.get_mut(&topic).and_then(|followers| followers.groups.get_mut(&key));
        let follower = followers.and_then(|members| {
            let index = members.binary_search_by_key(&subscriber.id, |it| it.subscriber.id).ok()?;
            members.get_mut(index)
        });
        let Some(follower) = follower.filter(|follower| !follower.is_confirmed) else { return };
        follower.is_confirmed = true;
        let since = follower.since.take();
        let after = since.and_then(|since| since.offset(stream, self.floor, current.offset));
        // Until it was confirmed, the subscription's messages were not pushed.
        let replayed = (since.is_none() || after.is_some()).then(|| {
            let after = after.unwrap_or(follower.after);
            let from = self.history.partition_point(|event| event.offset <= after);
            let to = self.history.partition_point(|event| event.offset <= self.delivered);
            let events = self.history.range(from.min(to)..to).filter(|event| event.may_concern(topic));
            let messages = events.filter_map(|event| Some((event.offset, message(event, topic, &hierarchy)?)));
            messages.take(MAX_REPLAY + 1).collect::<Vec<_>>()
        });
        let replayed = replayed.filter(|messages| messages.len() <= MAX_REPLAY);
        let history = since.map(|_| replayed.is_some());
        let position = match (after, &replayed) {
            (Some(offset), Some(_)) => Position { offset, ..stream.position },
            (None, Some(_)) => Position { offset: follower.after, ..stream.position },
            (_, None) => current,
        };
        follower.after = self.delivered.max(position.offset);
        subscriber.push(Item::Confirmed { identifier: Arc::clone(identifier), position, history });
        let is_cable = matches!(subscriber.format, Format::Cable | Format::CableExtended);
        if history == Some(false) || history.is_none() && is_cable {
            let resync = TopicMessage::bare(RESYNC, topic, position);
            subscriber.push(Item::Message(resync.encode(subscriber.format, identifier)));
        }
        for (offset, message) in replayed.into_iter().flatten() {
            let message = TopicMessage::new(topic, Position { offset, ..stream.position }, message);
            subscriber.push(Item::Message(message.encode(subscriber.format, identifier)));
        }
        if history == Some(true) {
            subscriber.push(Item::Replayed(Arc::clone(identifier)));
            if subscriber.format == Format::CableExtended && matches!(since, Some(Since::Offset(_))) {
                // The client learns positions from messages only.
                let message = TopicMessage::bare("subscribed", topic, current);
                subscriber.push(Item::Message(message.encode(subscriber.format, identifier)));
            }
        }
    }

    /// The position of whoever has received everything.
    fn position(&self, stream: StreamState) -> Position {
        let is_complete = self.history.back().is_none_or(|newest| newest.offset <= self.delivered);
        let offset = if is_complete { stream.position.offset.max(self.delivered) } else { self.delivered };
        // Events that wait for a text are not delivered.
        let offset = self.held.first().map_or(offset, |held| offset.min(held - 1));
        Position { offset, ..stream.position }
    }
}

impl Since {
    /// The offset to continue after; `None` if events since may be missing.
    fn offset(self, stream: StreamState, floor: u64, current: u64) -> Option<u64> {
        let offset = match self {
            Self::Position(position) => position.offset,
            // The clocks of the gateway and of the stream server differ a little.
            Self::Offset(offset) => offset.min(current),
            Self::Unknown => return None,
        };
        let is_of_epoch = !matches!(self, Self::Position(position) if position.epoch != stream.position.epoch);
        let is_known = offset >= stream.floor.max(floor) && offset <= stream.now;
        (is_of_epoch && is_known).then_some(offset)
    }
}

impl Followers {
    /// Notes who sees the task after an event of it. Returns whether something newer is known.
    fn note_audience(&mut self, topic: Topic, event: &LiveEvent) -> bool {
        let Some(task) = event.task().filter(|_| matches!(topic, Topic::Task(_))) else { return false };
        let is_outdated = self.audience.is_some_and(|(_, version)| task.version < version);
        if !is_outdated {
            self.audience = event.audience().map(|audience| (audience, task.version));
        }
        is_outdated
    }

    /// Ends the subscriptions of those who do not see the task.
    fn reject_excluded(&mut self, topic: Topic, hierarchy: &Hierarchy) {
        let Some((audience, _)) = self.audience.filter(|_| matches!(topic, Topic::Task(_))) else { return };
        self.retain(|(_, identifier), follower, _| {
            let may_see = !follower.is_confirmed || is_in(audience, follower.subscriber.user_id(), hierarchy);
            if !may_see {
                follower.subscriber.remove(identifier);
                follower.subscriber.push(Item::Rejected(Arc::clone(identifier)));
            }
            may_see
        });
    }

    /// Keeps those for whom `keep` is true. `keep` also gets the group's text, if it was encoded.
    fn retain(&mut self, mut keep: impl FnMut(&(Format, Arc<str>), &mut Follower, &mut Option<Encoded>) -> bool) {
        self.groups.retain(|group, members| {
            let mut text = None;
            members.retain_mut(|follower| keep(group, follower, &mut text));
            !members.is_empty()
        });
    }
}

impl Clone for Follower {
    fn clone(&self) -> Self {
        Self { subscriber: Arc::clone(&self.subscriber), ..*self }
    }
}

fn is_in(audience: TaskAudience, user_id: Uuid, hierarchy: &Hierarchy) -> bool {
    hierarchy.role(user_id).is_some_and(|role| {
        audience.includes_by(
            role,
            |person| hierarchy.is_or_manages(user_id, person),
            |person| hierarchy.has_in_team(user_id, person),
        )
    })
}

/// The span of an event's delivery, in the trace of the request that caused it.
fn push_span(event: &LiveEvent) -> tracing::Span {
    let span =
        info_span!("push", otel.name = format!("push {}", event.kind), otel.kind = "producer", event.id = event.id);
    propagation::continue_from_traceparent(&span, &event.traceparent);
    span
}
