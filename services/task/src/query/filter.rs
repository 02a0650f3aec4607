//! Filters and sort orders of task lists.

use baton_errors::{Error, Result};
use baton_proto::baton::task::v1::{SortOrder, TaskFilter, TaskSort};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::{
    convert,
    query::{board_layout::Range, date_range::NamedRange, search::SearchTerms},
    task::{
        Priority, Status,
        fields::{id, text, time},
    },
};

/// Sort key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Sort {
    #[default]
    CreatedAt,
    UpdatedAt,
    /// Tasks without a due time are last in both directions.
    DueAt,
    Priority,
    /// The manual order.
    Rank,
}

/// Placeholder for the caller in a filter.
pub(crate) const ME: &str = "me";

/// The caller and the time, which resolve `me` and named dates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    pub(crate) user_id: Uuid,
    pub(crate) timezone: Tz,
    pub(crate) now: DateTime<Utc>,
}

impl Reader {
    /// Any reader: sufficient to validate a filter.
    pub(crate) const ANONYMOUS: Self =
        Self { user_id: Uuid::nil(), timezone: Tz::UTC, now: DateTime::<Utc>::UNIX_EPOCH };

    fn person(&self, text: &str, field: &str) -> Result<Uuid> {
        if text == ME { Ok(self.user_id) } else { id(text, field) }
    }

    fn range(&self, name: &str, field: &str) -> Result<Range> {
        let range = NamedRange::parse(name).and_then(|range| range.at(self.now, self.timezone));
        range.ok_or_else(|| Error::invalid(field, "is no range of days, such as today, this_week or next_7_days"))
    }
}

/// Whether the filter depends on the caller's time zone.
pub(crate) fn has_named_dates(filter: &TaskFilter) -> bool {
    [&filter.due, &filter.created, &filter.updated, &filter.completed].into_iter().any(Option::is_some)
}

/// A filter of the tasks in scope. All conditions must hold; of several values of one field, any may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    pub(crate) status: Vec<Status>,
    pub(crate) priority: Vec<Priority>,
    pub(crate) assigned_to: Option<Uuid>,
    pub(crate) created_by: Option<Uuid>,
    pub(crate) due_from: Option<DateTime<Utc>>,
    pub(crate) due_to: Option<DateTime<Utc>>,
    pub(crate) created: Option<Range>,
    pub(crate) updated: Option<Range>,
    pub(crate) completed: Option<Range>,
    pub(crate) tags: Vec<String>,
    pub(crate) search: Option<SearchTerms>,
    pub(crate) overdue: Option<bool>,
    pub(crate) unassigned: Option<bool>,
    pub(crate) parent_task_id: Option<Uuid>,
    pub(crate) has_due: Option<bool>,
    /// Overlap with this range, as timelines need. Not part of the contract.
    pub(crate) within: Option<Range>,
    /// Exists and is unchanged since this time, as time travel needs. Not part of the contract.
    pub(crate) unchanged_since: Option<DateTime<Utc>>,
    pub(crate) sort: Sort,
    pub(crate) descending: bool,
}

/// The base set of a list. It never contains tasks that the caller does not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// All visible tasks.
    Visible,
    /// Tasks that this person holds, and unassigned tasks that they created.
    BoardOf(Uuid),
    /// Tasks that this person holds.
    AssignedTo(Uuid),
    /// Tasks that others hold because this person assigned them.
    AssignedBy(Uuid),
    /// Tasks that the caller or their reports hold or created. For an account administrator, all tasks.
    Team,
}

impl Filter {
    /// Whether the filter covers at most a hundred days of due, update or completion times, sorted by something else.
    pub(crate) fn spans_few_days(&self) -> bool {
        let ranges = [
            self.due_from.zip(self.due_to).filter(|_| self.sort != Sort::DueAt),
            self.updated.filter(|_| self.sort != Sort::UpdatedAt),
            self.completed,
        ];
        ranges.into_iter().flatten().any(|(from, to)| to.signed_duration_since(from) <= TimeDelta::days(100))
    }

    /// Whether the filter has no condition.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self { sort: self.sort, descending: self.descending, ..Self::default() }
    }

    /// Parses a filter of `reader`.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn parse(filter: Option<TaskFilter>, reader: Reader) -> Result<Self> {
        let filter = filter.unwrap_or_default();
        let (sort, order) = (filter.sort(), filter.order());
        let mut tags = Vec::with_capacity(filter.tags.len());
        for tag in filter.tags {
            // Stored tags are trimmed.
            tags.push(text(tag.trim().to_owned(), "filter.tags")?);
        }
        let range = |name: Option<String>, field: &str| name.map(|name| reader.range(&name, field)).transpose();
        let due = range(filter.due, "filter.due")?;
        let due_from = filter.due_from.map(|at| time(&at, "filter.due_from")).transpose()?;
        let due_to = filter.due_to.map(|at| time(&at, "filter.due_to")).transpose()?;
        Ok(Self {
            status: filter.status.iter().copied().filter_map(convert::status).collect(),
            priority: filter.priority.iter().copied().filter_map(convert::priority).collect(),
            assigned_to: filter.assigned_to.map(|user| reader.person(&user, "filter.assigned_to")).transpose()?,
            created_by: filter.created_by.map(|user| reader.person(&user, "filter.created_by")).transpose()?,
            due_from: due_from.into_iter().chain(due.map(|(from, _)| from)).max(),
            due_to: due_to.into_iter().chain(due.map(|(_, to)| to)).min(),
            created: range(filter.created, "filter.created")?,
            updated: range(filter.updated, "filter.updated")?,
            completed: range(filter.completed, "filter.completed")?,
            tags,
            search: filter.search.map(|search| SearchTerms::parse(&search, "filter.search")).transpose()?,
            overdue: filter.overdue,
            unassigned: filter.unassigned,
            parent_task_id: filter.parent_task_id.map(|task| id(&task, "filter.parent_task_id")).transpose()?,
            has_due: filter.has_due,
            within: None,
            unchanged_since: None,
            sort: match sort {
                TaskSort::UpdatedAt => Sort::UpdatedAt,
                TaskSort::DueAt => Sort::DueAt,
                TaskSort::Priority => Sort::Priority,
                TaskSort::Rank => Sort::Rank,
                TaskSort::CreatedAt | TaskSort::Unspecified => Sort::CreatedAt,
            },
            descending: match order {
                SortOrder::Asc => false,
                SortOrder::Desc => true,
                // The manual order is ascending by default.
                SortOrder::Unspecified => sort != TaskSort::Rank,
            },
        })
    }

    /// Whether boards have a column for this state: for archived tasks only on request.
    pub(crate) fn includes(&self, status: Status) -> bool {
        status != Status::Archived || self.status.contains(&status)
    }
}
