//! The event catalogue: one row per event type.
//!
//! A row names the type (`task.assigned`), its payload message, its [`Partition`], and its [`AccessEffect`]. Publishers
//! pass a [`Payload`], which knows its type. Consumers match on [`EventType`] or on the decoded [`Payload`]. A type that
//! is not in the catalogue does not compile.

mod events;

use baton_proto::baton::{events::v1::Envelope, task::v1::TaskEvent};

pub use events::{EventType, Payload};

/// The key that orders events: those with the same key arrive in the order of their commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// The account's id. Every event inside an account has it.
    Account,
    /// None: the event belongs to a person, not to an account. All such events share one partition.
    Global,
}

impl Partition {
    /// The name in documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Global => "global",
        }
    }
}

/// Whose access an event may change. Streams and sockets reauthorize after such an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessEffect {
    /// Nobody's.
    None,
    /// The visibility of the event's task.
    Task,
    /// That of the person whom the event belongs to, or of the API key.
    Person,
    /// That of the session's owner: the session is closed for good.
    Session,
    /// That of the member; and of everybody above and below them in the hierarchy.
    Member,
    /// That of everybody in the account.
    Account,
}

impl AccessEffect {
    /// The name in documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Task => "who sees the task",
            Self::Person => "the person",
            Self::Session => "the session's owner",
            Self::Member => "the member and their hierarchy",
            Self::Account => "everybody in the account",
        }
    }
}

/// A payload that its type does not promise.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The envelope carries no payload.
    #[error("the event {0} has no payload")]
    Missing(&'static str),
    /// The payload is another message, or damaged.
    #[error("the payload of the event {0} cannot be decoded: {1}")]
    Malformed(&'static str, #[source] prost::DecodeError),
}

impl EventType {
    /// The type of an event; `None` for a type of a newer version.
    pub fn of(event: &Envelope) -> Option<Self> {
        Self::from_name(&event.r#type)
    }

    /// The part of the name before the dot: `task`.
    pub fn noun(self) -> &'static str {
        self.name().split_once('.').map_or("", |(noun, _)| noun)
    }

    /// The part of the name after the dot: `assigned`.
    pub fn verb(self) -> &'static str {
        self.name().split_once('.').map_or("", |(_, verb)| verb)
    }
}

impl Payload {
    /// The payload of an event of a task itself, not of its comments, files and the like.
    pub fn into_task(self) -> Option<TaskEvent> {
        match self {
            Self::TaskCreated(task)
            | Self::TaskUpdated(task)
            | Self::TaskDeleted(task)
            | Self::TaskStarted(task)
            | Self::TaskPaused(task)
            | Self::TaskResumed(task)
            | Self::TaskCompleted(task)
            | Self::TaskAssigned(task)
            | Self::TaskReassigned(task)
            | Self::TaskAccepted(task)
            | Self::TaskRejected(task)
            | Self::TaskArchived(task)
            | Self::TaskCanceled(task)
            | Self::TaskReopened(task)
            | Self::TaskRestored(task)
            | Self::TaskMoved(task)
            | Self::TaskTimeCorrected(task)
            | Self::TaskDueSoon(task)
            | Self::TaskOverdue(task)
            | Self::TaskUnblocked(task) => Some(task),
            _ => None,
        }
    }
}

impl std::fmt::Display for EventType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use baton_proto::baton::auth::v1::UserEvent;

    use super::*;

    fn envelope(kind: &str, payload: Option<prost_types::Any>) -> Envelope {
        Envelope { r#type: kind.to_owned(), payload, ..Envelope::default() }
    }

    #[test]
    fn names_are_unique_and_have_a_noun_and_a_past_participle() {
        let names: HashSet<_> = EventType::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), EventType::ALL.len());
        for kind in EventType::ALL {
            assert_eq!(EventType::from_name(kind.name()), Some(*kind));
            assert_eq!(format!("{}.{}", kind.noun(), kind.verb()), kind.name());
            assert!(kind.name().chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.'), "{kind}");
        }
        assert_eq!(EventType::from_name("task.exploded"), None);
    }

    #[test]
    fn payloads_are_messages_of_the_contract() {
        baton_proto::include_example();
        for kind in EventType::ALL {
            let name = kind.payload_name();
            assert!(baton_proto::pool().get_message_by_name(&name).is_some(), "{kind}: no message {name}");
        }
    }

    #[test]
    fn a_payload_is_decoded_by_its_type() {
        let sent = Payload::TaskAssigned(TaskEvent { task_id: "t".to_owned(), ..TaskEvent::default() });
        assert_eq!(sent.event_type(), EventType::TaskAssigned);
        let received = envelope("task.assigned", Some(sent.to_any().unwrap()));
        assert_eq!(Payload::decode(&received).unwrap(), Some(sent));
    }

    #[test]
    fn a_payload_of_another_message_is_an_error() {
        let any = prost_types::Any::from_msg(&UserEvent::default()).unwrap();
        assert!(matches!(Payload::decode(&envelope("task.assigned", Some(any))), Err(DecodeError::Malformed(..))));
        assert!(matches!(Payload::decode(&envelope("task.assigned", None)), Err(DecodeError::Missing(_))));
    }

    #[test]
    fn every_task_event_is_one_of_a_task() {
        for kind in EventType::ALL {
            let empty = prost_types::Any { type_url: format!("/{}", kind.payload_name()), value: Vec::new() };
            let payload = Payload::decode(&envelope(kind.name(), Some(empty))).unwrap().unwrap();
            assert_eq!(payload.into_task().is_some(), kind.payload_name() == "baton.task.v1.TaskEvent", "{kind}");
        }
    }

    #[test]
    fn a_type_of_a_newer_version_is_no_error() {
        assert_eq!(Payload::decode(&envelope("task.exploded", None)).unwrap(), None);
    }

    #[test]
    fn events_outside_accounts_affect_persons_only() {
        for kind in EventType::ALL {
            let personal = matches!(kind.access_effect(), AccessEffect::Person | AccessEffect::Session);
            let global = kind.partition() == Partition::Global;
            assert!(!personal || global, "{kind}");
            // Events of privacy requests and consents change nobody's access.
            assert!(!global || personal || kind.access_effect() == AccessEffect::None, "{kind}");
        }
    }
}
