//! Saved views.

use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_store::{Page, ReadTx, Tx};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    query::{
        board_layout::LayoutKind,
        filter::{FilterTemplate, Order, Sort},
        saved_view::{MAX_VIEWS, View, ViewSource, ViewVisibility},
    },
    task::{Priority, Status},
};

/// A filter as stored: field names as in REST, without empty fields. The SQL texts name it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Saved {
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

impl From<&FilterTemplate> for Saved {
    fn from(filter: &FilterTemplate) -> Self {
        let filter = filter.clone();
        Self {
            status: filter.status.into_iter().map(|status| status.name().to_owned()).collect(),
            priority: filter.priority.into_iter().map(|priority| priority.name().to_owned()).collect(),
            assigned_to: filter.assigned_to,
            created_by: filter.created_by,
            due_from: filter.due_from,
            due_to: filter.due_to,
            tags: filter.tags,
            search: filter.search,
            sort: filter.sort.map(|sort| sort.name().to_owned()),
            order: filter.order.map(|order| order.name().to_owned()),
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
}

impl From<Saved> for FilterTemplate {
    fn from(saved: Saved) -> Self {
        Self {
            status: saved.status.iter().filter_map(|name| Status::from_name(name)).collect(),
            priority: saved.priority.iter().filter_map(|name| Priority::from_name(name)).collect(),
            assigned_to: saved.assigned_to,
            created_by: saved.created_by,
            due_from: saved.due_from,
            due_to: saved.due_to,
            tags: saved.tags,
            search: saved.search,
            sort: saved.sort.and_then(|name| Sort::from_name(&name)),
            order: saved.order.and_then(|name| Order::from_name(&name)),
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

struct Row {
    id: Uuid,
    account_id: Uuid,
    owner_id: Uuid,
    name: String,
    source: String,
    user_id: Option<Uuid>,
    look: String,
    filter: Json<Saved>,
    visibility: String,
    position: i32,
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for View {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unknown = |what: &str| Error::internal(format!("a view has an unknown {what}"));
        Ok(Self {
            id: row.id,
            account_id: row.account_id,
            owner_id: row.owner_id,
            name: row.name,
            source: ViewSource::from_name(&row.source).ok_or_else(|| unknown("source"))?,
            user_id: row.user_id,
            layout: LayoutKind::from_name(&row.look).ok_or_else(|| unknown("layout"))?,
            filter: row.filter.0.into(),
            visibility: ViewVisibility::from_name(&row.visibility).ok_or_else(|| unknown("visibility"))?,
            position: row.position,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// The position of the caller's next view. Serializes the caller's creation of views.
///
/// # Errors
/// VIEW_LIMIT.
pub(crate) async fn next_position(tx: &mut ReadTx) -> Result<i32> {
    let tenant = tx.tenant();
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('task.views:' || $1 || ':' || $2, 0))",
        tenant.account_id.to_string(),
        tenant.user_id.to_string()
    )
    .execute(tx.connection())
    .await?;
    let own = sqlx::query!(
        r#"select count(*) as "count!", coalesce(max(position), -1) as "last!" from task.saved_views
           where account_id = $1 and owner_id = $2"#,
        tenant.account_id,
        tenant.user_id
    )
    .fetch_one(tx.connection())
    .await?;
    if own.count >= MAX_VIEWS {
        return Err(Reason::ViewLimit.into());
    }
    Ok(own.last.saturating_add(1))
}

/// Stores a new view.
///
/// # Errors
/// VIEW_NAME_TAKEN.
pub(crate) async fn insert(tx: &mut Tx, view: &View) -> Result<()> {
    sqlx::query!(
        "insert into task.saved_views (id, account_id, owner_id, name, source, user_id, look, filter, visibility,
                                       position, version, created_at, updated_at, name_key)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        view.id,
        view.account_id,
        view.owner_id,
        view.name,
        view.source.name(),
        view.user_id,
        view.layout.name(),
        Json(Saved::from(&view.filter)) as _,
        view.visibility.name(),
        view.position,
        view.version,
        view.created_at,
        view.updated_at,
        baton_text::fold(&view.name)
    )
    .execute(tx.connection())
    .await
    .map_err(map_constraint)?;
    Ok(())
}

/// A view of the account. The caller checks visibility.
pub(crate) async fn get(tx: &mut ReadTx, id: Uuid) -> Result<Option<View>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, account_id, owner_id, name, source, user_id, look, filter as "filter: Json<Saved>", visibility,
                  position, version, created_at, updated_at
           from task.saved_views where account_id = $1 and id = $2"#,
        tx.tenant().account_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(View::try_from).transpose()
}

/// Locks a view of the account. The caller checks visibility.
pub(crate) async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<View>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, account_id, owner_id, name, source, user_id, look, filter as "filter: Json<Saved>", visibility,
                  position, version, created_at, updated_at
           from task.saved_views where account_id = $1 and id = $2 for no key update"#,
        tx.tenant().account_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(View::try_from).transpose()
}

/// The view's sort key for a reader: their own views first.
pub(crate) fn key(view: &View, reader: Uuid) -> String {
    if view.owner_id == reader { format!("0{:07}", view.position) } else { format!("1{}", view.id) }
}

/// A page of the views that the caller sees, and their total number.
pub(crate) async fn list(tx: &mut ReadTx, page: &Page) -> Result<(Vec<View>, i64)> {
    let tenant = tx.tenant();
    let after = page.after().map(|cursor| (cursor.key.clone().unwrap_or_default(), cursor.id));
    let (key, id) = after.unwrap_or_default();
    let rows = sqlx::query_as!(
        Row,
        r#"select id, account_id, owner_id, name, source, user_id, look, filter as "filter: Json<Saved>", visibility,
                  position, version, created_at, updated_at
           from (
               select *, case when owner_id = $2 then '0' || lpad(position::text, 7, '0') else '1' || id::text end
                         collate "C" as key
               from task.saved_views where account_id = $1 and (owner_id = $2 or visibility = 'shared')
           ) seen
           where (key, id) > ($3 collate "C", $4) order by key, id limit $5 offset $6"#,
        tenant.account_id,
        tenant.user_id,
        key,
        id,
        page.limit(),
        page.offset()
    )
    .fetch_all(tx.connection())
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from task.saved_views
           where account_id = $1 and (owner_id = $2 or visibility = 'shared')"#,
        tenant.account_id,
        tenant.user_id
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((rows.into_iter().map(View::try_from).collect::<Result<_>>()?, total))
}

/// Stores the mutable columns of a locked view.
///
/// # Errors
/// VIEW_NAME_TAKEN.
pub(crate) async fn save(tx: &mut Tx, view: &View) -> Result<()> {
    sqlx::query!(
        "update task.saved_views set name = $3, source = $4, user_id = $5, look = $6, filter = $7, visibility = $8,
                                     position = $9, version = $10, updated_at = $11, name_key = $12
         where account_id = $1 and id = $2",
        view.account_id,
        view.id,
        view.name,
        view.source.name(),
        view.user_id,
        view.layout.name(),
        Json(Saved::from(&view.filter)) as _,
        view.visibility.name(),
        view.position,
        view.version,
        view.updated_at,
        baton_text::fold(&view.name)
    )
    .execute(tx.connection())
    .await
    .map_err(map_constraint)?;
    Ok(())
}

/// Deletes a view.
pub(crate) async fn delete(tx: &mut Tx, view: &View) -> Result<()> {
    sqlx::query!("delete from task.saved_views where account_id = $1 and id = $2", view.account_id, view.id)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Deletes the private views of a departed member. Shared ones stay; account administrators maintain them.
pub(crate) async fn delete_private(tx: &mut Tx, owner_id: Uuid) -> Result<()> {
    sqlx::query!(
        "delete from task.saved_views where account_id = $1 and owner_id = $2 and visibility = 'private'",
        tx.tenant().account_id,
        owner_id
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

fn map_constraint(error: sqlx::Error) -> Error {
    match violated_constraint(&error) {
        Some("saved_views_name" | "saved_views_name_key") => Error::from(Reason::ViewNameTaken).with_source(error),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::filter::{template, tests::full};

    #[test]
    fn stored_filter_round_trips() {
        for filter in [template(full()).unwrap(), FilterTemplate::default()] {
            let json = serde_json::to_value(Saved::from(&filter)).unwrap();
            let saved: Saved = serde_json::from_value(json).unwrap();
            assert_eq!(FilterTemplate::from(saved), filter);
        }
        let filter = FilterTemplate { status: vec![Status::InProgress], ..FilterTemplate::default() };
        assert_eq!(serde_json::to_value(Saved::from(&filter)).unwrap(), json!({"status": ["in_progress"]}));
    }
}
