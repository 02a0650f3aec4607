//! Collects the timers and series instances that a batch of task changes requires. `application/writer.rs` passes every
//! change, and writes the follow-ups in the same transaction; `application/scheduler.rs` fires the timers.

use baton_errors::Result;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    schedule::{
        series::{self, Instance},
        timer::{Timer, TimerKind},
    },
    task::Task,
};

/// Lead time of `task.due_soon`.
const DUE_SOON_LEAD: TimeDelta = TimeDelta::days(1);

/// Collected timers and instances.
#[derive(Debug, Default)]
pub(crate) struct FollowUps {
    pub(crate) timers: Vec<Timer>,
    /// Tasks with new due times, which their reminders follow.
    pub(crate) due: Vec<(Uuid, DateTime<Utc>)>,
    pub(crate) instances: Vec<Instance>,
}

impl FollowUps {
    /// Collects the follow-ups of a change; a new task has no `before`.
    ///
    /// # Errors
    /// INTERNAL when the stored recurrence is invalid.
    pub(crate) fn collect(&mut self, before: Option<&Task>, after: &Task, now: DateTime<Utc>) -> Result<()> {
        let was_open = before.is_some_and(Task::is_open);
        if let Some(due_at) = after.fields.due_at
            && after.is_open()
            && !(was_open && before.is_some_and(|before| before.fields.due_at == Some(due_at)))
        {
            self.timers.push(Timer {
                task_id: after.id,
                kind: TimerKind::Overdue,
                due_at: Some(due_at),
                at: due_at.max(now),
            });
            // A nearer due time needs no notice: whoever sets it knows it.
            if due_at - DUE_SOON_LEAD > now {
                let at = due_at - DUE_SOON_LEAD;
                self.timers.push(Timer { task_id: after.id, kind: TimerKind::DueSoon, due_at: Some(due_at), at });
            }
            // A new task has no reminders.
            self.due.extend(before.map(|_| (after.id, due_at)));
        }
        if after.recurrence_rule.is_none() {
            return Ok(());
        }
        // Deleting an instance ends its series.
        let ended = !after.status.is_open() && after.deleted_at.is_none();
        if ended && before.is_some_and(|before| was_open || before.deleted_at.is_some()) {
            self.timers.push(Timer { task_id: after.id, kind: TimerKind::NextInstance, due_at: None, at: now });
        }
        let recurrence = |task: &Task| (task.recurrence_rule.clone(), task.recurrence_timezone.clone());
        if before.is_none_or(|before| recurrence(before) != recurrence(after)) {
            self.instances.extend(series::first_instance(after, before.is_some())?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::{at, task};

    const DAY: i64 = 86_400;

    fn due(at_seconds: i64) -> Task {
        let mut task = task(Uuid::from_u128(1));
        task.fields.due_at = Some(at(at_seconds));
        task
    }

    fn recurring() -> Task {
        let mut task = due(10 * DAY);
        task.recurrence_rule = Some("FREQ=DAILY".to_owned());
        task.recurrence_timezone = Some("UTC".to_owned());
        task.series_id = Some(Uuid::from_u128(9));
        task
    }

    fn timers(before: Option<&Task>, after: &Task, now: i64) -> Vec<(TimerKind, i64)> {
        let mut follow_ups = FollowUps::default();
        follow_ups.collect(before, after, at(now)).unwrap();
        follow_ups.timers.into_iter().map(|timer| (timer.kind, timer.at.timestamp())).collect()
    }

    #[test]
    fn timers_are_set_for_a_new_due_time_only() {
        let before = due(10 * DAY);
        let set = [(TimerKind::Overdue, 10 * DAY), (TimerKind::DueSoon, 9 * DAY)];
        assert_eq!(timers(None, &before, 0), set);
        assert_eq!(timers(None, &before, 9 * DAY), [(TimerKind::Overdue, 10 * DAY)], "less than a day is no news");
        assert_eq!(
            timers(None, &before, 11 * DAY),
            [(TimerKind::Overdue, 11 * DAY)],
            "overdue from the start, and not late"
        );
        let mut after = before.clone();
        after.fields.title = "Mop".to_owned();
        assert_eq!(timers(Some(&before), &after, 0), []);
        after.fields.due_at = Some(at(12 * DAY));
        assert_eq!(timers(Some(&before), &after, 0), [(TimerKind::Overdue, 12 * DAY), (TimerKind::DueSoon, 11 * DAY)]);
        after.fields.due_at = None;
        assert_eq!(timers(Some(&before), &after, 0), []);
    }

    #[test]
    fn closed_task_has_no_timers_and_reopened_task_has_them() {
        let open = due(10 * DAY);
        let mut closed = open.clone();
        closed.cancel(at(1)).unwrap();
        assert_eq!(timers(Some(&open), &closed, 1), []);
        let mut moved = closed.clone();
        moved.fields.due_at = Some(at(20 * DAY));
        assert_eq!(timers(Some(&closed), &moved, 1), []);
        assert_eq!(timers(Some(&closed), &open, 2).len(), 2, "reopened");
        let mut thrown_away = open.clone();
        thrown_away.delete(at(1));
        assert_eq!(timers(Some(&open), &thrown_away, 1), []);
        assert_eq!(timers(Some(&thrown_away), &open, 2).len(), 2, "restored");
    }

    #[test]
    fn closing_creates_the_next_instance_and_deleting_does_not() {
        let open = recurring();
        let next = [(TimerKind::NextInstance, 5)];
        let mut canceled = open.clone();
        canceled.cancel(at(5)).unwrap();
        assert_eq!(timers(Some(&open), &canceled, 5), next);
        let mut archived = canceled.clone();
        archived.archive(at(5)).unwrap();
        assert_eq!(timers(Some(&canceled), &archived, 5), []);
        let mut thrown_away = open.clone();
        thrown_away.delete(at(5));
        assert_eq!(timers(Some(&open), &thrown_away, 5), []);
        let mut once = canceled.clone();
        once.recurrence_rule = None;
        assert_eq!(timers(Some(&open), &once, 5), []);
    }
}
