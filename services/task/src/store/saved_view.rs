//! Saved views.

use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_proto::baton::task::v1::{BoardLayout, ViewSource, ViewVisibility};
use baton_store::{Page, Tx};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

// The SQL texts name the column's type `Saved`.
use crate::query::saved_view::{MAX_VIEWS, StoredFilter as Saved, View, to_full_name, to_short_name};

const SOURCE: &str = "VIEW_SOURCE_";
const LAYOUT: &str = "BOARD_LAYOUT_";
const VISIBILITY: &str = "VIEW_VISIBILITY_";

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
            source: ViewSource::from_str_name(&to_full_name(&row.source, SOURCE)).ok_or_else(|| unknown("source"))?,
            user_id: row.user_id,
            layout: BoardLayout::from_str_name(&to_full_name(&row.look, LAYOUT)).ok_or_else(|| unknown("layout"))?,
            filter: row.filter.0.into(),
            visibility: ViewVisibility::from_str_name(&to_full_name(&row.visibility, VISIBILITY))
                .ok_or_else(|| unknown("visibility"))?,
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
pub(crate) async fn next_position(tx: &mut Tx) -> Result<i32> {
    let tenant = tx.tenant();
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('task.views:' || $1 || ':' || $2, 0))",
        tenant.account_id.to_string(),
        tenant.user_id.to_string()
    )
    .execute(&mut **tx)
    .await?;
    let own = sqlx::query!(
        r#"select count(*) as "count!", coalesce(max(position), -1) as "last!" from task.saved_views
           where account_id = $1 and owner_id = $2"#,
        tenant.account_id,
        tenant.user_id
    )
    .fetch_one(&mut **tx)
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
        to_short_name(view.source.as_str_name(), SOURCE),
        view.user_id,
        to_short_name(view.layout.as_str_name(), LAYOUT),
        Json(Saved::from(&view.filter)) as _,
        to_short_name(view.visibility.as_str_name(), VISIBILITY),
        view.position,
        view.version,
        view.created_at,
        view.updated_at,
        baton_text::fold(&view.name)
    )
    .execute(&mut **tx)
    .await
    .map_err(map_constraint)?;
    Ok(())
}

/// A view of the account. The caller checks visibility.
pub(crate) async fn get(tx: &mut Tx, id: Uuid) -> Result<Option<View>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, account_id, owner_id, name, source, user_id, look, filter as "filter: Json<Saved>", visibility,
                  position, version, created_at, updated_at
           from task.saved_views where account_id = $1 and id = $2"#,
        tx.tenant().account_id,
        id
    )
    .fetch_optional(&mut **tx)
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
    .fetch_optional(&mut **tx)
    .await?;
    row.map(View::try_from).transpose()
}

/// The view's sort key for a reader: their own views first.
pub(crate) fn key(view: &View, reader: Uuid) -> String {
    if view.owner_id == reader { format!("0{:07}", view.position) } else { format!("1{}", view.id) }
}

/// A page of the views that the caller sees, and their total number.
pub(crate) async fn list(tx: &mut Tx, page: &Page) -> Result<(Vec<View>, i64)> {
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
    .fetch_all(&mut **tx)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from task.saved_views
           where account_id = $1 and (owner_id = $2 or visibility = 'shared')"#,
        tenant.account_id,
        tenant.user_id
    )
    .fetch_one(&mut **tx)
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
        to_short_name(view.source.as_str_name(), SOURCE),
        view.user_id,
        to_short_name(view.layout.as_str_name(), LAYOUT),
        Json(Saved::from(&view.filter)) as _,
        to_short_name(view.visibility.as_str_name(), VISIBILITY),
        view.position,
        view.version,
        view.updated_at,
        baton_text::fold(&view.name)
    )
    .execute(&mut **tx)
    .await
    .map_err(map_constraint)?;
    Ok(())
}

/// Deletes a view.
pub(crate) async fn delete(tx: &mut Tx, view: &View) -> Result<()> {
    sqlx::query!("delete from task.saved_views where account_id = $1 and id = $2", view.account_id, view.id)
        .execute(&mut **tx)
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
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn map_constraint(error: sqlx::Error) -> Error {
    match violated_constraint(&error) {
        Some("saved_views_name" | "saved_views_name_key") => Error::from(Reason::ViewNameTaken).with_source(error),
        _ => error.into(),
    }
}
