use baton_proto::baton::{
    task::v1::{CommentEvent, MentionEvent, ReminderEvent, TaskEvent},
    tenancy::v1::{MemberEvent, UsageWarning},
};
use proptest::prelude::*;
use prost::Name;
use prost_types::Any;

use super::*;
use crate::{notification_type::NotificationType, routing::is_notifiable};

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
    let recipients = |kind, actor, user| route(&event(kind, Some(actor), &member(user))).unwrap().unwrap().recipients;
    assert_eq!(recipients("member.invited", inviter, Some(invitee)), [invitee]);
    assert!(recipients("member.invited", inviter, None).is_empty());
    assert_eq!(recipients("member.joined", invitee, Some(invitee)), [inviter]);
}

#[test]
fn a_reminder_and_a_paused_series_notify_their_user() {
    let user = Uuid::from_u128(1);
    let reminder = ReminderEvent { task_id: TASK.to_string(), user_id: text(Some(user)), ..ReminderEvent::default() };
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
