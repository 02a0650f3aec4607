//! Layouts of boards: Kanban, calendar, timeline.

use std::collections::{BTreeMap, HashSet};

use baton_errors::{Error, Result};
use baton_proto::{
    baton::task::v1::{BoardBar, BoardDay, BoardLayout, BoardOptions},
    convert::timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::{
    query::date_range::start_of_day,
    task::{Task, fields::time},
};

/// Maximum range of a calendar or timeline.
const MAX_RANGE: TimeDelta = TimeDelta::days(62);
/// Range when the request has none.
const DEFAULT_RANGE: TimeDelta = TimeDelta::days(31);

/// Start (inclusive) and end (exclusive).
pub(crate) type Range = (DateTime<Utc>, DateTime<Utc>);

/// The layout of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The current board, or the board as of a time.
    Kanban(Option<DateTime<Utc>>),
    Calendar(Range, Tz),
    Timeline(Range),
}

impl Layout {
    /// Parses the options of a request. Days are those of the account's time zone when the request has none.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn parse(options: Option<BoardOptions>, account_timezone: &str, now: DateTime<Utc>) -> Result<Self> {
        let options = options.unwrap_or_default();
        let timezone = match &options.timezone {
            Some(name) => {
                name.parse().map_err(|_| Error::invalid("options.timezone", "must be an IANA time zone name"))?
            }
            None => account_timezone.parse().unwrap_or(Tz::UTC),
        };
        let layout = options.layout();
        if !matches!(layout, BoardLayout::Calendar | BoardLayout::Timeline) {
            let as_of = options.as_of.map(|at| time(&at, "options.as_of")).transpose()?;
            // A time in the future means the current board.
            return Ok(Self::Kanban(as_of.filter(|&at| at < now)));
        }
        if options.as_of.is_some() {
            return Err(Error::invalid("options.as_of", "must be empty except for Kanban"));
        }
        let from = match &options.from {
            Some(from) => time(from, "options.from")?,
            None => midnight(now, timezone),
        };
        let to = match &options.to {
            Some(to) => time(to, "options.to")?,
            None => from.checked_add_signed(DEFAULT_RANGE).unwrap_or(from),
        };
        if to <= from {
            return Err(Error::invalid("options.to", "must be after options.from"));
        }
        if to - from > MAX_RANGE {
            return Err(Error::invalid("options.to", "must be at most 62 days after options.from"));
        }
        Ok(if layout == BoardLayout::Calendar {
            Self::Calendar((from, to), timezone)
        } else {
            Self::Timeline((from, to))
        })
    }
}

/// Start of the current day in this time zone.
fn midnight(now: DateTime<Utc>, timezone: Tz) -> DateTime<Utc> {
    start_of_day(now.with_timezone(&timezone).date_naive(), timezone).unwrap_or(now)
}

/// Tasks grouped by due day in this time zone.
pub(crate) fn days(tasks: &[Task], timezone: Tz) -> Vec<BoardDay> {
    let mut days: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for task in tasks {
        let Some(due) = task.fields.due_at else { continue };
        days.entry(due.with_timezone(&timezone).date_naive()).or_default().push(task.id.to_string());
    }
    days.into_iter().map(|(date, task_ids)| BoardDay { date: date.to_string(), task_ids }).collect()
}

/// The bars of a timeline; `blocks` are pairs of a task and its blocker.
pub(crate) fn bars(tasks: &[Task], blocks: &[(Uuid, Uuid)]) -> Vec<BoardBar> {
    let ids: HashSet<Uuid> = tasks.iter().map(|task| task.id).collect();
    let mut blocked_by: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    for (task, by) in blocks.iter().filter(|(_, by)| ids.contains(by)) {
        blocked_by.entry(*task).or_default().push(by.to_string());
    }
    let bar = |task: &Task| BoardBar {
        task_id: task.id.to_string(),
        start_at: Some(timestamp(task.started_at.unwrap_or(task.created_at))),
        end_at: task.completed_at.or(task.canceled_at).or(task.fields.due_at).map(timestamp),
        blocked_by: blocked_by.get(&task.id).cloned().unwrap_or_default(),
    };
    tasks.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::task::tests::{at, task};

    const DAY: i64 = 86_400;

    fn options(layout: BoardLayout, from: Option<i64>, to: Option<i64>) -> BoardOptions {
        let time = |seconds| Timestamp { seconds, nanos: 0 };
        BoardOptions { layout: layout.into(), from: from.map(time), to: to.map(time), timezone: None, as_of: None }
    }

    #[test]
    fn range_is_bounded_and_defaults_to_today() {
        let of = |options| Layout::parse(Some(options), "Europe/Berlin", at(10 * DAY + 5));
        let usual = of(options(BoardLayout::Timeline, None, None)).unwrap();
        // Berlin is an hour ahead: its day started at 23:00 UTC.
        assert_eq!(usual, Layout::Timeline((at(10 * DAY - 3600), at(41 * DAY - 3600))));
        let longest = of(options(BoardLayout::Calendar, Some(0), Some(62 * DAY))).unwrap();
        assert_eq!(longest, Layout::Calendar((at(0), at(62 * DAY)), Tz::Europe__Berlin));
        for (from, to) in [(0, 0), (5, 0), (0, 62 * DAY + 1)] {
            assert!(of(options(BoardLayout::Calendar, Some(from), Some(to))).is_err(), "{from} {to}");
            assert!(of(options(BoardLayout::Kanban, Some(from), Some(to))).is_ok(), "a range is not for it");
        }
        let nowhere = BoardOptions { timezone: Some("Europe/Atlantis".to_owned()), ..Default::default() };
        assert!(of(nowhere).is_err());
    }

    #[test]
    fn as_of_the_future_is_the_current_board() {
        let of = |seconds| {
            let options = BoardOptions { as_of: Some(Timestamp { seconds, nanos: 0 }), ..Default::default() };
            Layout::parse(Some(options), "UTC", at(100)).unwrap()
        };
        assert_eq!((of(99), of(100)), (Layout::Kanban(Some(at(99))), Layout::Kanban(None)));
    }

    #[test]
    fn days_follow_the_timezone() {
        let mut tasks: Vec<Task> = (0..3).map(|_| task(Uuid::nil())).collect();
        // 23:30 UTC on the first day of 1970 is the second in Berlin, and the first in New York.
        for (task, due) in tasks.iter_mut().zip([Some(at(23 * 3600 + 1800)), Some(at(24 * 3600)), None]) {
            task.id = Uuid::now_v7();
            task.fields.due_at = due;
        }
        let dates =
            |timezone| days(&tasks, timezone).into_iter().map(|day| (day.date, day.task_ids.len())).collect::<Vec<_>>();
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
        assert_eq!((bars[0].end_at, bars[0].blocked_by.len()), (Some(timestamp(at(50))), 0));
        assert_eq!((bars[1].start_at, bars[1].end_at), (Some(timestamp(at(7))), None));
        assert_eq!(bars[1].blocked_by, [tasks[0].id.to_string()]);
    }
}
