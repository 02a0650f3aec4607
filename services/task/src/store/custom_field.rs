//! Definitions of custom fields.

use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::advisory_lock;
use crate::task::custom_field::{Choice, CustomField, FieldType, MAX_DEFINITIONS};

struct Row {
    id: Uuid,
    account_id: Uuid,
    key: String,
    name: String,
    r#type: String,
    options: Json<Vec<Choice>>,
    required: bool,
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for CustomField {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let field_type = FieldType::from_name(&row.r#type);
        Ok(Self {
            id: row.id,
            account_id: row.account_id,
            key: row.key,
            name: row.name,
            field_type: field_type.ok_or_else(|| Error::internal("a custom field has an unknown type"))?,
            options: row.options.0,
            required: row.required,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// All definitions of the account, oldest first.
pub(crate) async fn all(tx: &mut ReadTx) -> Result<Vec<CustomField>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, account_id, key, name, type, options as "options: Json<Vec<Choice>>", required, version,
                  created_at, updated_at
           from task.custom_fields where account_id = $1 order by id"#,
        tx.tenant().account_id
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(CustomField::try_from).collect()
}

/// Locks a definition of the account.
///
/// # Errors
/// CUSTOM_FIELD_NOT_FOUND.
pub(crate) async fn lock(tx: &mut Tx, id: Uuid) -> Result<CustomField> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, account_id, key, name, type, options as "options: Json<Vec<Choice>>", required, version,
                  created_at, updated_at
           from task.custom_fields where account_id = $1 and id = $2 for update"#,
        tx.tenant().account_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.ok_or_else(|| Error::from(Reason::CustomFieldNotFound))?.try_into()
}

/// Stores a new definition. Concurrent calls cannot exceed the limit.
///
/// # Errors
/// CUSTOM_FIELD_KEY_TAKEN, CUSTOM_FIELD_LIMIT.
pub(crate) async fn insert(tx: &mut Tx, field: &CustomField) -> Result<()> {
    advisory_lock::exclusive(tx, "custom_fields").await?;
    let inserted = sqlx::query!(
        "insert into task.custom_fields (id, account_id, key, name, type, options, required, version, created_at,
                                         updated_at)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
         where (select count(*) from task.custom_fields where account_id = $2) < $11",
        field.id,
        field.account_id,
        field.key,
        field.name,
        field.field_type.name(),
        Json(&field.options) as _,
        field.required,
        field.version,
        field.created_at,
        field.updated_at,
        MAX_DEFINITIONS
    )
    .execute(tx.connection())
    .await
    .map_err(map_constraint)?;
    if inserted.rows_affected() == 0 {
        return Err(Error::from(Reason::CustomFieldLimit).with("limit", MAX_DEFINITIONS.to_string()));
    }
    Ok(())
}

/// Stores the mutable columns of a locked definition.
pub(crate) async fn save(tx: &mut Tx, field: &CustomField) -> Result<()> {
    sqlx::query!(
        "update task.custom_fields set name = $3, options = $4, required = $5, version = $6, updated_at = $7
         where account_id = $1 and id = $2",
        field.account_id,
        field.id,
        field.name,
        Json(&field.options) as _,
        field.required,
        field.version,
        field.updated_at
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes a locked definition.
pub(crate) async fn delete(tx: &mut Tx, field: &CustomField) -> Result<()> {
    sqlx::query!("delete from task.custom_fields where account_id = $1 and id = $2", field.account_id, field.id)
        .execute(tx.connection())
        .await?;
    Ok(())
}

fn map_constraint(error: sqlx::Error) -> Error {
    match violated_constraint(&error) {
        Some("custom_fields_key") => Reason::CustomFieldKeyTaken.into(),
        _ => error.into(),
    }
}
