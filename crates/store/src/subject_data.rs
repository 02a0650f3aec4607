//! The data of one person, read by the catalogue of personal data: complete by construction, because a column without a line
//! in the catalogue fails a test.

mod erasure;
mod schema;
mod statements;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use baton_errors::{Error, Reason, Result};
use futures_util::{Stream, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

pub use self::erasure::{Count, Erasure, Progress, Treatment};
pub(crate) use self::schema::primary_keys;
use self::{
    schema::{column_types, indexed},
    statements::{passes, selected},
};
use crate::{
    Db,
    personal_data::{Class, Column, Export, PersonalData, Table},
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
    has_account: bool,
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

/// Pauses after a statement for a few times as long as it took: nobody waits for the data of one person, and others share the
/// database and the machine.
async fn give_way(took: Duration) {
    const PAUSES: u32 = 10;
    const LONGEST: Duration = Duration::from_secs(1);
    tokio::time::sleep((took * PAUSES).min(LONGEST)).await;
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
            let columns = selected(db.schema(), (name, table), data, &types);
            let passes = passes(db.schema(), table, name, data, &found_by);
            let (name, has_account, schema) = (name.clone(), table.has_account(), db.schema());
            tables.push(ExportedTable { name, category, key, columns, passes, has_account, schema });
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
        let of_category =
            |table: &ExportedTable| table.category == category && (table.has_account || person.within.is_none());
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
                    let begun = Instant::now();
                    if let Some(rows) = table.next(&db, &person, &mut position).await? {
                        give_way(begun.elapsed()).await;
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
    /// The only account whose rows are read; `None` for all.
    pub within: Option<Uuid>,
}

/// Whose rows, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The person.
    pub user_id: Uuid,
    /// The only account that is meant; `None` for everything about the person, also outside of accounts.
    pub account_id: Option<Uuid>,
}

impl Subject {
    /// Everything about a person.
    pub fn everywhere(user_id: Uuid) -> Self {
        Self { user_id, account_id: None }
    }
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
            if let Some(account_id) = person.within {
                position.accounts = Some(vec![account_id]);
            } else if let (Some(accounts), None) = (&pass.accounts, &position.accounts) {
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

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

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
        let columns = selected("s", ("notes", table), &data, &HashMap::from(types));
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
