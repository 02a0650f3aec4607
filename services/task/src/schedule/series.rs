//! Series: tasks that come again. When an instance is completed or canceled, the next one is made, due at the rule's
//! next time that has not passed; times that went by meanwhile are left out. So there is one open instance at a time.

use baton_errors::{Error, Result};
use baton_proto::baton::task::v1::{CreateTaskRequest, TaskChange};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    schedule::recurrence::{self, Recurrence},
    store::series::Instance,
    task::{Status, Task},
};

/// The fields that this is about.
const RULE: &str = "recurrence_rule";
const TIMEZONE: &str = "recurrence_timezone";

/// What somebody wants to come again, and how. A field that is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    rule: Option<Option<String>>,
    timezone: Option<Option<String>>,
}

impl Wish {
    /// Takes the fields out of a request for a new task.
    pub(crate) fn of_new(request: &mut CreateTaskRequest) -> Self {
        Self { rule: request.recurrence_rule.take().map(Some), timezone: request.recurrence_timezone.take().map(Some) }
    }

    /// Takes the fields that `mask` names out of both.
    pub(crate) fn of_change(mask: &mut Vec<String>, change: &mut TaskChange) -> Self {
        let mut wish = Self::default();
        mask.retain(|path| {
            match path.as_str() {
                RULE => wish.rule = Some(change.recurrence_rule.take()),
                TIMEZONE => wish.timezone = Some(change.recurrence_timezone.take()),
                _ => return true,
            }
            false
        });
        wish
    }

    /// Whether anything is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the timezone has to be found for it: a rule is set, or a timezone cleared.
    pub(crate) fn needs_timezone(&self) -> bool {
        match &self.timezone {
            Some(timezone) => timezone.is_none(),
            None => matches!(self.rule, Some(Some(_))),
        }
    }

    /// Gives it to a task. `timezone` is for a rule that has none yet, `under` stands before the names of fields.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn grant(
        self,
        task: &mut Task,
        timezone: Option<&str>,
        under: &str,
        (now, new_id): (DateTime<Utc>, Uuid),
    ) -> Result<()> {
        let field = |name: &str| format!("{under}{name}");
        let before = (task.recurrence_rule.clone(), task.recurrence_timezone.clone());
        if let Some(rule) = self.rule {
            task.recurrence_rule = rule.map(|rule| recurrence::tidy(&rule));
        }
        let Some(rule) = &task.recurrence_rule else {
            if self.timezone.flatten().is_some() {
                return Err(Error::invalid(field(TIMEZONE), "goes with a recurrence_rule only"));
            }
            // The series ends with this task, which stays a part of it.
            task.recurrence_timezone = None;
            return Ok(());
        };
        if let Some(timezone) = self.timezone {
            task.recurrence_timezone = timezone;
        }
        let named = task.recurrence_timezone.take();
        let zone = recurrence::zone(named.as_deref().or(timezone).unwrap_or("UTC"), &field(TIMEZONE))?;
        task.recurrence_timezone = Some(zone.name().to_owned());
        let Some(due_at) = task.fields.due_at else {
            return Err(Error::invalid(field("due_at"), "is needed by a task that comes again: its rule begins there"));
        };
        if before != (task.recurrence_rule.clone(), task.recurrence_timezone.clone()) {
            Recurrence::parse(rule, zone, &field(RULE))?.check(due_at, now, &field(RULE))?;
        }
        task.series_id.get_or_insert(new_id);
        Ok(())
    }
}

/// The rule of a task that has one.
///
/// # Errors
/// INTERNAL when it is none that was checked before.
pub(crate) fn recurrence(task: &Task) -> Result<Option<Recurrence>> {
    let (Some(rule), Some(timezone)) = (&task.recurrence_rule, &task.recurrence_timezone) else { return Ok(None) };
    // What is wrong with a task that is stored is nothing that its caller could mend.
    let zone = recurrence::zone(timezone, TIMEZONE).map_err(Error::internal)?;
    Recurrence::parse(rule, zone, RULE).map(Some).map_err(Error::internal)
}

/// The place of a task in its series whose rule begins with it. `again` says that the task had one before.
pub(crate) fn first(task: &Task, again: bool) -> Result<Option<Instance>> {
    let (Some(recurrence), Some(series_id), Some(due_at)) = (recurrence(task)?, task.series_id, task.fields.due_at)
    else {
        return Ok(None);
    };
    let starts = recurrence.local(due_at);
    Ok(Some(Instance { task_id: task.id, series_id, nth: 1, starts, falls: starts, again }))
}

/// The instance after `last`: the same work, not begun. Whoever held it is asked anew, unless it was theirs to take;
/// `holder` is nobody when they have left the account.
pub(crate) fn next(last: &Task, id: Uuid, holder: Option<Uuid>, due_at: DateTime<Utc>, now: DateTime<Utc>) -> Task {
    let mut task = Task::new(id, last.account_id, last.created_by, last.fields.clone(), now);
    task.fields.due_at = Some(due_at);
    task.assigned_to = holder;
    task.assigned_by = holder.and(last.assigned_by);
    task.accepted_at = holder.filter(|_| task.assigned_by.is_none()).map(|_| now);
    task.recurrence_rule.clone_from(&last.recurrence_rule);
    task.recurrence_timezone.clone_from(&last.recurrence_timezone);
    task.series_id = last.series_id;
    debug_assert_eq!(task.status, Status::Pending);
    task
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::{at, task};

    const ID: Uuid = Uuid::from_u128(5);

    fn wish(rule: Option<Option<&str>>, timezone: Option<Option<&str>>) -> Wish {
        let own = |value: Option<Option<&str>>| value.map(|value| value.map(str::to_owned));
        Wish { rule: own(rule), timezone: own(timezone) }
    }

    fn due() -> Task {
        let mut task = task(Uuid::from_u128(1));
        task.fields.due_at = Some(at(100));
        task
    }

    fn grant(task: &mut Task, wish: Wish) -> Result<()> {
        wish.grant(task, Some("Europe/Berlin"), "task.", (at(0), ID))
    }

    fn refused(mut task: Task, wish: Wish) -> String {
        let status = tonic::Status::from(grant(&mut task, wish).unwrap_err());
        let details = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
        details.field_violations[0].field.clone()
    }

    #[test]
    fn a_rule_needs_a_due_time_and_finds_a_timezone() {
        let mut task = due();
        grant(&mut task, wish(Some(Some(" freq=daily ")), None)).unwrap();
        assert_eq!(task.recurrence_rule.as_deref(), Some("FREQ=DAILY"));
        assert_eq!((task.recurrence_timezone.as_deref(), task.series_id), (Some("Europe/Berlin"), Some(ID)));
        grant(&mut task, wish(None, Some(Some("Asia/Tokyo")))).unwrap();
        assert_eq!(task.recurrence_timezone.as_deref(), Some("Asia/Tokyo"));
        grant(&mut task, wish(Some(Some("FREQ=WEEKLY")), None)).unwrap();
        assert_eq!(task.recurrence_timezone.as_deref(), Some("Asia/Tokyo"), "the timezone stays with another rule");
        grant(&mut task, wish(None, Some(None))).unwrap();
        assert_eq!(task.recurrence_timezone.as_deref(), Some("Europe/Berlin"));
        grant(&mut task, wish(Some(None), None)).unwrap();
        assert_eq!((task.recurrence_rule, task.recurrence_timezone, task.series_id), (None, None, Some(ID)));
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_its_name() {
        assert_eq!(refused(due(), wish(Some(Some("often")), None)), "task.recurrence_rule");
        assert_eq!(refused(due(), wish(Some(Some("FREQ=DAILY")), Some(Some("Mars")))), "task.recurrence_timezone");
        assert_eq!(refused(due(), wish(None, Some(Some("Asia/Tokyo")))), "task.recurrence_timezone");
        assert_eq!(refused(task(ID), wish(Some(Some("FREQ=DAILY")), None)), "task.due_at");
        let mut recurring = due();
        grant(&mut recurring, wish(Some(Some("FREQ=DAILY")), None)).unwrap();
        recurring.fields.due_at = None;
        assert_eq!(refused(recurring, Wish::default()), "task.due_at", "nor may it be taken away");
    }

    #[test]
    fn the_next_instance_is_the_same_work_not_begun() {
        let mut last = due();
        grant(&mut last, wish(Some(Some("FREQ=DAILY")), None)).unwrap();
        let (holder, giver) = (Uuid::from_u128(7), Uuid::from_u128(8));
        (last.assigned_to, last.assigned_by) = (Some(holder), Some(giver));
        last.start(at(1)).unwrap();
        last.complete(at(50)).unwrap();
        let after = next(&last, ID, Some(holder), at(200), at(60));
        assert_eq!((after.fields.title.clone(), after.fields.due_at), (last.fields.title.clone(), Some(at(200))));
        assert_eq!((after.assigned_to, after.assigned_by, after.accepted_at), (Some(holder), Some(giver), None));
        assert_eq!((after.actual_seconds, after.started_at, after.version), (0, None, 1));
        assert_eq!((after.series_id, after.recurrence_rule.clone()), (last.series_id, last.recurrence_rule.clone()));
        let after = next(&last, ID, None, at(200), at(60));
        assert_eq!(
            (after.assigned_to, after.assigned_by, after.accepted_at),
            (None, None, None),
            "who held it has left"
        );
        last.assigned_by = None;
        let after = next(&last, ID, Some(holder), at(200), at(60));
        assert_eq!((after.assigned_by, after.accepted_at), (None, Some(at(60))), "it was theirs to take");
    }
}
