//! Layouts of boards: Kanban, calendar, timeline.

use std::collections::{BTreeMap, HashSet};

use baton_errors::{Error, Result};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::{
    query::date_range::{Range, start_of_day},
    task::Task,
};

/// Maximum range of a calendar or timeline.
const MAX_RANGE: TimeDelta = TimeDelta::days(62);
/// Range when the request has none.
const DEFAULT_RANGE: TimeDelta = TimeDelta::days(31);

/// The kind of a layout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum LayoutKind {
    #[default]
    Kanban,
    Calendar,
    Timeline,
}

impl LayoutKind {
    const ALL: [Self; 3] = [Self::Kanban, Self::Calendar, Self::Timeline];

    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kanban => "kanban",
            Self::Calendar => "calendar",
            Self::Timeline => "timeline",
        }
    }

    /// The kind with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The layout of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The current board, or the board as of a time.
    Kanban(Option<DateTime<Utc>>),
    Calendar(Range, Tz),
    Timeline(Range),
}

/// The range of a calendar or timeline: from today in this time zone, and for a month, unless the request says otherwise.
///
/// # Errors
/// VALIDATION_FAILED when it is empty or too long.
pub(crate) fn range(
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    timezone: Tz,
    now: DateTime<Utc>,
) -> Result<Range> {
    let from = from.unwrap_or_else(|| midnight(now, timezone));
    let to = to.unwrap_or_else(|| from.checked_add_signed(DEFAULT_RANGE).unwrap_or(from));
    if to <= from {
        return Err(Error::invalid("options.to", "must be after options.from"));
    }
    if to - from > MAX_RANGE {
        return Err(Error::invalid("options.to", "must be at most 62 days after options.from"));
    }
    Ok((from, to))
}

/// Start of the current day in this time zone.
fn midnight(now: DateTime<Utc>, timezone: Tz) -> DateTime<Utc> {
    start_of_day(now.with_timezone(&timezone).date_naive(), timezone).unwrap_or(now)
}

/// The tasks that are due on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) date: NaiveDate,
    pub(crate) task_ids: Vec<Uuid>,
}

/// Tasks grouped by due day in this time zone.
pub(crate) fn days(tasks: &[Task], timezone: Tz) -> Vec<Day> {
    let mut days: BTreeMap<_, Vec<Uuid>> = BTreeMap::new();
    for task in tasks {
        let Some(due) = task.fields.due_at else { continue };
        days.entry(due.with_timezone(&timezone).date_naive()).or_default().push(task.id);
    }
    days.into_iter().map(|(date, task_ids)| Day { date, task_ids }).collect()
}

/// The bar of a task in a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) task_id: Uuid,
    pub(crate) start_at: DateTime<Utc>,
    pub(crate) end_at: Option<DateTime<Utc>>,
    /// Its blockers within the timeline.
    pub(crate) blocked_by: Vec<Uuid>,
}

/// The bars of a timeline; `blocks` are pairs of a task and its blocker.
pub(crate) fn bars(tasks: &[Task], blocks: &[(Uuid, Uuid)]) -> Vec<Bar> {
    let ids: HashSet<Uuid> = tasks.iter().map(|task| task.id).collect();
    let mut blocked_by: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for &(task, by) in blocks.iter().filter(|(_, by)| ids.contains(by)) {
        blocked_by.entry(task).or_default().push(by);
    }
    let bar = |task: &Task| Bar {
        task_id: task.id,
        start_at: task.started_at.unwrap_or(task.created_at),
        end_at: task.completed_at.or(task.canceled_at).or(task.fields.due_at),
        blocked_by: blocked_by.get(&task.id).cloned().unwrap_or_default(),
    };
    tasks.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::{at, task};

    #[test]
    fn days_follow_the_timezone() {
        let mut tasks: Vec<Task> = (0..3).map(|_| task(Uuid::nil())).collect();
        // 23:30 UTC on the first day of 1970 is the second in Berlin, and the first in New York.
        for (task, due) in tasks.iter_mut().zip([Some(at(23 * 3600 + 1800)), Some(at(24 * 3600)), None]) {
            task.id = Uuid::now_v7();
            task.fields.due_at = due;
        }
        let dates = |timezone| {
            days(&tasks, timezone).into_iter().map(|day| (day.date.to_string(), day.task_ids.len())).collect::<Vec<_>>()
        };
        assert_eq!(dates(Tz::Europe__Berlin), [("1970-01-02".to_owned(), 2)]);
        assert_eq!(dates(Tz::UTC), [("1970-01-01".to_owned(), 1), ("1970-01-02".to_owned(), 1)]);
        assert_eq!(dates(Tz::America__New_York), [("1970-01-01".to_owned(), 2)]);
    }

    #[test]
    fn bar_lists_blockers_within_the_timeline() {
        let mut tasks = [task(Uuid::nil()), task(Uuid::nil())];
        (tasks[0].id, tasks[1].id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        tasks[0].fields.due_at = Some(at(50));
        tasks[1].started_at = Some(at(7));
        let outside = Uuid::from_u128(3);
        let bars = bars(&tasks, &[(tasks[1].id, tasks[0].id), (tasks[1].id, outside)]);
        assert_eq!((bars[0].end_at, bars[0].blocked_by.len()), (Some(at(50)), 0));
        assert_eq!((bars[1].start_at, bars[1].end_at), (at(7), None));
        assert_eq!(bars[1].blocked_by, [tasks[0].id]);
    }
}
