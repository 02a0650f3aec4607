//! The events that channels have messages for, decoded once per gateway.

use baton_access::{Board, Hierarchy, TaskAudience};
use baton_catalog::{EventType, Payload};
use baton_proto::baton::{events::v1::Envelope, notification::v1::NotificationEvent, task::v1::TaskEvent};
use prost_types::Timestamp;
use uuid::Uuid;

use super::topic::Topic;

/// An event of an account, and its offset in the account's stream.
#[derive(Debug)]
pub(super) struct LiveEvent {
    pub(super) offset: u64,
    pub(super) kind: EventType,
    /// Id of the event.
    pub(super) id: String,
    /// Who caused it; empty when the platform did.
    pub(super) actor_id: String,
    pub(super) occurred_at: Option<Timestamp>,
    /// The trace of the request that caused it.
    pub(super) traceparent: String,
    pub(super) subject: Subject,
    /// The people on whose boards a task is or was.
    people: Vec<Uuid>,
}

impl LiveEvent {
    /// The comment whose text belongs to the event's message. The event itself has no text.
    pub(super) fn comment_id(&self) -> Option<&str> {
        match &self.subject {
            Subject::Related(_, RelatedObject::Comment(id))
                if [EventType::CommentCreated, EventType::CommentUpdated].contains(&self.kind) =>
            {
                Some(id)
            }
            _ => None,
        }
    }
}

/// What an event is about.
#[derive(Debug)]
pub(super) enum Subject {
    /// A task.
    Task(Uuid, Box<TaskEvent>),
    /// An object of a task.
    Related(Uuid, RelatedObject),
    /// A person's notification.
    Notification(Uuid, NotificationEvent),
}

/// An object of a task, by its id. A dependency's other task is not named: whoever sees the one task may not see the
/// other. Whoever sees both reads it from the list of dependencies.
#[derive(Debug)]
pub(super) enum RelatedObject {
    Comment(String),
    Watcher(String),
    Attachment(String),
    TimeEntry(String),
    Dependency,
}

impl LiveEvent {
    /// Decodes an event. `None` for one that no channel has a message for; with a log line, if it is malformed.
    pub(super) fn decode(offset: u64, envelope: Envelope) -> Option<Self> {
        let kind = EventType::of(&envelope)?;
        let payload = Payload::decode(&envelope).unwrap_or_else(|error| {
            tracing::error!(%error, event.id = envelope.id, "cannot decode the payload of an event; not pushed");
            None
        })?;
        let subject = subject(payload)?;
        // Kept for minutes, so without the encoded payload.
        let Envelope { id, actor_id, occurred_at, traceparent, .. } = envelope;
        let people = match &subject {
            Subject::Task(_, task) => [&task.created_by, &task.assigned_to, &task.previously_assigned_to]
                .into_iter()
                .filter_map(|id| id.parse().ok())
                .collect(),
            Subject::Related(..) | Subject::Notification(..) => Vec::new(),
        };
        Some(Self { offset, kind, id, actor_id, occurred_at, traceparent, subject, people })
    }

    /// The topics that the event may have a message for, each once.
    pub(super) fn topics(&self, hierarchy: &Hierarchy) -> Vec<Topic> {
        let id = match &self.subject {
            Subject::Task(id, _) => *id,
            Subject::Related(id, _) => return vec![Topic::Task(*id)],
            Subject::Notification(user_id, _) => return vec![Topic::Notifications(*user_id)],
        };
        let mut topics = vec![Topic::Task(id), Topic::Board(Board::Account)];
        for &person in &self.people {
            let boards = hierarchy.managers_of(person).chain([person]).map(Board::Team).chain([Board::Of(person)]);
            for topic in boards.map(Topic::Board) {
                if !topics.contains(&topic) {
                    topics.push(topic);
                }
            }
        }
        topics
    }

    /// Whether it may have a message for the topic, without looking closely.
    pub(super) fn may_concern(&self, topic: Topic) -> bool {
        match (topic, &self.subject) {
            (Topic::Task(id), Subject::Task(of, _) | Subject::Related(of, _)) => id == *of,
            (Topic::Board(Board::Of(person)), Subject::Task(..)) => self.people.contains(&person),
            (Topic::Board(_), Subject::Task(..)) => true,
            (Topic::Notifications(reader), Subject::Notification(of, _)) => reader == *of,
            _ => false,
        }
    }

    /// The event of the task itself.
    pub(super) fn task(&self) -> Option<&TaskEvent> {
        match &self.subject {
            Subject::Task(_, task) => Some(task),
            Subject::Related(..) | Subject::Notification(..) => None,
        }
    }

    /// Who sees the task after the event.
    pub(super) fn audience(&self) -> Option<TaskAudience> {
        TaskAudience::after(self.task()?)
    }
}

fn subject(payload: Payload) -> Option<Subject> {
    use RelatedObject::{Attachment, Comment, Dependency, TimeEntry, Watcher};
    let (task_id, object) = match payload {
        Payload::NotificationCreated(it) => return Some(Subject::Notification(it.user_id.parse().ok()?, it)),
        Payload::CommentMentioned(it) => (it.task_id, Comment(it.comment_id)),
        Payload::CommentCreated(it) | Payload::CommentUpdated(it) | Payload::CommentDeleted(it) => {
            (it.task_id, Comment(it.comment_id))
        }
        Payload::ReactionAdded(it) | Payload::ReactionRemoved(it) => (it.task_id, Comment(it.comment_id)),
        Payload::WatcherAdded(it) | Payload::WatcherRemoved(it) => (it.task_id, Watcher(it.user_id)),
        Payload::AttachmentAdded(it) | Payload::AttachmentRemoved(it) => (it.task_id, Attachment(it.attachment_id)),
        Payload::DependencyAdded(it) | Payload::DependencyRemoved(it) => (it.task_id, Dependency),
        Payload::TimeEntryCreated(it) | Payload::TimeEntryUpdated(it) | Payload::TimeEntryDeleted(it) => {
            (it.task_id, TimeEntry(it.time_entry_id))
        }
        payload => {
            let task = payload.into_task()?;
            return Some(Subject::Task(task.task_id.parse().ok()?, Box::new(task)));
        }
    };
    Some(Subject::Related(task_id.parse().ok()?, object))
}
