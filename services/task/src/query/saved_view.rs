//! Saved views: a source, a layout and a filter.

use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::task::v1::{
        self as proto, BoardLayout, SortOrder, TaskFilter, TaskPriority, TaskSort, TaskStatus, ViewChange, ViewSource,
        ViewVisibility,
    },
    convert::{datetime, timestamp},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    policy::visibility::Actor,
    query::filter::{Filter, Reader},
    task::fields::{id, required},
};

/// Maximum number of views per member.
pub(crate) const MAX_VIEWS: i64 = 100;

/// A saved view.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) owner_id: Uuid,
    pub(crate) name: String,
    pub(crate) source: ViewSource,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) layout: BoardLayout,
    pub(crate) filter: TaskFilter,
    pub(crate) visibility: ViewVisibility,
    pub(crate) position: i32,
    pub(crate) version: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl View {
    /// Whether the actor sees the view: their own, and shared ones.
    pub(crate) fn is_visible_to(&self, actor: Actor<'_>) -> bool {
        self.owner_id == actor.id || self.visibility == ViewVisibility::Shared
    }

    /// Checks that the actor may change and delete the view: its owner, and account administrators if it is shared.
    ///
    /// # Errors
    /// VIEW_CHANGE_NOT_ALLOWED.
    pub(crate) fn can_be_changed_by(&self, actor: Actor<'_>) -> Result<()> {
        let may = self.owner_id == actor.id || self.visibility == ViewVisibility::Shared && actor.is_account_admin();
        if may { Ok(()) } else { Err(Reason::ViewChangeNotAllowed.into()) }
    }

    /// Sets the fields in `mask` from `new`; a field that is absent there is cleared.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn change(&mut self, mask: &[String], new: &ViewChange) -> Result<()> {
        if mask.is_empty() {
            return Err(Error::invalid("update_mask", "must name a field"));
        }
        for path in mask {
            match path.as_str() {
                "name" => self.name = required(new.name.clone(), "view.name")?,
                "source" if new.source() == ViewSource::Unspecified => {
                    return Err(Error::invalid("view.source", "must not be empty"));
                }
                "source" => self.source = new.source(),
                "user_id" => {
                    self.user_id = new.user_id.as_deref().map(|user| id(user, "view.user_id")).transpose()?;
                }
                "layout" => self.layout = layout_or_kanban(new.layout()),
                "filter" => self.filter = new.filter.clone().unwrap_or_default(),
                "visibility" => self.visibility = visibility_or_private(new.visibility()),
                "position" => self.position = new.position,
                path => {
                    let field = path.strip_prefix("filter.").ok_or_else(unknown)?;
                    copy_field(&mut self.filter, new.filter.as_ref().unwrap_or(&TaskFilter::default()), field)?;
                }
            }
        }
        self.check("view.")
    }

    /// Checks rules that involve several fields: a view names a user if and only if it shows a user's board, and its
    /// filter is valid. `above` prefixes field names in errors.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn check(&self, above: &str) -> Result<()> {
        if (self.source == ViewSource::User) != self.user_id.is_some() {
            return Err(Error::invalid(format!("{above}user_id"), "must be given for the source `user` only"));
        }
        Filter::parse(Some(self.filter.clone()), Reader::ANONYMOUS)?;
        Ok(())
    }
}

impl From<View> for proto::View {
    fn from(view: View) -> Self {
        Self {
            id: view.id.to_string(),
            account_id: view.account_id.to_string(),
            owner_id: view.owner_id.to_string(),
            name: view.name,
            source: view.source.into(),
            user_id: view.user_id.map(|id| id.to_string()),
            layout: view.layout.into(),
            filter: Some(view.filter),
            visibility: view.visibility.into(),
            position: view.position,
            version: view.version,
            created_at: Some(timestamp(view.created_at)),
            updated_at: Some(timestamp(view.updated_at)),
        }
    }
}

/// The layout, Kanban by default.
pub(crate) fn layout_or_kanban(layout: BoardLayout) -> BoardLayout {
    if layout == BoardLayout::Unspecified { BoardLayout::Kanban } else { layout }
}

/// The visibility, private by default.
pub(crate) fn visibility_or_private(visibility: ViewVisibility) -> ViewVisibility {
    if visibility == ViewVisibility::Unspecified { ViewVisibility::Private } else { visibility }
}

fn unknown() -> Error {
    Error::invalid("update_mask", "must name fields of a view")
}

/// Copies one field of a filter.
fn copy_field(to: &mut TaskFilter, from: &TaskFilter, field: &str) -> Result<()> {
    macro_rules! fields {
        ($($name:ident)*) => {
            match field {
                $(stringify!($name) => to.$name = from.$name.clone(),)*
                _ => return Err(unknown()),
            }
        };
    }
    fields!(status priority assigned_to created_by due_from due_to tags search sort order overdue unassigned
            parent_task_id has_due due created updated completed);
    Ok(())
}

/// A filter as stored: field names as in REST, without empty fields.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredFilter {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    status: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    priority: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assigned_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_from: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_to: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overdue: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unassigned: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_task_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_due: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<String>,
}

const STATUS: &str = "TASK_STATUS_";
const PRIORITY: &str = "TASK_PRIORITY_";
const SORT: &str = "TASK_SORT_";
const ORDER: &str = "SORT_ORDER_";

/// The enum value's name in REST.
pub(crate) fn to_short_name(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

/// The enum value's name in the contract.
pub(crate) fn to_full_name(name: &str, prefix: &str) -> String {
    format!("{prefix}{}", name.to_ascii_uppercase())
}

impl From<&TaskFilter> for StoredFilter {
    fn from(filter: &TaskFilter) -> Self {
        let said = |name: &str, prefix: &str| Some(to_short_name(name, prefix)).filter(|name| name != "unspecified");
        Self {
            status: filter.status().map(|it| to_short_name(it.as_str_name(), STATUS)).collect(),
            priority: filter.priority().map(|it| to_short_name(it.as_str_name(), PRIORITY)).collect(),
            assigned_to: filter.assigned_to.clone(),
            created_by: filter.created_by.clone(),
            due_from: filter.due_from.as_ref().and_then(datetime),
            due_to: filter.due_to.as_ref().and_then(datetime),
            tags: filter.tags.clone(),
            search: filter.search.clone(),
            sort: said(filter.sort().as_str_name(), SORT),
            order: said(filter.order().as_str_name(), ORDER),
            overdue: filter.overdue,
            unassigned: filter.unassigned,
            parent_task_id: filter.parent_task_id.clone(),
            has_due: filter.has_due,
            due: filter.due.clone(),
            created: filter.created.clone(),
            updated: filter.updated.clone(),
            completed: filter.completed.clone(),
        }
    }
}

impl From<StoredFilter> for TaskFilter {
    fn from(saved: StoredFilter) -> Self {
        let status = |name: &String| TaskStatus::from_str_name(&to_full_name(name, STATUS));
        let priority = |name: &String| TaskPriority::from_str_name(&to_full_name(name, PRIORITY));
        let sort = saved.sort.and_then(|name| TaskSort::from_str_name(&to_full_name(&name, SORT)));
        let order = saved.order.and_then(|name| SortOrder::from_str_name(&to_full_name(&name, ORDER)));
        Self {
            status: saved.status.iter().filter_map(status).map(i32::from).collect(),
            priority: saved.priority.iter().filter_map(priority).map(i32::from).collect(),
            assigned_to: saved.assigned_to,
            created_by: saved.created_by,
            due_from: saved.due_from.map(timestamp),
            due_to: saved.due_to.map(timestamp),
            tags: saved.tags,
            search: saved.search,
            sort: sort.unwrap_or_default().into(),
            order: order.unwrap_or_default().into(),
            overdue: saved.overdue,
            unassigned: saved.unassigned,
            parent_task_id: saved.parent_task_id,
            has_due: saved.has_due,
            due: saved.due,
            created: saved.created,
            updated: saved.updated,
            completed: saved.completed,
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use serde_json::json;

    use super::*;

    fn full() -> TaskFilter {
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
    fn stored_filter_round_trips() {
        for filter in [full(), TaskFilter::default()] {
            let json = serde_json::to_value(StoredFilter::from(&filter)).unwrap();
            let saved: StoredFilter = serde_json::from_value(json).unwrap();
            assert_eq!(TaskFilter::from(saved), filter);
        }
        let json =
            serde_json::to_value(StoredFilter::from(&TaskFilter { status: vec![2], ..Default::default() })).unwrap();
        assert_eq!(json, json!({"status": ["in_progress"]}));
    }

    #[test]
    fn every_filter_field_can_be_copied() {
        let (full, mut to) = (full(), TaskFilter::default());
        let of = baton_proto::pool().get_message_by_name("baton.task.v1.TaskFilter").unwrap();
        for field in of.fields() {
            copy_field(&mut to, &full, field.name()).unwrap();
        }
        assert_eq!(to, full);
        assert!(copy_field(&mut to, &full, "nonsense").is_err());
    }
}
