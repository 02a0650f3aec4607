//! Series of recurring tasks. Completing or canceling an instance creates the next one, due at the rule's next time
//! that has not passed; missed times are left out. One instance is open at a time.

use baton_errors::{Error, Reason, Result};
use baton_recurrence::{MAX_HORIZON, Occurrence, Recurrence};
use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use uuid::Uuid;

use crate::task::{Status, Task, event_kind::EventKind};

/// The recurrence fields of a task.
pub(crate) const RULE: &str = "recurrence_rule";
pub(crate) const TIMEZONE: &str = "recurrence_timezone";

/// Maximum number of skipped future times of a series.
const MAX_SKIPPED_TIMES: usize = 100;

/// A task's position in a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) task_id: Uuid,
    pub(crate) series_id: Uuid,
    pub(crate) nth: i32,
    /// Start of the rule, in wall-clock time.
    pub(crate) starts: NaiveDateTime,
    /// The rule's time of this instance, in wall-clock time.
    pub(crate) falls: NaiveDateTime,
    /// Whether the task may have an instance already, with which the rule restarts.
    pub(crate) again: bool,
}

/// A requested change of the recurrence fields. `None` leaves a field unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecurrencePatch {
    pub(crate) rule: Option<Option<String>>,
    pub(crate) timezone: Option<Option<String>>,
}

impl RecurrencePatch {
    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a default time zone is needed: a rule is set without one, or the time zone is cleared.
    pub(crate) fn needs_timezone(&self) -> bool {
        match &self.timezone {
            Some(timezone) => timezone.is_none(),
            None => matches!(self.rule, Some(Some(_))),
        }
    }

    /// Applies the patch. `timezone` is the default for a rule without one; `under` prefixes field names in errors.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn apply(
        self,
        task: &mut Task,
        timezone: Option<&str>,
        under: &str,
        (now, new_id): (DateTime<Utc>, Uuid),
    ) -> Result<()> {
        let field = |name: &str| format!("{under}{name}");
        let before = (task.recurrence_rule.clone(), task.recurrence_timezone.clone());
        if let Some(rule) = self.rule {
            task.recurrence_rule = rule.map(|rule| baton_recurrence::normalize(&rule));
        }
        let Some(rule) = &task.recurrence_rule else {
            if self.timezone.flatten().is_some() {
                return Err(Error::invalid(field(TIMEZONE), "must be empty without a recurrence_rule"));
            }
            // The series ends with this task, which remains part of it.
            task.recurrence_timezone = None;
            task.skipped_times.clear();
            return Ok(());
        };
        if let Some(timezone) = self.timezone {
            task.recurrence_timezone = timezone;
        }
        let named = task.recurrence_timezone.take();
        let zone = baton_recurrence::parse_timezone(named.as_deref().or(timezone).unwrap_or("UTC"), &field(TIMEZONE))?;
        task.recurrence_timezone = Some(zone.name().to_owned());
        let Some(due_at) = task.fields.due_at else {
            return Err(Error::invalid(
                field("due_at"),
                "must not be empty for a recurring task: its rule starts there",
            ));
        };
        if before != (task.recurrence_rule.clone(), task.recurrence_timezone.clone()) {
            Recurrence::parse(rule, zone, &field(RULE))?.check(due_at, now, &field(RULE))?;
        }
        task.series_id.get_or_insert(new_id);
        Ok(())
    }
}

/// The recurrence of a task, if it has one.
///
/// # Errors
/// INTERNAL when the stored recurrence is invalid.
pub(crate) fn recurrence(task: &Task) -> Result<Option<Recurrence>> {
    let (Some(rule), Some(timezone)) = (&task.recurrence_rule, &task.recurrence_timezone) else { return Ok(None) };
    // The caller cannot correct a stored task, so the error is internal.
    let zone = baton_recurrence::parse_timezone(timezone, TIMEZONE).map_err(Error::internal)?;
    Recurrence::parse(rule, zone, RULE).map(Some).map_err(Error::internal)
}

/// The first instance of the series that starts with this task. `again` marks a restart by a task that has an instance
/// already.
pub(crate) fn first_instance(task: &Task, again: bool) -> Result<Option<Instance>> {
    let (Some(recurrence), Some(series_id), Some(due_at)) = (recurrence(task)?, task.series_id, task.fields.due_at)
    else {
        return Ok(None);
    };
    let starts = recurrence.local(due_at);
    Ok(Some(Instance { task_id: task.id, series_id, nth: 1, starts, falls: starts, again }))
}

/// Skips a time of a series: a future one, or the time of its last task, which is `task` at `instance`. Skipping twice
/// has no effect.
///
/// # Errors
/// TASK_NOT_RECURRING, TASK_WRONG_STATE, SKIP_LIMIT, VALIDATION_FAILED.
pub(crate) fn skip(
    task: &mut Task,
    instance: &Instance,
    occurrence_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<EventKind> {
    let recurrence = recurrence(task)?.ok_or(Reason::TaskNotRecurring)?;
    let own = recurrence.to_instant(instance.falls);
    let ahead = occurrence_at.map(|at| at.trunc_subsecs(0)).filter(|at| *at != own);
    // Times before this task do not matter any more.
    task.skipped_times.retain(|time| *time >= instance.falls);
    let Some(at) = ahead else {
        // The task of this time exists, so it is canceled, which creates the next one.
        let skipped = task.canceled_at.is_some() && task.skipped_times.contains(&instance.falls);
        if !skipped {
            task.cancel(now)?;
            insert_skipped(task, instance.falls);
        }
        return Ok(EventKind::Canceled);
    };
    let falls = if at > own && at <= now + MAX_HORIZON { recurrence.local_time_of(instance.starts, at) } else { None };
    let falls =
        falls.ok_or_else(|| Error::invalid("occurrence_at", "must be a time of the series after this task's"))?;
    insert_skipped(task, falls);
    if task.skipped_times.iter().filter(|time| **time > instance.falls).count() > MAX_SKIPPED_TIMES {
        return Err(Error::from(Reason::SkipLimit).with("limit", MAX_SKIPPED_TIMES.to_string()));
    }
    Ok(EventKind::Updated)
}

/// Removes a skipped future time.
///
/// # Errors
/// TASK_NOT_RECURRING.
pub(crate) fn unskip(task: &mut Task, instance: &Instance, occurrence_at: DateTime<Utc>) -> Result<EventKind> {
    let recurrence = recurrence(task)?.ok_or(Reason::TaskNotRecurring)?;
    let at = occurrence_at.trunc_subsecs(0);
    task.skipped_times.retain(|time| *time <= instance.falls || recurrence.to_instant(*time) != at);
    Ok(EventKind::Updated)
}

fn insert_skipped(task: &mut Task, time: NaiveDateTime) {
    if let Err(index) = task.skipped_times.binary_search(&time) {
        task.skipped_times.insert(index, time);
    }
}

/// The instants of the skipped times.
pub(crate) fn skipped_times(task: &Task) -> Vec<DateTime<Utc>> {
    if task.skipped_times.is_empty() {
        return Vec::new();
    }
    // A stored rule is valid.
    let Ok(Some(recurrence)) = recurrence(task) else { return Vec::new() };
    task.skipped_times.iter().map(|time| recurrence.to_instant(*time)).collect()
}

/// The task of the next instance: the same fields, not started. A holder to whom the task was assigned must accept
/// again; `holder` is `None` when they have left the account.
pub(crate) fn next_task(last: &Task, id: Uuid, holder: Option<Uuid>, time: Occurrence, now: DateTime<Utc>) -> Task {
    let mut task = Task::new(id, last.account_id, last.created_by, last.fields.clone(), now);
    task.fields.due_at = Some(time.at);
    task.assigned_to = holder;
    task.assigned_by = holder.and(last.assigned_by);
    task.accepted_at = holder.filter(|_| task.assigned_by.is_none()).map(|_| now);
    task.recurrence_rule.clone_from(&last.recurrence_rule);
    task.recurrence_timezone.clone_from(&last.recurrence_timezone);
    task.series_id = last.series_id;
    task.skipped_times = last.skipped_times.iter().copied().filter(|skipped| *skipped > time.local).collect();
    debug_assert_eq!(task.status, Status::Pending);
    task
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::{at, task};

    const ID: Uuid = Uuid::from_u128(5);

    fn patch(rule: Option<Option<&str>>, timezone: Option<Option<&str>>) -> RecurrencePatch {
        let own = |value: Option<Option<&str>>| value.map(|value| value.map(str::to_owned));
        RecurrencePatch { rule: own(rule), timezone: own(timezone) }
    }

    fn due() -> Task {
        let mut task = task(Uuid::from_u128(1));
        task.fields.due_at = Some(at(100));
        task
    }

    fn due_at(seconds: i64) -> Occurrence {
        Occurrence { local: at(seconds).naive_utc(), at: at(seconds) }
    }

    fn apply(task: &mut Task, patch: RecurrencePatch) -> Result<()> {
        patch.apply(task, Some("Europe/Berlin"), "task.", (at(0), ID))
    }

    fn refused(mut task: Task, patch: RecurrencePatch) -> String {
        let status = tonic::Status::from(apply(&mut task, patch).unwrap_err());
        let details = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
        details.field_violations[0].field.clone()
    }

    #[test]
    fn rule_requires_due_time_and_defaults_its_timezone() {
        let mut task = due();
        apply(&mut task, patch(Some(Some(" freq=daily ")), None)).unwrap();
        assert_eq!(task.recurrence_rule.as_deref(), Some("FREQ=DAILY"));
        assert_eq!((task.recurrence_timezone.as_deref(), task.series_id), (Some("Europe/Berlin"), Some(ID)));
        apply(&mut task, patch(None, Some(Some("Asia/Tokyo")))).unwrap();
        assert_eq!(task.recurrence_timezone.as_deref(), Some("Asia/Tokyo"));
        apply(&mut task, patch(Some(Some("FREQ=WEEKLY")), None)).unwrap();
        assert_eq!(task.recurrence_timezone.as_deref(), Some("Asia/Tokyo"), "the timezone stays with another rule");
        apply(&mut task, patch(None, Some(None))).unwrap();
        assert_eq!(task.recurrence_timezone.as_deref(), Some("Europe/Berlin"));
        apply(&mut task, patch(Some(None), None)).unwrap();
        assert_eq!((task.recurrence_rule, task.recurrence_timezone, task.series_id), (None, None, Some(ID)));
    }

    #[test]
    fn conflicting_fields_are_refused_by_name() {
        assert_eq!(refused(due(), patch(Some(Some("often")), None)), "task.recurrence_rule");
        assert_eq!(refused(due(), patch(Some(Some("FREQ=DAILY")), Some(Some("Mars")))), "task.recurrence_timezone");
        assert_eq!(refused(due(), patch(None, Some(Some("Asia/Tokyo")))), "task.recurrence_timezone");
        assert_eq!(refused(task(ID), patch(Some(Some("FREQ=DAILY")), None)), "task.due_at");
        let mut recurring = due();
        apply(&mut recurring, patch(Some(Some("FREQ=DAILY")), None)).unwrap();
        recurring.fields.due_at = None;
        assert_eq!(refused(recurring, RecurrencePatch::default()), "task.due_at", "nor may it be taken away");
    }

    #[test]
    fn next_instance_copies_the_task_unstarted() {
        let mut last = due();
        apply(&mut last, patch(Some(Some("FREQ=DAILY")), None)).unwrap();
        let (holder, giver) = (Uuid::from_u128(7), Uuid::from_u128(8));
        (last.assigned_to, last.assigned_by) = (Some(holder), Some(giver));
        last.start(at(1)).unwrap();
        last.complete(at(50)).unwrap();
        let after = next_task(&last, ID, Some(holder), due_at(200), at(60));
        assert_eq!((after.fields.title.clone(), after.fields.due_at), (last.fields.title.clone(), Some(at(200))));
        assert_eq!((after.assigned_to, after.assigned_by, after.accepted_at), (Some(holder), Some(giver), None));
        assert_eq!((after.actual_seconds, after.started_at, after.version), (0, None, 1));
        assert_eq!((after.series_id, after.recurrence_rule.clone()), (last.series_id, last.recurrence_rule.clone()));
        let after = next_task(&last, ID, None, due_at(200), at(60));
        assert_eq!(
            (after.assigned_to, after.assigned_by, after.accepted_at),
            (None, None, None),
            "who held it has left"
        );
        last.assigned_by = None;
        let after = next_task(&last, ID, Some(holder), due_at(200), at(60));
        assert_eq!((after.assigned_by, after.accepted_at), (None, Some(at(60))), "it was theirs to take");
    }
    const DAY: i64 = 86_400;

    /// A daily task and its instance.
    fn daily() -> (Task, Instance) {
        let mut task = due();
        apply(&mut task, patch(Some(Some("FREQ=DAILY;COUNT=200")), Some(Some("UTC")))).unwrap();
        let instance = first_instance(&task, false).unwrap().unwrap();
        (task, instance)
    }

    #[test]
    fn skipping_its_own_time_cancels_the_task_once() {
        let (mut task, instance) = daily();
        assert_eq!(skip(&mut task, &instance, None, at(5)).unwrap(), EventKind::Canceled);
        assert_eq!((task.status, task.canceled_at), (Status::Canceled, Some(at(5))));
        assert_eq!(skipped_times(&task), [at(100)]);
        let before = task.clone();
        for again in [None, Some(at(100))] {
            assert_eq!(skip(&mut task, &instance, again, at(9)).unwrap(), EventKind::Canceled);
            assert_eq!(task, before, "skipped already");
        }
        task.reopen().unwrap();
        task.start(at(10)).unwrap();
        task.complete(at(11)).unwrap();
        assert_eq!(
            skip(&mut task, &instance, None, at(12)).unwrap_err().reason(),
            Reason::TaskWrongState,
            "it is done"
        );
    }

    #[test]
    fn future_time_can_be_skipped_and_unskipped() {
        let (mut task, instance) = daily();
        let days = |days: i64| at(100 + days * DAY);
        for _ in 0..2 {
            assert_eq!(skip(&mut task, &instance, Some(days(2)), at(5)).unwrap(), EventKind::Updated);
            assert_eq!((task.status, skipped_times(&task)), (Status::Pending, vec![days(2)]));
        }
        for wrong in [at(101), days(-1), days(200), days(60 * 365)] {
            let error = skip(&mut task, &instance, Some(wrong), at(5)).unwrap_err();
            assert_eq!(error.reason(), Reason::ValidationFailed, "{wrong}");
        }
        let recurrence = recurrence(&task).unwrap().unwrap();
        let next_time = |last: i64, task: &Task| {
            recurrence.next(instance.starts, days(last).naive_utc(), at(0), &task.skipped_times).unwrap()
        };
        assert_eq!((next_time(0, &task).at, next_time(1, &task).at), (days(1), days(3)));
        assert_eq!(next_task(&task, ID, None, next_time(0, &task), at(5)).skipped_times, [days(2).naive_utc()]);
        assert!(next_task(&task, ID, None, next_time(1, &task), at(5)).skipped_times.is_empty(), "it has passed");
        for _ in 0..2 {
            assert_eq!(unskip(&mut task, &instance, days(2)).unwrap(), EventKind::Updated);
            assert!(task.skipped_times.is_empty());
        }
    }

    #[test]
    fn skips_are_limited_and_require_a_series() {
        let (mut task, instance) = daily();
        for day in 1..=100 {
            skip(&mut task, &instance, Some(at(100 + day * DAY)), at(5)).unwrap();
        }
        let mut more = task.clone();
        let error = skip(&mut more, &instance, Some(at(100 + 101 * DAY)), at(5)).unwrap_err();
        assert_eq!(error.reason(), Reason::SkipLimit);
        skip(&mut task, &instance, None, at(5)).unwrap();
        assert_eq!(task.skipped_times.len(), 101, "its own is none ahead");
        apply(&mut task, patch(Some(None), None)).unwrap();
        assert!(task.skipped_times.is_empty());
        assert_eq!(skip(&mut task, &instance, None, at(5)).unwrap_err().reason(), Reason::TaskNotRecurring);
        assert_eq!(unskip(&mut task, &instance, at(5)).unwrap_err().reason(), Reason::TaskNotRecurring);
    }
}
