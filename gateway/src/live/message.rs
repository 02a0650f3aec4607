//! The messages that events cause, and their wire formats.

use std::{
    cell::OnceCell,
    sync::{Arc, LazyLock},
};

use axum::extract::ws::Utf8Bytes;
use baton_access::{BoardChange, Hierarchy};
use baton_proto::{
    baton::live::v1::{LiveMessage, LiveNotification, WatchResponse},
    pool,
};
use bytes::Bytes;
use prost::{Message as _, Name as _};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::json;
use uuid::Uuid;

use super::{
    event::{LiveEvent, RelatedObject, Subject},
    position::Position,
    presence::Signal,
    topic::Topic,
};
use crate::json::encode::SparseMessageJson;

/// The form in which a subscriber receives messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// `actioncable-v1-json`.
    Cable,
    /// `actioncable-v1-ext-json`: with the position.
    CableExtended,
    /// An event of a `text/event-stream`.
    EventStream,
    /// JSON with the position.
    Json,
    /// A `baton.live.v1.WatchResponse`.
    Protobuf,
}

/// An encoded message. Clones share the bytes.
#[derive(Debug, Clone)]
pub(crate) enum Encoded {
    /// Text, for a WebSocket.
    Text(Utf8Bytes),
    /// Bytes.
    Bytes(Bytes),
}

impl Encoded {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A message of a topic: encoded at most once as JSON, and once more for each format and identifier.
pub(super) struct TopicMessage {
    topic: Topic,
    position: Position,
    message: LiveMessage,
    json: OnceCell<String>,
}

impl TopicMessage {
    pub(super) fn new(topic: Topic, position: Position, message: LiveMessage) -> Self {
        Self { topic, position, message, json: OnceCell::new() }
    }

    /// A message without content: `resync` tells the subscriber to read the state again.
    pub(super) fn bare(event: &str, topic: Topic, position: Position) -> Self {
        Self::new(topic, position, LiveMessage { event: event.to_owned(), ..LiveMessage::default() })
    }

    /// Encodes the message for the subscribers of this identifier.
    pub(super) fn encode(&self, format: Format, identifier: &Arc<str>) -> Encoded {
        let Self { topic, position, message, json } = self;
        let Position { epoch, offset } = *position;
        let json = || json.get_or_init(|| to_json(message)).as_str();
        match format {
            Format::Cable => {
                Encoded::Text(format!(r#"{{"identifier":{},"message":{}}}"#, json!(**identifier), json()).into())
            }
            Format::CableExtended => {
                let position = format!(r#""stream_id":"{topic}","epoch":"{epoch}","offset":{offset}"#);
                let (identifier, message) = (json!(**identifier), json());
                Encoded::Text(format!(r#"{{"identifier":{identifier},"message":{message},{position}}}"#).into())
            }
            Format::EventStream => Encoded::Bytes(format!("id: {position}\ndata: {}\n\n", json()).into()),
            Format::Json => Encoded::Bytes(format!(r#"{{"position":"{position}","message":{}}}"#, json()).into()),
            Format::Protobuf => {
                let response = WatchResponse { position: position.to_string(), message: Some(message.clone()) };
                Encoded::Bytes(response.encode_to_vec().into())
            }
        }
    }
}

/// Encodes who came, went, or types; `None` in a format of those who cannot join.
pub(super) fn signal(format: Format, identifier: &Arc<str>, signal: Signal, user_id: Uuid) -> Option<Encoded> {
    let event = match signal {
        Signal::Joined => "presence_joined",
        Signal::Left => "presence_left",
        Signal::Typing => "typing",
    };
    let text = match (format, signal) {
        (Format::CableExtended, Signal::Joined | Signal::Left) => {
            let kind = if signal == Signal::Joined { "join" } else { "leave" };
            let message = json!({"type": kind, "id": user_id, "info": {}});
            json!({"type": "presence", "identifier": **identifier, "message": message})
        }
        (Format::Cable | Format::CableExtended, _) => {
            json!({"identifier": **identifier, "message": {"event": event, "user_id": user_id}})
        }
        (Format::EventStream | Format::Json | Format::Protobuf, _) => return None,
    };
    Some(Encoded::Text(text.to_string().into()))
}

static DESCRIPTOR: LazyLock<Option<MessageDescriptor>> =
    LazyLock::new(|| pool().get_message_by_name(&LiveMessage::full_name()));

/// The message as JSON, without the fields that it does not have.
fn to_json(message: &LiveMessage) -> String {
    let dynamic = DESCRIPTOR
        .clone()
        .and_then(|descriptor| DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok());
    // The message is of the contract, and serialising strings and numbers cannot fail.
    dynamic.and_then(|dynamic| serde_json::to_string(&SparseMessageJson(&dynamic)).ok()).unwrap_or_default()
}

/// The event's message on a topic; `None` if the event does not concern it.
pub(super) fn message(event: &LiveEvent, topic: Topic, hierarchy: &Hierarchy) -> Option<LiveMessage> {
    match (topic, &event.subject) {
        (Topic::Task(id), Subject::Task(task_id, task)) if id == *task_id => Some(LiveMessage {
            event: format!("task_{}", event.kind.verb()),
            task_id: Some(task.task_id.clone()),
            status: task.status,
            version: Some(task.version),
            assigned_to: some(&task.assigned_to),
            ..origin(event)
        }),
        (Topic::Task(id), Subject::Related(task_id, object)) if id == *task_id => {
            let mut message = LiveMessage {
                event: format!("{}_{}", event.kind.noun(), event.kind.verb()),
                task_id: Some(id.to_string()),
                ..origin(event)
            };
            match object {
                RelatedObject::Comment(id) => message.comment_id = some(id),
                RelatedObject::Watcher(id) => message.user_id = some(id),
                RelatedObject::Attachment(id) => message.attachment_id = some(id),
                RelatedObject::TimeEntry(id) => message.time_entry_id = some(id),
                RelatedObject::Dependency => {}
            }
            Some(message)
        }
        (Topic::Board(board), Subject::Task(_, task)) => {
            let change = match board.change(task, hierarchy)? {
                BoardChange::Added => "task_added",
                BoardChange::Moved => "task_moved",
                BoardChange::Removed => "task_removed",
                BoardChange::Updated => "task_updated",
            };
            Some(LiveMessage {
                event: change.to_owned(),
                task_id: Some(task.task_id.clone()),
                cause: Some(event.kind.verb().to_owned()),
                status: task.status,
                version: Some(task.version),
                assigned_to: some(&task.assigned_to),
                ..origin(event)
            })
        }
        (Topic::Notifications(reader), Subject::Notification(user_id, notification)) if reader == *user_id => {
            Some(LiveMessage {
                event: "notification_received".to_owned(),
                notification: Some(LiveNotification {
                    id: notification.notification_id.clone(),
                    r#type: notification.r#type,
                    task_id: some(&notification.task_id),
                    created_at: event.occurred_at,
                }),
                ..LiveMessage::default()
            })
        }
        _ => None,
    }
}

/// Who caused the event, and when.
fn origin(event: &LiveEvent) -> LiveMessage {
    LiveMessage { actor_id: some(&event.actor_id), occurred_at: event.occurred_at, ..LiveMessage::default() }
}

fn some(id: &str) -> Option<String> {
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use baton_access::Board;
    use baton_proto::baton::{
        events::v1::Envelope,
        notification::v1::{NotificationEvent, NotificationType},
        task::v1::{CommentEvent, DependencyEvent, TaskEvent, TaskStatus},
    };
    use prost::Name;
    use prost_types::{Any, Timestamp};
    use serde_json::Value;

    use super::*;

    const ME: Uuid = Uuid::from_u128(1);
    const TASK: Uuid = Uuid::from_u128(2);

    fn event(kind: &str, payload: &impl Name) -> LiveEvent {
        let envelope = Envelope {
            r#type: kind.to_owned(),
            occurred_at: Some(Timestamp { seconds: 1_767_225_600, nanos: 0 }),
            payload: Some(Any::from_msg(payload).unwrap()),
            ..Envelope::default()
        };
        LiveEvent::decode(1, envelope).unwrap()
    }

    fn json_on(topic: Topic, event: &LiveEvent) -> Option<Value> {
        let message = message(event, topic, &Hierarchy::default())?;
        Some(serde_json::from_str(&to_json(&message)).unwrap())
    }

    #[test]
    fn notifications_are_pushed_to_their_user_only() {
        let notification = |task: &str| NotificationEvent {
            notification_id: "n".to_owned(),
            user_id: ME.to_string(),
            r#type: NotificationType::TaskAssigned.into(),
            task_id: task.to_owned(),
        };
        let created = event("notification.created", &notification("t"));
        let expected =
            json!({"id": "n", "type": "task_assigned", "task_id": "t", "created_at": "2026-01-01T00:00:00Z"});
        assert_eq!(
            json_on(Topic::Notifications(ME), &created),
            Some(json!({"event": "notification_received", "notification": expected}))
        );
        let without_task =
            json_on(Topic::Notifications(ME), &event("notification.created", &notification(""))).unwrap();
        assert_eq!(without_task["notification"].get("task_id"), None);
        assert_eq!(json_on(Topic::Notifications(TASK), &created), None);
        assert_eq!(created.topics(&Hierarchy::default()), [Topic::Notifications(ME)]);
    }

    #[test]
    fn a_task_channel_pushes_every_event_of_its_task() {
        let task = TaskEvent {
            task_id: TASK.to_string(),
            version: 3,
            status: TaskStatus::InProgress.into(),
            ..TaskEvent::default()
        };
        let started = event("task.started", &task);
        let expected = json!({
            "event": "task_started", "task_id": TASK, "status": "in_progress", "version": 3,
            "occurred_at": "2026-01-01T00:00:00Z",
        });
        assert_eq!(json_on(Topic::Task(TASK), &started), Some(expected));
        assert_eq!(json_on(Topic::Task(ME), &started), None);
        let comment = CommentEvent { comment_id: ME.to_string(), task_id: TASK.to_string(), ..Default::default() };
        let commented = json_on(Topic::Task(TASK), &event("comment.created", &comment)).unwrap();
        assert_eq!((&commented["event"], &commented["comment_id"]), (&json!("comment_created"), &json!(ME)));
        assert_eq!(json_on(Topic::Task(ME), &event("comment.created", &comment)), None);
    }

    #[test]
    fn a_board_channel_pushes_changes_of_its_tasks_only() {
        let task = TaskEvent {
            task_id: TASK.to_string(),
            version: 2,
            status: TaskStatus::Pending.into(),
            created_by: TASK.to_string(),
            assigned_to: ME.to_string(),
            changed_fields: vec!["assigned_to".to_owned()],
            ..TaskEvent::default()
        };
        let assigned = event("task.assigned", &task);
        let expected = json!({
            "event": "task_added", "task_id": TASK, "cause": "assigned", "status": "pending", "version": 2,
            "assigned_to": ME, "occurred_at": "2026-01-01T00:00:00Z",
        });
        assert_eq!(json_on(Topic::Board(Board::Of(ME)), &assigned), Some(expected));
        assert_eq!(json_on(Topic::Board(Board::Of(TASK)), &assigned).unwrap()["event"], "task_removed");
        assert_eq!(json_on(Topic::Board(Board::Of(Uuid::from_u128(9))), &assigned), None);
        let boards = [ME, TASK].map(|person| Topic::Board(Board::Of(person)));
        assert!(boards.iter().all(|board| assigned.topics(&Hierarchy::default()).contains(board)));
    }

    #[test]
    fn a_dependency_message_does_not_name_the_blocking_task() {
        let hidden = Uuid::from_u128(7);
        let link = DependencyEvent { task_id: TASK.to_string(), blocked_by: hidden.to_string(), ..Default::default() };
        for kind in ["dependency.added", "dependency.removed"] {
            let message = json_on(Topic::Task(TASK), &event(kind, &link)).unwrap();
            assert_eq!(message["task_id"], json!(TASK));
            assert!(!message.to_string().contains(&hidden.to_string()), "{message}");
            assert_eq!(json_on(Topic::Task(hidden), &event(kind, &link)), None);
        }
    }

    #[test]
    fn frames_follow_the_protocols() {
        let topic = Topic::Task(TASK);
        let message = TopicMessage::bare("resync", topic, Position { epoch: 4, offset: 5 });
        let identifier: Arc<str> = r#"{"channel":"TaskChannel"}"#.into();
        let bytes = |format| match message.encode(format, &identifier) {
            Encoded::Text(text) => Bytes::from(text),
            Encoded::Bytes(bytes) => bytes,
        };
        let frame = |format| serde_json::from_slice::<Value>(&bytes(format)).unwrap();
        let expected = json!({"identifier": *identifier, "message": {"event": "resync"}});
        assert_eq!(frame(Format::Cable), expected);
        let mut extended = expected;
        extended["stream_id"] = json!(format!("task-{TASK}"));
        extended["epoch"] = json!("4");
        extended["offset"] = json!(5);
        assert_eq!(frame(Format::CableExtended), extended);
        assert_eq!(frame(Format::Json), json!({"position": "4:5", "message": {"event": "resync"}}));
        assert_eq!(bytes(Format::EventStream), "id: 4:5\ndata: {\"event\":\"resync\"}\n\n");
        let response = WatchResponse::decode(bytes(Format::Protobuf)).unwrap();
        assert_eq!((response.position.as_str(), response.message.unwrap().event.as_str()), ("4:5", "resync"));
    }
}
