//! Conversions of notifications to the contract.

use baton_proto::{baton::notification::v1 as proto, convert::timestamp};

use crate::{notification::Notification, notification_type::NotificationType};

impl From<Notification> for proto::Notification {
    fn from(notification: Notification) -> Self {
        let Notification { kind, account_id, task_id, .. } = notification;
        Self {
            id: notification.id.to_string(),
            account_id: account_id.to_string(),
            r#type: notification_type(kind).into(),
            title: kind.title().to_owned(),
            task_id: task_id.map(|id| id.to_string()),
            actor_id: notification.actor_id.map(|id| id.to_string()),
            action_url: kind.action_url(account_id, task_id),
            read_at: notification.read_at.map(timestamp),
            created_at: Some(timestamp(notification.created_at)),
            text: notification.text,
        }
    }
}

/// The contract's value of a notification type.
pub(crate) fn notification_type(kind: NotificationType) -> proto::NotificationType {
    match kind {
        NotificationType::TaskAssigned => proto::NotificationType::TaskAssigned,
        NotificationType::TaskReassigned => proto::NotificationType::TaskReassigned,
        NotificationType::TaskCompleted => proto::NotificationType::TaskCompleted,
        NotificationType::Invited => proto::NotificationType::Invited,
        NotificationType::TaskAccepted => proto::NotificationType::TaskAccepted,
        NotificationType::TaskRejected => proto::NotificationType::TaskRejected,
        NotificationType::UsageWarning => proto::NotificationType::UsageWarning,
        NotificationType::TaskDueSoon => proto::NotificationType::TaskDueSoon,
        NotificationType::TaskOverdue => proto::NotificationType::TaskOverdue,
        NotificationType::TaskReminder => proto::NotificationType::TaskReminder,
        NotificationType::SeriesPaused => proto::NotificationType::SeriesPaused,
        NotificationType::Mentioned => proto::NotificationType::Mentioned,
        NotificationType::Commented => proto::NotificationType::Commented,
        NotificationType::TaskCanceled => proto::NotificationType::TaskCanceled,
        NotificationType::TaskReopened => proto::NotificationType::TaskReopened,
        NotificationType::TaskRestored => proto::NotificationType::TaskRestored,
        NotificationType::Message => proto::NotificationType::Message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contract_type_has_a_domain_type_with_its_name() {
        for number in 1.. {
            let Ok(known) = proto::NotificationType::try_from(number) else { break };
            let kind = NotificationType::ALL.into_iter().find(|&kind| notification_type(kind) == known).unwrap();
            assert_eq!(known.as_str_name(), format!("NOTIFICATION_TYPE_{}", kind.name().to_uppercase()));
            assert_eq!(NotificationType::from_name(kind.name()), Some(kind));
        }
        assert_eq!(NotificationType::from_name("nonsense"), None);
    }
}
