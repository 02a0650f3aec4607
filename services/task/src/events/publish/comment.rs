//! Comment and watcher events. They carry ids, no text.

use baton_catalog::Payload;
use baton_proto::baton::task::v1::{CommentEvent, MentionEvent, ReactionEvent, WatcherEvent};
use baton_store::Event;
use uuid::Uuid;

use crate::task::comment::Comment;

/// A comment was created. `watchers` are notified; mentioned members are not among them.
pub(crate) fn created(comment: &Comment, watchers: &[Uuid]) -> Event {
    about(Payload::CommentCreated, comment, CommentEvent { watcher_ids: texts(watchers), ..payload(comment) })
}

/// A comment was edited.
pub(crate) fn updated(comment: &Comment) -> Event {
    about(Payload::CommentUpdated, comment, payload(comment))
}

/// A comment was deleted.
pub(crate) fn deleted(comment: &Comment) -> Event {
    about(Payload::CommentDeleted, comment, CommentEvent { version: comment.version + 1, ..payload(comment) })
}

/// A comment mentions members whom it did not mention before.
pub(crate) fn mentioned(comment: &Comment, user_ids: &[Uuid]) -> Event {
    let payload = MentionEvent {
        comment_id: comment.id.to_string(),
        task_id: comment.task_id.to_string(),
        user_ids: texts(user_ids),
    };
    Event::new(Payload::CommentMentioned(payload), comment.account_id, comment.id)
}

/// A reaction was added or removed.
pub(crate) fn reaction(comment: &Comment, user_id: Uuid, added: bool) -> Event {
    let payload = ReactionEvent {
        comment_id: comment.id.to_string(),
        task_id: comment.task_id.to_string(),
        user_id: user_id.to_string(),
    };
    let kind = if added { Payload::ReactionAdded } else { Payload::ReactionRemoved };
    Event::new(kind(payload), comment.account_id, comment.id)
}

/// Somebody started or stopped watching a task.
pub(crate) fn watcher(account_id: Uuid, task_id: Uuid, user_id: Uuid, watches: bool) -> Event {
    let payload = WatcherEvent { task_id: task_id.to_string(), user_id: user_id.to_string() };
    let kind = if watches { Payload::WatcherAdded } else { Payload::WatcherRemoved };
    Event::new(kind(payload), account_id, task_id)
}

fn about(kind: fn(CommentEvent) -> Payload, comment: &Comment, payload: CommentEvent) -> Event {
    Event::new(kind(payload), comment.account_id, comment.id)
}

fn payload(comment: &Comment) -> CommentEvent {
    CommentEvent {
        comment_id: comment.id.to_string(),
        task_id: comment.task_id.to_string(),
        parent_id: comment.parent_id.map(|id| id.to_string()).unwrap_or_default(),
        author_id: comment.author_id.to_string(),
        version: comment.version,
        watcher_ids: Vec::new(),
    }
}

fn texts(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(Uuid::to_string).collect()
}
