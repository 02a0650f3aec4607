//! Updates of conversations, which pass by without a history.

use super::state::{Followers, RESYNC, State, StreamState};
use crate::live::{ephemeral::Updates, message::TopicMessage, position::Position, subscriber::Item, topic::Topic};

/// Calls whose updates wait while the hierarchy is read; beyond, the conversations are read again.
const MAX_WAITING: usize = 256;

impl State {
    /// Delivers updates to the owner of the conversation, once the hierarchy says that they may still receive them.
    pub(super) fn publish_updates(&mut self, updates: Updates, stream: StreamState) {
        if !self.followers.contains_key(&updates.topic) {
            return;
        }
        if !self.is_reading && self.hierarchy.is_some() {
            return self.deliver_updates(&updates, stream);
        }
        self.waiting_updates.push_back(updates);
        if self.waiting_updates.len() > MAX_WAITING {
            self.waiting_updates.clear();
            self.resync_conversations(stream);
        }
    }

    /// Delivers the updates that have waited for the hierarchy.
    pub(super) fn deliver_waiting_updates(&mut self, stream: StreamState) {
        for updates in std::mem::take(&mut self.waiting_updates) {
            self.deliver_updates(&updates, stream);
        }
    }

    fn deliver_updates(&mut self, updates: &Updates, stream: StreamState) {
        let position = self.position(stream);
        let Some(followers) = self.followers.get_mut(&updates.topic) else { return };
        for (sequence, message) in &updates.messages {
            // A call that is repeated delivers nothing again.
            let is_repeated = |(message, last)| message == updates.message_id && *sequence <= last;
            if followers.last_update.is_some_and(is_repeated) {
                continue;
            }
            followers.last_update = Some((updates.message_id, *sequence));
            followers.push(&TopicMessage::new(updates.topic, position, message.clone()));
        }
    }

    /// Tells those who follow conversations that updates were missed.
    pub(super) fn resync_conversations(&mut self, stream: StreamState) {
        let position: Position = self.position(stream);
        for (topic, followers) in &mut self.followers {
            if matches!(topic, Topic::Conversation { .. }) {
                followers.push(&TopicMessage::bare(RESYNC, *topic, position));
            }
        }
    }
}

impl Followers {
    /// Pushes a message to all whose subscription is confirmed.
    fn push(&self, message: &TopicMessage) {
        for ((format, identifier), members) in &self.groups {
            let text = message.encode(*format, identifier);
            for follower in members.iter().filter(|follower| follower.is_confirmed) {
                follower.subscriber.push(Item::Message(text.clone()));
            }
        }
    }
}
