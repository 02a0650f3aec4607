//! The state of one account: its followers by topic, its recent events, and what of them is delivered to whom. It calls no
//! service.

use std::{
    collections::{BTreeSet, HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use baton_access::{Board, Hierarchy, TaskAudience};
use baton_catalog::EventType;
use baton_proto::baton::live::v1::LiveComment;
use baton_runtime::propagation;
use tracing::info_span;
use uuid::Uuid;

use super::Request;
use crate::live::{
    authorizer::Credentials,
    ephemeral::Updates,
    event::{LiveEvent, Subject},
    message::{Encoded, Format, TopicMessage, message},
    position::Position,
    subscriber::{Item, Subscriber},
    topic::{Channel, Topic},
};

/// Messages that a subscription receives at once when it continues; whoever missed more reads the state again.
const MAX_REPLAY: usize = 1_000;
/// The message that tells a subscriber to read the state again.
pub(super) const RESYNC: &str = "resync";
/// Events of a topic that wait for the text of a comment; beyond, comments come without.
const MAX_HELD: usize = 256;

/// What is known about an account's subscribers.
#[derive(Default)]
pub(super) struct State {
    /// `None` without subscribers, and until it has been read.
    pub(super) hierarchy: Option<Arc<Hierarchy>>,
    /// The hierarchy is being read, because it has changed or is not known. Events wait in the history.
    pub(super) is_reading: bool,
    /// It has changed since reading began.
    pub(super) is_stale: bool,
    /// Counts the changes, so that an answer from before one is not applied after it.
    pub(super) changes: u64,
    /// Recent events, by offset.
    pub(super) history: VecDeque<Arc<LiveEvent>>,
    /// The last event of each task in the history.
    pub(super) last_of_task: HashMap<Uuid, Arc<LiveEvent>>,
    /// The offset of the last event that is no longer in the history.
    pub(super) floor: u64,
    /// The offset of the last event that was delivered.
    pub(super) delivered: u64,
    pub(super) followers: HashMap<Topic, Followers>,
    pub(super) subscribers: HashMap<u64, Arc<Subscriber>>,
    /// Subscriptions that wait for the hierarchy.
    pub(super) waiting: Vec<Request>,
    /// Offsets of the events that wait for the text of a comment.
    pub(super) held: BTreeSet<u64>,
    /// Subscriptions to tasks whose access has to be checked again.
    pub(super) unverified: Vec<(Arc<Subscriber>, Arc<str>, Uuid)>,
    /// Updates of conversations that wait for the hierarchy.
    pub(super) waiting_updates: VecDeque<Updates>,
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
pub(super) struct Followers {
    /// Who sees the task of a task's topic, and the version of the task that says so.
    pub(super) audience: Option<(TaskAudience, i32)>,
    /// By what makes their messages equal, then by subscriber.
    pub(super) groups: HashMap<(Format, Arc<str>), Vec<Follower>>,
    /// Events that wait: the first for the text of its comment, the others behind it.
    pub(super) held: VecDeque<Arc<LiveEvent>>,
    /// The text of the first held event, once it was asked for.
    pub(super) text: Option<Option<LiveComment>>,
    /// Of a conversation: the last message and its last update that was delivered.
    pub(super) last_update: Option<(Uuid, u32)>,
}

/// A comment to read for the followers of its task.
pub(super) struct TextRequest {
    pub(super) topic: Topic,
    pub(super) offset: u64,
    pub(super) comment_id: String,
    pub(super) credentials: Credentials,
}

pub(super) struct Follower {
    pub(super) subscriber: Arc<Subscriber>,
    pub(super) channel: Channel,
    /// They have every message up to this offset.
    pub(super) after: u64,
    /// `false` while a service is asked whether they may follow.
    pub(super) is_confirmed: bool,
    /// Whether others see that they are here.
    pub(super) is_present: bool,
    pub(super) since: Option<Since>,
}

/// The state of an account's stream.
#[derive(Debug, Clone, Copy)]
pub(in crate::live) struct StreamState {
    /// The position up to which all events were published to accounts.
    pub(in crate::live) position: Position,
    /// The offset since when all events are known.
    pub(in crate::live) floor: u64,
    /// The offset of the present.
    pub(in crate::live) now: u64,
}

impl State {
    /// Drops events that are too old or too many.
    pub(super) fn forget(&mut self, floor: u64, max: usize) {
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
    pub(super) fn tell_to_read_again(&mut self, position: Position) {
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
    pub(super) fn audience(&self, task_id: Uuid) -> Option<(TaskAudience, i32)> {
        if let Some(known) = self.followers.get(&Topic::Task(task_id)).and_then(|followers| followers.audience) {
            return Some(known);
        }
        let last = self.last_of_task.get(&task_id)?;
        // Whether a task in the trash exists is the service's to say.
        let task = last.task().filter(|_| last.kind != EventType::TaskDeleted)?;
        Some((last.audience()?, task.version))
    }

    /// Delivers the events that nobody has received. Returns the comments whose text some of them wait for.
    pub(super) fn deliver(&mut self, epoch: u64) -> Vec<TextRequest> {
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
    pub(super) fn reconsider(&mut self, before: &Hierarchy, hierarchy: &Hierarchy, epoch: u64) {
        let changed_teams = hierarchy.changed_teams(before);
        let position = Position { epoch, offset: self.delivered };
        let mut moved = Vec::new();
        self.followers.retain(|topic, followers| {
            let audience = followers.audience;
            followers.retain(|(format, identifier), follower, _| {
                let user_id = follower.subscriber.user_id();
                let may_follow = match follower.channel {
                    Channel::Notifications | Channel::Conversation(_) => true,
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

    pub(super) fn follow(&mut self, topic: Topic, identifier: &Arc<str>, follower: Follower) {
        let audience = match topic {
            Topic::Task(id) => self.audience(id),
            Topic::Board(_) | Topic::Notifications(_) | Topic::Conversation { .. } => None,
        };
        let followers = self.followers.entry(topic).or_default();
        followers.audience = audience;
        let key = (follower.subscriber.format, Arc::clone(identifier));
        let members = followers.groups.entry(key).or_insert_with(|| Vec::with_capacity(1));
        if let Err(index) = members.binary_search_by_key(&follower.subscriber.id, |it| it.subscriber.id) {
            members.insert(index, follower);
        }
    }

    pub(super) fn unfollow(&mut self, topic: Topic, subscriber: &Subscriber, identifier: &Arc<str>) {
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
    pub(super) fn confirm(
        &mut self,
        topic: Topic,
        subscriber: &Arc<Subscriber>,
        identifier: &Arc<str>,
        stream: StreamState,
    ) {
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
        let after =
            since.filter(|_| topic.has_history()).and_then(|since| since.offset(stream, self.floor, current.offset));
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
        if history == Some(false) || history.is_none() && (is_cable || !topic.has_history()) {
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
    pub(super) fn position(&self, stream: StreamState) -> Position {
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

pub(super) fn is_in(audience: TaskAudience, user_id: Uuid, hierarchy: &Hierarchy) -> bool {
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
