//! What the database says about the tables of a schema.

use std::collections::{HashMap, HashSet};

use baton_errors::Result;
use sqlx::Row as _;

use crate::Db;

/// The columns of each table's primary key, with their types.
pub(crate) async fn primary_keys(db: &Db) -> Result<HashMap<String, Vec<(String, String)>>> {
    let rows = sqlx::query(
        "select relname::text as table, attname::text as column, format_type(atttypid, atttypmod) as type
         from pg_index
         join pg_class on pg_class.oid = indrelid
         cross join unnest(indkey) with ordinality as key (number, nth)
         join pg_attribute on attrelid = indrelid and attnum = number
         where indisprimary and relnamespace = $1::text::regnamespace
         order by relname, nth",
    )
    .bind(db.schema())
    .fetch_all(db.system())
    .await?;
    let mut keys: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for row in rows {
        keys.entry(row.get("table")).or_default().push((row.get("column"), row.get("type")));
    }
    Ok(keys)
}

/// Tables and columns that an index of all rows, or of all that have a value there, begins with.
pub(super) async fn indexed(db: &Db) -> Result<HashSet<(String, String)>> {
    let rows = sqlx::query(
        "select relname::text as table, attname::text as column
         from pg_index
         join pg_class on pg_class.oid = indrelid
         join pg_attribute on attrelid = indrelid and attnum = indkey[0]
         where relnamespace = $1::text::regnamespace
           and (indpred is null or pg_get_expr(indpred, indrelid) = format('(%I IS NOT NULL)', attname))",
    )
    .bind(db.schema())
    .fetch_all(db.system())
    .await?;
    Ok(rows.into_iter().map(|row| (row.get("table"), row.get("column"))).collect())
}

/// The type of each column, by table and column.
pub(super) async fn column_types(db: &Db) -> Result<HashMap<(String, String), String>> {
    let rows = sqlx::query(
        "select relname::text as table, attname::text as column, format_type(atttypid, atttypmod) as type
         from pg_attribute join pg_class on pg_class.oid = attrelid
         where relnamespace = $1::text::regnamespace and relkind in ('r', 'p') and attnum > 0 and not attisdropped",
    )
    .bind(db.schema())
    .fetch_all(db.system())
    .await?;
    Ok(rows.into_iter().map(|row| ((row.get("table"), row.get("column")), row.get("type"))).collect())
}

/// Columns that may be null, by table and column.
pub(super) type NullableColumns = HashSet<(String, String)>;

/// The columns that may be null.
pub(super) async fn nullable_columns(db: &Db) -> Result<NullableColumns> {
    let rows = sqlx::query(
        "select relname::text as table, attname::text as column
         from pg_attribute join pg_class on pg_class.oid = attrelid
         where relnamespace = $1::text::regnamespace and relkind in ('r', 'p') and attnum > 0 and not attisdropped
           and not attnotnull",
    )
    .bind(db.schema())
    .fetch_all(db.system())
    .await?;
    Ok(rows.into_iter().map(|row| (row.get("table"), row.get("column"))).collect())
}
