//! Who is told of what.

use baton_errors::{Error, Result};
use baton_proto::baton::{
    events::v1::Envelope,
    task::v1::{CommentEvent, MentionEvent, ReminderEvent, TaskEvent},
    tenancy::v1::{MemberEvent, UsageWarning},
};
use prost::Name;
use uuid::Uuid;

use crate::kind::Kind;

/// What an event makes people know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    /// What they are told.
    pub(crate) kind: Kind,
    /// Whom; each once, never who did it.
    pub(crate) readers: Vec<Uuid>,
    /// The task that it is about, if one.
    pub(crate) task_id: Option<Uuid>,
    /// Who did it, if a person.
    pub(crate) actor_id: Option<Uuid>,
}

/// Whether anybody is told of events of this type.
pub(crate) fn concerns(event: &str) -> bool {
    kind_of(event).is_some()
}

fn kind_of(event: &str) -> Option<Kind> {
    Some(match event {
        "task.assigned" => Kind::TaskAssigned,
        "task.reassigned" => Kind::TaskReassigned,
        "task.completed" => Kind::TaskCompleted,
        "task.accepted" => Kind::TaskAccepted,
        "task.rejected" => Kind::TaskRejected,
        "member.invited" | "member.joined" => Kind::Invited,
        "account.usage_warning" => Kind::UsageWarning,
        "task.due_soon" => Kind::TaskDueSoon,
        "task.overdue" => Kind::TaskOverdue,
        "reminder.fired" => Kind::TaskReminder,
        "series.paused" => Kind::SeriesPaused,
        "comment.mentioned" => Kind::Mentioned,
        "comment.created" => Kind::Commented,
        "task.canceled" => Kind::TaskCanceled,
        "task.reopened" => Kind::TaskReopened,
        "task.restored" => Kind::TaskRestored,
        _ => return None,
    })
}

/// What an event makes people know; `None` when nobody is told of its type.
///
/// # Errors
/// INTERNAL when the event is not what its type promises.
pub(crate) fn news(event: &Envelope) -> Result<Option<News>> {
    let Some(kind) = kind_of(&event.r#type) else { return Ok(None) };
    // What makes a quota run out may be an owner's own deed: they are told all the same.
    let actor_id = id(&event.actor_id)?.filter(|_| kind != Kind::UsageWarning);
    let (readers, task_id) = match event.r#type.as_str() {
        "member.invited" => (vec![payload::<MemberEvent>(event)?.user_id], None),
        "member.joined" => (vec![payload::<MemberEvent>(event)?.invited_by], None),
        "account.usage_warning" => (payload::<UsageWarning>(event)?.owner_ids, None),
        "reminder.fired" | "series.paused" => {
            let reminder = payload::<ReminderEvent>(event)?;
            (vec![reminder.user_id], Some(named_task(&reminder.task_id)?))
        }
        // Who sees the task is among them, and nobody else; nobody is in both.
        "comment.mentioned" => {
            let mention = payload::<MentionEvent>(event)?;
            (mention.user_ids, Some(named_task(&mention.task_id)?))
        }
        "comment.created" => {
            let comment = payload::<CommentEvent>(event)?;
            (comment.watcher_ids, Some(named_task(&comment.task_id)?))
        }
        _ => {
            let task = payload::<TaskEvent>(event)?;
            let task_id = named_task(&task.task_id)?;
            let readers = match kind {
                Kind::TaskAssigned => vec![task.assigned_to],
                Kind::TaskReassigned => vec![task.assigned_to, task.previously_assigned_to],
                Kind::TaskCompleted => vec![task.created_by, task.assigned_by],
                Kind::TaskDueSoon => vec![worker(task)],
                Kind::TaskOverdue => vec![task.assigned_by.clone(), worker(task)],
                Kind::TaskCanceled | Kind::TaskReopened | Kind::TaskRestored => {
                    [task.created_by, task.assigned_to].into_iter().chain(task.watcher_ids).collect()
                }
                _ => vec![task.assigned_by],
            };
            (readers, Some(task_id))
        }
    };
    let mut told = Vec::with_capacity(readers.len());
    for reader in readers {
        match id(&reader)? {
            Some(reader) if Some(reader) != actor_id && !told.contains(&reader) => told.push(reader),
            _ => {}
        }
    }
    Ok(Some(News { kind, readers: told, task_id, actor_id }))
}

/// Whose work it is: the holder's, or the creator's while nobody holds it.
fn worker(task: TaskEvent) -> String {
    if task.assigned_to.is_empty() { task.created_by } else { task.assigned_to }
}

fn named_task(task_id: &str) -> Result<Uuid> {
    id(task_id)?.ok_or_else(|| Error::internal("the event names no task"))
}

fn payload<M: Name + Default>(event: &Envelope) -> Result<M> {
    let payload = event.payload.as_ref().ok_or_else(|| Error::internal("the event has no payload"))?;
    payload.to_msg().map_err(Error::internal)
}

/// An id of an event; empty for nobody.
fn id(text: &str) -> Result<Option<Uuid>> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(Error::internal) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost_types::Any;

    use super::*;

    const TASK: Uuid = Uuid::from_u128(100);

    fn person() -> impl Strategy<Value = Option<Uuid>> {
        // Few people, so that they are often the same one.
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
        fn everyone_concerned_is_told_once_and_nobody_of_their_own_deeds(
            actor in person(), holder in person(), before in person(), creator in person(), giver in person(),
            watcher in person(),
        ) {
            let task = TaskEvent {
                task_id: TASK.to_string(),
                created_by: text(creator),
                assigned_to: text(holder),
                previously_assigned_to: text(before),
                assigned_by: text(giver),
                watcher_ids: vec![text(watcher)],
                ..TaskEvent::default()
            };
            for (kind, expected, concerned) in [
                ("task.assigned", Kind::TaskAssigned, vec![holder]),
                ("task.reassigned", Kind::TaskReassigned, vec![holder, before]),
                ("task.completed", Kind::TaskCompleted, vec![creator, giver]),
                ("task.accepted", Kind::TaskAccepted, vec![giver]),
                ("task.rejected", Kind::TaskRejected, vec![giver]),
                ("task.due_soon", Kind::TaskDueSoon, vec![holder.or(creator)]),
                ("task.overdue", Kind::TaskOverdue, vec![holder.or(creator), giver]),
                ("task.canceled", Kind::TaskCanceled, vec![creator, holder, watcher]),
                ("task.reopened", Kind::TaskReopened, vec![creator, holder, watcher]),
                ("task.restored", Kind::TaskRestored, vec![creator, holder, watcher]),
            ] {
                let news = news(&event(kind, actor, &task)).unwrap().unwrap();
                prop_assert_eq!((news.kind, news.task_id, news.actor_id), (expected, Some(TASK), actor));
                let mut concerned: Vec<Uuid> = concerned.into_iter().flatten().filter(|&id| Some(id) != actor).collect();
                concerned.sort();
                concerned.dedup();
                let mut told = news.readers;
                told.sort();
                prop_assert_eq!(told, concerned, "{}", kind);
            }
        }
    }

    #[test]
    fn an_invitation_tells_the_invited_once_known_and_joining_the_inviter() {
        let [inviter, invited] = [1, 2].map(Uuid::from_u128);
        let member = |user: Option<Uuid>| MemberEvent {
            user_id: text(user),
            invited_by: inviter.to_string(),
            ..MemberEvent::default()
        };
        let told = |kind, actor, user| news(&event(kind, Some(actor), &member(user))).unwrap().unwrap().readers;
        assert_eq!(told("member.invited", inviter, Some(invited)), [invited]);
        assert!(told("member.invited", inviter, None).is_empty());
        assert_eq!(told("member.joined", invited, Some(invited)), [inviter]);
    }

    #[test]
    fn a_reminder_tells_its_maker_and_a_series_that_waits_its_creator() {
        let me = Uuid::from_u128(1);
        let reminder = ReminderEvent { task_id: TASK.to_string(), user_id: text(Some(me)), ..ReminderEvent::default() };
        for (kind, expected) in [("reminder.fired", Kind::TaskReminder), ("series.paused", Kind::SeriesPaused)] {
            let told = news(&event(kind, None, &reminder)).unwrap().unwrap();
            assert_eq!((told.kind, told.readers, told.task_id), (expected, vec![me], Some(TASK)));
            assert!(news(&event(kind, None, &ReminderEvent::default())).is_err());
        }
        assert!(!concerns("reminder.created"), "nobody is told of what they did themselves");
    }

    #[test]
    fn all_owners_are_told_of_a_quota_even_who_used_it_up() {
        let [owner, other] = [1, 2].map(Uuid::from_u128);
        let warning = UsageWarning { owner_ids: vec![text(Some(owner)), text(Some(other))], ..UsageWarning::default() };
        let told = news(&event("account.usage_warning", Some(owner), &warning)).unwrap().unwrap();
        assert_eq!((told.kind, told.readers, told.actor_id), (Kind::UsageWarning, vec![owner, other], None));
    }

    #[test]
    fn a_comment_tells_whom_it_names_and_who_watches_but_not_its_author() {
        let [author, named, watcher] = [1, 2, 3].map(Uuid::from_u128);
        let texts = |ids: &[Uuid]| ids.iter().map(Uuid::to_string).collect();
        let mention = MentionEvent {
            task_id: TASK.to_string(),
            user_ids: texts(&[author, named, named]),
            ..MentionEvent::default()
        };
        let told = news(&event("comment.mentioned", Some(author), &mention)).unwrap().unwrap();
        assert_eq!((told.kind, told.readers, told.task_id), (Kind::Mentioned, vec![named], Some(TASK)));
        let comment = CommentEvent {
            task_id: TASK.to_string(),
            author_id: author.to_string(),
            watcher_ids: texts(&[watcher]),
            ..CommentEvent::default()
        };
        let told = news(&event("comment.created", Some(author), &comment)).unwrap().unwrap();
        assert_eq!((told.kind, told.readers, told.task_id), (Kind::Commented, vec![watcher], Some(TASK)));
        for kind in ["comment.updated", "comment.deleted", "reaction.added", "watcher.added"] {
            assert!(!concerns(kind));
        }
        assert!(news(&event("comment.created", None, &CommentEvent::default())).is_err(), "it names no task");
    }

    #[test]
    fn other_events_concern_nobody_and_false_ones_are_refused() {
        let task = TaskEvent { task_id: TASK.to_string(), ..TaskEvent::default() };
        for kind in ["task.created", "task.started", "member.removed", "notification.created"] {
            assert!(!concerns(kind));
            assert_eq!(news(&event(kind, None, &task)).unwrap(), None);
        }
        assert!(concerns("task.assigned"));
        // The payload of another type, none at all, and ids that are none.
        assert!(news(&event("task.assigned", None, &MemberEvent::default())).is_err());
        assert!(news(&Envelope { payload: None, ..event("task.assigned", None, &task) }).is_err());
        assert!(news(&event("task.assigned", None, &TaskEvent::default())).is_err());
        let odd = TaskEvent { assigned_to: "somebody".to_owned(), ..task };
        assert!(news(&event("task.assigned", None, &odd)).is_err());
    }
}
