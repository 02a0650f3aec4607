//! Parses consumed events into [`routing::Event`].

use baton_catalog::{EventType, Payload};
use baton_errors::{Error, Result};
use baton_proto::baton::events::v1::Envelope;
use uuid::Uuid;

use crate::routing::{self, Participants};

/// Parses an event; `None` when its type causes no notifications.
///
/// # Errors
/// INTERNAL when the payload does not match the event type.
pub(crate) fn parse(event: &Envelope) -> Result<Option<routing::Event>> {
    let Some(kind) = EventType::of(event).filter(|&kind| routing::is_notifiable(kind)) else { return Ok(None) };
    let Some(payload) = Payload::decode(event).map_err(Error::internal)? else { return Ok(None) };
    let none = Participants::default();
    let (participants, task_id) = match payload {
        Payload::MemberInvited(member) | Payload::MemberJoined(member) => {
            let (user, inviter) = (parse_id(&member.user_id)?, parse_id(&member.invited_by)?);
            (Participants { user, inviter, ..none }, None)
        }
        Payload::AccountUsageWarning(warning) => {
            (Participants { owners: parse_ids(&warning.owner_ids)?, ..none }, None)
        }
        Payload::ReminderFired(reminder) | Payload::SeriesPaused(reminder) => {
            (Participants { user: parse_id(&reminder.user_id)?, ..none }, Some(parse_task_id(&reminder.task_id)?))
        }
        Payload::CommentMentioned(mention) => {
            let mentioned = parse_ids(&mention.user_ids)?;
            (Participants { mentioned, ..none }, Some(parse_task_id(&mention.task_id)?))
        }
        Payload::CommentCreated(comment) => {
            let watchers = parse_ids(&comment.watcher_ids)?;
            (Participants { watchers, ..none }, Some(parse_task_id(&comment.task_id)?))
        }
        payload => {
            let Some(task) = payload.into_task() else { return Ok(None) };
            let participants = Participants {
                creator: parse_id(&task.created_by)?,
                assignee: parse_id(&task.assigned_to)?,
                previous_assignee: parse_id(&task.previously_assigned_to)?,
                assigner: parse_id(&task.assigned_by)?,
                watchers: parse_ids(&task.watcher_ids)?,
                ..none
            };
            (participants, Some(parse_task_id(&task.task_id)?))
        }
    };
    Ok(Some(routing::Event { kind, actor_id: parse_id(&event.actor_id)?, task_id, participants }))
}

/// The task id of a payload, which must have one.
fn parse_task_id(task_id: &str) -> Result<Uuid> {
    parse_id(task_id)?.ok_or_else(|| Error::internal("the event has no task id"))
}

/// Parses a user or task id; `None` when it is empty.
fn parse_id(text: &str) -> Result<Option<Uuid>> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(Error::internal) }
}

/// Parses a list of user ids, skipping empty ones.
fn parse_ids(texts: &[String]) -> Result<Vec<Uuid>> {
    texts.iter().filter_map(|text| parse_id(text).transpose()).collect()
}
