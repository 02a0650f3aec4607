//! Filters and sort orders of task lists.

use baton_errors::{Error, Result};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::{
    query::{
        date_range::{NamedRange, Range},
        search::SearchTerms,
    },
    task::{
        Priority, Status,
        fields::{id, text},
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

impl Sort {
    const ALL: [Self; 5] = [Self::CreatedAt, Self::UpdatedAt, Self::DueAt, Self::Priority, Self::Rank];

    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::DueAt => "due_at",
            Self::Priority => "priority",
            Self::Rank => "rank",
        }
    }

    /// The sort key with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.name() == name)
    }
}

/// Direction of a sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    Descending,
}

impl Order {
    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }

    /// The order with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Ascending, Self::Descending].into_iter().find(|order| order.name() == name)
    }
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

/// A filter as a member writes it: `me` and named dates mean something else for each reader and day.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FilterTemplate {
    pub(crate) status: Vec<Status>,
    pub(crate) priority: Vec<Priority>,
    pub(crate) assigned_to: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) due_from: Option<DateTime<Utc>>,
    pub(crate) due_to: Option<DateTime<Utc>>,
    pub(crate) tags: Vec<String>,
    pub(crate) search: Option<String>,
    pub(crate) sort: Option<Sort>,
    pub(crate) order: Option<Order>,
    pub(crate) overdue: Option<bool>,
    pub(crate) unassigned: Option<bool>,
    pub(crate) parent_task_id: Option<String>,
    pub(crate) has_due: Option<bool>,
    pub(crate) due: Option<String>,
    pub(crate) created: Option<String>,
    pub(crate) updated: Option<String>,
    pub(crate) completed: Option<String>,
}

impl FilterTemplate {
    /// Whether the filter depends on the reader's time zone.
    pub(crate) fn has_named_dates(&self) -> bool {
        [&self.due, &self.created, &self.updated, &self.completed].into_iter().any(Option::is_some)
    }

    /// Copies one field from another filter; `false` when there is none of this name.
    pub(crate) fn copy_field(&mut self, from: &Self, field: &str) -> bool {
        macro_rules! fields {
            ($($name:ident)*) => {
                match field {
                    $(stringify!($name) => self.$name.clone_from(&from.$name),)*
                    _ => return false,
                }
            };
        }
        fields!(status priority assigned_to created_by due_from due_to tags search sort order overdue unassigned
                parent_task_id has_due due created updated completed);
        true
    }

    /// The filter of `reader`.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn resolve(self, reader: Reader) -> Result<Filter> {
        let mut tags = Vec::with_capacity(self.tags.len());
        for tag in self.tags {
            // Stored tags are trimmed.
            tags.push(text(tag.trim().to_owned(), "filter.tags")?);
        }
        let range = |name: Option<String>, field: &str| name.map(|name| reader.range(&name, field)).transpose();
        let due = range(self.due, "filter.due")?;
        // Stored times have microseconds.
        let (due_from, due_to) =
            (self.due_from.map(|at| at.trunc_subsecs(6)), self.due_to.map(|at| at.trunc_subsecs(6)));
        let sort = self.sort.unwrap_or_default();
        Ok(Filter {
            status: self.status,
            priority: self.priority,
            assigned_to: self.assigned_to.map(|user| reader.person(&user, "filter.assigned_to")).transpose()?,
            created_by: self.created_by.map(|user| reader.person(&user, "filter.created_by")).transpose()?,
            due_from: due_from.into_iter().chain(due.map(|(from, _)| from)).max(),
            due_to: due_to.into_iter().chain(due.map(|(_, to)| to)).min(),
            created: range(self.created, "filter.created")?,
            updated: range(self.updated, "filter.updated")?,
            completed: range(self.completed, "filter.completed")?,
            tags,
            search: self.search.map(|search| SearchTerms::parse(&search, "filter.search")).transpose()?,
            overdue: self.overdue,
            unassigned: self.unassigned,
            parent_task_id: self.parent_task_id.map(|task| id(&task, "filter.parent_task_id")).transpose()?,
            has_due: self.has_due,
            within: None,
            unchanged_since: None,
            sort,
            // The manual order is ascending by default.
            descending: self.order.map_or(sort != Sort::Rank, |order| order == Order::Descending),
        })
    }
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

    /// Whether boards have a column for this state: for archived tasks only on request.
    pub(crate) fn includes(&self, status: Status) -> bool {
        status != Status::Archived || self.status.contains(&status)
    }
}
