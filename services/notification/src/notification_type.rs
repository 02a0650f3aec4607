//! Notification types, with their titles and links.

use uuid::Uuid;

/// Why a notification was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotificationType {
    TaskAssigned,
    TaskReassigned,
    TaskCompleted,
    Invited,
    TaskAccepted,
    TaskRejected,
    UsageWarning,
    TaskDueSoon,
    TaskOverdue,
    TaskReminder,
    SeriesPaused,
    Mentioned,
    Commented,
    TaskCanceled,
    TaskReopened,
    TaskRestored,
    Message,
}

impl NotificationType {
    pub(crate) const ALL: [Self; 17] = [
        Self::TaskAssigned,
        Self::TaskReassigned,
        Self::TaskCompleted,
        Self::Invited,
        Self::TaskAccepted,
        Self::TaskRejected,
        Self::UsageWarning,
        Self::TaskDueSoon,
        Self::TaskOverdue,
        Self::TaskReminder,
        Self::SeriesPaused,
        Self::Mentioned,
        Self::Commented,
        Self::TaskCanceled,
        Self::TaskReopened,
        Self::TaskRestored,
        Self::Message,
    ];

    /// The name that the database stores.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TaskAssigned => "task_assigned",
            Self::TaskReassigned => "task_reassigned",
            Self::TaskCompleted => "task_completed",
            Self::Invited => "invited",
            Self::TaskAccepted => "task_accepted",
            Self::TaskRejected => "task_rejected",
            Self::UsageWarning => "usage_warning",
            Self::TaskDueSoon => "task_due_soon",
            Self::TaskOverdue => "task_overdue",
            Self::TaskReminder => "task_reminder",
            Self::SeriesPaused => "series_paused",
            Self::Mentioned => "mentioned",
            Self::Commented => "commented",
            Self::TaskCanceled => "task_canceled",
            Self::TaskReopened => "task_reopened",
            Self::TaskRestored => "task_restored",
            Self::Message => "message",
        }
    }

    /// The type with this stored name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The notification's title, one line of English.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::TaskAssigned => "A task was assigned to you",
            Self::TaskReassigned => "A task of yours was reassigned",
            Self::TaskCompleted => "A task of yours was completed",
            Self::Invited => "There is news of an invitation",
            Self::TaskAccepted => "A task that you handed over was accepted",
            Self::TaskRejected => "A task that you handed over was rejected and is yours again",
            Self::UsageWarning => "A quota of your account is nearly, or fully, used up",
            Self::TaskDueSoon => "A task of yours is due within a day",
            Self::TaskOverdue => "A task of yours is overdue",
            Self::TaskReminder => "You wanted to be reminded of a task",
            Self::SeriesPaused => "A recurring task waits until you have fewer open tasks",
            Self::Mentioned => "You were mentioned in a comment",
            Self::Commented => "There is a new comment on a task that you watch",
            Self::TaskCanceled => "A task that you have to do with was canceled",
            Self::TaskReopened => "A task that you have to do with is open again",
            Self::TaskRestored => "A task that you have to do with was taken out of the trash",
            Self::Message => "A rule has a message for you",
        }
    }

    /// API path of the subject: the task, or else the usage or the members of the account.
    pub(crate) fn action_url(self, account_id: Uuid, task_id: Option<Uuid>) -> String {
        let account = |what| format!("/v1/accounts/{account_id}/{what}");
        match (self, task_id) {
            (_, Some(id)) => format!("/v1/tasks/{id}"),
            (Self::UsageWarning, None) => account("usage"),
            (_, None) => account("members"),
        }
    }
}
