//! The channels that a client may subscribe to, and the messages that events cause on them.

use baton_access::{Board, BoardChange, Principal, TaskAudience};
use baton_catalog::{AccessEffect, EventType, Payload};
use baton_proto::{
    baton::{events::v1::Envelope, notification::v1::NotificationType, task::v1::TaskStatus},
    convert::datetime,
};
use chrono::SecondsFormat;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// The subject of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// The caller's notifications.
    Notifications,
    /// A task.
    Task(Uuid),
    /// A board.
    Board(BoardId),
}

/// A board, relative to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BoardId {
    /// The caller's own.
    My,
    /// This user's.
    User(Uuid),
    /// The caller's team's.
    Team,
    /// The account's.
    Account,
}

impl BoardId {
    /// Parses `my`, `user-<id>`, `team` or `account`.
    fn parse(id: &str) -> Option<Self> {
        match id {
            "my" => Some(Self::My),
            "team" => Some(Self::Team),
            "account" => Some(Self::Account),
            id => id.strip_prefix("user-")?.parse().ok().map(Self::User),
        }
    }
}

#[derive(Deserialize)]
struct Identifier {
    channel: String,
    user_id: Option<String>,
    task_id: Option<String>,
    board_id: Option<String>,
}

impl Channel {
    /// Parses an identifier. `None` for an unknown channel, and for another user's notifications.
    pub(super) fn parse(identifier: &str, caller: Uuid) -> Option<Self> {
        let identifier: Identifier = serde_json::from_str(identifier).ok()?;
        match identifier.channel.as_str() {
            "NotificationChannel" => match identifier.user_id {
                None => Some(Self::Notifications),
                Some(user) => (user.parse() == Ok(caller)).then_some(Self::Notifications),
            },
            "TaskChannel" => Some(Self::Task(identifier.task_id?.parse().ok()?)),
            "BoardChannel" => BoardId::parse(&identifier.board_id?).map(Self::Board),
            _ => None,
        }
    }

    /// Returns the event's message on this channel; `None` if the event does not concern it. `board` is that of a board
    /// channel.
    pub(super) fn message(self, event: &Envelope, caller: Uuid, board: Option<&Board>) -> Option<Value> {
        match self {
            Self::Notifications => notification_message(event, caller),
            Self::Task(id) => task_message(event, id).or_else(|| related_message(event, id)),
            Self::Board(_) => board_message(event, board?),
        }
    }

    /// Whether the event may have changed who may see the channel's subject.
    pub(super) fn access_may_change(self, event: &Envelope) -> bool {
        matches!(self, Self::Task(id) if event.subject_id.parse() == Ok(id))
            && EventType::of(event).is_some_and(|kind| kind.access_effect() == AccessEffect::Task)
    }

    /// Whether the caller sees the channel's task after the event; `None` if the event does not say.
    pub(super) fn is_visible_after(event: &Envelope, principal: &Principal) -> Option<bool> {
        let audience = TaskAudience::after(&payload(event)?.into_task()?)?;
        Some(audience.includes(principal.user_id(), &principal.membership))
    }

    /// Whether the event deleted the channel's subject.
    pub(super) fn ends_with(self, event: &Envelope) -> bool {
        matches!(self, Self::Task(id) if EventType::of(event) == Some(EventType::TaskDeleted) && event.subject_id.parse() == Ok(id))
    }
}

fn notification_message(event: &Envelope, caller: Uuid) -> Option<Value> {
    let Payload::NotificationCreated(notification) = payload(event)? else { return None };
    if notification.user_id.parse() != Ok(caller) {
        return None;
    }
    Some(json!({
        "event": "notification_received",
        "notification": {
            "id": notification.notification_id,
            "type": enum_name(NotificationType::try_from(notification.r#type).ok()?.as_str_name(), "NOTIFICATION_TYPE_"),
            "task_id": or_null(notification.task_id),
            "created_at": occurred_at(event),
        },
    }))
}

fn task_message(event: &Envelope, id: Uuid) -> Option<Value> {
    if event.subject_id.parse() != Ok(id) {
        return None;
    }
    let (action, task) = (EventType::of(event)?.verb(), payload(event)?.into_task()?);
    Some(json!({
        "event": format!("task_{action}"),
        "task_id": task.task_id,
        "status": enum_name(TaskStatus::try_from(task.status).ok()?.as_str_name(), "TASK_STATUS_"),
        "version": task.version,
        "assigned_to": or_null(task.assigned_to),
        "actor_id": or_null(event.actor_id.clone()),
        "occurred_at": occurred_at(event),
    }))
}

/// Message about an object of a task, with ids only. A dependency's other task is not named: a caller who sees the one
/// task may not see the other. A caller who sees both reads it from the list of dependencies.
fn related_message(event: &Envelope, id: Uuid) -> Option<Value> {
    let kind = EventType::of(event)?;
    let (task_id, subject) = match payload(event)? {
        Payload::CommentMentioned(it) => (it.task_id, Some(("comment_id", it.comment_id))),
        Payload::CommentCreated(it) | Payload::CommentUpdated(it) | Payload::CommentDeleted(it) => {
            (it.task_id, Some(("comment_id", it.comment_id)))
        }
        Payload::ReactionAdded(it) | Payload::ReactionRemoved(it) => (it.task_id, Some(("comment_id", it.comment_id))),
        Payload::WatcherAdded(it) | Payload::WatcherRemoved(it) => (it.task_id, Some(("user_id", it.user_id))),
        Payload::AttachmentAdded(it) | Payload::AttachmentRemoved(it) => {
            (it.task_id, Some(("attachment_id", it.attachment_id)))
        }
        Payload::DependencyAdded(it) | Payload::DependencyRemoved(it) => (it.task_id, None),
        Payload::TimeEntryCreated(it) | Payload::TimeEntryUpdated(it) | Payload::TimeEntryDeleted(it) => {
            (it.task_id, Some(("time_entry_id", it.time_entry_id)))
        }
        _ => return None,
    };
    if task_id.parse() != Ok(id) {
        return None;
    }
    let mut message = json!({
        "event": format!("{}_{}", kind.noun(), kind.verb()),
        "task_id": task_id,
        "actor_id": or_null(event.actor_id.clone()),
        "occurred_at": occurred_at(event),
    });
    if let Some((name, id)) = subject {
        message[name] = json!(or_null(id));
    }
    Some(message)
}

/// Message about a task's change on a board.
fn board_message(event: &Envelope, board: &Board) -> Option<Value> {
    let (cause, task) = (EventType::of(event)?.verb(), payload(event)?.into_task()?);
    let action = match board.change(&task)? {
        BoardChange::Added => "task_added",
        BoardChange::Moved => "task_moved",
        BoardChange::Removed => "task_removed",
        BoardChange::Updated => "task_updated",
    };
    Some(json!({
        "event": action,
        "task_id": task.task_id,
        "cause": cause,
        "status": enum_name(TaskStatus::try_from(task.status).ok()?.as_str_name(), "TASK_STATUS_"),
        "version": task.version,
        "assigned_to": or_null(task.assigned_to),
        "actor_id": or_null(event.actor_id.clone()),
        "occurred_at": occurred_at(event),
    }))
}

/// Decodes the event's payload. `None` for a type of a newer version; with a log line, if the payload is malformed.
fn payload(event: &Envelope) -> Option<Payload> {
    Payload::decode(event).unwrap_or_else(|error| {
        tracing::error!(%error, event.id = event.id, "cannot decode the payload of an event; not pushed");
        None
    })
}

/// The enum's JSON name, as in REST: lower case, without its prefix.
fn enum_name(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

fn or_null(id: String) -> Option<String> {
    (!id.is_empty()).then_some(id)
}

/// The event's time, formatted as in REST.
fn occurred_at(event: &Envelope) -> Option<String> {
    let at = event.occurred_at.as_ref().and_then(datetime)?;
    Some(at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use baton_proto::baton::{
        notification::v1::NotificationEvent,
        task::v1::{CommentEvent, DependencyEvent, TaskEvent},
    };
    use prost::Name;
    use prost_types::{Any, Timestamp};

    use super::*;

    const ME: Uuid = Uuid::from_u128(1);
    const TASK: Uuid = Uuid::from_u128(2);

    fn event(kind: &str, subject: Uuid, payload: &impl Name) -> Envelope {
        Envelope {
            r#type: kind.to_owned(),
            subject_id: subject.to_string(),
            occurred_at: Some(Timestamp { seconds: 1_767_225_600, nanos: 0 }),
            payload: Some(Any::from_msg(payload).unwrap()),
            ..Envelope::default()
        }
    }

    #[test]
    fn unknown_channels_and_notifications_of_others_are_not_parsed() {
        let parse = |identifier: Value| Channel::parse(&identifier.to_string(), ME);
        assert_eq!(parse(json!({"channel": "NotificationChannel"})), Some(Channel::Notifications));
        assert_eq!(parse(json!({"channel": "NotificationChannel", "user_id": ME})), Some(Channel::Notifications));
        assert_eq!(parse(json!({"channel": "NotificationChannel", "user_id": TASK})), None);
        assert_eq!(parse(json!({"channel": "TaskChannel", "task_id": TASK})), Some(Channel::Task(TASK)));
        for (board_id, board) in [
            ("my".to_owned(), BoardId::My),
            (format!("user-{TASK}"), BoardId::User(TASK)),
            ("team".to_owned(), BoardId::Team),
            ("account".to_owned(), BoardId::Account),
        ] {
            let parsed = parse(json!({"channel": "BoardChannel", "board_id": board_id}));
            assert_eq!(parsed, Some(Channel::Board(board)));
        }
        for bad in [
            json!({"channel": "TaskChannel"}),
            json!({"channel": "TaskChannel", "task_id": "1"}),
            json!({"channel": "TaskChannel", "task_id": 1}),
            json!({"channel": "BoardChannel"}),
            json!({"channel": "BoardChannel", "board_id": "mine"}),
            json!({"channel": "BoardChannel", "board_id": "user-me"}),
            json!({}),
            json!("TaskChannel"),
            json!(null),
        ] {
            assert_eq!(parse(bad.clone()), None, "{bad}");
        }
        assert_eq!(Channel::parse("{", ME), None);
    }

    #[test]
    fn notifications_are_pushed_to_their_user_only() {
        let notification = |user: Uuid, task: &str| NotificationEvent {
            notification_id: "n".to_owned(),
            user_id: user.to_string(),
            r#type: NotificationType::TaskAssigned.into(),
            task_id: task.to_owned(),
        };
        let message =
            Channel::Notifications.message(&event("notification.created", TASK, &notification(ME, "t")), ME, None);
        let expected =
            json!({"id": "n", "type": "task_assigned", "task_id": "t", "created_at": "2026-01-01T00:00:00Z"});
        assert_eq!(message, Some(json!({"event": "notification_received", "notification": expected})));
        let message = Channel::Notifications
            .message(&event("notification.created", TASK, &notification(ME, "")), ME, None)
            .unwrap();
        assert_eq!(message["notification"]["task_id"], Value::Null);
        for event in [
            event("notification.created", TASK, &notification(TASK, "t")),
            event("task.assigned", TASK, &notification(ME, "")),
        ] {
            assert_eq!(Channel::Notifications.message(&event, ME, None), None);
        }
    }

    #[test]
    fn a_task_channel_pushes_every_event_of_its_task() {
        let task = TaskEvent {
            task_id: TASK.to_string(),
            version: 3,
            status: TaskStatus::InProgress.into(),
            ..TaskEvent::default()
        };
        let message = Channel::Task(TASK).message(&event("task.started", TASK, &task), ME, None);
        let expected = json!({
            "event": "task_started", "task_id": TASK, "status": "in_progress", "version": 3,
            "assigned_to": null, "actor_id": null, "occurred_at": "2026-01-01T00:00:00Z",
        });
        assert_eq!(message, Some(expected));
        assert_eq!(Channel::Task(ME).message(&event("task.started", TASK, &task), ME, None), None);
        assert_eq!(Channel::Task(TASK).message(&event("member.joined", TASK, &task), ME, None), None);
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
        let event = event("task.assigned", TASK, &task);
        let message_on = |board: &Board| Channel::Board(BoardId::My).message(&event, ME, Some(board));
        let expected = json!({
            "event": "task_added", "task_id": TASK, "cause": "assigned", "status": "pending", "version": 2,
            "assigned_to": ME, "actor_id": null, "occurred_at": "2026-01-01T00:00:00Z",
        });
        assert_eq!(message_on(&Board::Of(ME)), Some(expected));
        assert_eq!(message_on(&Board::Of(TASK)).unwrap()["event"], "task_removed");
        assert_eq!(message_on(&Board::Of(Uuid::from_u128(9))), None);
        assert_eq!(Channel::Board(BoardId::My).message(&event, ME, None), None, "the board is not known yet");
    }

    #[test]
    fn a_task_channel_pushes_comments_on_its_task() {
        let comment = CommentEvent { comment_id: ME.to_string(), task_id: TASK.to_string(), ..Default::default() };
        let event = event("comment.created", ME, &comment);
        let message = Channel::Task(TASK).message(&event, ME, None).unwrap();
        assert_eq!((&message["event"], &message["comment_id"]), (&json!("comment_created"), &json!(ME)));
        assert_eq!(Channel::Task(ME).message(&event, ME, None), None);
    }

    #[test]
    fn a_dependency_message_does_not_name_the_blocking_task() {
        let hidden = Uuid::from_u128(7);
        let link = DependencyEvent { task_id: TASK.to_string(), blocked_by: hidden.to_string(), ..Default::default() };
        for kind in ["dependency.added", "dependency.removed"] {
            let message = Channel::Task(TASK).message(&event(kind, TASK, &link), ME, None).unwrap();
            assert_eq!(message["task_id"], json!(TASK));
            assert!(!message.to_string().contains(&hidden.to_string()), "{message}");
            assert_eq!(Channel::Task(hidden).message(&event(kind, TASK, &link), ME, None), None);
        }
    }

    #[test]
    fn events_that_may_change_access_are_known() {
        let task = TaskEvent::default();
        for (kind, may) in [
            ("task.assigned", true),
            ("task.reassigned", true),
            ("task.rejected", true),
            ("task.updated", true),
            ("task.started", false),
            ("task.deleted", false),
        ] {
            assert_eq!(Channel::Task(TASK).access_may_change(&event(kind, TASK, &task)), may, "{kind}");
            assert!(!Channel::Task(ME).access_may_change(&event(kind, TASK, &task)));
        }
        assert!(Channel::Task(TASK).ends_with(&event("task.deleted", TASK, &task)));
        assert!(!Channel::Task(ME).ends_with(&event("task.deleted", TASK, &task)));
    }
}
