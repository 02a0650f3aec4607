//! Which tasks a list shows, and in which order.

use baton_errors::Result;
use baton_proto::baton::task::v1::{SortOrder, TaskFilter, TaskSort};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    convert,
    fields::{id, text, time},
    task::{Priority, Status},
};

/// What to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sort {
    CreatedAt,
    UpdatedAt,
    /// Tasks without a due time come last, either way.
    DueAt,
    Priority,
}

/// Which of the tasks in scope. All that are given must hold; of several values of one field any may.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    pub(crate) status: Vec<Status>,
    pub(crate) priority: Vec<Priority>,
    pub(crate) assigned_to: Option<Uuid>,
    pub(crate) created_by: Option<Uuid>,
    pub(crate) due_from: Option<DateTime<Utc>>,
    pub(crate) due_to: Option<DateTime<Utc>>,
    pub(crate) tags: Vec<String>,
    pub(crate) search: Option<String>,
    pub(crate) sort: Sort,
    pub(crate) descending: bool,
}

/// The tasks that a list is about. What the caller does not see is in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// All.
    Visible,
    /// Those that this person holds, and those they created that nobody holds.
    BoardOf(Uuid),
    /// Those that the caller or who reports to them holds or created. Everyone reports to those who run
    /// the account.
    Team,
}

impl Filter {
    /// What the caller asked for.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn of(filter: Option<TaskFilter>) -> Result<Self> {
        let filter = filter.unwrap_or_default();
        let mut tags = Vec::with_capacity(filter.tags.len());
        for tag in filter.tags {
            // Tags are kept trimmed.
            tags.push(text(tag.trim().to_owned(), "filter.tags")?);
        }
        Ok(Self {
            status: filter.status.iter().copied().filter_map(convert::status).collect(),
            priority: filter.priority.iter().copied().filter_map(convert::priority).collect(),
            assigned_to: filter.assigned_to.map(|user| id(&user, "filter.assigned_to")).transpose()?,
            created_by: filter.created_by.map(|user| id(&user, "filter.created_by")).transpose()?,
            due_from: filter.due_from.map(|at| time(&at, "filter.due_from")).transpose()?,
            due_to: filter.due_to.map(|at| time(&at, "filter.due_to")).transpose()?,
            tags,
            search: filter.search.map(|search| text(search, "filter.search")).transpose()?,
            sort: match TaskSort::try_from(filter.sort) {
                Ok(TaskSort::UpdatedAt) => Sort::UpdatedAt,
                Ok(TaskSort::DueAt) => Sort::DueAt,
                Ok(TaskSort::Priority) => Sort::Priority,
                Ok(TaskSort::CreatedAt | TaskSort::Unspecified) | Err(_) => Sort::CreatedAt,
            },
            descending: SortOrder::try_from(filter.order) != Ok(SortOrder::Asc),
        })
    }
}
