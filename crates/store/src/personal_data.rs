//! The catalogue of personal data: what `migrations/<service>/personal_data.toml` says about every column, as data.
//!
//! The deletion of an account, the export and the erasure of a person read it, so they are complete by construction: a test
//! fails for a column without a line. The vocabulary is in `migrations/README.md`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use crate::Db;

/// Rows that one statement deletes. More might run into the statement timeout, and would hold their locks for long.
const DELETE_BATCH: i64 = 1_000;

/// The categories of a person's data.
pub const CATEGORIES: [&str; 7] = ["profile", "tasks", "chats", "analytics", "consents", "activity", "settings"];

/// The catalogue of one schema: its own tables, without the platform's.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct PersonalData {
    /// The tables by name.
    pub tables: BTreeMap<String, Table>,
}

/// A table of the catalogue.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// How long its rows are kept.
    pub retention: Retention,
    /// The category of its exported data in a person's export: `tasks`. See [`CATEGORIES`].
    #[serde(default)]
    pub category: Option<String>,
    /// Why values stay when their subject is erased; there is one if any column says [`Erase::Keep`].
    #[serde(default)]
    pub kept: Option<String>,
    /// What becomes of an account's rows when the account is deleted.
    #[serde(default)]
    pub account_deletion: OnAccountDeletion,
    /// Where the id of each data subject is: `creator = "created_by"`.
    #[serde(default)]
    pub subjects: BTreeMap<String, SubjectId>,
    /// The columns by name.
    pub columns: BTreeMap<String, Column>,
}

/// How long rows are kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The event that ends it: `account deleted`, `person erased`, `task deleted`, `deleted by its owner`, `expired`, ...
    pub until: String,
    /// The days after `until`, or after the creation of the row where `until` is `expired`.
    #[serde(default)]
    pub days: Option<u32>,
    /// The work that deletes the rows: the name of a periodic work, or `account deletion`, `cascade`, `events`, `request`.
    pub by: String,
    /// The column of the time from which the days count, if [`crate::retention`] deletes the rows.
    #[serde(default)]
    pub column: Option<String>,
    /// Which rows it deletes, as a condition in SQL; all if none is given.
    #[serde(default)]
    pub only: Option<String>,
    /// What else ends it.
    #[serde(default)]
    pub note: Option<String>,
}

/// Where the id of a data subject is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum SubjectId {
    /// In this column.
    Column(String),
    /// In the row of another table that a column references.
    Through {
        /// The column that references the other table.
        through: String,
        /// The other table.
        table: String,
        /// The column that is referenced there: `id` unless another is named.
        #[serde(default = "id_column")]
        key: String,
        /// The column there that has the id.
        column: String,
        /// Which rows there, as a condition in SQL; all if none is given.
        #[serde(default)]
        only: Option<String>,
    },
    /// Inside the value of this column: JSON or an encoded message.
    Within {
        /// The column.
        within: String,
    },
}

/// The column that is referenced unless another is named.
fn id_column() -> String {
    "id".to_owned()
}

/// What becomes of an account's rows when the account is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnAccountDeletion {
    /// They are deleted.
    #[default]
    Delete,
    /// They are kept until their retention ends.
    Keep,
}

/// The class of a column's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Nothing about a person.
    None,
    /// Identifies a person.
    Identifier,
    /// Reaches a person.
    Contact,
    /// Written by a person.
    Content,
    /// What a person did, and when.
    Behaviour,
    /// A secret of a person.
    Secret,
}

/// What happens to a value when its subject is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Erase {
    /// The row is deleted. All columns about the same person say so.
    Delete,
    /// The value is replaced by null, or by an empty one, and the row stays.
    Clear,
    /// The value stays, under an id that names nobody any more. [`Table::kept`] says why.
    Keep,
    /// The value expires by itself.
    Expires,
}

/// Whether a value is part of its subject's export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Export {
    /// It is.
    Yes,
    /// It is while the person is a member of the row's account: others may have changed the value since.
    Member,
    /// It is not.
    No,
}

/// A column of the catalogue. All but the class is there for classes other than [`Class::None`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// What its data says about a person.
    pub class: Class,
    /// The data subject: a key of [`Table::subjects`].
    pub subject: Option<String>,
    /// The purpose.
    pub why: Option<String>,
    /// Whether it is exported.
    pub export: Option<Export>,
    /// What erasure does to it.
    pub erase: Option<Erase>,
}

impl Retention {
    /// How long rows are kept, in words.
    pub fn in_words(&self) -> String {
        let Self { until, days, note, .. } = self;
        let days = days.map(|days| format!(", and {days} days longer")).unwrap_or_default();
        let note = note.as_ref().map(|note| format!(". {note}")).unwrap_or_default();
        format!("until {until}{days}{note}")
    }
}

impl PersonalData {
    /// Reads a `personal_data.toml`.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// The catalogue, with the tables that every schema has.
    ///
    /// # Errors
    /// When the catalogue of those tables is malformed.
    pub fn with_platform(&self) -> anyhow::Result<Self> {
        let mut tables = Self::parse(include_str!("../../../migrations/platform/personal_data.toml"))?.tables;
        tables.extend(self.tables.clone());
        Ok(Self { tables })
    }

    /// The tables whose rows follow their account, by name.
    pub fn tenant_tables(&self) -> impl Iterator<Item = &str> {
        let follows = |table: &Table| {
            table.columns.contains_key("account_id") && table.account_deletion == OnAccountDeletion::Delete
        };
        self.tables.iter().filter(move |(_, table)| follows(table)).map(|(name, _)| name.as_str())
    }

    /// Whether any table's rows follow their account.
    pub fn has_tenant_tables(&self) -> bool {
        self.tenant_tables().next().is_some()
    }
}

/// Deletes all rows of an account, in batches that commit by themselves, and checks that none remains. Safe to repeat and to
/// run from several places at once.
///
/// # Errors
/// Those of the database; and when rows remain, since something still writes them or another deletion has not committed.
pub async fn delete_account(db: &Db, data: &PersonalData, account_id: Uuid) -> anyhow::Result<()> {
    let tables: BTreeSet<&str> = data.tenant_tables().collect();
    let references = references(db).await?;
    for table in deletion_order(&tables, &references)? {
        while delete_batch(db, table, &references, account_id).await? > 0 {}
    }
    let remaining = remaining(db, &tables, account_id).await?;
    ensure!(remaining.is_empty(), "rows of the deleted account {account_id} remain in {}", remaining.join(", "));
    Ok(())
}

/// The tables that hold rows of an account.
///
/// # Errors
/// Those of the database.
async fn remaining(db: &Db, tables: &BTreeSet<&str>, account_id: Uuid) -> anyhow::Result<Vec<String>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let schema = db.schema();
    let checks: Vec<String> = tables
        .iter()
        .map(|table| format!("select '{table}' where exists (select from {schema}.{table} where account_id = $1)"))
        .collect();
    let checks = AssertSqlSafe(checks.join(" union all "));
    Ok(sqlx::query_scalar(checks).bind(account_id).fetch_all(db.system()).await?)
}

/// A foreign key between two tables of the schema.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Whether deleting the row that is referenced deletes, or detaches, those that reference it.
    cascades: bool,
    /// Columns of `from`, each with the one of `to` that it references.
    columns: Vec<(String, String)>,
}

pub(crate) async fn references(db: &Db) -> anyhow::Result<Vec<Reference>> {
    let rows = sqlx::query(
        "select source.relname::text as source, target.relname::text as target, confdeltype not in ('a', 'r') as cascades,
                array(select attname::text from unnest(conkey) with ordinality as key (number, nth)
                      join pg_attribute on attrelid = conrelid and attnum = number order by nth) as source_columns,
                array(select attname::text from unnest(confkey) with ordinality as key (number, nth)
                      join pg_attribute on attrelid = confrelid and attnum = number order by nth) as target_columns
         from pg_constraint
         join pg_class source on source.oid = conrelid
         join pg_class target on target.oid = confrelid
         where contype = 'f' and conparentid = 0 and connamespace = $1::text::regnamespace",
    )
    .bind(db.schema())
    .fetch_all(db.system())
    .await
    .context("cannot read the references between tables")?;
    Ok(rows
        .into_iter()
        .map(|row| Reference {
            from: row.get("source"),
            to: row.get("target"),
            cascades: row.get("cascades"),
            columns: row
                .get::<Vec<String>, _>("source_columns")
                .into_iter()
                .zip(row.get::<Vec<String>, _>("target_columns"))
                .collect(),
        })
        .collect())
}

/// The tables in the order of their references: a table comes before those that it references.
pub(crate) fn deletion_order<'a>(tables: &BTreeSet<&'a str>, references: &[Reference]) -> anyhow::Result<Vec<&'a str>> {
    let mut left: BTreeSet<&str> = tables.clone();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let is_referenced = |table: &str| {
            references.iter().any(|it| it.to == table && it.from != table && left.contains(it.from.as_str()))
        };
        let next: Vec<&str> = left.iter().copied().filter(|table| !is_referenced(table)).collect();
        ensure!(!next.is_empty(), "the references between {left:?} form a cycle");
        left.retain(|table| !next.contains(table));
        order.extend(next);
    }
    Ok(order)
}

/// Deletes the next rows of an account from a table, and returns their number.
async fn delete_batch(db: &Db, table: &str, references: &[Reference], account_id: Uuid) -> anyhow::Result<u64> {
    let schema = db.schema();
    // Of a table that references itself, rows that no other row references come first.
    let mut leaves = String::new();
    for own in references.iter().filter(|it| it.from == table && it.to == table && !it.cascades) {
        let same: Vec<String> = own.columns.iter().map(|(from, to)| format!("child.{from} = own.{to}")).collect();
        leaves += &format!(" and not exists (select from {schema}.{table} child where {})", same.join(" and "));
    }
    // `account_id` again, because rows of two partitions can have the same ctid.
    let delete = format!(
        "delete from {schema}.{table} where account_id = $1 and ctid = any(array(
             select ctid from {schema}.{table} own where account_id = $1{leaves} limit $2))"
    );
    let deleted = sqlx::query(AssertSqlSafe(delete)).bind(account_id).bind(DELETE_BATCH).execute(db.system()).await;
    Ok(deleted.with_context(|| format!("cannot delete rows of {table}"))?.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(from: &str, to: &str) -> Reference {
        Reference { from: from.to_owned(), to: to.to_owned(), cascades: false, columns: Vec::new() }
    }

    #[test]
    fn tables_are_deleted_before_those_that_they_reference() {
        let tables = ["tasks", "comments", "mentions", "views"].into();
        let references = [
            reference("comments", "tasks"),
            reference("mentions", "comments"),
            reference("tasks", "tasks"),
            reference("others", "views"),
        ];
        assert_eq!(deletion_order(&tables, &references).unwrap(), ["mentions", "views", "comments", "tasks"]);
        let cycle = [reference("tasks", "views"), reference("views", "tasks")];
        assert!(deletion_order(&tables, &cycle).is_err());
    }

    #[test]
    fn only_tables_with_an_account_follow_it() {
        let data = PersonalData::parse(
            r#"
            [notes]
            retention = { until = "account deleted", by = "account deletion" }
            [notes.subjects]
            author = "created_by"
            [notes.columns]
            account_id = { class = "none" }
            created_by = { class = "identifier", subject = "author", why = "who wrote it", export = "yes", erase = "keep" }
            [log]
            retention = { until = "expired", days = 90, by = "log.retention" }
            account_deletion = "keep"
            [log.columns]
            account_id = { class = "none" }
            [settings]
            retention = { until = "forever", by = "nothing" }
            [settings.columns]
            key = { class = "none" }
            "#,
        )
        .unwrap();
        assert_eq!(data.tenant_tables().collect::<Vec<_>>(), ["notes"]);
        assert!(PersonalData::parse("[notes]\ncolour = \"red\"").is_err());
    }
}
