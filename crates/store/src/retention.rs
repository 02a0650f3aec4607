//! The retention of rows: one engine for all rules of the catalogue. A rule names the column of the time from which its days
//! count; rows that are older are deleted in batches.

use std::time::Duration;

use baton_errors::{Error, Result};
use baton_runtime::Next;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Row as _};

use crate::{
    Db,
    personal_data::{PersonalData, Retention},
    subject_data::primary_keys,
};

/// Pause between two sweeps.
pub const INTERVAL: Duration = Duration::from_secs(600);
/// Name of the periodic work, as the catalogue names it.
pub const WORK: &str = "platform.retention";
/// Rows that one statement deletes. More might run into the statement timeout, and would hold their locks for long.
const BATCH: i64 = 5_000;
/// How long after its time a row may still be there: a sweep may be under way, and clocks differ.
const MARGIN: TimeDelta = TimeDelta::hours(1);

/// A rule of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The table.
    pub table: String,
    /// The column of the time from which the days count.
    pub column: String,
    /// The days.
    pub days: u32,
    /// Which rows, as a condition in SQL.
    only: Option<String>,
}

/// What a rule has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oldest {
    /// The rule.
    pub rule: Rule,
    /// The time of its oldest row; `None` if it has no rows.
    pub oldest: Option<DateTime<Utc>>,
    /// Whether that should have been deleted.
    pub is_overdue: bool,
}

impl Rule {
    /// The rule of a table, if this engine follows it.
    pub fn of(table: &str, retention: &Retention) -> Option<Self> {
        let (column, days) = (retention.column.clone()?, retention.days?);
        Some(Self { table: table.to_owned(), column, days, only: retention.only.clone() })
    }

    /// All rules of a schema: of its own tables, and of those that every schema has.
    ///
    /// # Errors
    /// INTERNAL if the catalogue of the platform's tables is malformed.
    pub fn all(data: &PersonalData) -> Result<Vec<Self>> {
        let data = data.with_platform().map_err(Error::internal)?;
        Ok(data.tables.iter().filter_map(|(name, table)| Self::of(name, &table.retention)).collect())
    }

    fn condition(&self) -> String {
        self.only.as_ref().map(|only| format!(" and {only}")).unwrap_or_default()
    }
}

/// Deletes the next rows of every rule whose time is over.
///
/// # Errors
/// Those of the database.
pub async fn sweep(db: Db, rules: &[Rule]) -> Result<Next> {
    let keys = primary_keys(&db).await?;
    let (now, mut more) = (db.clock().now(), false);
    for rule in rules {
        let Rule { table, column, .. } = rule;
        let key = keys.get(table).ok_or_else(|| Error::internal(format!("{table} has no primary key")))?;
        let key: Vec<&str> = key.iter().map(|(column, _)| column.as_str()).collect();
        // Locked rows are in use: whoever confirms or refreshes something at this moment keeps it.
        let delete = format!(
            "delete from {{schema}}.{table} where ({key}) in (
                 select {key} from {{schema}}.{table} where {column} < $1{} order by {column} limit {BATCH}
                 for update skip locked)",
            rule.condition(),
            key = key.join(", "),
        );
        let before = now - TimeDelta::days(rule.days.into());
        let deleted = sqlx::query(db.sql(&delete)).bind(before).execute(db.system()).await?;
        more |= deleted.rows_affected() == BATCH.unsigned_abs();
    }
    Ok(if more { Next::Again } else { Next::Wait })
}

/// The oldest row of every rule.
///
/// # Errors
/// Those of the database.
pub async fn report(db: &Db, rules: &[Rule]) -> Result<Vec<Oldest>> {
    let now = db.clock().now();
    let mut report = Vec::with_capacity(rules.len());
    for rule in rules {
        let Rule { table, column, .. } = rule;
        // The first of the index.
        let select = format!(
            "select {column} as at from {}.{table} where {column} is not null{} order by {column} limit 1",
            db.schema(),
            rule.condition()
        );
        let row = sqlx::query(AssertSqlSafe(select)).fetch_optional(db.system()).await?;
        let oldest: Option<DateTime<Utc>> = row.map(|row| row.get("at"));
        let end = now - TimeDelta::days(rule.days.into()) - MARGIN;
        report.push(Oldest { rule: rule.clone(), oldest, is_overdue: oldest.is_some_and(|oldest| oldest < end) });
    }
    Ok(report)
}
