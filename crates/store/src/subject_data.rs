//! The data of one person, read by the catalogue of personal data: complete by construction, because a column without a line
//! in the catalogue fails a test.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use baton_errors::{Error, Reason, Result};
use futures_util::{Stream, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use crate::{
    Db,
    personal_data::{Class, Column, Export, PersonalData, SubjectId, Table},
};

/// Rows that the first statement of a table reads. Later ones read as many as [`BATCH_BYTES`] promise.
const FIRST_BATCH: i64 = 20;
/// Rows that one statement reads.
const MAX_BATCH: i64 = 500;
/// Bytes that a statement is to read.
const BATCH_BYTES: usize = 1024 * 1024;
/// Bytes of the rows that are returned at once, unless one row alone is larger.
const MAX_BYTES: usize = 256 * 1024;

/// The statements that read the exported data of a person from a schema.
#[derive(Debug)]
pub struct SubjectData {
    tables: Vec<ExportedTable>,
}

/// A table with exported columns.
#[derive(Debug)]
struct ExportedTable {
    name: String,
    category: String,
    /// The columns of its primary key, with their types.
    key: Vec<(String, String)>,
    /// What is selected.
    columns: String,
    /// One for each person that the table's rows may be about, so that each reads by an index.
    passes: Vec<Pass>,
    schema: &'static str,
}

/// The rows about one kind of person: those whose assignee they are.
#[derive(Debug)]
struct Pass {
    /// Which rows, besides those of the passes before.
    condition: String,
    /// The accounts in which the person has rows, where no index begins with the person but one with the account.
    accounts: Option<String>,
}

/// Where a stream of rows continues.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Cursor {
    table: String,
    pass: usize,
    /// The primary key of the last row.
    key: Vec<String>,
}

/// Rows of a table about a person.
#[derive(Debug)]
pub struct Rows {
    /// The table.
    pub table: String,
    /// JSON objects.
    pub rows: Vec<String>,
    /// Where to continue after them.
    pub cursor: String,
}

impl SubjectData {
    /// Prepares the statements for a schema.
    ///
    /// # Errors
    /// Those of the database; and when a table with exported columns has no primary key or no category.
    pub async fn open(db: &Db, data: &PersonalData) -> Result<Self> {
        let keys = primary_keys(db).await?;
        let types = column_types(db).await?;
        let found_by = indexed(db).await?;
        let mut tables = Vec::new();
        for (name, table) in data.tables.iter().filter(|(_, table)| table.is_exported()) {
            let key = keys.get(name).cloned().ok_or_else(|| Error::internal(format!("{name} has no primary key")))?;
            let category = table.category.clone();
            let category = category.ok_or_else(|| Error::internal(format!("{name} has no category")))?;
            let columns = selected(db.schema(), table, name, &types);
            let passes = passes(db.schema(), table, name, data, &found_by);
            tables.push(ExportedTable { name: name.clone(), category, key, columns, passes, schema: db.schema() });
        }
        Ok(Self { tables })
    }

    /// The rows of a category about a person, table by table. An empty cursor begins. What others may have changed is part of
    /// it in `accounts` only: those whose member the person is.
    ///
    /// # Errors
    /// PAGE_TOKEN_INVALID if the cursor is not one of this category; those of the database.
    pub fn export(
        self: Arc<Self>,
        db: Db,
        person: Person,
        category: &str,
        cursor: &str,
    ) -> Result<impl Stream<Item = Result<Rows>> + Send + use<>> {
        let of_category = |table: &ExportedTable| table.category == category;
        let indexes: Vec<usize> = (0..self.tables.len()).filter(|&index| of_category(&self.tables[index])).collect();
        let mut next = (0, Position::default());
        if !cursor.is_empty() {
            let invalid = || Error::from(Reason::PageTokenInvalid);
            let Cursor { table, pass, key } = serde_json::from_str(cursor).map_err(|_| invalid())?;
            let place = indexes.iter().position(|&index| self.tables[index].name == table).ok_or_else(invalid)?;
            let found = &self.tables[indexes[place]];
            if pass >= found.passes.len() || key.len() != found.key.len() {
                return Err(invalid());
            }
            next = (place, Position { pass, key: Some(key), ..Position::default() });
        }
        let state = (self, db, person, indexes, next);
        let batches =
            stream::try_unfold(state, move |(data, db, person, indexes, (mut place, mut position))| async move {
                while let Some(&index) = indexes.get(place) {
                    let table = &data.tables[index];
                    if let Some(rows) = table.next(&db, &person, &mut position).await? {
                        return Ok::<_, Error>(Some((rows, (data, db, person, indexes, (place, position)))));
                    }
                    (place, position) = (place + 1, Position::default());
                }
                Ok(None)
            });
        Ok(batches.map_ok(|rows| stream::iter(rows.into_iter().map(Ok))).try_flatten())
    }
}

/// Whose data is read.
#[derive(Debug, Clone)]
pub struct Person {
    /// The person.
    pub user_id: Uuid,
    /// The accounts whose member they are at present.
    pub accounts: Vec<Uuid>,
}

/// How far a table has been read.
struct Position {
    pass: usize,
    key: Option<Vec<String>>,
    /// The accounts of the current pass, once they were looked for.
    accounts: Option<Vec<Uuid>>,
    /// Rows of the next statement.
    limit: i64,
}

impl Default for Position {
    fn default() -> Self {
        Self { pass: 0, key: None, accounts: None, limit: FIRST_BATCH }
    }
}

impl ExportedTable {
    /// The next rows, in pieces; `None` after the last.
    async fn next(&self, db: &Db, person: &Person, position: &mut Position) -> Result<Option<Vec<Rows>>> {
        while let Some(pass) = self.passes.get(position.pass) {
            if let (Some(accounts), None) = (&pass.accounts, &position.accounts) {
                let found =
                    sqlx::query_scalar(AssertSqlSafe(accounts.clone())).bind(person.user_id).fetch_all(db.system());
                position.accounts = Some(found.await?);
            }
            let found = self.read(db, person, position).await?;
            let Some((_, last)) = found.last() else {
                *position = Position { pass: position.pass + 1, ..Position::default() };
                continue;
            };
            position.key = Some(last.clone());
            let bytes: usize = found.iter().map(|(row, _)| row.len()).sum();
            let per_row = bytes.div_ceil(found.len()).max(1);
            position.limit = i64::try_from(BATCH_BYTES / per_row).unwrap_or(MAX_BATCH).clamp(1, MAX_BATCH);
            return self.pieces(found, position.pass).map(Some);
        }
        Ok(None)
    }

    /// Rows in pieces that fit into a message, each with its cursor.
    fn pieces(&self, found: Vec<(String, Vec<String>)>, pass: usize) -> Result<Vec<Rows>> {
        let mut pieces: Vec<Rows> = Vec::new();
        let mut bytes = MAX_BYTES;
        for (row, key) in found {
            let cursor = Cursor { table: self.name.clone(), pass, key };
            let cursor = serde_json::to_string(&cursor).map_err(Error::internal)?;
            if bytes + row.len() > MAX_BYTES {
                bytes = 0;
                pieces.push(Rows { table: self.name.clone(), rows: Vec::new(), cursor: String::new() });
            }
            bytes += row.len();
            if let Some(piece) = pieces.last_mut() {
                piece.rows.push(row);
                piece.cursor = cursor;
            }
        }
        Ok(pieces)
    }

    /// Rows after the position, each with its key.
    async fn read(&self, db: &Db, person: &Person, position: &Position) -> Result<Vec<(String, Vec<String>)>> {
        let Some(pass) = self.passes.get(position.pass) else { return Ok(Vec::new()) };
        if position.accounts.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let mut sql = format!(
            "select (to_jsonb(found) - '_key')::text as row, found._key as key from (
                 select array[{}] as _key, {} from {}.{} own where {}",
            self.key_list(|column, _| format!("own.{column}::text")),
            self.columns,
            self.schema,
            self.name,
            pass.condition,
        );
        // The first two are the person, and the accounts whose member they are.
        let mut parameters = 2;
        let mut parameter = || {
            parameters += 1;
            format!("${parameters}")
        };
        if position.accounts.is_some() {
            sql += &format!(" and own.account_id = any({})", parameter());
        }
        if position.key.is_some() {
            let values: Vec<String> =
                self.key.iter().map(|(_, of_type)| format!("{}::text::{of_type}", parameter())).collect();
            let columns = self.key_list(|column, _| format!("own.{column}"));
            sql += &format!(" and ({columns}) > ({})", values.join(", "));
        }
        sql += &format!(
            " order by {} limit {}) found",
            self.key_list(|column, _| format!("own.{column}")),
            position.limit
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(person.user_id).bind(&person.accounts);
        if let Some(accounts) = &position.accounts {
            query = query.bind(accounts);
        }
        for value in position.key.iter().flatten() {
            query = query.bind(value);
        }
        let rows = query.fetch_all(db.system()).await?;
        Ok(rows.into_iter().map(|row| (row.get("row"), row.get("key"))).collect())
    }

    fn key_list(&self, each: impl Fn(&str, &str) -> String) -> String {
        let columns: Vec<String> = self.key.iter().map(|(column, of_type)| each(column, of_type)).collect();
        columns.join(", ")
    }
}

impl Table {
    /// Whether any of its columns is part of an export.
    pub fn is_exported(&self) -> bool {
        self.columns.values().any(Column::is_exported)
    }

    /// Whether its rows belong to accounts.
    fn has_account(&self) -> bool {
        self.columns.contains_key("account_id")
    }
}

impl Column {
    /// Whether it is part of an export. A secret never is.
    pub fn is_exported(&self) -> bool {
        matches!(self.export, Some(Export::Yes | Export::Member)) && self.class != Class::Secret
    }
}

/// What is selected: what the catalogue exports, ids of other people, and what says nothing about anybody.
fn selected(schema: &str, table: &Table, name: &str, types: &HashMap<(String, String), String>) -> String {
    let several = table.subjects.len() > 1;
    let columns = table.columns.iter().filter_map(|(column, line)| {
        let of_type = types.get(&(name.to_owned(), column.clone())).map_or("", String::as_str);
        if of_type == "bytea" {
            return None;
        }
        let is_id = line.class == Class::Identifier && of_type == "uuid";
        let needs_membership = line.export == Some(Export::Member);
        if line.class == Class::None || line.is_exported() && !needs_membership && (is_id || !several) {
            return Some(format!("own.{column}"));
        }
        let subject = line.subject.as_ref().and_then(|subject| table.subjects.get(subject))?;
        let mut condition = condition(schema, subject)?;
        if needs_membership {
            condition += " and own.account_id = any($2)";
        }
        line.is_exported().then(|| format!("case when {condition} then own.{column} end as {column}"))
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// The rows that are about the person $1 as this subject; `None` if no statement can tell.
fn condition(schema: &str, subject: &SubjectId) -> Option<String> {
    match subject {
        SubjectId::Column(column) => Some(format!("own.{column} = $1")),
        SubjectId::Through { through, table, column } => {
            Some(format!("own.{through} in (select id from {schema}.{table} where {column} = $1)"))
        }
        SubjectId::Within { .. } => None,
    }
}

/// `found_by`: tables and columns that an index begins with.
fn passes(
    schema: &str,
    table: &Table,
    name: &str,
    data: &PersonalData,
    found_by: &HashSet<(String, String)>,
) -> Vec<Pass> {
    let is_exported =
        |subject: &str| table.columns.values().any(|it| it.is_exported() && it.subject.as_deref() == Some(subject));
    let mut passes: Vec<Pass> = Vec::new();
    let mut before: Vec<String> = Vec::new();
    for (_, subject) in table.subjects.iter().filter(|(subject, _)| is_exported(subject)) {
        let Some(mut found) = condition(schema, subject) else { continue };
        let own = found.clone();
        for earlier in &before {
            found += &format!(" and ({earlier}) is not true");
        }
        before.push(own);
        let (driving, column) = match subject {
            SubjectId::Through { table, column, .. } => (table.as_str(), column),
            SubjectId::Column(column) | SubjectId::Within { within: column } => (name, column),
        };
        let is_of_account = |table: &str| data.tables.get(table).is_some_and(Table::has_account);
        let is_found = found_by.contains(&(driving.to_owned(), column.clone()));
        let by_account = !is_found && table.has_account() && is_of_account(driving);
        let accounts = by_account.then(|| accounts_of_person(schema, driving, column));
        passes.push(Pass { condition: found, accounts });
    }
    passes
}

/// The accounts in which a table has rows of the person $1: an index probe for each account, since the indexes of tenant
/// tables begin with the account.
fn accounts_of_person(schema: &str, table: &str, column: &str) -> String {
    format!(
        "with recursive accounts (id) as (
             (select account_id from {schema}.{table} order by account_id limit 1)
             union all
             select (select account_id from {schema}.{table} where account_id > accounts.id order by account_id limit 1)
             from accounts where accounts.id is not null)
         select id from accounts
         where id is not null and exists (select from {schema}.{table} where account_id = accounts.id and {column} = $1)"
    )
}

/// The columns of each table's primary key, with their types.
async fn primary_keys(db: &Db) -> Result<HashMap<String, Vec<(String, String)>>> {
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
async fn indexed(db: &Db) -> Result<HashSet<(String, String)>> {
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
async fn column_types(db: &Db) -> Result<HashMap<(String, String), String>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_people_are_ids_and_secrets_are_left_out() {
        let data = PersonalData::parse(
            r#"
            [notes]
            retention = { until = "account deleted", by = "account deletion" }
            category = "tasks"
            [notes.subjects]
            author = "created_by"
            reader = "reader_id"
            [notes.columns]
            id = { class = "none" }
            account_id = { class = "none" }
            created_by = { class = "identifier", subject = "author", why = "who wrote it", export = "yes", erase = "keep" }
            reader_id = { class = "identifier", subject = "reader", why = "who reads it", export = "yes", erase = "keep" }
            body = { class = "content", subject = "author", why = "what they say", export = "yes", erase = "keep" }
            hash = { class = "secret", subject = "author", why = "proof", export = "yes", erase = "keep" }
            "#,
        )
        .unwrap();
        let table = &data.tables["notes"];
        let types = ["id", "account_id", "created_by", "reader_id"]
            .map(|it| (("notes".to_owned(), it.to_owned()), "uuid".to_owned()));
        let columns = selected("s", table, "notes", &HashMap::from(types));
        assert_eq!(
            columns,
            "own.account_id, case when own.created_by = $1 then own.body end as body, own.created_by, own.id, own.reader_id"
        );
        let found_by = HashSet::from([("notes".to_owned(), "reader_id".to_owned())]);
        let passes = passes("s", table, "notes", &data, &found_by);
        let conditions: Vec<&str> = passes.iter().map(|pass| pass.condition.as_str()).collect();
        assert_eq!(conditions, ["own.created_by = $1", "own.reader_id = $1 and (own.created_by = $1) is not true"]);
        let by_account: Vec<bool> = passes.iter().map(|pass| pass.accounts.is_some()).collect();
        assert_eq!(by_account, [true, false]);
    }
}
