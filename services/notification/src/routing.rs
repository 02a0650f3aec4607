//! Routes events to recipients: which event types notify whom.

use baton_errors::{Error, Result};
use baton_proto::baton::{
    events::v1::Envelope,
    task::v1::{CommentEvent, MentionEvent, ReminderEvent, TaskEvent},
    tenancy::v1::{MemberEvent, UsageWarning},
};
use prost::Name;
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
pub(crate) fn is_notifiable(event: &str) -> bool {
    type_of(event).is_some()
}

/// The notification type of an event type.
fn type_of(event: &str) -> Option<NotificationType> {
    Some(match event {
        "task.assigned" => NotificationType::TaskAssigned,
        "task.reassigned" => NotificationType::TaskReassigned,
        "task.completed" => NotificationType::TaskCompleted,
        "task.accepted" => NotificationType::TaskAccepted,
        "task.rejected" => NotificationType::TaskRejected,
        "member.invited" | "member.joined" => NotificationType::Invited,
        "account.usage_warning" => NotificationType::UsageWarning,
        "task.due_soon" => NotificationType::TaskDueSoon,
        "task.overdue" => NotificationType::TaskOverdue,
        "reminder.fired" => NotificationType::TaskReminder,
        "series.paused" => NotificationType::SeriesPaused,
        "comment.mentioned" => NotificationType::Mentioned,
        "comment.created" => NotificationType::Commented,
        "task.canceled" => NotificationType::TaskCanceled,
        "task.reopened" => NotificationType::TaskReopened,
        "task.restored" => NotificationType::TaskRestored,
        _ => return None,
    })
}

/// Determines the recipients of an event; `None` when its type causes no notifications.
///
/// # Errors
/// INTERNAL when the payload does not match the event type.
pub(crate) fn route(event: &Envelope) -> Result<Option<Notice>> {
    let Some(kind) = type_of(&event.r#type) else { return Ok(None) };
    // Usage warnings have no actor: owners get them even if their own action used up the quota.
    let actor_id = parse_id(&event.actor_id)?.filter(|_| kind != NotificationType::UsageWarning);
    let (candidates, task_id) = match event.r#type.as_str() {
        "member.invited" => (vec![payload::<MemberEvent>(event)?.user_id], None),
        "member.joined" => (vec![payload::<MemberEvent>(event)?.invited_by], None),
        "account.usage_warning" => (payload::<UsageWarning>(event)?.owner_ids, None),
        "reminder.fired" | "series.paused" => {
            let reminder = payload::<ReminderEvent>(event)?;
            (vec![reminder.user_id], Some(parse_task_id(&reminder.task_id)?))
        }
        // The task service lists only users who may see the task. Mentioned users are not in `watcher_ids`.
        "comment.mentioned" => {
            let mention = payload::<MentionEvent>(event)?;
            (mention.user_ids, Some(parse_task_id(&mention.task_id)?))
        }
        "comment.created" => {
            let comment = payload::<CommentEvent>(event)?;
            (comment.watcher_ids, Some(parse_task_id(&comment.task_id)?))
        }
        _ => {
            let task = payload::<TaskEvent>(event)?;
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

/// Decodes the payload as the message `M`.
fn payload<M: Name + Default>(event: &Envelope) -> Result<M> {
    let payload = event.payload.as_ref().ok_or_else(|| Error::internal("the event has no payload"))?;
    payload.to_msg().map_err(Error::internal)
}

/// Parses a user or task id; `None` when it is empty.
fn parse_id(text: &str) -> Result<Option<Uuid>> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(Error::internal) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
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
        assert!(!is_notifiable("reminder.created"), "the actor is the only person concerned");
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
            assert!(!is_notifiable(kind));
        }
        assert!(route(&event("comment.created", None, &CommentEvent::default())).is_err(), "no task id");
    }

    #[test]
    fn other_events_are_ignored_and_malformed_ones_fail() {
        let task = TaskEvent { task_id: TASK.to_string(), ..TaskEvent::default() };
        for kind in ["task.created", "task.started", "member.removed", "notification.created"] {
            assert!(!is_notifiable(kind));
            assert_eq!(route(&event(kind, None, &task)).unwrap(), None);
        }
        assert!(is_notifiable("task.assigned"));
        // A payload of another type, no payload, no task id, and an id that is no UUID.
        assert!(route(&event("task.assigned", None, &MemberEvent::default())).is_err());
        assert!(route(&Envelope { payload: None, ..event("task.assigned", None, &task) }).is_err());
        assert!(route(&event("task.assigned", None, &TaskEvent::default())).is_err());
        let malformed = TaskEvent { assigned_to: "somebody".to_owned(), ..task };
        assert!(route(&event("task.assigned", None, &malformed)).is_err());
    }
}
