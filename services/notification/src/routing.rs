//! Routes events to recipients: which event types notify whom.

use baton_catalog::EventType;
use uuid::Uuid;

use crate::notification_type::NotificationType;

/// An event, reduced to what decides on its recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: EventType,
    /// The user who caused the event; `None` for the platform.
    pub(crate) actor_id: Option<Uuid>,
    /// The task that the event is about, if any.
    pub(crate) task_id: Option<Uuid>,
    pub(crate) participants: Participants,
}

/// The users that an event names, by their part in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Participants {
    /// The invited user, or the owner of the reminder or series.
    pub(crate) user: Option<Uuid>,
    pub(crate) inviter: Option<Uuid>,
    /// Creator of the task.
    pub(crate) creator: Option<Uuid>,
    pub(crate) assignee: Option<Uuid>,
    pub(crate) previous_assignee: Option<Uuid>,
    pub(crate) assigner: Option<Uuid>,
    /// Watchers who may see the task. Those of a comment exclude the mentioned users.
    pub(crate) watchers: Vec<Uuid>,
    /// Mentioned users who may see the task.
    pub(crate) mentioned: Vec<Uuid>,
    /// Owners of the account.
    pub(crate) owners: Vec<Uuid>,
}

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
pub(crate) fn route(event: Event) -> Option<Notice> {
    let kind = notification_type(event.kind)?;
    // Usage warnings have no actor: owners get them even if their own action used up the quota.
    let actor_id = event.actor_id.filter(|_| kind != NotificationType::UsageWarning);
    let mut recipients = Vec::new();
    for user_id in candidates(event.kind, event.participants) {
        if Some(user_id) != actor_id && !recipients.contains(&user_id) {
            recipients.push(user_id);
        }
    }
    Some(Notice { kind, recipients, task_id: event.task_id, actor_id })
}

/// The users whom an event concerns. May contain duplicates and the actor.
fn candidates(kind: EventType, participants: Participants) -> Vec<Uuid> {
    let Participants { user, inviter, creator, assignee, previous_assignee, assigner, .. } = participants;
    let (users, more) = match kind {
        EventType::MemberInvited | EventType::ReminderFired | EventType::SeriesPaused => ([user, None], Vec::new()),
        EventType::MemberJoined => ([inviter, None], Vec::new()),
        EventType::AccountUsageWarning => ([None, None], participants.owners),
        EventType::CommentMentioned => ([None, None], participants.mentioned),
        EventType::CommentCreated => ([None, None], participants.watchers),
        EventType::TaskAssigned => ([assignee, None], Vec::new()),
        EventType::TaskReassigned => ([assignee, previous_assignee], Vec::new()),
        EventType::TaskCompleted => ([creator, assigner], Vec::new()),
        EventType::TaskDueSoon => ([assignee.or(creator), None], Vec::new()),
        EventType::TaskOverdue => ([assigner, assignee.or(creator)], Vec::new()),
        EventType::TaskCanceled | EventType::TaskReopened | EventType::TaskRestored => {
            ([creator, assignee], participants.watchers)
        }
        _ => ([assigner, None], Vec::new()),
    };
    users.into_iter().flatten().chain(more).collect()
}
