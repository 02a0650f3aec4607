//! Routes events to recipients: which event types notify whom.

use baton_catalog::{EventType, Payload};
use baton_errors::{Error, Result};
use baton_proto::baton::{events::v1::Envelope, task::v1::TaskEvent};
use uuid::Uuid;

use crate::notification_type::NotificationType;

/// The notification that an event causes, with its recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) kind: NotificationType,
    /// User ids without duplicates and without the actor.
    pub(crate) recipients: Vec<Uuid>,
    /// The task that the event is about, if any.
    pub(crate) task_id: Option<Uuid>,
    /// The user who caused the event; `None` for the platform.
    pub(crate) actor_id: Option<Uuid>,
}

/// Whether events of this type cause notifications.
pub(crate) fn is_notifiable(kind: EventType) -> bool {
    notification_type(kind).is_some()
}

/// The notification type of an event type.
fn notification_type(kind: EventType) -> Option<NotificationType> {
    Some(match kind {
        EventType::TaskAssigned => NotificationType::TaskAssigned,
        EventType::TaskReassigned => NotificationType::TaskReassigned,
        EventType::TaskCompleted => NotificationType::TaskCompleted,
        EventType::TaskAccepted => NotificationType::TaskAccepted,
        EventType::TaskRejected => NotificationType::TaskRejected,
        EventType::MemberInvited | EventType::MemberJoined => NotificationType::Invited,
        EventType::AccountUsageWarning => NotificationType::UsageWarning,
        EventType::TaskDueSoon => NotificationType::TaskDueSoon,
        EventType::TaskOverdue => NotificationType::TaskOverdue,
        EventType::ReminderFired => NotificationType::TaskReminder,
        EventType::SeriesPaused => NotificationType::SeriesPaused,
        EventType::CommentMentioned => NotificationType::Mentioned,
        EventType::CommentCreated => NotificationType::Commented,
        EventType::TaskCanceled => NotificationType::TaskCanceled,
        EventType::TaskReopened => NotificationType::TaskReopened,
        EventType::TaskRestored => NotificationType::TaskRestored,
        _ => return None,
    })
}

/// Determines the recipients of an event; `None` when its type causes no notifications.
///
/// # Errors
/// INTERNAL when the payload does not match the event type.
pub(crate) fn route(event: &Envelope) -> Result<Option<Notice>> {
    let Some(kind) = EventType::of(event).and_then(notification_type) else { return Ok(None) };
    let Some(payload) = Payload::decode(event).map_err(Error::internal)? else { return Ok(None) };
    // Usage warnings have no actor: owners get them even if their own action used up the quota.
    let actor_id = parse_id(&event.actor_id)?.filter(|_| kind != NotificationType::UsageWarning);
    let (candidates, task_id) = match payload {
        Payload::MemberInvited(member) => (vec![member.user_id], None),
        Payload::MemberJoined(member) => (vec![member.invited_by], None),
        Payload::AccountUsageWarning(warning) => (warning.owner_ids, None),
        Payload::ReminderFired(reminder) | Payload::SeriesPaused(reminder) => {
            (vec![reminder.user_id], Some(parse_task_id(&reminder.task_id)?))
        }
        // The task service lists only users who may see the task. Mentioned users are not in `watcher_ids`.
        Payload::CommentMentioned(mention) => (mention.user_ids, Some(parse_task_id(&mention.task_id)?)),
        Payload::CommentCreated(comment) => (comment.watcher_ids, Some(parse_task_id(&comment.task_id)?)),
        payload => {
            let Some(task) = payload.into_task() else { return Ok(None) };
            let task_id = parse_task_id(&task.task_id)?;
            let candidates = match kind {
                NotificationType::TaskAssigned => vec![task.assigned_to],
                NotificationType::TaskReassigned => vec![task.assigned_to, task.previously_assigned_to],
                NotificationType::TaskCompleted => vec![task.created_by, task.assigned_by],
                NotificationType::TaskDueSoon => vec![assignee_or_creator(task)],
                NotificationType::TaskOverdue => vec![task.assigned_by.clone(), assignee_or_creator(task)],
                NotificationType::TaskCanceled | NotificationType::TaskReopened | NotificationType::TaskRestored => {
                    [task.created_by, task.assigned_to].into_iter().chain(task.watcher_ids).collect()
                }
                _ => vec![task.assigned_by],
            };
            (candidates, Some(task_id))
        }
    };
    let mut recipients = Vec::with_capacity(candidates.len());
    for recipient in candidates {
        match parse_id(&recipient)? {
            Some(recipient) if Some(recipient) != actor_id && !recipients.contains(&recipient) => {
                recipients.push(recipient)
            }
            _ => {}
        }
    }
    Ok(Some(Notice { kind, recipients, task_id, actor_id }))
}

/// The assignee, or the creator while the task is unassigned.
fn assignee_or_creator(task: TaskEvent) -> String {
    if task.assigned_to.is_empty() { task.created_by } else { task.assigned_to }
}

/// The task id of a payload, which must have one.
fn parse_task_id(task_id: &str) -> Result<Uuid> {
    parse_id(task_id)?.ok_or_else(|| Error::internal("the event has no task id"))
}

/// Parses a user or task id; `None` when it is empty.
fn parse_id(text: &str) -> Result<Option<Uuid>> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(Error::internal) }
}

#[cfg(test)]
mod tests {
    use baton_proto::baton::{
        task::v1::{CommentEvent, MentionEvent, ReminderEvent},
        tenancy::v1::{MemberEvent, UsageWarning},
    };
    use proptest::prelude::*;
    use prost::Name;
    use prost_types::Any;

    use super::*;

    const TASK: Uuid = Uuid::from_u128(100);

    fn user_id() -> impl Strategy<Value = Option<Uuid>> {
        // Few ids, so that roles often coincide.
        proptest::option::of((1u128..5).prop_map(Uuid::from_u128))
    }

    fn text(id: Option<Uuid>) -> String {
        id.map(|id| id.to_string()).unwrap_or_default()
    }

    fn event(kind: &str, actor: Option<Uuid>, payload: &impl Name) -> Envelope {
        Envelope {
            r#type: kind.to_owned(),
            actor_id: text(actor),
            payload: Some(Any::from_msg(payload).unwrap()),
            ..Envelope::default()
        }
    }

    proptest! {
        #[test]
        fn each_recipient_is_notified_once_and_the_actor_is_not(
            actor in user_id(), assignee in user_id(), previous in user_id(), creator in user_id(),
            assigner in user_id(), watcher in user_id(),
        ) {
            let task = TaskEvent {
                task_id: TASK.to_string(),
                created_by: text(creator),
                assigned_to: text(assignee),
                previously_assigned_to: text(previous),
                assigned_by: text(assigner),
                watcher_ids: vec![text(watcher)],
                ..TaskEvent::default()
            };
            for (kind, expected_type, candidates) in [
                ("task.assigned", NotificationType::TaskAssigned, vec![assignee]),
                ("task.reassigned", NotificationType::TaskReassigned, vec![assignee, previous]),
                ("task.completed", NotificationType::TaskCompleted, vec![creator, assigner]),
                ("task.accepted", NotificationType::TaskAccepted, vec![assigner]),
                ("task.rejected", NotificationType::TaskRejected, vec![assigner]),
                ("task.due_soon", NotificationType::TaskDueSoon, vec![assignee.or(creator)]),
                ("task.overdue", NotificationType::TaskOverdue, vec![assignee.or(creator), assigner]),
                ("task.canceled", NotificationType::TaskCanceled, vec![creator, assignee, watcher]),
                ("task.reopened", NotificationType::TaskReopened, vec![creator, assignee, watcher]),
                ("task.restored", NotificationType::TaskRestored, vec![creator, assignee, watcher]),
            ] {
                let notice = route(&event(kind, actor, &task)).unwrap().unwrap();
                prop_assert_eq!((notice.kind, notice.task_id, notice.actor_id), (expected_type, Some(TASK), actor));
                let mut expected: Vec<Uuid> =
                    candidates.into_iter().flatten().filter(|&id| Some(id) != actor).collect();
                expected.sort();
                expected.dedup();
                let mut recipients = notice.recipients;
                recipients.sort();
                prop_assert_eq!(recipients, expected, "{}", kind);
            }
        }
    }

    #[test]
    fn an_invitation_notifies_a_registered_invitee_and_joining_notifies_the_inviter() {
        let [inviter, invitee] = [1, 2].map(Uuid::from_u128);
        let member = |user: Option<Uuid>| MemberEvent {
            user_id: text(user),
            invited_by: inviter.to_string(),
            ..MemberEvent::default()
        };
        let recipients =
            |kind, actor, user| route(&event(kind, Some(actor), &member(user))).unwrap().unwrap().recipients;
        assert_eq!(recipients("member.invited", inviter, Some(invitee)), [invitee]);
        assert!(recipients("member.invited", inviter, None).is_empty());
        assert_eq!(recipients("member.joined", invitee, Some(invitee)), [inviter]);
    }

    #[test]
    fn a_reminder_and_a_paused_series_notify_their_user() {
        let user = Uuid::from_u128(1);
        let reminder =
            ReminderEvent { task_id: TASK.to_string(), user_id: text(Some(user)), ..ReminderEvent::default() };
        for (kind, expected) in
            [("reminder.fired", NotificationType::TaskReminder), ("series.paused", NotificationType::SeriesPaused)]
        {
            let notice = route(&event(kind, None, &reminder)).unwrap().unwrap();
            assert_eq!((notice.kind, notice.recipients, notice.task_id), (expected, vec![user], Some(TASK)));
            assert!(route(&event(kind, None, &ReminderEvent::default())).is_err());
        }
        assert!(!is_notifiable(EventType::ReminderCreated), "the actor is the only person concerned");
    }

    #[test]
    fn a_usage_warning_notifies_all_owners_including_the_actor() {
        let [owner, other] = [1, 2].map(Uuid::from_u128);
        let warning = UsageWarning { owner_ids: vec![text(Some(owner)), text(Some(other))], ..UsageWarning::default() };
        let notice = route(&event("account.usage_warning", Some(owner), &warning)).unwrap().unwrap();
        assert_eq!(
            (notice.kind, notice.recipients, notice.actor_id),
            (NotificationType::UsageWarning, vec![owner, other], None)
        );
    }

    #[test]
    fn a_comment_notifies_mentioned_users_and_watchers_but_not_its_author() {
        let [author, mentioned, watcher] = [1, 2, 3].map(Uuid::from_u128);
        let texts = |ids: &[Uuid]| ids.iter().map(Uuid::to_string).collect();
        let mention = MentionEvent {
            task_id: TASK.to_string(),
            user_ids: texts(&[author, mentioned, mentioned]),
            ..MentionEvent::default()
        };
        let notice = route(&event("comment.mentioned", Some(author), &mention)).unwrap().unwrap();
        assert_eq!(
            (notice.kind, notice.recipients, notice.task_id),
            (NotificationType::Mentioned, vec![mentioned], Some(TASK))
        );
        let comment = CommentEvent {
            task_id: TASK.to_string(),
            author_id: author.to_string(),
            watcher_ids: texts(&[watcher]),
            ..CommentEvent::default()
        };
        let notice = route(&event("comment.created", Some(author), &comment)).unwrap().unwrap();
        assert_eq!(
            (notice.kind, notice.recipients, notice.task_id),
            (NotificationType::Commented, vec![watcher], Some(TASK))
        );
        for kind in ["comment.updated", "comment.deleted", "reaction.added", "watcher.added"] {
            assert!(!is_notifiable(EventType::from_name(kind).unwrap()), "{kind}");
        }
        assert!(route(&event("comment.created", None, &CommentEvent::default())).is_err(), "no task id");
    }

    #[test]
    fn other_events_are_ignored_and_malformed_ones_fail() {
        let task = TaskEvent { task_id: TASK.to_string(), ..TaskEvent::default() };
        for kind in ["task.created", "task.started", "member.removed", "notification.created"] {
            assert!(!is_notifiable(EventType::from_name(kind).unwrap()), "{kind}");
            assert_eq!(route(&event(kind, None, &task)).unwrap(), None);
        }
        assert!(is_notifiable(EventType::TaskAssigned));
        // A payload of another type, no payload, no task id, and an id that is no UUID.
        assert!(route(&event("task.assigned", None, &MemberEvent::default())).is_err());
        assert!(route(&Envelope { payload: None, ..event("task.assigned", None, &task) }).is_err());
        assert!(route(&event("task.assigned", None, &TaskEvent::default())).is_err());
        let malformed = TaskEvent { assigned_to: "somebody".to_owned(), ..task };
        assert!(route(&event("task.assigned", None, &malformed)).is_err());
    }
}
