//! The erasure of a person from a schema, and the count of what is left of them.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use baton_errors::{Error, Reason, Result};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::{
    Subject, give_way,
    schema::{NullableColumns, column_types, indexed, nullable_columns, primary_keys},
    statements::{accounts_of_subject, condition},
};
use crate::{
    Db,
    personal_data::{Erase, PersonalData, SubjectId, Table, deletion_order, references},
};

/// Rows that one statement erases: few, so that nobody waits long for one.
const BATCH: i64 = 200;
/// After this time a call of [`Erasure::erase`] returns, whatever is left.
const CALL_BUDGET: Duration = Duration::from_secs(2);

/// The statements that erase a person from a schema, by its catalogue.
#[derive(Debug)]
pub struct Erasure {
    /// Those that change something come first, in the order in which they can.
    steps: Vec<Step>,
    schema: &'static str,
}

/// What is done with the rows of a table about one kind of person.
#[derive(Debug)]
struct Step {
    table: String,
    subject: String,
    treatment: Treatment,
    /// The columns of the primary key, with their types.
    key: Vec<(String, String)>,
    /// Which rows: those of the person $1 that are not treated yet.
    condition: String,
    /// Whether the rows belong to accounts.
    has_account: bool,
    /// Finds the accounts in which the person has rows, where no index begins with the person.
    accounts: Option<String>,
    /// For [`Treatment::Clear`]: the assignments.
    assignments: String,
    reason: String,
}

/// What an erasure does with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// They are deleted.
    Delete,
    /// Their values about the person are emptied.
    Clear,
    /// They stay.
    Keep,
    /// They stay until they expire.
    Expires,
}

/// How many rows about a person a table has at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The table.
    pub table: String,
    /// As whom the rows are about the person: `assignee`.
    pub subject: String,
    /// What an erasure does with them.
    pub treatment: Treatment,
    /// The rows that the treatment has still to be done with; those that stay, if nothing is.
    pub rows: i64,
    /// Why they stay; empty if they do not.
    pub reason: String,
}

/// How far an erasure has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Rows that were deleted or cleared.
    pub rows: i64,
    /// Where to continue; `None` when all is done.
    pub cursor: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    step: usize,
    /// The primary key of the last row.
    key: Vec<String>,
}

impl Erasure {
    /// Prepares the statements for a schema: its own tables, and those that every schema has.
    ///
    /// # Errors
    /// Those of the database; and when the catalogue says something that no statement can do.
    pub async fn open(db: &Db, data: &PersonalData) -> Result<Self> {
        let data = data.with_platform().map_err(Error::internal)?;
        let (keys, types) = (primary_keys(db).await?, column_types(db).await?);
        let (nullable, found_by) = (nullable_columns(db).await?, indexed(db).await?);
        let references = references(db).await.map_err(Error::internal)?;
        let tables: BTreeSet<&str> = data.tables.keys().map(String::as_str).collect();
        let order = deletion_order(&tables, &references).map_err(Error::internal)?;
        let place: HashMap<&str, usize> = order.into_iter().enumerate().map(|(place, table)| (table, place)).collect();
        let mut steps = Vec::new();
        for (name, table) in &data.tables {
            let no_key = Vec::new();
            let key = keys.get(name).unwrap_or(&no_key);
            for (subject, id) in &table.subjects {
                let accounts = accounts_of_subject(db.schema(), (name, table), id, &data, &found_by);
                let rows = RowsOf { schema: db.schema(), name, table, subject, id, key, accounts, data: &data };
                steps.extend(rows.steps(&types, &nullable)?.into_iter().map(|step| (rows.rank(&step, &place), step)));
            }
        }
        steps.sort_by_key(|(rank, _)| *rank);
        Ok(Self { steps: steps.into_iter().map(|(_, step)| step).collect(), schema: db.schema() })
    }

    /// Erases the next rows of a subject. An empty cursor begins; safe to repeat from anywhere. Each statement commits by
    /// itself.
    ///
    /// # Errors
    /// PAGE_TOKEN_INVALID if the cursor is none; those of the database.
    pub async fn erase(&self, db: &Db, subject: Subject, cursor: &str) -> Result<Progress> {
        let invalid = || Error::from(Reason::PageTokenInvalid);
        let mut at = match cursor {
            "" => Cursor::default(),
            cursor => serde_json::from_str(cursor).map_err(|_| invalid())?,
        };
        if self.steps.get(at.step).is_some_and(|step| !at.key.is_empty() && step.key.len() != at.key.len()) {
            return Err(invalid());
        }
        let (begun, mut rows) = (Instant::now(), 0);
        while let Some(step) = self.steps.get(at.step).filter(|step| step.changes_rows()) {
            let accounts = step.accounts(db, subject).await?;
            loop {
                let statement = Instant::now();
                let keys = step.erase(db, self.schema, subject.user_id, accounts.as_deref(), &at.key).await?;
                if !keys.is_empty() {
                    give_way(statement.elapsed()).await;
                }
                rows += i64::try_from(keys.len()).unwrap_or(i64::MAX);
                let Some(last) = keys.into_iter().last() else { break };
                at.key = last;
                if begun.elapsed() > CALL_BUDGET {
                    let cursor = serde_json::to_string(&at).map_err(Error::internal)?;
                    return Ok(Progress { rows, cursor: Some(cursor) });
                }
            }
            at = Cursor { step: at.step + 1, key: Vec::new() };
            if begun.elapsed() > CALL_BUDGET {
                return Ok(Progress { rows, cursor: Some(serde_json::to_string(&at).map_err(Error::internal)?) });
            }
        }
        Ok(Progress { rows, cursor: None })
    }

    /// Counts afresh what the schema has of a subject, from this step on, for about the time of a call; returns the step to
    /// continue with, if any is left. Nothing that an erasure noted goes into it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count(&self, db: &Db, subject: Subject, from: usize) -> Result<(Vec<Count>, Option<usize>)> {
        let (begun, mut counts) = (Instant::now(), Vec::new());
        for (at, step) in self.steps.iter().enumerate().skip(from) {
            if begun.elapsed() > CALL_BUDGET {
                return Ok((counts, Some(at)));
            }
            if subject.account_id.is_some() && !step.has_account {
                continue;
            }
            let rows = step.count(db, self.schema, subject).await?;
            counts.push(Count {
                table: step.table.clone(),
                subject: step.subject.clone(),
                treatment: step.treatment,
                rows,
                reason: step.reason.clone(),
            });
        }
        Ok((counts, None))
    }

    /// [`Erasure::count`] from the beginning to the end.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count_all(&self, db: &Db, subject: Subject) -> Result<Vec<Count>> {
        let (mut counts, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            let (more, then) = self.count(db, subject, from).await?;
            counts.extend(more);
            next = then;
        }
        Ok(counts)
    }
}

impl Step {
    fn changes_rows(&self) -> bool {
        matches!(self.treatment, Treatment::Delete | Treatment::Clear)
    }

    /// The accounts whose rows are meant; `None` for all rows.
    async fn accounts(&self, db: &Db, subject: Subject) -> Result<Option<Vec<Uuid>>> {
        if let Some(account_id) = subject.account_id {
            return Ok(Some(if self.has_account { vec![account_id] } else { Vec::new() }));
        }
        let Some(accounts) = &self.accounts else { return Ok(None) };
        let found = sqlx::query_scalar(AssertSqlSafe(accounts.clone())).bind(subject.user_id).fetch_all(db.system());
        Ok(Some(found.await?))
    }

    /// Erases the next rows after this key; returns their keys, in order.
    async fn erase(
        &self,
        db: &Db,
        schema: &str,
        user_id: Uuid,
        accounts: Option<&[Uuid]>,
        after: &[String],
    ) -> Result<Vec<Vec<String>>> {
        if accounts.is_some_and(<[Uuid]>::is_empty) {
            return Ok(Vec::new());
        }
        let Self { table, condition, assignments, .. } = self;
        let mut parameters = 1;
        let mut parameter = || {
            parameters += 1;
            format!("${parameters}")
        };
        let of_accounts = accounts.map(|_| format!(" and own.account_id = any({})", parameter())).unwrap_or_default();
        let mut of_key = String::new();
        if !after.is_empty() {
            let values = self.key_list(|_, of_type| format!("{}::text::{of_type}", parameter()));
            of_key = format!(" and ({}) > ({values})", self.key_list(|column, _| format!("own.{column}")));
        }
        let columns = self.key_list(|column, _| format!("own.{column}"));
        let same: Vec<String> = self.key.iter().map(|(column, _)| format!("own.{column} = found.{column}")).collect();
        let same = same.join(" and ");
        let change = match self.treatment {
            Treatment::Delete => format!("delete from {schema}.{table} own using found where {same}"),
            _ => format!("update {schema}.{table} own set {assignments} from found where {same}"),
        };
        let sql = format!(
            "with found as materialized (
                 select {columns} from {schema}.{table} own where {condition}{of_accounts}{of_key}
                 order by {columns} limit {BATCH} for update
             ), changed as ({change})
             select array[{}] as key from found own order by {columns}",
            self.key_list(|column, _| format!("own.{column}::text")),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(user_id);
        if let Some(accounts) = accounts {
            query = query.bind(accounts);
        }
        for value in after {
            query = query.bind(value);
        }
        let rows = query.fetch_all(db.system()).await?;
        Ok(rows.into_iter().map(|row| row.get("key")).collect())
    }

    async fn count(&self, db: &Db, schema: &str, subject: Subject) -> Result<i64> {
        let accounts = self.accounts(db, subject).await?;
        let of_accounts = if accounts.is_some() { " and own.account_id = any($2)" } else { "" };
        let Self { table, condition, .. } = self;
        let sql = format!("select count(*) from {schema}.{table} own where {condition}{of_accounts}");
        let mut query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(subject.user_id);
        if let Some(accounts) = accounts {
            query = query.bind(accounts);
        }
        Ok(query.fetch_one(db.system()).await?)
    }

    fn key_list(&self, mut each: impl FnMut(&str, &str) -> String) -> String {
        let columns: Vec<String> = self.key.iter().map(|(column, of_type)| each(column, of_type)).collect();
        columns.join(", ")
    }
}

/// The rows of a table about one kind of person.
struct RowsOf<'a> {
    schema: &'static str,
    name: &'a str,
    table: &'a Table,
    subject: &'a str,
    id: &'a SubjectId,
    key: &'a [(String, String)],
    accounts: Option<String>,
    data: &'a PersonalData,
}

impl RowsOf<'_> {
    /// What is done with them. Not counted are rows that stay and that no statement finds, since the id is inside of a value, or
    /// that belong to rows of another table, which are.
    fn steps(&self, types: &HashMap<(String, String), String>, nullable: &NullableColumns) -> Result<Vec<Step>> {
        let columns = |treatment: Erase| -> Vec<&String> {
            let lines = self.table.columns.iter();
            let of_subject = lines.filter(|(_, line)| line.subject.as_deref() == Some(self.subject));
            of_subject.filter(|(_, line)| line.erase == Some(treatment)).map(|(column, _)| column).collect()
        };
        let (deleted, cleared) = (columns(Erase::Delete), columns(Erase::Clear));
        let (kept, expiring) = (columns(Erase::Keep), columns(Erase::Expires));
        let wrong = |what: &str| Error::internal(format!("{}.{}, {}: {what}", self.schema, self.name, self.subject));
        let Some(found) = condition(self.schema, self.table, self.id, self.data) else {
            let erases = !deleted.is_empty() || !cleared.is_empty();
            return if erases { Err(wrong("no statement finds what is to be erased")) } else { Ok(Vec::new()) };
        };
        let stays = [&cleared, &kept, &expiring].iter().any(|columns| !columns.is_empty());
        if stays && !deleted.is_empty() {
            return Err(wrong("a row cannot be deleted and stay"));
        }
        if self.key.is_empty() && !(deleted.is_empty() && cleared.is_empty()) {
            return Err(wrong("a table without a primary key cannot be erased"));
        }
        let mut steps = Vec::new();
        if !deleted.is_empty() {
            steps.push(self.step(Treatment::Delete, found.clone(), String::new(), String::new()));
        }
        if !cleared.is_empty() {
            let (mut assignments, mut left) = (Vec::new(), Vec::new());
            for column in cleared {
                let place = (self.name.to_owned(), column.clone());
                if nullable.contains(&place) {
                    assignments.push(format!("{column} = null"));
                    left.push(format!("own.{column} is not null"));
                    continue;
                }
                let empty = match types.get(&place).map(String::as_str) {
                    Some("text") => "''",
                    Some("jsonb") => "'{}'::jsonb",
                    Some("text[]") => "'{}'::text[]",
                    _ => return Err(wrong(&format!("{column} has no empty value"))),
                };
                assignments.push(format!("{column} = {empty}"));
                left.push(format!("own.{column} <> {empty}"));
            }
            let condition = format!("{found} and ({})", left.join(" or "));
            steps.push(self.step(Treatment::Clear, condition, assignments.join(", "), String::new()));
        }
        if matches!(self.id, SubjectId::Through { .. }) {
            return Ok(steps);
        }
        if !kept.is_empty() {
            let reason = self.table.kept.clone().ok_or_else(|| wrong("nothing says why it is kept"))?;
            steps.push(self.step(Treatment::Keep, found.clone(), String::new(), reason));
        }
        if !expiring.is_empty() {
            let reason = self.table.retention.in_words();
            steps.push(self.step(Treatment::Expires, found, String::new(), reason));
        }
        Ok(steps)
    }

    fn step(&self, treatment: Treatment, condition: String, assignments: String, reason: String) -> Step {
        Step {
            table: self.name.to_owned(),
            subject: self.subject.to_owned(),
            treatment,
            key: self.key.to_vec(),
            condition,
            has_account: self.table.has_account(),
            accounts: self.accounts.clone(),
            assignments,
            reason,
        }
    }

    /// The order of the steps: what is found through another table first, as long as that has its rows; then what
    /// references others before those; last what only counts.
    fn rank(&self, step: &Step, place: &HashMap<&str, usize>) -> (bool, bool, usize) {
        let is_direct = !matches!(self.id, SubjectId::Through { .. });
        (!step.changes_rows(), is_direct, place.get(self.name).copied().unwrap_or_default())
    }
}
