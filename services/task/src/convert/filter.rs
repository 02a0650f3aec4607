//! Filters in the contract.

use baton_errors::Result;
use baton_proto::{
    baton::task::v1::{SortOrder, TaskFilter, TaskSort},
    convert::timestamp,
};

use super::{exact_time, priority, status, to_priority, to_status};
use crate::query::filter::{FilterTemplate, Order, Sort};

/// The filter of the contract.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn template(filter: TaskFilter) -> Result<FilterTemplate> {
    let (sort, order) = (sort(filter.sort()), order(filter.order()));
    Ok(FilterTemplate {
        status: filter.status.iter().copied().filter_map(status).collect(),
        priority: filter.priority.iter().copied().filter_map(priority).collect(),
        assigned_to: filter.assigned_to,
        created_by: filter.created_by,
        due_from: filter.due_from.map(|at| exact_time(&at, "filter.due_from")).transpose()?,
        due_to: filter.due_to.map(|at| exact_time(&at, "filter.due_to")).transpose()?,
        tags: filter.tags,
        search: filter.search,
        sort,
        order,
        overdue: filter.overdue,
        unassigned: filter.unassigned,
        parent_task_id: filter.parent_task_id,
        has_due: filter.has_due,
        due: filter.due,
        created: filter.created,
        updated: filter.updated,
        completed: filter.completed,
    })
}

/// The filter in the contract.
pub(crate) fn to_filter(filter: FilterTemplate) -> TaskFilter {
    TaskFilter {
        status: filter.status.into_iter().map(|status| to_status(status).into()).collect(),
        priority: filter.priority.into_iter().map(|priority| to_priority(priority).into()).collect(),
        assigned_to: filter.assigned_to,
        created_by: filter.created_by,
        due_from: filter.due_from.map(timestamp),
        due_to: filter.due_to.map(timestamp),
        tags: filter.tags,
        search: filter.search,
        sort: filter.sort.map_or(TaskSort::Unspecified, to_sort).into(),
        order: filter.order.map_or(SortOrder::Unspecified, to_order).into(),
        overdue: filter.overdue,
        unassigned: filter.unassigned,
        parent_task_id: filter.parent_task_id,
        has_due: filter.has_due,
        due: filter.due,
        created: filter.created,
        updated: filter.updated,
        completed: filter.completed,
    }
}

fn sort(sort: TaskSort) -> Option<Sort> {
    match sort {
        TaskSort::Unspecified => None,
        TaskSort::CreatedAt => Some(Sort::CreatedAt),
        TaskSort::UpdatedAt => Some(Sort::UpdatedAt),
        TaskSort::DueAt => Some(Sort::DueAt),
        TaskSort::Priority => Some(Sort::Priority),
        TaskSort::Rank => Some(Sort::Rank),
    }
}

fn to_sort(sort: Sort) -> TaskSort {
    match sort {
        Sort::CreatedAt => TaskSort::CreatedAt,
        Sort::UpdatedAt => TaskSort::UpdatedAt,
        Sort::DueAt => TaskSort::DueAt,
        Sort::Priority => TaskSort::Priority,
        Sort::Rank => TaskSort::Rank,
    }
}

fn order(order: SortOrder) -> Option<Order> {
    match order {
        SortOrder::Unspecified => None,
        SortOrder::Asc => Some(Order::Ascending),
        SortOrder::Desc => Some(Order::Descending),
    }
}

fn to_order(order: Order) -> SortOrder {
    match order {
        Order::Ascending => SortOrder::Asc,
        Order::Descending => SortOrder::Desc,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use baton_proto::baton::task::v1::{TaskPriority, TaskStatus};
    use prost_types::Timestamp;
    use uuid::Uuid;

    use super::*;

    pub(crate) fn full() -> TaskFilter {
        TaskFilter {
            status: vec![TaskStatus::InProgress.into(), TaskStatus::Archived.into()],
            priority: vec![TaskPriority::Urgent.into()],
            assigned_to: Some(Uuid::from_u128(1).to_string()),
            created_by: Some(Uuid::from_u128(2).to_string()),
            due_from: Some(Timestamp { seconds: 1, nanos: 0 }),
            due_to: Some(Timestamp { seconds: 2, nanos: 500_000 }),
            tags: vec!["shop".to_owned()],
            search: Some("broom".to_owned()),
            sort: TaskSort::Rank.into(),
            order: SortOrder::Desc.into(),
            overdue: Some(true),
            unassigned: Some(false),
            parent_task_id: Some(Uuid::from_u128(3).to_string()),
            has_due: Some(true),
            due: Some("this_week".to_owned()),
            created: Some("last_7_days".to_owned()),
            updated: Some("today".to_owned()),
            completed: Some("this_year".to_owned()),
        }
    }

    #[test]
    fn filter_round_trips() {
        for filter in [full(), TaskFilter::default()] {
            assert_eq!(to_filter(template(filter.clone()).unwrap()), filter);
        }
        for sort in (1..).map_while(|number| TaskSort::try_from(number).ok()) {
            let filter = TaskFilter { sort: sort.into(), order: SortOrder::Asc.into(), ..TaskFilter::default() };
            assert_eq!(to_filter(template(filter.clone()).unwrap()), filter);
        }
    }

    #[test]
    fn every_filter_field_can_be_copied() {
        let (full, mut to) = (template(full()).unwrap(), FilterTemplate::default());
        let of = baton_proto::pool().get_message_by_name("baton.task.v1.TaskFilter").unwrap();
        for field in of.fields() {
            assert!(to.copy_field(&full, field.name()), "{}", field.name());
        }
        assert_eq!(to, full);
        assert!(!to.copy_field(&full, "nonsense"));
    }
}
