//! Boards in the contract: columns, layouts and their options.

use baton_errors::{Error, Result};
use baton_proto::{
    baton::task::v1::{self as proto, BoardLayout, BoardOptions},
    convert::timestamp,
};
use baton_store::RowCount;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{time, to_status};
use crate::{
    query::board_layout::{Bar, Day, Layout, LayoutKind, range},
    task::Status,
};

/// The layout of a request. Days are those of the account's time zone when the request has none.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn layout(options: Option<BoardOptions>, account_timezone: &str, now: DateTime<Utc>) -> Result<Layout> {
    let options = options.unwrap_or_default();
    let timezone = match &options.timezone {
        Some(name) => name.parse().map_err(|_| Error::invalid("options.timezone", "must be an IANA time zone name"))?,
        None => account_timezone.parse().unwrap_or(Tz::UTC),
    };
    let kind = layout_kind(options.layout());
    if kind == LayoutKind::Kanban {
        let as_of = options.as_of.map(|at| time(&at, "options.as_of")).transpose()?;
        // A time in the future means the current board.
        return Ok(Layout::Kanban(as_of.filter(|&at| at < now)));
    }
    if options.as_of.is_some() {
        return Err(Error::invalid("options.as_of", "must be empty except for Kanban"));
    }
    let from = options.from.map(|from| time(&from, "options.from")).transpose()?;
    let to = options.to.map(|to| time(&to, "options.to")).transpose()?;
    let range = range(from, to, timezone, now)?;
    Ok(if kind == LayoutKind::Calendar { Layout::Calendar(range, timezone) } else { Layout::Timeline(range) })
}

/// The kind of a layout, Kanban by default.
pub(crate) fn layout_kind(layout: BoardLayout) -> LayoutKind {
    match layout {
        BoardLayout::Unspecified | BoardLayout::Kanban => LayoutKind::Kanban,
        BoardLayout::Calendar => LayoutKind::Calendar,
        BoardLayout::Timeline => LayoutKind::Timeline,
    }
}

/// The kind of a layout in the contract.
pub(crate) fn to_layout(kind: LayoutKind) -> BoardLayout {
    match kind {
        LayoutKind::Kanban => BoardLayout::Kanban,
        LayoutKind::Calendar => BoardLayout::Calendar,
        LayoutKind::Timeline => BoardLayout::Timeline,
    }
}

/// A column.
pub(crate) fn column((status, total): (Status, RowCount)) -> proto::BoardColumn {
    proto::BoardColumn {
        status: to_status(status).into(),
        count: i32::try_from(total.count).unwrap_or(i32::MAX),
        count_is_estimate: total.is_estimate,
    }
}

/// A day of a calendar.
pub(crate) fn day(day: Day) -> proto::BoardDay {
    proto::BoardDay { date: day.date.to_string(), task_ids: day.task_ids.iter().map(ToString::to_string).collect() }
}

/// A bar of a timeline.
pub(crate) fn bar(bar: Bar) -> proto::BoardBar {
    proto::BoardBar {
        task_id: bar.task_id.to_string(),
        start_at: Some(timestamp(bar.start_at)),
        end_at: bar.end_at.map(timestamp),
        blocked_by: bar.blocked_by.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::task::tests::at;

    const DAY: i64 = 86_400;

    fn options(layout: BoardLayout, from: Option<i64>, to: Option<i64>) -> BoardOptions {
        let time = |seconds| Timestamp { seconds, nanos: 0 };
        BoardOptions { layout: layout.into(), from: from.map(time), to: to.map(time), timezone: None, as_of: None }
    }

    #[test]
    fn range_is_bounded_and_defaults_to_today() {
        let of = |options| layout(Some(options), "Europe/Berlin", at(10 * DAY + 5));
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
            layout(Some(options), "UTC", at(100)).unwrap()
        };
        assert_eq!((of(99), of(100)), (Layout::Kanban(Some(at(99))), Layout::Kanban(None)));
    }
}
